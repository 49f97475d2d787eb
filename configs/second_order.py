"""A polynomial as a layer."""

from __future__ import annotations

from typing import Any

import keras


class Polynomial(keras.layers.Layer):
    """y = x³ + x² + x + 5, with coefficients that could be trained."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the coefficients, the highest power first."""
        del input_shape
        self.coefficients = [
            self.add_weight(name=name, shape=(), initializer="ones") for name in ("cubic", "square", "linear")
        ]

    def call(self, x: Any) -> Any:
        """The same shape as `x`."""
        cubic, square, linear = self.coefficients
        return cubic * x**3 + square * x**2 + linear * x + 5.0
