"""What a script raised: as an error of ours, and printed as Python prints it, with the user's own files alone."""

from __future__ import annotations

import sys
import traceback
from typing import TYPE_CHECKING

from gradcheck.building.messages import described, is_foreign, raised, user_location
from gradcheck.errors import RunError, UsageError
from gradcheck.reporters.parts.text import multiline

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from gradcheck.auditing.running.script import Script

_CODE = "GC053"


def failure_of(
    error: BaseException | None, script: Script, own_hook: Callable[..., object] | None, *, verbose: bool
) -> RunError | None:
    """Return the error of a script that raised `error`, and print its traceback; None where that is no failure.

    Args:
        error: what was raised, if anything; SystemExit with 0 or None is no failure.
        script: the script.
        own_hook: the `sys.excepthook` that the script has set, which prints in place of ours.
        verbose: whether to print all of the traceback.

    Raises:
        UsageError: if that is what it was: there is nothing to run.
    """
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return None
    if isinstance(error, UsageError) and error.__traceback__ is not None and _in_script(error.__traceback__) is None:
        raise error
    if isinstance(error, SystemExit):
        return _failure(f"{script.file} ended by sys.exit({error.code!r})", error, script, help_=None)
    error = error.with_traceback(_in_script(error.__traceback__))
    if own_hook is not None:
        own_hook(type(error), error, error.__traceback__)
    else:
        sys.stderr.write(traceback_text(error, own=not verbose) + "\n")
    help_ = None if own_hook or verbose else "the traceback above has the script's own files; -v shows all of it"
    return _failure(f"{script.file} raised {described(error)}", error, script, help_=help_)


def _failure(message: str, error: BaseException, script: Script, help_: str | None) -> RunError:
    return raised(message, error, _CODE, location=user_location(error, script.reference), help_=help_)


def _in_script(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins in the script; None if it was not reached."""
    while trace is not None and trace.tb_frame.f_globals.get("__name__") != "__main__":
        trace = trace.tb_next
    return trace


def traceback_text(error: BaseException, *, own: bool) -> str:
    """Return the traceback of `error` and of those that led to it.

    With `own` the lines of installed packages are left out, unless an exception has no others.
    """
    told = traceback.TracebackException.from_exception(error)
    waiting: list[traceback.TracebackException | None] = [told] if own else []
    while waiting:
        one = waiting.pop()
        if one is not None:
            users = [line for line in one.stack if not is_foreign(line.filename)]
            one.stack = traceback.StackSummary.from_list(users or list(one.stack))
            waiting += [one.__cause__, one.__context__, *(getattr(one, "exceptions", None) or ())]
    return multiline("".join(told.format()))
