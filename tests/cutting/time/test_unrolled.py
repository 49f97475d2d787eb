"""The unrolled graph: its calls, what crosses between chunks, and that it computes what the whole model does."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from gradcheck.building.state import State
from gradcheck.config.schema import TimeSplit
from gradcheck.cutting.model_graph import MODEL_INPUT, TensorRef, flatten
from gradcheck.cutting.time.chunk_layers import TimeSlice, carried
from gradcheck.cutting.time.unrolled import TimeCut, cut_time
from gradcheck.problem.problem import make_segments


def cut(model: keras.Model, *lengths: int) -> TimeCut:
    return cut_time(flatten(model), TimeSplit(lengths=lengths))


def run(model: keras.Model, time: TimeCut, x: tf.Tensor) -> list[tf.Tensor]:
    values = {TensorRef(MODEL_INPUT, 0): x}
    for segment in make_segments(time.graph, time.plan, dtype=model.dtype_policy):
        outputs = segment([values[ref] for ref in segment.plan.inputs], training=True)
        values.update(zip(segment.plan.outputs, outputs if isinstance(outputs, list) else [outputs], strict=True))
    return [values[ref] for ref in time.graph.outputs]


def test_the_states_cross_and_nothing_else_that_is_not_needed() -> None:
    time = cut(keras.Sequential([keras.Input((5, 4), name="x"), layers.LSTM(3, name="lstm")]), 2, 3)
    first, second, after = time.plan.segments
    assert [segment.name for segment in time.plan.segments] == ["chunk_0", "chunk_1", "after"]
    assert [time.graph.calls[call].name for call in first.calls] == ["x[0:2]", "lstm@0"]
    assert [time.graph.name(ref) for ref in first.outputs] == ["lstm/state_0@0", "lstm/state_1@0"]
    assert [time.graph.name(ref) for ref in second.outputs] == ["lstm@1"]
    assert [time.graph.name(ref) for ref in after.outputs] == ["lstm"]
    assert time.chunk_segments == range(2)


def test_masks_and_dropout_cross_as_well() -> None:
    keras.utils.clear_session()  # Keras numbers the operations of a session
    tokens = keras.Input((5,), dtype="int32")
    embedded = layers.Embedding(7, 4, mask_zero=True)(tokens)
    gru = layers.GRU(3, return_sequences=True, recurrent_dropout=0.5, name="gru")
    time = cut(keras.Model(tokens, layers.Dense(1)(gru(embedded))), 2, 3)
    before, first = time.plan.segments[:2]
    assert before.name == "before"
    assert [time.graph.name(ref) for ref in first.outputs] == [
        "gru@0", "gru/state_0@0", "gru/last_output@0", "gru/seed_0@0",
    ]  # fmt: skip
    assert {time.graph.name(ref): time.whole.name(time.origin[ref]) for ref in before.outputs} == {
        "embedding": "embedding",
        "not_equal": "not_equal",
    }


def test_shapes_are_those_that_come_out() -> None:
    x = keras.Input((5, 4))
    cells = layers.StackedRNNCells([layers.LSTMCell(3, dropout=0.2), layers.GRUCell(2)])
    model = keras.Model(x, layers.RNN(cells, return_sequences=True)(layers.SimpleRNN(6, return_sequences=True)(x)))
    time = cut(model, 4, 1)
    values = {TensorRef(MODEL_INPUT, 0): tf.ones((2, 5, 4))}
    for segment in make_segments(time.graph, time.plan, dtype=model.dtype_policy):
        outputs = segment([values[ref] for ref in segment.plan.inputs])
        for ref, output in zip(segment.plan.outputs, outputs if isinstance(outputs, list) else [outputs], strict=True):
            values[ref], spec = output, time.graph.spec(ref)
            assert (spec.dtype, spec.shape[1:]) == (output.dtype.name, tuple(output.shape[1:])), time.graph.name(ref)


def test_it_computes_what_the_whole_does_and_leaves_the_same_state() -> None:
    tokens = keras.Input((6,), dtype="int32")
    embedded = layers.Embedding(7, 4, mask_zero=True)(tokens)
    hidden = layers.LSTM(3, return_sequences=True, dropout=0.5, recurrent_dropout=0.5)(embedded)
    model = keras.Model(tokens, [hidden, layers.GRU(2, dropout=0.5)(hidden)])
    time, state = cut(model, 1, 3, 2), State([model], seed=0)
    x = tf.constant([[0, 1, 2, 0, 0, 3], [1, 0, 0, 0, 2, 0]])
    whole, after = model(x, training=True), state.read()
    state.restore()
    for expected, found in zip(whole, run(model, time, x), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        assert getattr(found, "_keras_mask", None) is not None or len(found.shape) == 2
    for path, value in state.read().items():
        np.testing.assert_array_equal(value, after[path])


def test_a_slice_takes_the_mask_along() -> None:
    sequence = tf.reshape(tf.range(8.0), (2, 4, 1))
    sequence._keras_mask = tf.constant([[True, False, True, True]] * 2)
    taken = TimeSlice(1, 3, name="slice")(sequence)
    np.testing.assert_array_equal(taken[:, :, 0], [[1, 2], [5, 6]])
    np.testing.assert_array_equal(taken._keras_mask, [[False, True]] * 2)


def test_the_last_output_is_carried_to_masked_steps_at_the_start_only() -> None:
    output, last = tf.ones((2, 3, 1)), tf.fill((2, 1), 9.0)
    mask = tf.constant([[False, True, False], [False, False, False]])
    np.testing.assert_array_equal(carried(output, last, mask)[:, :, 0], [[9, 1, 1], [9, 9, 9]])
    np.testing.assert_array_equal(carried(output[:, -1], last, mask)[:, 0], [1, 9])
