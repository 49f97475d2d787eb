"""Drawn layers made of layers: the calls found inside compute bit for bit what the object does, and its gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keras import layers, ops

from gradcheck.cutting.model_graph import flatten
from tests.cutting.traced_models import Composite, assert_same, numbers, symbolic, wrapped

if TYPE_CHECKING:
    from collections.abc import Callable

WIDTH = 3
#: One step of a drawn `call`: what becomes of the tensor, by the layer that holds all parts, and the flag of its call.
STEPS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "dense": lambda layer, x, _: layer.parts["dense"](x),  # shared with every other step of this name
    "model": lambda layer, x, _: layer.parts["model"](x),
    "norm": lambda layer, x, training: layer.parts["norm"](x, training=training),
    "norm_never": lambda layer, x, _: layer.parts["norm"](x, training=False),
    "drop": lambda layer, x, training: layer.parts["drop"](x, training=training),
    "drop_always": lambda layer, x, _: layer.parts["drop"](x, training=True),
    "regularized": lambda layer, x, _: layer.parts["regularized"](x),
    "recurrent": lambda layer, x, _: layer.parts["recurrent"](x),  # takes the mask, if x has one
    "masking": lambda layer, x, _: layer.parts["masking"](x),
    "skip": lambda layer, x, _: x + layer.parts["dense"](x),
    "arithmetic": lambda _, x, __: ops.tanh(2.0 * x - x / 3.0),
    "array": lambda _, x, __: np.float32([1.0, 0.5, -1.0]) * x,
    "variable": lambda layer, x, _: ops.multiply(x, ops.exp(layer.gain)),
    "positions": lambda layer, x, _: x + layer.parts["positions"](ops.arange(2)),
    "noise": lambda layer, x, _: x * (1.0 + keras.random.uniform((WIDTH,), seed=layer.seeds)),
    "training": lambda layer, x, training: layer.parts["dense"](x) if training else ops.relu(x),
    "keeps": lambda layer, x, _: setattr(layer, "last", x) or layer.last,
    "loss": lambda layer, x, _: layer.add_loss(0.1 * ops.mean(ops.square(x))) or x,
    "unused": lambda layer, x, _: (layer.parts["norm"](x, training=True), x)[1],
    "tensorflow": lambda layer, x, _: layer.parts["dense"](x) if ops.sum(x) > 1e9 else x,  # closes what is around it
}


def parts() -> dict[str, Any]:
    """The layers that a drawn model shares, built: one may be called in training alone."""
    shared = {
        "dense": layers.Dense(WIDTH, activation="tanh"),
        "model": keras.Sequential([layers.Dense(4, activation="relu"), layers.Dense(WIDTH)]),
        "norm": layers.BatchNormalization(),
        "drop": layers.Dropout(0.4, seed=5),
        "regularized": layers.Dense(WIDTH, activity_regularizer="l2"),
        "recurrent": layers.SimpleRNN(WIDTH, return_sequences=True),
        "masking": layers.Masking(),
        "positions": layers.Embedding(2, WIDTH),
    }
    for part in shared.values():
        part.build((None, 2, WIDTH))
    return shared


class Drawn(Composite):
    """A `call` that takes the drawn steps; a list among them is a layer of its own around the same parts."""

    def __init__(self, steps: list[Any], shared: dict[str, Any]) -> None:
        inner = [Drawn(step, shared) if isinstance(step, list) else None for step in steps]

        def call(layer: Any, x: Any, training: Any) -> Any:
            for step, part in zip(steps, inner, strict=True):
                x = STEPS[step](layer, x, training) if part is None else part(x, training=training)
            return x

        super().__init__(call, parts=shared, inner=[part for part in inner if part is not None])
        self.gain = self.add_weight(shape=(WIDTH,), initializer="ones", name="gain")
        self.seeds = keras.random.SeedGenerator(11)
        self.supports_masking = True


ONE = st.sampled_from(sorted(STEPS))
MANY = st.lists(
    ONE | st.lists(ONE | st.lists(ONE, min_size=1, max_size=2), min_size=1, max_size=3), min_size=1, max_size=4
)


@pytest.mark.filterwarnings("ignore:.*does not support masking")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(steps=MANY, training=st.booleans())
def test_the_calls_found_compute_what_the_object_does(steps: list[Any], training: bool) -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(1)
    drawn = Drawn(steps, parts())
    model = wrapped(drawn, symbolic(2, WIDTH))
    graph = flatten(model, training=training)
    x = numbers(4, 2, WIDTH)
    x[0, 1] = 0.0  # which `Masking` masks
    assert_same(model, x, training=training, graph=graph)
