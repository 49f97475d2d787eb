"""Options of an audit, and what a script's run and its observation share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class AuditOptions:
    """What is watched and judged.

    Attributes:
        steps: the number of updates to watch; None to the end of the script.
        skip: the number of updates before these, which are not judged.
        ignore: patterns (as of `fnmatch`) over the paths of variables that are not judged.
        allow: codes of the catalogue that are accepted where they are found.
        rtol: the relative tolerance; None for the default of the dtype.
        atol: the absolute tolerance; None for the default of the dtype.
        record: whether what is seen will be joined with what other processes have seen.
    """

    steps: int | None = 2
    skip: int = 0
    ignore: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    rtol: float | None = None
    atol: float | None = None
    record: bool = False
