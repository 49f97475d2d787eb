"""The observation of training code: a stand-in, which sees nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.errors import ExitCode
from gradcheck.results.report import RunReport

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.errors import GradcheckError


class Watch:
    """Watches updates between entering and leaving."""

    def __init__(self, options: AuditOptions, *, end: Callable[[], None], tell: Callable[[str], None]) -> None:
        self.options, self.end, self.tell = options, end, tell

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        """Watch no longer."""

    @property
    def updates(self) -> int:
        """The number of updates seen."""
        return 0

    def report(self, *, name: str, file: str, seconds: float, error: GradcheckError | None = None) -> RunReport:  # noqa: ARG002
        """Return the report."""
        return RunReport(
            name=name,
            config=file,
            seed=0,
            precision="float32",
            execution="eager",
            verdict="error" if error else "vacuous",
            error=error.mistakes[0] if error else None,
            errors=error.mistakes if error else (),
            exit_code=int(error.exit_code if error else ExitCode.VACUOUS),
        )
