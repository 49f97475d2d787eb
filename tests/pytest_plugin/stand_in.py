"""A runner in place of the worker process: a config's description says what each of its checks comes to.

It needs no TensorFlow, and appends each run to the file that the variable LOG names: the config, its checks, its
tolerance.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from gradcheck.errors import Mistake, RunError
from gradcheck.results.report import CheckReport, Coverage, RunReport, Unproven
from tests.records import check, row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

    from gradcheck.config.load import LoadedConfig
    from gradcheck.session.configs import CheckOptions
    from gradcheck.workers import Task

LOG = "GRADCHECK_TEST_LOG"


class StandIn:
    """Does what `workers()` does."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, tasks: list[Task]) -> Iterator[Any]:
        for task in tasks:
            loaded, options = task.arguments
            said = yaml.safe_load(loaded.config.description or "{}")
            yield RunError("the worker is gone", code="GC060") if "died" in said else (made_up(loaded, options), None)


def made_up(loaded: LoadedConfig, options: CheckOptions) -> RunReport:
    """The run that the description asks for: outcomes by label; `error`, `reference`, `unproven` for the whole."""
    config, said = loaded.config, yaml.safe_load(loaded.config.description or "{}")
    methods = [method for written in config.methods for method in written.at_points]
    asked = [method for method in methods if options.only is None or method.label in options.only]
    checks = [_check(method.label, method.expect, said.get(method.label, "match")) for method in asked]
    applied = [one for one in checks if one is not None]
    if said.get("reference"):
        applied.insert(0, check(row("w", "mismatch"), method="reference", outcome="mismatch", as_expected=False))
    if os.environ.get(LOG):
        tolerance = config.tolerance.model_dump(exclude_unset=True)
        line = {"config": loaded.path.name, "checks": [method.label for method in asked], "tolerance": tolerance}
        with Path(os.environ[LOG]).open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
    error = Mistake(code="GC053", message="the factory raised", file=str(loaded.path), line=2, help="mend it")
    proven = [one for one in applied if one.outcome in ("match", "mismatch") and one.max_abs_error >= 0]
    failed = any(not one.as_expected for one in applied) or "unproven" in said
    return RunReport(
        name=loaded.name,
        config=str(loaded.path),
        seed=0,
        precision="float32",
        execution="eager",
        verdict="error" if "error" in said else "fail" if failed else "pass" if proven else "vacuous",
        errors=(error,) if "error" in said else (),
        coverage=Coverage(trainable=1, compared=1, absent=0, dead=0),
        checks=() if "error" in said else tuple(applied),
        unproven=(Unproven(path="w", status="dead"),) if "unproven" in said else (),
        warnings=tuple(said.get("warnings", ())),
        notes=tuple(f"{m.label} does not apply: it cannot" for m, c in zip(asked, checks, strict=True) if c is None),
    )


def _check(label: str, expect: Any, outcome: str) -> CheckReport | None:
    if outcome == "not applicable":
        return None
    if outcome == "raises":
        mistake = Mistake(code="GC054", message="the candidate raised", file="train.py", line=3)
        return check(method=label, outcome="error", expect=expect, as_expected=False, error=mistake)
    status = {"match": "exact", "mismatch": "mismatch", "inconclusive": "inconclusive", "dead": "dead"}[outcome]
    found = "match" if outcome == "dead" else outcome
    return check(
        row("w", status),
        method=label,
        outcome=found,
        expect=expect,
        as_expected=found in (expect, "inconclusive"),
        max_abs_error=math.nan if outcome == "dead" else 0.0,
    )
