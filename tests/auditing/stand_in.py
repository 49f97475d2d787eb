"""`gradcheck` with an observation that counts the calls of `update()`, and without TensorFlow.

As a program: `python stand_in.py audit SCRIPT`. A script has `from gradcheck.auditing.watch import update`.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from gradcheck.auditing.records.record import Record
from gradcheck.results.report import CheckReport, Coverage, RunReport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.errors import GradcheckError


class CountingWatch:
    """What `gradcheck.auditing.watch.Watch` is to those who run a script."""

    latest: CountingWatch

    def __init__(self, options: AuditOptions, *, end: Callable[[], None], tell: Callable[[str], None]) -> None:
        self.options, self.end, self.tell = options, end, tell
        self.updates = 0
        self.entered: list[str] = []
        self.crossings = SimpleNamespace(wanted=options.record, record=self.record)
        CountingWatch.latest = self

    def __enter__(self) -> Self:
        self.entered.append("in")
        return self

    def __exit__(self, *_: object) -> None:
        self.entered.append("out")

    def record(self, name: str, run: RunReport, children: Iterable[str] = ()) -> Record:
        return Record(name=name, run=run, children=tuple(children))

    def stop(self) -> None:
        self.entered.append("out")

    def update(self) -> None:
        """One step: the end is asked for at the beginning of the one after the last."""
        if self.updates == self.options.steps:
            self.end()
            return
        self.updates += 1
        self.tell(f"update {self.updates} of {self.options.steps}")

    def report(self, *, name: str, file: str, seconds: float, error: GradcheckError | None = None) -> RunReport:
        assert self.entered == ["in", "out"]
        verdict, code = ("pass", 0) if self.updates else ("vacuous", 4)
        if error:
            verdict, code = "error", int(error.exit_code)
        check = CheckReport(
            method="audit",
            expect="match",
            outcome="match",
            as_expected=True,
            loss=0.0,
            loss_abs_error=0.0,
            max_abs_error=0.0,
            max_rel_error=0.0,
            seconds=seconds,
            steps=self.updates,
        )
        return RunReport(
            name=name,
            config=file,
            seed=0,
            precision="float32",
            execution="eager",
            verdict=verdict,  # type: ignore[arg-type]
            error=error.mistakes[0] if error else None,
            errors=error.mistakes if error else (),
            exit_code=code,
            coverage=Coverage(trainable=1, compared=self.updates, absent=0, dead=0),
            checks=(check,),
        )


def update() -> None:
    CountingWatch.latest.update()


def modules(**more: Any) -> dict[str, Any]:
    """The modules that are replaced, by name; TensorFlow is there, so that the observation begins at once."""
    watch = ModuleType("gradcheck.auditing.watch")
    vars(watch).update(Watch=CountingWatch, CountingWatch=CountingWatch, update=update)
    tensorflow = SimpleNamespace(config=SimpleNamespace(list_physical_devices=lambda _: []))
    return {"gradcheck.auditing.watch": watch, "tensorflow": tensorflow, **more}


if __name__ == "__main__":
    from gradcheck.__main__ import run

    replaced = modules()
    if "--import-tensorflow" in sys.argv:
        sys.argv.remove("--import-tensorflow")
        del replaced["tensorflow"]
    sys.modules.update(replaced)
    run()
