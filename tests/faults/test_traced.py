"""Replays whose deep segments are traced give what eager ones give, and say None where these do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck.building import draws
from gradcheck.comparing.keys import as_array
from gradcheck.cutting.segment import SegmentFunction
from gradcheck.diagnose.replaying.replays import suspected_in
from gradcheck.faults import traced
from gradcheck.faults.traced import TracedReplays

#: `b` crosses both cuts, and is taken inside its own segment; `g` alone leads to the second output.
SKIPPED = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 4, activation: tanh, name: a}
        - BatchNormalization: {name: b}
        - Dense: {units: 4, activation: tanh, name: c}
        - Dense: {units: 4, activation: relu, name: d}
        - Add: {name: e, inputs: [d, b]}
        - Dropout: {rate: 0.3, name: f, inputs: [e]}
        - Dense: {units: 3, name: g, inputs: [b]}
        - Add: {name: h, inputs: [f, b]}
        - Dense: {units: 2, name: i}
      outputs: [i, g]
    split: {after: [c, e]}
    loss: MeanSquaredError
    data: {batch_size: 4}
    precision: float64
"""
PENALISED = SKIPPED.replace("units: 2", "units: 2, kernel_regularizer: l2")


@pytest.fixture(autouse=True)
def _shallow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traced, "DEEP", 1)
    monkeypatch.setattr(draws._Noted, "generators", False)


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the segments that were traced."""
    found: list[str] = []
    original = SegmentFunction.__init__

    def made(self: SegmentFunction, segment: Any, outputs: Any) -> None:
        found.append(segment.name)
        original(self, segment, outputs)

    monkeypatch.setattr(SegmentFunction, "__init__", made)
    return found


def beside(one: Any) -> TracedReplays:
    """Traced replays that agree where their gradients are those of the eager split."""
    expected = one.replays.right.tensors

    def agrees(found: Any) -> bool:
        pairs = [(as_array(found.right.tensors[key]), as_array(tensor)) for key, tensor in expected.items()]
        return all(there is None if here is None else np.allclose(here, there, rtol=1e-4) for here, there in pairs)

    return TracedReplays(one.problem, agrees)


@pytest.mark.parametrize(("config", "count"), [(SKIPPED, 3), (PENALISED, 2)], ids=["all", "without-penalties"])
def test_every_fault_gives_what_it_gives_eagerly(study: Any, functions: list[str], config: str, count: int) -> None:
    one = study(config)
    replays = beside(one)
    assert replays._traced is not None
    assert len(functions) == count
    injections = suspected_in(one.problem, own_slices=False)
    assert len(injections) > 200
    for injection in injections[::6]:
        found, expected = replays.gradients(injection), one.replays.gradients(injection)
        assert found.tensors.keys() == expected.tensors.keys()
        for key, tensor in expected.tensors.items():
            assert (tensor is None) == (found.tensors[key] is None), (injection, key)
            if tensor is not None:
                np.testing.assert_allclose(
                    as_array(found.tensors[key]), as_array(tensor), rtol=1e-9, atol=1e-12, err_msg=f"{injection} {key}"
                )
    assert all(segment.function is None for segment in one.problem.segments)


@pytest.mark.parametrize("generators", [False, True])
def test_what_crosses_forward_is_changed_between_traced_segments(
    study: Any, monkeypatch: pytest.MonkeyPatch, generators: bool
) -> None:
    """Unless the generator has to be restarted: then functions are prepared anew."""
    one = study(SKIPPED)
    replays = beside(one)
    assert replays._traced is not None
    monkeypatch.setattr(draws._Noted, "generators", generators)

    def are_traced(code: str) -> set[bool]:
        forward = [injection for injection in one.injections(code) if injection.steps().changes_forward]
        return {replays.gradients(injection).beside is replays._traced for injection in forward}

    assert are_traced("GC104") == {not generators}
    assert are_traced("GC108") == {False}


def test_tensors_that_a_fault_leaves_alone_are_those_of_the_correct_split(study: Any) -> None:
    one = study(SKIPPED)
    replays = beside(one)
    injection = one.one("GC504", place="boundary 0", effect="negated")
    replay = replays.gradients(injection)
    right, found = replay.beside.right.tensors, replay.tensors
    behind = {weight.path for weight in one.problem.weights if min(weight.segments) > 0}
    assert {w.path for w in one.problem.weights if found[w.key] is right[w.key]} == behind >= {"d/kernel", "i/bias"}


CODE = """
    import keras
    import tensorflow as tf

    class Wrong(keras.layers.Layer):
        def call(self, x):
            return x if tf.executing_eagerly() else 2 * x

    class Eager(keras.layers.Layer):
        def call(self, x):
            return x * float(x.numpy().mean() > -10)

    def wrong():
        return keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3), Wrong(), keras.layers.Dense(1)])

    def eager():
        layers = keras.layers
        inputs = layers.Input((4,))
        made = Eager()
        made.compute_output_shape = lambda shape: shape
        made.compute_output_spec = lambda x: keras.KerasTensor(x.shape, x.dtype)
        return keras.Model(inputs, layers.Dense(1)(made(layers.Dense(3)(inputs))))
"""


@pytest.mark.parametrize("builder", ["wrong", "eager"])
def test_what_another_execution_changes_or_forbids_runs_eagerly(study: Any, functions: list[str], builder: str) -> None:
    one = study(
        f"model: {{factory: 'code.py:{builder}'}}\nsplit: {{every: layer}}\n"
        "loss: MeanSquaredError\ndata: {batch_size: 4}\n",
        {"code.py": CODE},
    )
    replays = beside(one)
    assert replays._traced is None
    assert functions
    assert all(segment.function is None for segment in one.problem.segments)
    injection = one.injections("GC504")[0]
    np.testing.assert_array_equal(
        *[as_array(next(iter(r.gradients(injection).tensors.values()))) for r in (replays, one.replays)]
    )
