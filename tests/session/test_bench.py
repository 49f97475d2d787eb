"""What a method costs: each that applies is measured beside the reference, and every other says why it is not."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import tensorflow as tf

from gradcheck.config.load import load_given
from gradcheck.config.sections.methods import METHODS as KNOWN
from gradcheck.errors import RunError
from gradcheck.methods import METHODS
from gradcheck.session import bench as module
from gradcheck.session.bench import bench
from gradcheck.workers.task import silent

if TYPE_CHECKING:
    from gradcheck.results.bench import BenchedConfig, MethodCost

CONFIG: dict[str, Any] = {
    "model": {
        "input": {"shape": [64]},
        "layers": [{"Dense": {"units": 64, "activation": "tanh", "name": "first"}}, {"Dense": {"units": 2}}],
    },
    "split": {"after": ["first"]},
}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PEAKS", 1)


def benched(rounds: int = 1, *, alone: bool = False, **config: Any) -> BenchedConfig:
    return bench(load_given({**CONFIG, **config}, {}), rounds, alone, silent)


def by_name(run: BenchedConfig) -> dict[str, MethodCost]:
    return {cost.method: cost for cost in run.methods}


def test_every_method_is_measured_or_says_why_not(monkeypatch: pytest.MonkeyPatch) -> None:
    for slow in ("forward", "numeric", "hvp"):
        monkeypatch.setitem(METHODS, slow, METHODS["vjp"])
    run = benched()
    found = by_name(run)
    assert found.keys() == KNOWN.keys() - {"candidate"}
    measured = [name for name, cost in found.items() if cost.status == "measured" and name not in ("jax", "torch")]
    assert measured == ["vjp", "jacobian", "naive", "recompute", "graph", "graph_scalar", "forward", "numeric", "hvp"]
    for name in measured:
        cost = found[name]
        assert (cost.against, cost.rounds) == ("tape", 1)
        assert cost.time_ratio is not None
        assert cost.time_ratio > 0
        assert cost.time_ratio_range == (cost.time_ratio, cost.time_ratio)
        assert cost.peak_bytes is not None
    assert all(cost.reason for cost in found.values() if cost.status == "not-applicable")
    assert "needs a time split" in found["scan"].reason
    assert "--set train.steps=3" in found["fit"].reason
    (reference,) = run.references
    assert (reference.method, reference.against, reference.rounds) == (
        "tape",
        "",
        len(measured) + (found["jax"].status == "measured") + (found["torch"].status == "measured"),
    )
    assert (run.verdict, run.exit_code, run.parameters) == ("pass", 0, 64 * 64 + 64 + 64 * 2 + 2)


def test_an_engine_is_asked_in_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer, which is kept for the diagnosis, is not what is timed; what its process takes is not known here."""
    asked = []

    def answered(engine: str, problem: Any, options: Any) -> Any:
        asked.append(engine)
        return METHODS["vjp"](problem, options)

    monkeypatch.setattr("gradcheck.methods.by_engine.asked_model.require", lambda _: None)
    monkeypatch.setattr("gradcheck.methods.by_engine.asked_model._answered", answered)
    (cost,) = benched(3, alone=True, methods=["torch"]).methods
    assert (cost.status, cost.rounds, cost.peak_bytes, cost.memory_ratio) == ("measured", 3, None, None)
    assert asked == ["torch"] * 4


def test_a_slow_method_and_one_that_takes_memory_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = METHODS["vjp"]

    def wasteful(problem: Any, options: Any) -> Any:
        held = tf.zeros((2**22,))
        time.sleep(0.2)
        return held is not None and right(problem, options)

    monkeypatch.setitem(METHODS, "naive", wasteful)
    found = by_name(benched(3, alone=True, methods=["vjp", "naive"]))
    slow, quick = found["naive"], found["vjp"]
    assert slow.seconds is not None
    assert quick.peak_bytes is not None
    assert slow.peak_bytes is not None
    assert slow.seconds >= 0.2
    assert slow.time_ratio_range[0] > 1
    assert slow.rounds == 3
    # Once, not twice: the resident memory of the process moves by a few MiB of its own.
    assert 15 * 2**20 <= slow.peak_bytes - quick.peak_bytes < 28 * 2**20


def test_what_a_method_compiles_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []
    right = module.execute.compiled

    def noting(function: Any, execution: str) -> Any:
        return right(lambda tensors: (traced.append(execution), function(tensors))[1], execution)

    monkeypatch.setattr(module.execute, "compiled", noting)
    run = benched(3, alone=True, execution="graph")
    assert by_name(run)["vjp"].rounds == 3
    assert traced == ["graph", "graph"]  # the reference, and the method


def test_ways_of_training_are_beside_the_plain_loop() -> None:
    run = benched(1, alone=True, methods=["accumulate", "vjp"], train={"steps": 2}, data={"batch_size": 4})
    found = by_name(run)
    assert {name: cost.against for name, cost in found.items()} == {"accumulate": "plain loop", "vjp": "tape"}
    assert {cost.method for cost in run.references} == {"plain loop", "tape"}
    assert found["accumulate"].time_ratio is not None


def test_a_method_of_the_config_that_raises_is_an_error_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise RunError("no")

    monkeypatch.setitem(METHODS, "naive", refuse)
    run = benched(alone=True, methods=["naive", "vjp"])
    assert [(cost.method, cost.status, cost.reason) for cost in run.methods] == [
        ("naive", "error", "no"),
        ("vjp", "measured", ""),
    ]
    assert (run.verdict, run.exit_code) == ("error", 3)
    monkeypatch.setitem(METHODS, "graph", refuse)
    assert by_name(benched(methods=["vjp"], microbatches=2))["jacobian"].reason == "it does not run in micro-batches"


def test_no_further_round_begins_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 0.0)
    assert by_name(benched(5, alone=True))["vjp"].rounds == 1
