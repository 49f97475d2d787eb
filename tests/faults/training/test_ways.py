"""Mistakes of ways of training: injected where a config has the way, and named; elsewhere it is said why not."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gradcheck.config import load_config
from gradcheck.faults import FAULTS
from tests.training.trained import DECAY

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.results.mutation import FaultReport, MutationReport

#: Something for every mistake: seeds, averages and a schedule, a constraint, clipping, a loss that returns a scalar.
LOSS = """
    import tensorflow as tf

    def scalar():
        return lambda y, output: tf.reduce_mean(tf.square(y - output))
"""
CONFIG: dict[str, Any] = {
    "model": {
        "input": {"shape": [4]},
        "layers": [
            {
                "Dense": {
                    "units": 5,
                    "name": "first",
                    "kernel_constraint": {"MinMaxNorm": {"min_value": 1.5, "max_value": 2.0, "rate": 0.3}},
                }
            },
            {"Dropout": {"rate": 0.4, "name": "dropped"}},
            {"Dense": {"units": 1, "name": "out"}},
        ],
    },
    "split": {"after": ["first"]},
    "loss": {"factory": "./loss.py:scalar"},
    "data": {"batch_size": 6},
    "train": {
        "steps": 3,
        "optimizer": {
            "Adam": {"learning_rate": DECAY, "use_ema": True, "ema_momentum": 0.8, "global_clipnorm": 0.1},
        },
    },
    "methods": "all",
}
#: A loss scale that the optimizer divides by; the replicas' own norms differ.
SCALED = {
    "steps": 2,
    "optimizer": {"LossScaleOptimizer": {"inner_optimizer": {"SGD": {"clipnorm": 0.1}}, "initial_scale": 64.0}},
}


@pytest.fixture(scope="module")
def mutated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Injects every fault of training into a config, and one of gradients; each config once."""
    from gradcheck.session.mutation import mutate

    known: dict[str, MutationReport] = {}
    folder: Path = tmp_path_factory.mktemp("mutated")
    (folder / "loss.py").write_text(dedent(LOSS), encoding="utf-8")

    def report(**changes: Any) -> MutationReport:
        text = yaml.safe_dump({**CONFIG, **changes})
        if text not in known:
            path = folder / f"config_{len(known)}.yaml"
            path.write_text(text, encoding="utf-8")
            with pytest.MonkeyPatch.context() as patch:
                few = tuple(fault for fault in FAULTS if fault.code in ("GC101", "GC503"))
                patch.setattr("gradcheck.diagnose.replaying.replays.FAULTS", few)
                known[text] = mutate(load_config(path), 600.0, lambda _: None)
        return known[text]

    return report


def of(report: MutationReport, code: str) -> list[FaultReport]:
    return [fault for fault in report.faults if fault.code == code]


@pytest.mark.parametrize(
    ("code", "effects"),
    [
        ("GC207", ["nobody divided the sum by the number of replicas"]),
        (
            "GC309",
            [
                "schedule counted micro-batches",
                "averages of the weights moved on",
                "constraints of weights were",
                "schedule, averages and constraints",
            ],
        ),
        ("GC307", ["the states of random seeds started anew"]),
        ("GC308", ["slots and counters started anew", "moving averages of the weights started anew"]),
        ("GC405", ["each segment were clipped", "each replica clipped", "each replica clipped"]),
    ],
)
def test_each_mistake_is_caught_and_named(mutated: Any, code: str, effects: list[str]) -> None:
    found = of(mutated(), code)
    assert len(found) == len(effects)
    for fault, effect in zip(found, effects, strict=True):
        assert effect in fault.effect
        assert (fault.status, fault.place, fault.reason) == ("caught", "the training loop", "")
        assert (fault.named, fault.margin > 1) == (True, True), fault


def test_a_loss_scale_that_is_left_out(mutated: Any) -> None:
    report = mutated(train=SCALED, methods=["vjp", "replicas"])
    left_out, kept = of(report, "GC503")[-2:]
    assert "the loss was not multiplied by it" in left_out.effect
    assert "nobody divided them by the scale" in kept.effect
    for fault in (left_out, kept, *of(report, "GC405")):
        assert (fault.status, fault.named, fault.reason) == ("caught", True, "")


def test_where_no_method_is_the_way_it_is_said(mutated: Any) -> None:
    report = mutated(train=SCALED, methods=["vjp", "replicas"])
    reasons = {fault.code: fault.reason for fault in report.faults if fault.status == "not-applicable"}
    assert reasons["GC307"] == reasons["GC308"] == "`resume` is none of the methods"
    assert reasons["GC309"] == "`accumulate` is none of the methods"
