"""Records of watched processes: a stand-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gradcheck.auditing.watch import Watch
    from gradcheck.results.report import RunReport


def write(path: Path, watch: Watch) -> None:
    """Write what was seen to a file."""
    raise UsageError(f"no records yet. Received: {path}, {watch}", code="GC010")


def join(paths: Sequence[Path]) -> RunReport:
    """Return the report of several processes."""
    raise UsageError(f"no records yet. Received: {paths}", code="GC010")
