"""A few random DAGs: split equals whole, and a fault in the split is caught. `python -m tests.soak` draws more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.generated import faults, graphs, runs
from tests.generated.driving import Tally, drive

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.generated.driving import Kind


@pytest.mark.filterwarnings("ignore:.*does not support masking")
@pytest.mark.parametrize(("kind", "share"), [(graphs.GRAPHS, 2), (faults.FAULTS, 6)], ids=["runs", "faults"])
def test_random_models(tmp_path: Path, pytestconfig: pytest.Config, kind: Kind, share: int) -> None:
    tally, examples = Tally(kind=kind), pytestconfig.getoption("--generated") // share
    drive(tally, examples=examples, start=0, folder=tmp_path)
    assert not tally.failures, tally.told()
    refused = sum(count for outcome, count in tally.counts.items() if outcome.startswith("refused"))
    assert tally.counts["pass"] + tally.counts["caught"] >= examples // 2
    assert refused <= examples // 10


@pytest.mark.filterwarnings("ignore:.*does not support masking")
def test_a_config_with_something_wrong_ends_in_a_verdict_or_a_message(tmp_path: Path) -> None:
    tally = Tally(kind=runs.RUNS)
    drive(tally, examples=40, start=1, folder=tmp_path)
    assert not tally.failures, tally.told()
    assert tally.counts["invalid"] < 40


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes a small config."""

    def write(**more: Any) -> Path:
        model = {"input": {"shape": [3]}, "layers": [{"Dense": {"units": 2, "name": "a"}}, {"Dense": 1}]}
        path = tmp_path / "config.yaml"
        path.write_text(yaml.safe_dump({"model": model, "split": {"after": ["a"]}, **more}), encoding="utf-8")
        return path

    return write


def test_a_wrong_split_would_be_seen(written: Callable[..., Path]) -> None:
    judged = graphs.judge(written(methods=["naive"]))
    assert judged.failure == "fail: naive input mismatch, naive weight mismatch"


def test_a_missed_fault_would_be_seen(written: Callable[..., Path]) -> None:
    judged = faults.judge(written(tolerance={"rtol": 1e9}))
    assert judged.failure is not None
    assert judged.failure.endswith("missed")
