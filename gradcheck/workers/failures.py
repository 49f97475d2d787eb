"""Errors for people: of an exception that a task raised, or the end of its process."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING

from gradcheck.building.messages import described, is_foreign, place_of, user_location
from gradcheck.errors import GradcheckError, RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.errors import Location


def understood(error: BaseException) -> GradcheckError:
    """Return `error` as an error for people."""
    if isinstance(error, GradcheckError):
        return error
    return _out_of_memory(error) if isinstance(error, MemoryError) else _unexpected(error)


def _out_of_memory(error: MemoryError) -> RunError:
    return RunError(
        f"out of memory: {error}" if str(error) else "out of memory",
        code="GC056",
        help="make the batch or the model smaller, or cut it into fewer parts",
    )


def _unexpected(error: BaseException) -> RunError:
    """Return the error of an exception that no code of ours expected."""
    if type(error).__name__ == "ResourceExhaustedError":
        return _out_of_memory(MemoryError(str(error).partition("\n")[0]))
    if isinstance(error, KeyboardInterrupt):  # nobody pressed anything: a worker does not see Ctrl-C
        return RunError(f"the user's code raised {described(error)}", code="GC053", location=user_location(error))
    return RunError(f"{type(error).__name__}: {error}", help="-v shows where it was raised")


#: What usually ends a process so.
_HELP = {
    "SIGKILL": "the system does so when memory runs out: make the batch or the model smaller",
    "SIGABRT": "a check inside TensorFlow failed, and says which on standard error: such as a None in output_gradients",
    "SIGSEGV": "native code failed: of a custom operation, or TensorFlow's own",
    "exit": "os._exit ends a process without a word: raise an exception in its place",
}
_NAMES = {number.value: number.name for number in signal.Signals}
_FRAME = re.compile(r'^  File "(?P<file>.*)", line (?P<line>\d+) in ', re.MULTILINE)


def died(status: int | None, traces: str, stage: str) -> RunError:
    """Return the error of a task whose process ended.

    Args:
        status: the exit status, negative for a signal, as `subprocess.Popen.returncode` has it; None where the process
            lives and has closed all that connects it.
        traces: the stacks that `faulthandler` wrote in it.
        stage: the stage that it had reached.
    """
    name, how = "", "has closed its connection to the one that waits for it"
    if status is not None and status < 0:
        name = _NAMES.get(-status, f"signal {-status}")
        how = f"was ended by {name} ({signal.strsignal(-status)})"
    elif status is not None:
        name, how = "exit", f"ended itself with exit code {status}"
    message = f"the process {how}, at the stage: {stage}"
    return RunError(message, code="GC060", location=last_line(traces), help=_HELP.get(name))


def timed_out(seconds: float, traces: str, stage: str) -> RunError:
    """Return the error of a task that took longer than `seconds`; the other arguments are those of `died`."""
    return RunError(
        f"timed out after {seconds:g} seconds, at the stage: {stage}",
        code="GC057",
        location=last_line(traces),
        help="give more with --timeout, or a smaller model or batch",
    )


def last_line(traces: str) -> Location | None:
    """Return the innermost line of user code in what `faulthandler` wrote: of the thread that failed, else of any."""
    failed, _, _ = traces.partition("\n\n")
    return next(_own_lines(failed), None) or next(_own_lines(traces), None)


def _own_lines(traces: str) -> Iterator[Location]:
    """Yield the lines of user code, the innermost first."""
    return (place_of(m["file"], int(m["line"])) for m in _FRAME.finditer(traces) if not is_foreign(m["file"]))
