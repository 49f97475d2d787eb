"""`gradcheck run --watch`: run again when a file beside a config changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gradcheck.errors import ExitCode, GradcheckError, RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

_WATCHED = (".yaml", ".yml", ".py", ".npz", ".keras", ".h5")


def watched(paths: Sequence[Path], once: Callable[[], int]) -> int:
    """Call `once`, and again after each change in the folders of `paths`, until Ctrl-C.

    A change is one of a YAML, Python, .npz, .keras or .h5 file. The result is the exit code of an interruption.

    Raises:
        RunError: GC058 if watchfiles is not installed.
    """
    try:
        from watchfiles import watch  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise RunError("--watch needs watchfiles", code="GC058", help="pip install watchfiles") from error
    folders = {path if path.is_dir() else path.parent for path in paths}
    if _guarded(once) == ExitCode.INTERRUPTED:
        return ExitCode.INTERRUPTED
    for _ in watch(*folders, watch_filter=lambda _, name: name.endswith(_WATCHED)):
        click.echo("\nchanged, running again", err=True)
        if _guarded(once) == ExitCode.INTERRUPTED:
            break
    return ExitCode.INTERRUPTED


def _guarded(once: Callable[[], int]) -> int | None:
    """Return the result of `once`; print its error, if it raises one: all may be right after the next change."""
    from gradcheck.cli.terminal.errors import print_error  # noqa: PLC0415 - only for an error
    from gradcheck.cli.terminal.options import settings  # noqa: PLC0415 - as above

    try:
        return once()
    except GradcheckError as error:
        print_error(error, color=settings().colored())
        return None
