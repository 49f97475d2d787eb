"""TensorFlow's sequence starts anew as after `tf.random.set_seed`; prepared operations are kept where they can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python import pywrap_tfe

from gradcheck.building import draws
from gradcheck.building.draws import restart

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def cleared(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Makes the process one in which nothing has drawn, and counts how often prepared operations are dropped."""
    tf.random.set_seed(0)
    found: list[None] = []
    original = pywrap_tfe.TFE_ContextClearCaches
    monkeypatch.setattr(draws._Noted, "generators", False)
    monkeypatch.setattr(pywrap_tfe, "TFE_ContextClearCaches", lambda handle: (found.append(None), original(handle)))
    return found


def dropout() -> Any:
    return tf.nn.dropout(tf.ones(8), 0.5, seed=3)


class Saved(tf.Module):
    @tf.function(input_signature=[])
    def draw(self) -> Any:
        return tf.random.uniform((8,), seed=4)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: tf.random.normal((8,)),
        lambda: tf.random.normal((8,), seed=5),
        dropout,
        tf.function(dropout),
        lambda: tf.random.shuffle(tf.range(8)),
        lambda: tf.random.categorical([[0.5, 0.5]], 8, seed=1),
        lambda: tf.image.random_brightness(tf.ones((2, 2, 3)), 0.5, seed=7),
        lambda: tf.raw_ops.RandomStandardNormal(shape=[8], dtype=tf.float32, seed=1, seed2=2),
        lambda: next(iter(tf.data.Dataset.range(100).shuffle(100).batch(8))),
    ],
    ids=["eager", "of-its-own-seed", "dropout", "function", "shuffle", "categorical", "image", "raw", "dataset"],
)
def test_the_same_numbers_come_again(cleared: list[None], draw: Callable[[], Any]) -> None:
    restart(1)
    assert not cleared
    first = [draw().numpy() for _ in range(2)]
    restart(1)
    assert cleared
    np.testing.assert_array_equal([draw().numpy() for _ in range(2)], first)


def test_so_they_do_of_a_loaded_graph(cleared: list[None], tmp_path: Path) -> None:
    tf.saved_model.save(Saved(), str(tmp_path))
    draws._Noted.generators = False
    cleared.clear()
    draw = tf.saved_model.load(str(tmp_path)).draw
    restart(1)
    first = draw().numpy()
    assert (draw().numpy() != first).any()
    restart(1)
    assert len(cleared) == 2
    np.testing.assert_array_equal(draw().numpy(), first)


def test_keras_own_layers_draw_from_variables(cleared: list[None]) -> None:
    layers = keras.layers
    model = keras.Sequential([layers.Input((4,)), layers.Dense(4), layers.Dropout(0.5), layers.GaussianNoise(1.0)])
    model(tf.ones((2, 4)), training=True)
    restart(1)
    assert not cleared


def test_a_seed_that_is_set_is_what_set_seed_sets(cleared: list[None]) -> None:
    restart(7)
    found = [tf.random.normal((3,)).numpy(), tf.random.uniform((3,)).numpy()]
    tf.random.set_seed(7)
    np.testing.assert_array_equal([tf.random.normal((3,)).numpy(), tf.random.uniform((3,)).numpy()], found)
    assert cleared
