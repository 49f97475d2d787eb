"""Recurrent layers cut along time: right where states are handed back, wrong where they stay in variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from gradcheck.config import load_config
from gradcheck.config.sections.methods import MethodOptions
from gradcheck.cutting.time import chunk_layers as time_layers
from gradcheck.handoff.execute import Execution
from gradcheck.handoff.split import HandOff, split
from gradcheck.methods.along_time.stateful import stateful
from gradcheck.problem.prepare import prepare, session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import CheckReport, RunReport

DROPOUT = {"dropout": 0.3, "recurrent_dropout": 0.4}
#: Six steps: masked ones at the start, in the middle and at the end, and whole chunks of them.
FILES = {
    "tokens.py": """
        import numpy as np

        def batch():
            x = np.array([[1, 2, 0, 0, 3, 4], [0, 0, 0, 0, 5, 6], [1, 0, 2, 3, 0, 0], [0, 1, 2, 3, 4, 5]])
            return x, np.random.default_rng(0).normal(size=(4, 6, 2))
    """,
    "cells.py": """
        import keras

        class Leaky(keras.layers.Layer):
            def __init__(self, units, **kwargs):
                super().__init__(**kwargs)
                self.state_size = units

            def build(self, shape):
                self.kernel = self.add_weight(shape=(shape[-1], self.state_size))
                self.leak = self.add_weight(shape=(self.state_size,))

            def call(self, inputs, states):
                state = states[0] * keras.ops.sigmoid(self.leak) + keras.ops.matmul(inputs, self.kernel)
                return keras.ops.tanh(state), [state]

        class Noisy(Leaky):
            def __init__(self, units, **kwargs):
                super().__init__(units, **kwargs)
                self.noise = keras.layers.Dropout(0.5)
    """,
}
STACKED_CELLS = {"cell": {"StackedRNNCells": {"cells": [{"LSTMCell": {"units": 3}}, {"GRUCell": {"units": 2}}]}}}
KINDS: dict[str, list[dict[str, Any]]] = {
    "SimpleRNN": [{"SimpleRNN": {"units": 3}}],
    "GRU": [{"GRU": {"units": 3}}],
    "GRU before": [{"GRU": {"units": 3, "reset_after": False}}],
    "LSTM": [{"LSTM": {"units": 3}}],
    "stacked": [{"LSTM": {"units": 3}}, {"GRU": {"units": 2}}],
}


def model(layers: list[dict[str, Any]], *, masks: bool, more: dict[str, Any] | None = None) -> dict[str, Any]:
    """Tokens through an Embedding, the recurrent `layers` with the arguments `more`, and a Dense at every step."""
    recurrent = []
    for i, layer in enumerate(layers):
        ((kind, kwargs),) = layer.items()
        recurrent.append({kind: {"return_sequences": True, "name": f"rnn_{i}", **kwargs, **(more or {})}})
    embedding = {"Embedding": {"input_dim": 7, "output_dim": 4, "mask_zero": masks, "name": "embedding"}}
    dense = {"Dense": {"units": 2, "name": "out"}}
    return {"input": {"shape": [6], "dtype": "int32"}, "layers": [embedding, *recurrent, dense]}


def config(model: dict[str, Any], *methods: Any, time: dict[str, Any] | None = None, **rest: Any) -> dict[str, Any]:
    return {
        "model": model,
        "split": {"time": time or {"chunks": 3}},
        "loss": "MeanSquaredError",
        "data": {"batch_size": 4, "factory": "./tokens.py:batch"},
        "methods": [*methods],
        "tolerance": {"noise": "off"},
        **rest,
    }


def outcomes(report: RunReport) -> list[str]:
    assert report.error is None, report.error
    return [check.outcome for check in report.checks]


def failed(check: CheckReport, kind: Any) -> list[str]:
    return [tensor.path for tensor in check.failures if tensor.kind == kind]


@pytest.mark.third  # of which each kind is one, and each number of chunks
@pytest.mark.parametrize(("kind", "chunks"), [(kind, chunks) for chunks in (2, 3, 6) for kind in KINDS])
def test_masks_and_dropout(run: Callable[..., RunReport], kind: str, chunks: int) -> None:
    whole = model(KINDS[kind], masks=True, more=DROPOUT)
    report = run(config(whole, "vjp", "stateful", time={"chunks": chunks}), FILES)
    assert outcomes(report) == ["match", "mismatch"]
    right, truncated = report.checks
    assert [c.path for c in right.contributions] == [c.path for c in truncated.contributions]
    assert all(len(c.norms) == chunks for c in right.contributions)
    assert all(min(c.norms) > 0 for c in right.contributions if c.path.endswith("/kernel"))
    assert failed(truncated, "output") == failed(truncated, "loss") == failed(truncated, "state") == []


@pytest.mark.third  # of which one has masks, one each kind of dropout
@pytest.mark.parametrize(
    ("kind", "masks", "more"),
    [
        ("LSTM", True, {}),
        ("LSTM", False, {}),
        ("GRU before", False, {}),
        ("GRU", False, {"dropout": 0.5}),
        ("GRU", False, {}),
        ("stacked", False, {}),
        ("SimpleRNN", False, {"recurrent_dropout": 0.5}),
        ("SimpleRNN", False, {}),
    ],
)
def test_uneven_chunks(run: Callable[..., RunReport], kind: str, masks: bool, more: dict[str, Any]) -> None:
    whole = model(KINDS[kind], masks=masks, more=more)
    report = run(config(whole, "vjp", "stateful", time={"lengths": [1, 3, 2]}), FILES)
    assert outcomes(report) == ["match", "mismatch"]


OTHER_MODELS = {
    "unrolled": model([{"LSTM": {"units": 3, "unroll": True}}], masks=True),
    "zeros at masked steps": model([{"LSTM": {"units": 3, "zero_output_for_mask": True}}], masks=True),
    "own cell": model([{"RNN": {"cell": {"./cells.py:Leaky": {"units": 3}}}}], masks=True),
    "stacked cells": model([{"RNN": STACKED_CELLS}], masks=True),
    "penalties": model(
        [{"GRU": {"units": 3, "kernel_regularizer": "l2", "activity_regularizer": "l2"}}] * 2, masks=True
    ),
}


@pytest.mark.parametrize("name", OTHER_MODELS)
def test_other_models(run: Callable[..., RunReport], name: str) -> None:
    report = run(config(OTHER_MODELS[name], "vjp", "recompute", "scan"), FILES)
    assert outcomes(report) == ["match"] * 3, [check.failures for check in report.checks]


FUNCTIONAL = """
    import keras
    from keras import layers

    def states_given_and_taken():
        x, start = keras.Input((6, 4)), keras.Input((3,))
        sequence, h, c = layers.LSTM(3, return_sequences=True, return_state=True)(x, initial_state=[start, start * 2])
        last = layers.GRU(2, activity_regularizer="l1")(sequence)
        return keras.Model([x, start], [layers.Dense(2)(sequence), layers.Concatenate()([h, c, last])])

    def nested():
        inner = keras.Sequential([keras.Input((6, 4)), layers.LSTM(3, return_sequences=True), layers.Dense(2)])
        tokens = keras.Input((6,), dtype="int32")
        return keras.Model(tokens, inner(layers.Embedding(9, 4, mask_zero=True)(tokens)))

    def carried():
        x = keras.Input(batch_shape=(4, 6, 4))
        return keras.Model(x, layers.GRU(2, stateful=True)(layers.LSTM(3, stateful=True, return_sequences=True)(x)))

    def skipped():
        x = keras.Input((6, 4))
        first = layers.LSTM(4, return_sequences=True)(layers.LayerNormalization()(x))
        return keras.Model(x, layers.Add()([x, first, layers.GRU(4, return_sequences=True)(first)]))
