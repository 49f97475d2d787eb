"""`gradcheck.audit`: the updates in a `with` block."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from gradcheck.auditing.interface import AuditOptions
from gradcheck.building.messages import described, raised, user_location
from gradcheck.session.configs import envelope
from gradcheck.workers.task import silent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

    from gradcheck.auditing.watch import Watch
    from gradcheck.results.report import Report


class Audit:
    """Watches the updates between entering and leaving it; afterwards `report` is there."""

    def __init__(self, options: AuditOptions, file: str) -> None:
        self._options, self._file = options, file
        self._watch: Watch | None = None
        self._report: Report | None = None

    @property
    def report(self) -> Report:
        """The report.

        Raises:
            RuntimeError: before the end of the `with` block.
        """
        if self._report is None:
            raise RuntimeError("there is a report after the `with` block of gradcheck.audit(), not before")
        return self._report

    def __enter__(self) -> Self:
        from gradcheck.auditing.watch import Watch  # noqa: PLC0415 - TensorFlow starts here

        self._start = time.perf_counter()
        self._watch = Watch(self._options, end=silent, tell=silent).__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        watch, seconds = self._watch, time.perf_counter() - self._start
        if watch is None:
            return
        watch.__exit__(kind, error, trace)
        if error is not None and not isinstance(error, Exception):
            return
        failure = None
        if error is not None:
            failure = raised(f"the block raised {described(error)}", error, "GC053", location=user_location(error))
        self._report = envelope([watch.report(name="audit", file=self._file, seconds=seconds, error=failure)])


def audit(
    *,
    steps: int | None = None,
    skip: int = 0,
    ignore: Sequence[str] = (),
    allow: Sequence[str] = (),
    rtol: float | None = None,
    atol: float | None = None,
) -> Audit:
    """Check each gradient that reaches a variable in a `with` block: training code as it stands.

        with gradcheck.audit() as audit:
            step(x, y)
        audit.report.raise_for_mismatch()

    Nothing is ended, and exceptions are raised as they are: the report then has the verdict `error`.

    Args:
        steps: the number of updates to watch; None for all in the block.
        skip: the number of updates before these, which are not judged.
        ignore: patterns (as of `fnmatch`) over the paths of variables that are not judged.
        allow: codes that are accepted, such as `GC304` for a truncated sequence.
        rtol: the relative tolerance; None for the default of the dtype.
        atol: the absolute tolerance; None for the default of the dtype.
    """
    options = AuditOptions(steps=steps, skip=skip, ignore=tuple(ignore), allow=tuple(allow), rtol=rtol, atol=atol)
    return Audit(options, sys._getframe(1).f_code.co_filename)  # noqa: SLF001 - the file of the block
