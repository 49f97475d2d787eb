"""`numpy_layer`: a class with NumPy forward(x) and backward(dy) as a Keras layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from gradcheck.models.keyed import KeyedError

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.config.model import LayerSpec


def build(spec: LayerSpec, base: Path) -> NoReturn:
    """The layer that wraps the class of `spec`.

    Raises:
        KeyedError: GC032, always: this kind of layer is not available yet.
    """
    message = f"numpy_layer is not available yet. Received: class {spec.target} (looked up in {base})"
    help_ = "wrap forward and backward in a layer of your own with tf.custom_gradient and tf.numpy_function"
    raise KeyedError(message, code="GC032", help=help_)
