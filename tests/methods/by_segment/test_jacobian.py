"""Explicit Jacobians chained by hand give the reference's gradients; and the streamed contraction is the plain one."""

from __future__ import annotations

import importlib
import itertools
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.methods.by_segment.linear import Linearised, by_columns, by_rows, mixes_examples

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

MODELS = {
    "batch_norm": """
        model:
          input: {shape: [6, 6, 2]}
          layers:
            - Conv2D: {filters: 3, kernel_size: 2, name: c0}
            - BatchNormalization: {name: b0}
            - Activation: {activation: tanh, name: a0}
            - Conv2D: {filters: 3, kernel_size: 2, name: c1}
            - Flatten
            - Dense: 3
        split: {after: [b0, c1]}
        data: {batch_size: 4}
    """,
    "dag": """
        model:
          input: {a: {shape: [4]}, b: {shape: [3]}}
          layers:
            - Dense: {units: 5, activation: tanh, name: stem, inputs: [a], kernel_regularizer: l2}
            - Dense: {units: 5, activation: tanh, name: shared, activity_regularizer: l2}
            - Dense: {units: 5, name: gate, inputs: [b]}
            - Multiply: {name: mixed, inputs: [shared, gate]}
            - call: {layer: shared, inputs: [mixed], name: again}
            - Concatenate: {name: skip, inputs: [again, stem]}
            - Dense: 2
        split: {after: ["shared:1", mixed]}
    """,
    "lstm": """
        model:
          input: {shape: [3, 2]}
          layers:
            - LSTM: {units: 3, return_sequences: true, name: first}
            - LSTM: {units: 2, name: second}
            - Dense: 2
        split: {after: [first, second]}
    """,
    "attention": """
        model:
          input: {shape: [4, 6]}
          layers:
            - Dense: {units: 6, name: embed}
            - MultiHeadAttention: {num_heads: 2, key_dim: 3, dropout: 0.2, name: attention, inputs: [embed, embed]}
            - Add: {name: residual, inputs: [embed, attention]}
            - LayerNormalization: {name: norm}
        split: {every: layer}
    """,
    "embedding": """
        model:
          input: {shape: [5], dtype: int32}
          layers:
            - Embedding: {input_dim: 7, output_dim: 3, mask_zero: true, name: embedding}
            - Dropout: {rate: 0.3, name: dropout}
            - GRU: {units: 4, name: gru}
            - Dense: 2
        split: {after: [embedding, dropout]}
    """,
}

#: Its Jacobians do not fit the budgets of the tests.
LARGER = MODELS["lstm"].replace("[3, 2]", "[5, 3]").replace("units: 3", "units: 4").replace("units: 2", "units: 3")

#: Gradients that are zero but for rounding: they have no relative accuracy.
ZERO = {"c0/bias", "attention/key/bias"}


@pytest.mark.parametrize("name", MODELS)
def test_jacobians_give_the_gradients(run: Run, name: str) -> None:
    report = run(MODELS[name], methods=["jacobian"])
    assert report.verdict == "pass", [(t.path, t.status, t.max_rel_error) for t in report.checks[0].failures]


@pytest.mark.third  # of which one couples the batch and one does not
@pytest.mark.parametrize("name", MODELS)
def test_in_float64_they_are_exact_but_for_rounding(run: Run, name: str) -> None:
    (check,) = run(MODELS[name], methods=["jacobian"], precision="float64").checks
    errors = {t.path: t.max_rel_error for t in check.tensors if t.status != "absent" and t.path not in ZERO}
    assert len(errors) > 5
    assert max(errors.values()) <= 1e-12, errors


def linearised(function: Callable[[Any], Any], x: Any, *, examples: int) -> Linearised:
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        y = function(x)
    return Linearised(tape=tape, target=y, sources=[x], examples=examples)


