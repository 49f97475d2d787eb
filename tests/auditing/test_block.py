from __future__ import annotations

import sys

import pytest

import gradcheck
from gradcheck.auditing.interface import AuditOptions
from tests.auditing.stand_in import CountingWatch, modules, update


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)


def test_all_updates_in_the_block_are_watched() -> None:
    with gradcheck.audit(ignore=["*/bias"], rtol=1e-3) as audit:
        for _ in range(5):
            update()
    assert CountingWatch.latest.options == AuditOptions(steps=None, ignore=("*/bias",), rtol=1e-3)
    assert audit.report
    (run,) = audit.report.runs
    assert (run.checks[0].steps, run.config) == (5, __file__)


def test_nothing_is_ended() -> None:
    with gradcheck.audit(steps=2) as audit:
        for _ in range(5):
            update()
        ended = False
    assert not ended
    assert audit.report.runs[0].checks[0].steps == 2


def test_exceptions_pass_and_are_in_the_report() -> None:
    with pytest.raises(ValueError, match="no number") as raised, gradcheck.audit() as audit:
        update()
        int("no number")
    assert raised.value.__cause__ is None
    (run,) = audit.report.runs
    assert (run.verdict, run.exit_code) == ("error", 3)
    assert run.error is not None
    assert run.error.message.startswith("the block raised ValueError: invalid literal for int()")
    assert run.error.file == __file__
    assert not audit.report


def test_there_is_no_report_inside() -> None:
    with gradcheck.audit() as audit, pytest.raises(RuntimeError, match="after the `with` block"):
        _ = audit.report
