"""The file of a sweep that can be resumed: one line of JSON for what is installed, then one for each function."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from gradcheck import __version__
from gradcheck.errors import UsageError
from gradcheck.phrases import os_reason
from gradcheck.results.json_types import json_text, plain_of, record_from
from gradcheck.results.report import RunReport

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.results.origin import Environment

#: What a result depends on.
_INSTALLED = ("python", "tensorflow", "keras", "numpy")


class SweepFile:
    """Appends the record of each function as soon as it is there, so that an interrupted sweep loses nothing."""

    def __init__(self, path: Path) -> None:
        """Open nothing yet."""
        self._path = path

    def begun(self, environment: Environment) -> dict[str, RunReport]:
        """Return the functions that are done, by reference; begin the file if there is none.

        A last line that was cut off is removed: its function is swept again.

        Raises:
            UsageError: GC010 if the file cannot be read or written, is none of a sweep, or is of other versions.
        """
        versions = asdict(environment)
        head = json_text({"gradcheck": __version__, **{name: versions[name] for name in _INSTALLED}}, None)
        try:
            text = self._path.read_text(encoding="utf-8") if self._path.exists() else ""
            whole = text[: text.rfind("\n") + 1]
            lines = whole.splitlines() or [head]
            if lines[0] != head:
                raise self._refused(
                    f"is of {lines[0]}, and this is {head}" if "gradcheck" in lines[0] else "is no sweep"
                )
            self._path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        except OSError as error:
            raise self._refused(f"cannot be used: {os_reason(error)}") from None
        runs = [record_from(RunReport, json.loads(line)) for line in lines[1:]]
        return {run.config: run for run in runs}

    def add(self, run: RunReport) -> None:
        """Add the record of a function that has been swept; one that ended in an error is tried again next time."""
        if run.error is None:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json_text(dict(plain_of(run)), None) + "\n")

    def _refused(self, why: str) -> UsageError:
        return UsageError(f"--resume {self._path}: {why}", code="GC010", help="name another file, or remove this one")