@settings(max_examples=20, deadline=None)
@given(batch=st.integers(1, 4), rows=st.integers(1, 5), columns=st.integers(1, 6), copies=st.integers(1, 7))
def test_rows_and_columns_contract_the_jacobian(batch: int, rows: int, columns: int, copies: int) -> None:
    rng = np.random.default_rng(batch + 7 * rows)
    matrix = tf.constant(rng.normal(size=(columns, rows)))
    x = tf.constant(rng.normal(size=(batch, columns)))
    c = rng.normal(size=(batch, rows))

    def f(value: Any) -> Any:
        return tf.tanh(value @ matrix)

    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    expected = tf.einsum("nr,nrc->nc", c, tape.batch_jacobian(y, x))
    single = linearised(f, x, examples=batch)
    stack = linearised(f, tf.tile(x, [copies, 1]), examples=batch)
    stacked = Linearised(tape=stack.tape, target=stack.target, sources=stack.sources, examples=batch, copies=copies)
    for linear in (single, stacked):
        np.testing.assert_allclose(by_rows(linear, c)[0], expected, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(by_columns(linear, c, 0), expected, rtol=1e-12, atol=1e-14)


def test_as_one_example_the_full_jacobian_is_contracted() -> None:
    x = tf.constant(np.random.default_rng(0).normal(size=(3, 2)))

    def f(value: Any) -> Any:
        return value - tf.reduce_mean(value, axis=0)

    c = np.random.default_rng(1).normal(size=(1, 6))
    linear = linearised(f, x, examples=1)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = f(x)
    expected = tf.reshape(tape.gradient(y, x, output_gradients=tf.reshape(c, (3, 2))), (1, -1))
    np.testing.assert_allclose(by_rows(linear, c)[0], expected, atol=1e-14)
    np.testing.assert_allclose(by_columns(linear, c, 0), expected, atol=1e-14)


@pytest.mark.parametrize(
    ("layer", "mixes"),
    [
        (keras.layers.Dense(3), False),
        (keras.layers.LayerNormalization(), False),
        (keras.layers.BatchNormalization(), True),
        (keras.layers.Lambda(lambda x: x[::-1]), True),
        (keras.layers.Lambda(lambda x: x - keras.ops.mean(x, axis=0)), True),
    ],
    ids=["dense", "layer_norm", "batch_norm", "reversed", "centred"],
)
def test_whether_examples_mix_is_measured(layer: keras.Layer, mixes: bool) -> None:
    x = tf.random.stateless_normal((4, 3), seed=(0, 1))
    assert mixes_examples(linearised(lambda value: layer(value, training=True), x, examples=1), 4) is mixes


@pytest.mark.parametrize("batch_size", [2, 3, 5, 8])
def test_whichever_example_depends_on_whichever_other(batch_size: int) -> None:
    x = tf.random.stateless_normal((batch_size, 3), seed=(0, 1))
    for i, j in itertools.permutations(range(batch_size), 2):
        mixing = np.zeros((batch_size, batch_size), np.float32)
        mixing[i, j] = 1
        assert mixes_examples(linearised(lambda value, m=mixing: value + m @ value, x, examples=1), batch_size)
    assert not mixes_examples(linearised(lambda value: value * 2, x, examples=1), batch_size)


def test_seeds_between_chunks_are_not_taken_for_a_batch_of_their_length(run: Run) -> None:
    layers = [{"GRU": {"units": 2, "return_sequences": True, "recurrent_dropout": 0.3, "name": "l1"}}, {"Dense": 2}]
    config = {"model": {"input": {"shape": [6, 3]}, "layers": layers}, "split": {"time": {"chunks": 6}}}
    report = run({**config, "data": {"batch_size": 2}, "training": False, "methods": ["jacobian"]})
    assert report.verdict == "pass", report.errors


def test_a_per_example_jacobian_would_be_wrong_for_batch_norm(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("gradcheck.methods.by_segment.jacobian")
    monkeypatch.setattr(module, "mixes_examples", lambda *_: False)
    report = run(MODELS["batch_norm"], methods=["jacobian"])
    assert report.verdict == "fail"
    assert "input" in {tensor.path for tensor in report.checks[0].failures}


def test_a_wrong_block_is_caught(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("gradcheck.methods.by_segment.jacobian")
    right = module.by_columns
    monkeypatch.setattr(module, "by_columns", lambda *args: 1.001 * right(*args))
    assert run(MODELS["lstm"], methods=["jacobian"]).verdict == "fail"


def test_memory_is_bounded_by_the_budget(run: Run) -> None:
    assert run(LARGER, methods=["jacobian"], memory_budget="100KB").verdict == "pass"


def jacobians(report: RunReport) -> dict[str, str]:
    return {tensor.path: tensor.status for tensor in report.checks[0].tensors if tensor.kind == "jacobian"}


@pytest.mark.parametrize(("name", "count"), [("batch_norm", 11), ("dag", 13), ("lstm", 11)])
def test_on_request_the_jacobians_themselves_are_reported(run: Run, name: str, count: int) -> None:
    report = run(MODELS[name], methods=["jacobian"], report={"jacobians": True})
    found = jacobians(report)
    assert report.verdict == "pass", report.error or found
    assert len(found) == count, found
    assert set(found.values()) <= {"exact", "close"}


def test_a_wrong_jacobian_is_caught(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("gradcheck.methods.by_segment.jacobian_report")
    right = module.Kept.full
    monkeypatch.setattr(module.Kept, "full", lambda kept, shape: 1.001 * right(kept, shape))
    layers = [{"Dense": {"units": 3, "activation": "tanh", "name": "a"}}, {"Dense": {"units": 2, "name": "b"}}]
    config = {"model": {"input": {"shape": [2]}, "layers": layers}, "split": {"after": ["a"]}}
    found = jacobians(run({**config, "methods": ["jacobian"], "report": {"jacobians": True}}))
    assert len(found) == 6
    assert set(found.values()) == {"mismatch"}


def test_kept_jacobians_must_fit_the_budget(run: Run) -> None:
    report = run(LARGER, methods=["jacobian"], report={"jacobians": True}, memory_budget="20KB")
    assert report.error is not None
    assert report.error.code == "GC056"
    assert "report.jacobians" in report.error.message


#: Two examples whose gradients cancel: the loss has the slopes 1 and -1, and token ids do not move with rounding.
CANCELLING = """
    model:
      input: {tok: {shape: [1], dtype: int32}}
      layers:
        - Embedding: {input_dim: 7, output_dim: 1, name: emb, inputs: [tok]}
        - Bidirectional: {layer: {SimpleRNN: {units: 1}}, name: bi}
        - Dense: {units: 1, activation: tanh, name: dense}
        - Concatenate: {name: cat, inputs: [dense, bi]}
    split: {after: [emb, dense]}
    data: {batch_size: 2, inputs: {tok: {integers: {low: 0, high: 7}}}}
    loss: MeanAbsoluteError
    precision: float64
    seed: 99
    methods: [jacobian]
"""
CANCELS = "bi/backward_simple_rnn/simple_rnn_cell/bias"


@pytest.mark.third  # eager without the Jacobians, graph with them
@pytest.mark.parametrize("execution", ["eager", "graph"])
@pytest.mark.parametrize("jacobians", [False, True])
def test_rounding_is_relative_to_the_summands_that_cancel(run: Run, jacobians: bool, execution: str) -> None:
    report = run(CANCELLING, report={"jacobians": jacobians}, execution=execution)
    (found,) = [t for t in report.checks[0].tensors if t.path == CANCELS]
    assert report.verdict == "pass", [(t.path, t.max_abs_error, t.noise_floor) for t in report.checks[0].failures]
    assert found.max_rel_error > 1e-10
    assert found.noise_floor is None or 1e-17 < found.noise_floor < 1e-15


def test_an_error_of_one_summand_is_no_rounding(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative error of 1e-12 in what one example contributes."""
    from gradcheck.methods.by_segment import jacobian

    contract, by_column = jacobian.by_rows, jacobian.by_columns

    def off(cotangent: np.ndarray) -> np.ndarray:
        wrong = np.copy(cotangent)
        wrong.reshape(-1)[0] *= 1 + 1e-12
        return wrong

    monkeypatch.setattr(jacobian, "by_rows", lambda linear, c, seen=None: contract(linear, off(c), seen))
    monkeypatch.setattr(jacobian, "by_columns", lambda linear, c, i, seen=None: by_column(linear, off(c), i, seen))
    report = run(CANCELLING)
    assert report.verdict == "fail"
    assert CANCELS in {tensor.path for tensor in report.checks[0].failures}