"""


@pytest.mark.parametrize("name", ["states_given_and_taken", "nested", "carried", "skipped"])
def test_functional_models(run: Callable[..., RunReport], name: str) -> None:
    given = config({"factory": f"./models.py:{name}"}, "vjp", "scan", "stateful", data={"batch_size": 4})
    report = run({**given, "loss": "random_cotangent"}, {"models.py": FUNCTIONAL})
    assert outcomes(report) == ["match", "match", "mismatch"], [check.failures for check in report.checks]
    if name == "carried":
        states = [tensor for tensor in report.checks[0].of_kind("state") if "/state_" in tensor.path]
        assert [(t.layer, t.status) for t in states] == [("lstm", "exact")] * 2 + [("gru", "exact")]


def test_boundaries_that_the_whole_model_has_are_compared(run: Callable[..., RunReport]) -> None:
    (check,) = run(config(model(KINDS["LSTM"], masks=False), "vjp"), FILES).checks
    assert [(t.path, t.status in {"exact", "close"}) for t in check.of_kind("boundary")] == [("embedding", True)]


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_compiled(run: Callable[..., RunReport], execution: str) -> None:
    whole = model(KINDS["SimpleRNN"], masks=True, more=DROPOUT)
    report = run(config(whole, "vjp", execution=execution, time={"chunks": 2}), FILES)
    assert outcomes(report) == ["match"]
    assert all(min(c.norms) > 0 for c in report.checks[0].contributions if c.path.endswith("/kernel"))


@pytest.mark.parametrize("precision", ["float64", "mixed_bfloat16"])
def test_precisions(run: Callable[..., RunReport], precision: str) -> None:
    whole = model(KINDS["stacked"], masks=True, more=DROPOUT)
    assert outcomes(run(config(whole, "vjp", precision=precision), FILES)) == ["match"]


def test_other_methods_work_on_chunks_as_on_segments(run: Callable[..., RunReport]) -> None:
    whole = model(KINDS["SimpleRNN"], masks=True, more=DROPOUT)
    report = run(config(whole, "jacobian", "recompute", "naive", time={"chunks": 2}), FILES)
    assert outcomes(report) == ["match", "match", "mismatch"]


def test_truncation_shows_in_what_the_chunks_contribute(run: Callable[..., RunReport]) -> None:
    layers = [{"SimpleRNN": {"units": 2, "name": "rnn"}}]
    given = {"model": {"input": {"shape": [6, 4]}, "layers": layers}, "split": {"time": {"chunks": 3}}}
    right, truncated = run({**given, "methods": ["vjp", "stateful"]}).checks
    assert all(min(c.norms) > 0 for c in right.contributions)
    assert [c.norms[:2] for c in truncated.contributions] == [(0, 0)] * 3
    for whole, last in zip(right.contributions, truncated.contributions, strict=True):
        assert last.norms[2] == pytest.approx(whole.norms[2])


def test_without_the_last_output_carried_on_masked_steps_are_wrong(
    run: Callable[..., RunReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_layers, "carried", lambda output, last, mask: output)  # noqa: ARG005 - the fault
    (check,) = run(config(model(KINDS["LSTM"], masks=True), "vjp"), FILES).checks
    assert failed(check, "output") == ["out"]


def test_without_rewound_seeds_every_chunk_draws_other_masks(
    run: Callable[..., RunReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time_layers, "dropout_seeds", lambda layer: [])  # noqa: ARG005 - the fault
    (check,) = run(config(model(KINDS["LSTM"], masks=False, more=DROPOUT), "vjp"), FILES).checks
    assert failed(check, "output") == ["out"]
    assert len(failed(check, "state")) == 1


def test_detached_states_are_what_stateful_loses(tmp_path: Path) -> None:
    class Detached(HandOff):
        def cotangent(self, segment: Any, ref: Any, output: Any, cotangent: Any) -> Any:  # noqa: ARG002 - as in the base class
            return None if "/state_" in segment.output_names[segment.plan.outputs.index(ref)] else cotangent

    given = {"model": {"input": {"shape": [6, 4]}, "layers": [{"LSTM": 3}]}, "split": {"time": {"chunks": 2}}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")
    loaded = load_config(tmp_path / "config.yaml")
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        lost = stateful(problem, MethodOptions()).tensors
        detached = Execution(problem, lambda problem, tensors: split(problem, tensors, Detached()))().tensors
    for weight in problem.weights:
        np.testing.assert_allclose(detached[weight.key], lost[weight.key], rtol=1e-5)


def test_stateful_needs_a_time_split(run: Callable[..., RunReport]) -> None:
    whole = model(KINDS["stacked"], masks=False)
    (check,) = run({**config(whole, "stateful"), "split": {"after": ["rnn_0"]}}, FILES).checks
    assert check.error is not None
    assert (check.error.code, check.error.exit_code) == ("GC027", 2)
