"""What a test of the zoo records."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from tests.zoo.table import PROPERTY, Row

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport
    from tests.zoo.table import Group


@pytest.fixture
def changes(request: pytest.FixtureRequest) -> dict[str, str]:
    """What `--zoo-set` asks for in every config."""
    return dict(change.split("=", 1) for change in request.config.getoption("--zoo-set"))


@pytest.fixture
def run(run: Callable[..., RunReport], changes: dict[str, str]) -> Callable[..., RunReport]:
    """The `run` of the other tests, with those changes. What TensorFlow cannot do so is skipped."""

    def check_one(*args: Any, **overrides: Any) -> RunReport:
        report = run(*args, **changes, **overrides)
        errors = [e for e in (report.error, *(check.error for check in report.checks)) if e is not None]
        if changes and errors:
            pytest.skip(f"{errors[0].code}: {errors[0].message}")
        return report

    return check_one


@pytest.fixture
def zoo(record_property: Callable[[str, object], None]) -> Callable[[Group, str, RunReport], None]:
    """Records a run as a row of the zoo's table, then holds it to a pass."""

    def add(group: Group, name: str, report: RunReport) -> None:
        record_property(PROPERTY, asdict(Row.of(group, name, report)))
        failing = [(t.kind, t.path, t.status, t.max_rel_error) for check in report.checks for t in check.failures]
        assert report.verdict == "pass", f"{group} {name}: {report.error or failing}"

    return add
