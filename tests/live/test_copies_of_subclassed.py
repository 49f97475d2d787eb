"""Copies of subclassed models in float64: their weights have the names of the originals."""

from __future__ import annotations

from typing import Any

import keras

from gradcheck import check_model


class Scaled(keras.layers.Layer):
    """A dense layer, and a weight of its own beside it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.dense = keras.layers.Dense(3)

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")
        self.dense.build(shape)

    def call(self, x: Any) -> Any:
        return self.dense(x) * self.scale


class Model(keras.Model):
    """One of these, and a head."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.scaled, self.head = Scaled(), keras.layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.head(self.scaled(x))


def test_weights_beside_layers_are_found_in_the_twin(batch: Any) -> None:
    model = Model()
    model(batch[0])
    report = check_model(model, batch[0], methods=["numeric"])
    assert report, report
    paths = {tensor.path for tensor in report.runs[0].checks[0].of_kind("weight")}
    assert {"scaled/scale", "scaled/dense/kernel"} <= paths
