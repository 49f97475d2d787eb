"""The Keras layer around a class with NumPy `forward` and `backward`."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext  # TensorFlow exports no name for it

from gradcheck.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.building.numpy_layer_code import Array, NumpyCode, Shape

#: Two lengths for an axis of unknown length, which show the output axes that depend on it.
_PROBES = (2, 3)


class NoSecondDerivativeError(RunError, LookupError):
    """A NumPy backward pass was differentiated. As TensorFlow's error for a missing gradient, it is a LookupError."""


class NumpyLayer(keras.Layer):  # type: ignore[misc]  # Keras has no types
    """Runs a `NumpyCode` on tensors; its gradient is computed by the code's `backward`.

    It works in any model, eager or in a graph, called once or several times, in any precision. The gradient cannot be
    differentiated again, and XLA cannot compile NumPy: both raise.
    """

    def __init__(self, code: NumpyCode, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._numpy_code = code
        self._declared: list[Any] = []

    def build(self, input_shapes: Sequence[Shape]) -> None:
        """Create the weights that the code declares for these inputs."""
        for name, (shape, start) in self._numpy_code.weights(input_shapes).items():
            initializer = None if start is None else keras.initializers.Constant(start)
            self._declared.append(self.add_weight(name=name, shape=shape, initializer=initializer))

    def compute_output_spec(self, *inputs: Any) -> keras.KerasTensor:
        """Infer the output's shape by running forward on ones, with two lengths for every axis of unknown length."""
        first, second = (self._tried(inputs, length) for length in _PROBES)
        shape = [n if n == m else None for n, m in zip(first, second, strict=True)]
        return keras.KerasTensor(shape, self.compute_dtype)

    def _tried(self, inputs: Sequence[Any], length: int) -> tuple[int, ...]:
        """Return the shape of forward's output if axes of unknown length have this length."""
        arrays = [np.ones([n or length for n in t.shape], tf.as_dtype(t.dtype).as_numpy_dtype) for t in inputs]
        weights = [np.ones(v.shape, self._numpy_dtype) for v in self._declared]
        with np.errstate(all="ignore"):
            return self._numpy_code.forward([*arrays, *weights], self._numpy_dtype)[0].shape

    @property
    def _numpy_dtype(self) -> Any:
        return tf.as_dtype(self.compute_dtype).as_numpy_dtype

    def call(self, *inputs: Any) -> Any:
        """Return the output of forward, in the layer's compute dtype."""
        if GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()):
            message = f"the NumPy code of layer {self.name} cannot be compiled by XLA"
            raise RunError(message, code="GC059", help="set execution: graph, or eager")
        tensors = [tf.convert_to_tensor(tensor) for tensor in (*inputs, *self._declared)]
        output = _differentiable(self._numpy_code, self._numpy_dtype, len(tensors))(*tensors)
        if not tf.executing_eagerly():
            output.set_shape(self.compute_output_spec(*inputs).shape)
        return output


def _differentiable(code: NumpyCode, dtype: Any, count: int) -> Any:
    """Return the function from `count` tensors to the output, with the code's gradient."""

    def run(*tensors: Any) -> Any:
        output, saved = tf.numpy_function(lambda *arrays: code.forward(arrays, dtype), tensors, [dtype, tf.string])
        return output, lambda dy: _pulled_back(code, dy, saved, tensors)

    # Reports on custom gradients name this function: let it be the user's own method, which may be wrong.
    positional = inspect.Parameter.POSITIONAL_ONLY
    run.__signature__ = inspect.Signature([inspect.Parameter(n, positional) for n in code.names(count)])  # type: ignore[attr-defined]
    run.__qualname__, run.__wrapped__ = f"{code.name}.backward", code.backward_method  # type: ignore[attr-defined]
    return tf.custom_gradient(run)


def _pulled_back(code: NumpyCode, dy: Any, saved: Any, tensors: Sequence[Any]) -> list[Any]:
    """Return the gradients of `tensors`; None for integers."""
    floating = [i for i, tensor in enumerate(tensors) if tensor.dtype.is_floating]

    def backward(dy: Array, saved: Any, *arrays: Array) -> list[Array]:
        found = code.backward(dy, np.asarray(saved, object).item(), arrays)
        return [_or_zeros(found[i], arrays[i]) for i in floating]

    @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
    def undifferentiable(dy: Any, *tensors: Any) -> Any:  # takes the tensors, so that their second derivative raises
        found = tf.numpy_function(backward, [dy, saved, *tensors], [tensors[i].dtype for i in floating])
        return found, lambda *_: _refuse_second(code)

    gradients: list[Any] = [None] * len(tensors)
    for i, gradient in zip(floating, tf.nest.flatten(undifferentiable(dy, *tensors)), strict=True):
        gradient.set_shape(tensors[i].shape)
        gradients[i] = gradient
    return gradients


def _or_zeros(gradient: Array | None, like: Array) -> Array:
    return np.zeros_like(like) if gradient is None else gradient


def _refuse_second(code: NumpyCode) -> None:
    raise NoSecondDerivativeError(
        f"the NumPy backward of {code.name} has no derivative of its own: neither second order nor forward mode",
        code="GC053",
        help="check numpy layers by vjp and numeric",
    )
