"""What the fixture `gradcheck` offers: the checks of live objects, which fail the test with the report."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradcheck
from gradcheck.auditing.block import Audit
from gradcheck.auditing.interface import AuditOptions
from gradcheck.config.load import load_given
from gradcheck.errors import GradcheckError
from gradcheck.pytest_plugin.tolerances import Tolerances
from gradcheck.reporters.parts.errors import error_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from gradcheck.config.schema import Config
    from gradcheck.results.report import Report


@dataclass(frozen=True)
class LiveChecks:
    """The calls of `gradcheck` by their own names.

    Each returns its report, or raises AssertionError with it. The tolerances of the test's markers, of the ini file and
    of the command line hold for all that have tolerances: all but `check_function`, whose differences bring their own.
    """

    tolerances: Tolerances

    def check(self, config: Config | Mapping[str, Any] | str | Path, **overrides: Any) -> Report:
        """Run a config, as `gradcheck.check` does."""
        __tracebackhide__ = True
        return _raising(self._check, config, **overrides)

    def check_function(self, fn: Any, *inputs: Any, **options: Any) -> Report:
        """Check a function, a layer or a model, as `gradcheck.check_function` does."""
        __tracebackhide__ = True
        return _raising(gradcheck.check_function, fn, *inputs, **options)

    def check_model(self, *args: Any, **options: Any) -> Report:
        """Cut a model and check its parts, as `gradcheck.check_model` does."""
        __tracebackhide__ = True
        return self._passed(gradcheck.check_model, args, options)

    def check_parts(self, *args: Any, **options: Any) -> Report:
        """Check a chain of models, as `gradcheck.check_parts` does."""
        __tracebackhide__ = True
        return self._passed(gradcheck.check_parts, args, options)

    def check_step(self, *args: Any, **options: Any) -> Report:
        """Check a training step, as `gradcheck.check_step` does."""
        __tracebackhide__ = True
        return self._passed(gradcheck.check_step, args, options)

    def check_training(self, *args: Any, **options: Any) -> Report:
        """Check ways of training, as `gradcheck.check_training` does."""
        __tracebackhide__ = True
        return self._passed(gradcheck.check_training, args, options)

    def audit(
        self,
        *,
        steps: int | None = None,
        skip: int = 0,
        ignore: Sequence[str] = (),
        allow: Sequence[str] = (),
        rtol: float | None = None,
        atol: float | None = None,
    ) -> RaisingAudit:
        """Watch the updates in a `with` block, as `gradcheck.audit` does, and fail at its end."""
        own = {name: value for name, value in (("rtol", rtol), ("atol", atol)) if value is not None}
        bounds = {name: None if value == "auto" else value for name, value in self.tolerances.around(own).items()}
        options = AuditOptions(
            steps=steps,
            skip=skip,
            ignore=tuple(ignore),
            allow=tuple(allow),
            rtol=bounds.get("rtol"),
            atol=bounds.get("atol"),
        )
        return RaisingAudit(options, sys._getframe(1).f_code.co_filename)  # noqa: SLF001 - the file of the block

    def _check(self, config: Config | Mapping[str, Any] | str | Path, **overrides: Any) -> Report:
        if self.tolerances != Tolerances():
            own = load_given(config, overrides).config.tolerance.model_dump(exclude_unset=True)
            overrides["tolerance"] = self.tolerances.around(own)
        return gradcheck.check(config, **overrides)

    def _passed(self, call: Callable[..., Report], args: tuple[Any, ...], options: dict[str, Any]) -> Report:
        """Call with the tolerances that hold, for a call that takes them as `tolerance=`."""
        __tracebackhide__ = True
        tolerance = self.tolerances.around(options.pop("tolerance", None) or {})
        return _raising(call, *args, **options, tolerance=tolerance)


class RaisingAudit(Audit):
    """An audit that raises AssertionError at the end of its block, unless the block itself has raised."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        __tracebackhide__ = True
        super().__exit__(kind, error, trace)
        if error is None:
            self.report.raise_for_mismatch()


def _raising(call: Callable[..., Report], *args: Any, **options: Any) -> Report:
    """Return the report of a call that passes.

    Raises:
        AssertionError: with the report, for one that does not.
        GradcheckError: as the call does, without the frames of gradcheck, and with the places and what to do.
    """
    __tracebackhide__ = True
    try:
        report = call(*args, **options)
    except GradcheckError as error:
        if sys.version_info >= (3, 11):
            error.add_note("\n".join(line for mistake in error.mistakes for line in error_lines(mistake)))
        raise error.with_traceback(None) from None
    report.raise_for_mismatch()
    return report
