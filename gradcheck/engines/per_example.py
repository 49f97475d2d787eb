"""The layer around a plain function, as other engines have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gradcheck.building import user_code

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class PerExample(keras.Layer):  # type: ignore[misc]  # Keras has no types
    """Calls a function on one example after the other: made of the config of a `building.target.FunctionLayer`."""

    def __init__(self, function: Callable[..., Any], target: str, values: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._function, self._target = function, target
        self._values = tuple(values)  # a list would be tracked

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        """Return the layer of a saved configuration."""
        held = {key: keras.saving.deserialize_keras_object(config[key]) for key in ("function", "values")}
        return super().from_config({**config, **held})

    def compute_output_spec(self, *inputs: Any) -> Any:
        """Infer the outputs by a call on `values`, or on ones."""
        values = self._values or [1] * len(inputs)
        pairs = zip(values, inputs, strict=True)
        examples = [keras.ops.cast(np.broadcast_to(v, (1, *t.shape[1:])), t.dtype) for v, t in pairs]
        with user_code.calling("function", self._target, "GC051"):
            outputs = self.call(*examples)
        dtype = keras.backend.standardize_dtype
        return keras.tree.map_structure(lambda t: keras.KerasTensor((None, *t.shape[1:]), dtype(t.dtype)), outputs)

    def call(self, *inputs: Any) -> Any:
        """Return the function's outputs for each example, stacked."""
        examples = [self._function(*(tensor[i] for tensor in inputs)) for i in range(inputs[0].shape[0])]
        return keras.tree.map_structure(lambda *parts: keras.ops.stack(parts), *examples)
