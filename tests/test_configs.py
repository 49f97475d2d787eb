"""The shipped configs pass, together in one process, as `gradcheck run configs/` runs them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradcheck.config import discover, load_config
from gradcheck.session.configs import CheckOptions, check, check_one, envelope

if TYPE_CHECKING:
    from gradcheck.results.report import RunReport

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
FILES = sorted(CONFIGS.glob("*.yaml"))


@pytest.fixture(scope="module")
def runs() -> dict[str, RunReport]:
    """Every config's run by file name; one must not change what the next one finds."""
    report = envelope(check_one(load_config(path, require_split=True), CheckOptions()) for path in discover([CONFIGS]))
    return {Path(run.config).name: run for run in report.runs}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_config_passes(runs: dict[str, RunReport], path: Path) -> None:
    run = runs[path.name]
    assert (run.verdict, run.exit_code) == ("pass", 0), run.error
    assert run.coverage.compared == run.coverage.trainable > 0
    assert run.coverage.dead == 0
    assert run.warnings == ()


@pytest.mark.parametrize(
    ("name", "methods"),
    [
        ("custom_gradient.yaml", ["vjp", "numeric", "forward"]),
        ("numpy_matmul.yaml", ["vjp", "numeric"]),
        ("second_order.yaml", ["numeric", "forward", "hvp"]),
        ("ways.yaml", ["accumulate", "replicas", "resume", "remat", "compiled", "fit"]),
    ],
)
def test_every_method_of_a_config_matches(runs: dict[str, RunReport], name: str, methods: list[str]) -> None:
    assert [(check.method, check.outcome) for check in runs[name].checks] == [(method, "match") for method in methods]


def test_no_config_is_left_out(runs: dict[str, RunReport]) -> None:
    assert set(runs) == {path.name for path in FILES}


@pytest.mark.parametrize("name", ["two_dense.yaml", "residual_dag.yaml"])
def test_a_config_alone_gives_the_same_figures(runs: dict[str, RunReport], name: str) -> None:
    (alone,) = check(CONFIGS / name).runs
    together = runs[name]
    assert alone.reference is not None
    assert together.reference is not None
    assert alone.reference.loss == together.reference.loss
    assert alone.reference.gradient_norm == together.reference.gradient_norm
    assert [c.tensors for c in alone.checks] == [c.tensors for c in together.checks]


@pytest.mark.slow
def test_resnet50_cut_after_every_call() -> None:
    (run,) = check(CONFIGS / "resnet50.yaml", split={"every": "layer"}).runs
    assert run.verdict == "pass", run.error or run.checks[0].failures
    assert (run.coverage.trainable, run.coverage.compared, run.coverage.absent) == (214, 214, 0)
    assert len(run.segments) == 176  # all layers but the input
