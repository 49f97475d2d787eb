from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck.building.state import State
from gradcheck.cutting.cut import cut_after, cut_every
from gradcheck.cutting.model_graph import TensorRef, flatten
from gradcheck.cutting.run_calls import tapped
from gradcheck.cutting.tensor_copies import copied
from gradcheck.errors import ConfigError
from gradcheck.problem.problem import make_segments


def segments_of(model: keras.Model, after: list[str] | None = None) -> tuple[keras.Layer, ...]:
    graph = flatten(model)
    plan = cut_every(graph) if after is None else cut_after(graph, after)
    return make_segments(graph, plan, dtype=model.dtype_policy)


def chained(segments: tuple[keras.Layer, ...], x: tf.Tensor, *, training: bool) -> tf.Tensor:
    for segment in segments:
        x = segment(x, training=training)
    return x


def test_segments_compute_what_the_whole_computes() -> None:
    x = keras.Input((6,))
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.Dropout(0.5)(keras.layers.Dense(5)(x))))
    state, value = State([model], seed=0), tf.random.normal((3, 6))
    whole = model(value, training=True)
    state.restore()
    np.testing.assert_array_equal(chained(segments_of(model), value, training=True), whole)


def test_the_training_flag_reaches_every_layer_even_against_a_flag_at_construction() -> None:
    x = keras.Input((6,))
    model = keras.Model(x, keras.layers.Dense(2)(keras.layers.BatchNormalization()(x, training=False)))
    state, value = State([model], seed=0), tf.random.normal((8, 6)) * 3
    whole = model(value, training=True)
    state.restore()
    np.testing.assert_array_equal(chained(segments_of(model), value, training=True), whole)


def test_masks_cross_the_boundary() -> None:
    x = keras.Input((5,), dtype="int32")
    embedded = keras.layers.Embedding(7, 3, mask_zero=True, name="embedding")(x)
    model = keras.Model(x, keras.layers.LSTM(4)(keras.layers.Dropout(0.5)(embedded)))
    value = tf.constant([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])
    state = State([model], seed=0)
    with state.preserved():
        values = {"keras_tensor": value}
        for segment in segments_of(model):
            outputs = segment([values.get(name, value) for name in segment.input_names], training=False)
            values.update(zip(segment.output_names, outputs if isinstance(outputs, list) else [outputs], strict=True))
    np.testing.assert_array_equal(values["lstm"], model(value))
    assert not np.allclose(values["lstm"], model.layers[-1](tf.identity(values["embedding"]))), "the mask must matter"


def test_a_layer_called_twice_in_one_segment_keeps_both_losses() -> None:
    x = keras.Input((3,))
    shared = keras.layers.Dense(3, activity_regularizer="l2", name="shared")
    model = keras.Model(x, keras.layers.Dense(1, name="out")(shared(shared(x))))
    first, _ = segments_of(model, ["shared"])
    first(tf.ones((2, 3)))
    assert len(first.losses) == 2


def test_a_weight_penalty_belongs_to_the_first_segment_that_uses_the_weight() -> None:
    x = keras.Input((3,))
    shared = keras.layers.Dense(3, kernel_regularizer="l2", name="shared")
    model = keras.Model(x, shared(keras.layers.ReLU()(shared(x))))
    parts = segments_of(model)
    value = tf.ones((2, 3))
    losses = []
    for part in parts:
        value = part(value)
        losses.append(len(part.losses))
    assert losses == [1, 0, 0]


def test_taps_collect_copies_of_what_keras_computes() -> None:
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.ReLU(name="relu")(keras.layers.Dense(2, name="dense")(x)))
    graph, value = flatten(model), tf.random.normal((2, 3))
    with tapped(graph, [TensorRef(0, 0)], lambda _: None) as taps:
        outputs = model(value)
    np.testing.assert_array_equal(taps[TensorRef(0, 0)], model.layers[1](value))
    np.testing.assert_array_equal(outputs, model(value))
    assert "_run_through_graph" not in vars(model), "Keras's own method is back"


def test_a_model_that_does_not_run_its_graph_is_refused() -> None:
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(2)(x))
    with pytest.raises(ConfigError, match="does not run its own graph"), tapped(flatten(model), [], lambda _: None):
        model.layers[1](tf.ones((1, 3)))


def test_taps_are_removed_when_the_model_raises() -> None:
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(2)(x))
    with pytest.raises(RuntimeError), tapped(flatten(model), [], lambda _: None):
        raise RuntimeError
    assert "_run_through_graph" not in vars(model)


def test_a_copy_keeps_the_mask_and_is_another_tensor() -> None:
    tensor = tf.ones((2, 2))
    tensor._keras_mask = mask = tf.constant([True, False])
    copy = copied(tensor)
    assert copy is not tensor
    assert copy._keras_mask is mask
