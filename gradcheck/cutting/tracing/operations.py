"""Operations that stand in a traced graph for what Keras does beside the calls of layers and operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

from gradcheck.cutting.tensor_copies import copied
from gradcheck.keras_private import backend_output_spec, mask_of, set_mask

if TYPE_CHECKING:
    from collections.abc import Callable


class AddedLoss(keras.Operation):  # type: ignore[misc]  # Keras has no types
    """A loss that a layer adds in its `call`. The segment adds it to its own losses."""

    def __init__(self) -> None:
        super().__init__(name="add_loss")

    def call(self, loss: Any) -> Any:
        """Return the loss unchanged."""
        return loss


class Masked(keras.Operation):  # type: ignore[misc]  # Keras has no types
    """The mask that a layer sets on an output of the layers inside it."""

    def __init__(self) -> None:
        super().__init__(name="mask")

    def call(self, tensor: Any, mask: Any) -> Any:
        """Return a copy of `tensor` that carries `mask`."""
        copy = copied(tensor)
        set_mask(copy, mask)
        return copy


class MaskOf(keras.Operation):  # type: ignore[misc]  # Keras has no types
    """The mask that a tensor carries into a traced layer."""

    def __init__(self) -> None:
        super().__init__(name="mask_of")

    def call(self, tensor: Any) -> Any:
        """Return the mask of `tensor`, or None."""
        return mask_of(tensor)


class Deferred(keras.Operation):  # type: ignore[misc]  # Keras has no types
    """A function of `keras.random` or `keras.ops` that a trace must not run once and for all."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(name=function.__name__)
        self._function = function

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """Return what the function returns."""
        return self._function(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Infer shape and dtype; no seed moves."""
        return backend_output_spec(self._function, *args, **kwargs)
