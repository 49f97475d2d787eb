"""Mistakes within a step, injected into training over micro-batches and with a loss scale: each is caught and named."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gradcheck.config import load_config
from gradcheck.faults import FAULTS

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.results.mutation import FaultReport

CONFIG: dict[str, Any] = {
    "model": {
        "input": {"shape": [4]},
        "layers": [
            {"Dense": {"units": 5, "activation": "tanh", "name": "first"}},
            {"Dropout": {"rate": 0.4, "name": "dropped"}},
            {"Dense": {"units": 4, "activation": "tanh", "name": "second"}},
            {"Dense": {"units": 2, "name": "out"}},
        ],
    },
    "split": {"after": ["dropped", "second"]},
    "loss": "MeanSquaredError",
    "data": {"batch_size": 6},
    "train": {"steps": 2, "optimizer": {"Adam": {"learning_rate": 0.05}}},
}
SLICED = {"microbatches": 2}
SCALED = {
    "train": {"steps": 2, "optimizer": {"LossScaleOptimizer": {"inner_optimizer": "Adam", "initial_scale": 64.0}}}
}


@pytest.fixture(scope="module")
def mutated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from gradcheck.session.mutation import mutate

    folder: Path = tmp_path_factory.mktemp("mutated")

    @cache
    def faults(name: str) -> list[FaultReport]:
        changes = {"plain": {}, "sliced": SLICED, "scaled": SCALED}[name]
        path = folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump({**CONFIG, **changes}), encoding="utf-8")
        with pytest.MonkeyPatch.context() as patch:
            few = tuple(fault for fault in FAULTS if fault.code == "GC101")
            patch.setattr("gradcheck.diagnose.replaying.replays.FAULTS", few)
            patch.setattr("gradcheck.session.mutation.FAULTS", few)
            return list(mutate(load_config(path), 1200.0, lambda _: None).faults)

    return faults


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("plain", "GC305", "cotangent at boundary 1 → 2 was computed with weights that were already updated, with one"),
        (
            "plain",
            "GC305",
            "boundary 0 → 1 was computed with weights that were already updated, each with an optimizer",
        ),
        ("plain", "GC305", "cotangent at every boundary was computed"),
        ("sliced", "GC310", "all segments were updated after every micro-batch, with its own mean gradient"),
        ("sliced", "GC310", "all segments were updated after every micro-batch, with its share of the gradient"),
        ("sliced", "GC310", "segment_2 alone was updated after every micro-batch"),
        ("sliced", "GC310", "by cotangents that were computed with its new weights"),
        ("sliced", "GC305", "was computed with weights that were already updated"),
        pytest.param(
            "scaled",
            "GC503",
            "the gradients of segment_1 alone were divided by the loss scale before",
            marks=pytest.mark.on_request,
        ),
        pytest.param(
            "scaled",
            "GC503",
            "the gradients of all segments but segment_0 were multiplied by the loss scale once more",
            marks=pytest.mark.on_request,
        ),
        pytest.param(
            "scaled",
            "GC503",
            "the gradients of segment_2 alone, still scaled, were given to the inner optimizer",
            marks=pytest.mark.on_request,
        ),
    ],
)
def test_each_mistake_is_caught_and_named(mutated: Any, name: str, code: str, words: str) -> None:
    found = [fault for fault in mutated(name) if fault.code == code and words in fault.effect]
    assert found
    for fault in found:
        assert (fault.status, fault.named, fault.reason) == ("caught", True, ""), fault


def test_without_micro_batches_there_is_no_update_after_each(mutated: Any) -> None:
    (row,) = (fault for fault in mutated("plain") if fault.code == "GC310")
    assert row.status == "not-applicable"
