"""`validate` says what is wrong with any config, and never fails itself. `python -m tests.soak` draws more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.generated.configs import VALIDATE, judge
from tests.generated.driving import Tally, drive

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_no_config_makes_it_fail(tmp_path: Path) -> None:
    tally = Tally(kind=VALIDATE)
    drive(tally, examples=300, start=0, folder=tmp_path)
    assert not tally.failures, tally.told()
    assert tally.counts["valid"] >= 50
    assert len(tally.counts) >= 6, "mistakes of many kinds"


def test_an_exception_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("planted")

    path = tmp_path / "config.yaml"
    path.write_text("model: {}\n", encoding="utf-8")
    assert judge(path).failure is None
    monkeypatch.setattr("gradcheck.config.load.contradictions", broken)
    assert judge(path).failure == "validate ended with 3: KeyError"
