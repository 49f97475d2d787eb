"""Why a layer cannot be traced, in words."""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING

import keras

from gradcheck.building.messages import gist
from gradcheck.keras_private import Variable

if TYPE_CHECKING:
    from types import FrameType

#: The operators of a variable, by the names of their methods.
_OPERATORS = {f"__{name}__" for name in ("add", "sub", "mul", "truediv", "floordiv", "matmul", "pow", "mod")}


#: What exceptions on symbolic tensors mean, by a part of their message.
_REASONS = {
    "cannot be used as a boolean": "it branches on a value",
    "as a Python `bool` is not allowed": "it branches on a value",
    "cannot be used as input to a TensorFlow function": (
        "it calls a TensorFlow function, which takes no symbolic tensor (functions of keras.ops do)"
    ),
    "of type 'KerasTensor', not tf.Tensor": (
        "it hands a tensor to a part of TensorFlow, such as a gradient tape, that takes no symbolic one"
    ),
    "cannot convert it to a NumPy array": "it needs the values of a tensor, as NumPy and a tf.function do",
}


class Untraceable(Exception):  # noqa: N818 - it is no error: the layer stays one call
    """Raised inside a traced `call` for what a trace would get wrong."""

    #: Keras raises an error with this mark unchanged.
    _keras_call_info_injected = True


def reason(error: Exception) -> str:
    """Return why a call cannot be traced, in words."""
    if any(map(_is_variable_with_tensor, (frame for frame, _ in traceback.walk_tb(error.__traceback__)))):
        return (
            "in `variable + tensor` Keras's variable takes no symbolic tensor; `tensor + variable` and keras.ops.add do"
        )
    if isinstance(error, Untraceable):
        return str(error)
    said = gist(error)
    known = next((why for message, why in _REASONS.items() if message in said), None)
    return known or f"on symbolic tensors it raises {type(error).__name__}: {said}"


def _is_variable_with_tensor(frame: FrameType) -> bool:
    """Whether a frame is that of an operator of a variable, with a symbolic tensor on its right."""
    operands = frame.f_locals
    return (
        frame.f_code.co_name in _OPERATORS
        and isinstance(operands.get("self"), Variable)
        and isinstance(operands.get("other"), keras.KerasTensor)
    )
