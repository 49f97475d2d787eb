"""What a job of GitHub Actions shows beside the report: its step summary, and annotations of a wrong command line."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck.cli.terminal.streams import write_report
from gradcheck.errors import GradcheckError, RunError
from gradcheck.phrases import os_reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.cli.terminal.destinations import Destination

#: GitHub drops a step's summary that is larger, in bytes.
_LARGEST = 2**20
_CUT = "\n\n**The rest is left out:** GitHub takes a summary of 1 MiB. `--format html:FILE` has everything.\n"


def add_to_summary(markdown: str) -> None:
    """Append `markdown` to the summary of the job's step, which GitHub names in `GITHUB_STEP_SUMMARY`; else nothing.

    What is over GitHub's limit is left out at the end, whole lines at a time.

    Raises:
        RunError: if the file cannot be written.
    """
    name = os.environ.get("GITHUB_STEP_SUMMARY")
    if not name:
        return
    path = Path(name)
    try:
        room = _LARGEST - (path.stat().st_size if path.exists() else 0)
        with path.open("a", encoding="utf-8") as file:
            file.write(_fitted(markdown + "\n\n", room))
    except OSError as error:
        message = f"the step summary cannot be written to {name}: {os_reason(error)}"
        raise RunError(message, help="GITHUB_STEP_SUMMARY names the file; unset it to go without") from None


def _fitted(text: str, room: int) -> str:
    """Return `text`, or as many of its first lines as fit into `room` bytes, and a remark."""
    content = text.encode()
    if len(content) <= room:
        return text
    kept = content[: max(0, room - len(_CUT.encode()))].rpartition(b"\n")[0]
    return kept.decode() + _CUT if kept else ""


@contextmanager
def annotated(reports: Sequence[Destination]) -> Iterator[None]:
    """Also write an error that leaves no report as annotations, if one of `reports` consists of annotations."""
    try:
        yield
    except GradcheckError as error:
        if any(one.format_ == "github" and one.file is None for one in reports):
            from gradcheck.reporters.github import error_annotations  # noqa: PLC0415 - only for an error

            write_report(error_annotations(error.mistakes) + "\n")
        raise
