from __future__ import annotations

import random

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck.building.state import State


@pytest.fixture
def model() -> keras.Model:
    keras.utils.clear_session(free_memory=False)
    x = keras.Input(batch_shape=(2, 4, 3))
    y = keras.layers.LSTM(3, stateful=True, return_sequences=True, name="lstm")(x)
    y = keras.layers.Dropout(0.5, name="dropout")(keras.layers.BatchNormalization(name="norm")(y))
    frozen = keras.layers.Dense(2, name="frozen", trainable=False)
    return keras.Model(x, frozen(y))


def test_state_is_what_a_forward_pass_changes_and_no_weight(model: keras.Model) -> None:
    paths = [variable.path for variable in State([model], seed=0).variables]
    assert "norm/moving_mean" in paths
    assert "lstm/state_0" in paths
    assert any("seed_generator_state" in path for path in paths)
    assert not any("frozen" in path for path in paths)


def test_a_forward_pass_is_undone_also_when_it_raises(model: keras.Model) -> None:
    state = State([model], seed=0)
    before = {path: np.array(value) for path, value in state.read().items()}
    with pytest.raises(RuntimeError), state.preserved():
        model(tf.random.normal((2, 4, 3)), training=True)
        changed = {path: np.array(value) for path, value in state.read().items()}
        raise RuntimeError
    assert sum(not np.array_equal(before[path], changed[path]) for path in before) >= 5
    for path, value in state.read().items():
        np.testing.assert_array_equal(value, before[path])


def test_dropout_is_replayed(model: keras.Model) -> None:
    state, x = State([model], seed=0), tf.random.normal((2, 4, 3))
    with state.preserved():
        first = model(x, training=True)
        assert not np.array_equal(first, model(x, training=True))
    with state.preserved():
        np.testing.assert_array_equal(model(x, training=True), first)


def test_random_generators_outside_keras_layers_restart(model: keras.Model) -> None:
    state = State([model], seed=0)

    def draws() -> list[float]:
        state.restore()
        return [
            random.random(),
            float(np.random.random()),
            float(tf.random.uniform(())),
            float(keras.random.uniform(())),
        ]

    assert draws() == draws()


def test_a_changed_weight_is_found_and_put_back(model: keras.Model) -> None:
    state, weight = State([model], seed=0), model.trainable_variables[0]
    before = weight.numpy()
    with state.preserved():
        weight.assign(weight * 2)
        assert state.changed(model.trainable_variables) == [weight]
    np.testing.assert_array_equal(weight.numpy(), before)
    assert state.changed(model.trainable_variables) == []
