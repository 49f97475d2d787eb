"""The argument of `gradcheck layer` as a model: a layer, a function or a NumPy class between inputs and outputs.

A TARGET is a Keras layer by its name, or `package.module:Name` or `./file.py:Name` of one of these:

- a Keras layer: its class, an object, or a function that returns one (a factory);
- a class with NumPy `forward(x)` and `backward(dy)`, or an object of one;
- a function of tensors. It is called on one example at a time: its tensors have exactly the shapes that were given.
"""

from __future__ import annotations

import copy
import inspect
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building import user_code
from gradcheck.building.numpy_layer import NumpyLayer
from gradcheck.building.numpy_layer_code import NumpyCode, is_numpy_class
from gradcheck.building.precision import widened
from gradcheck.building.sources.arguments import build_layer, layer_failure
from gradcheck.building.sources.layers import positional, too_few_help
from gradcheck.config.sections.model import InputSpec, LayerSpec
from gradcheck.errors import GradcheckError, RunError
from gradcheck.keras_private import all_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


def model(
    target: str,
    base: str,
    inputs: Mapping[str, Any],
    kwargs: Mapping[str, Any],
    values: Sequence[Any] = (),
    *,
    masked: bool = False,
) -> keras.Model:
    """Build the model that consists of `target` alone.

    It is a factory for `model.factory`, so that the model can be built again in float64.

    Args:
        target: a TARGET, as described above.
        base: the folder that a file is relative to.
        inputs: `{shape, dtype}` by name.
        kwargs: arguments of the class or the factory; for a function, keyword arguments of every call.
        values: values of the inputs for one example, on which a function is tried; default ones.
        masked: whether the inputs that have a time axis carry a mask.

    Raises:
        ConfigError: GC020, GC021 or GC028, if the target or its arguments are wrong.
        RunError: GC051 if the user's own code raises.
    """

    def around(inputs: Mapping[str, Any]) -> tuple[keras.Layer, keras.Model]:
        layer = as_layer(target, Path(base), dict(kwargs), values)
        return layer, model_around(layer, target, inputs, masked=masked)

    try:
        return around(inputs)[1]
    except GradcheckError as error:
        error.help = error.help or _batch_axis_help(around, inputs)
        raise


def _batch_axis_help(
    around: Callable[[Mapping[str, Any]], tuple[keras.Layer, Any]], inputs: Mapping[str, Any]
) -> str | None:
    """Return the shapes without their first axes if a layer can be called with these; None if it cannot."""
    fewer = {name: {**spec, "shape": list(spec["shape"])[1:]} for name, spec in inputs.items()}
    if not all(spec["shape"] for spec in fewer.values()):
        return None
    try:
        layer, _ = around(fewer)
    except GradcheckError:
        return None
    if isinstance(layer, FunctionLayer):  # it has no batch axis
        return None
    shapes = " ".join(f"--input-shape {','.join(map(str, spec['shape']))}" for spec in fewer.values())
    return f"the batch axis is added for layers: did you mean `{shapes}`?"


def model_around(
    layer: keras.Layer,
    target: str,
    inputs: Mapping[str, Any],
    *,
    arguments: Callable[[Sequence[Any]], Sequence[Any]] | None = None,
    masked: bool = False,
) -> keras.Model:
    """Build the model that consists of `layer` alone.

    Args:
        layer: the layer, which the call builds.
        target: what messages call it.
        inputs: `{shape, dtype}` by name.
        arguments: puts one tensor for each input into the arguments of the call; by default as the layer takes them.
        masked: whether the inputs that have a time axis carry a mask.

    Raises:
        RunError: GC051 if the layer raises.
    """
    arguments = arguments or partial(positional, layer)
    tensors, handed = [], []
    for name, written in inputs.items():
        spec = InputSpec.model_validate(written)
        part = _PARTS.get(spec.dtype or "")
        shape, dtype = (spec.shape, spec.dtype) if part is None else ((*(spec.shape or ()), 2), part)
        tensors.append(keras.Input(shape, dtype=dtype and widened(dtype), name=name))
        taken = tensors[-1] if part is None else OfParts()(tensors[-1])
        handed.append(_Masked()(taken) if masked and _has_time(taken.shape[1:]) else taken)
    try:
        outputs = keras.tree.flatten(layer(*arguments(handed)))
        return keras.Model(tensors, outputs if len(outputs) > 1 else outputs[0])
    except GradcheckError:
        raise
    except Exception as error:
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in tensors)
        failure = layer_failure(error, f"{target} cannot be called", f"inputs of shape {shapes}", target)
        how = "give an --input-shape for each"
        failure.help = failure.help or too_few_help(layer, len(tensors), error, how)
        raise failure from error


def layer_of(built: keras.Model) -> keras.Layer:
    """The target's layer in what `model` built, without a mask."""
    return next(layer for layer in built.layers if not isinstance(layer, (keras.layers.InputLayer, OfParts)))


def takes_training(layer: keras.Layer) -> bool:
    """Whether the layer, or a layer inside it, takes the argument `training`."""
    return any("training" in inner.call_signature_parameters for inner in all_layers([layer]))


def takes_mask(layer: keras.Layer, shapes: Sequence[Sequence[int]]) -> bool:
    """Whether the layer takes the Keras mask of one of its inputs, which have these shapes without the batch axis."""
    names = layer.call_signature_parameters
    return any(map(_has_time, shapes)) and any(name == "mask" or f"{name}_mask" in names for name in names)


def _has_time(shape: Sequence[int]) -> bool:
    """Whether an input of this shape, without its batch axis, has a time axis along which it can be masked."""
    return len(shape) > 1


#: The dtype of the real and imaginary parts of a complex one.
_PARTS = {"complex64": "float32", "complex128": "float64"}


class OfParts(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Makes complex numbers of their real and imaginary parts, which are the last axis.

    A complex input is differentiated as two real ones: TensorFlow's gradient of a real loss L with respect to z is
    dL/dRe z + i dL/dIm z, so that the parts of the gradient are the gradients of the parts.
    """

    def __init__(self) -> None:
        super().__init__(autocast=False)

    def call(self, parts: Any) -> Any:
        """Return one complex number for each pair."""
        return tf.complex(parts[..., 0], parts[..., 1])

    def compute_output_spec(self, parts: Any) -> Any:
        """Return the shape without the last axis."""
        dtype = next(whole for whole, part in _PARTS.items() if part == parts.dtype)
        return keras.KerasTensor(parts.shape[:-1], dtype)


class _Masked(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Returns its input with a mask: the first example is masked entirely, of the others the last step."""

    def __init__(self) -> None:
        super().__init__()
        self.supports_masking = True

    def call(self, inputs: Any) -> Any:
        """Return the input unchanged."""
        return inputs

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:  # noqa: ARG002 - Keras's signature
        """Return a mask of shape (batch, time)."""
        ones = keras.ops.ones_like(inputs[(slice(None), slice(None), *[0] * (len(inputs.shape) - 2))], dtype="int32")
        example, step = keras.ops.cumsum(ones, axis=0), keras.ops.cumsum(ones, axis=1)
        return keras.ops.logical_and(example > 1, step < inputs.shape[1])


def as_layer(target: str, base: Path, kwargs: dict[str, Any], values: Sequence[Any] = ()) -> keras.Layer:
    """Return `target` as a Keras layer; arguments and errors are those of `model`."""
    found = user_code.load(target, base, code="GC051") if ":" in target else None
    if found is None or (inspect.isclass(found) and issubclass(found, keras.Layer)):
        return build_layer(LayerSpec(target=target, kwargs=kwargs), base, target)
    if inspect.isclass(found) or _needs_nothing_but(found, kwargs):
        with user_code.calling("class" if inspect.isclass(found) else "function", target, "GC051", base):
            made = found(**copy.deepcopy(kwargs))
        if inspect.isclass(found) or _is_layer(made):
            return _wrapped(made, target, base)
    return layer_around(found, target, base, kwargs, values)


def layer_around(
    found: Any, target: str, base: Path | None, kwargs: dict[str, Any], values: Sequence[Any] = ()
) -> keras.Layer:
    """Return an object as a layer: a layer, an object with NumPy methods, or a function, each as in `as_layer`."""
    if _is_layer(found):
        if kwargs:
            message = f"{target} is an object already, and takes no arguments. Received: {', '.join(kwargs)}"
            raise RunError(message, code="GC051", help="name its class, or a function that makes it")
        return _wrapped(found, target, base)
    if not callable(found):
        raise _unusable(target, found)
    # A function, no partial: Keras saves it, whatever `found` is, for another engine.
    return FunctionLayer(lambda *tensors: found(*tensors, **kwargs), target, base, values)


def _wrapped(value: Any, target: str, base: Path | None) -> keras.Layer:
    """Return a layer unchanged, or the layer around an object with NumPy methods."""
    if isinstance(value, keras.Layer):
        return value
    if is_numpy_class(value):
        return NumpyLayer(NumpyCode(value, target, base), name=type(value).__name__)
    raise _unusable(target, value)


def _is_layer(value: Any) -> bool:
    return isinstance(value, keras.Layer) or (is_numpy_class(value) and not inspect.isclass(value))


def _unusable(target: str, value: Any) -> RunError:
    message = f"{target} is neither a layer, nor a function, nor a class with NumPy forward and backward"
    return RunError(f"{message}. Received: a {type(value).__name__}", code="GC051")


def _needs_nothing_but(function: Any, kwargs: Mapping[str, Any]) -> bool:
    """Whether a call needs no arguments but `kwargs`: a factory, rather than a function of tensors."""
    if not callable(function) or _is_layer(function):
        return False
    try:
        inspect.signature(function).bind(**kwargs)
    except (TypeError, ValueError):  # arguments are missing, or there is no signature to look at
        return False
    return True


#: The most examples for which a graph contains one call each; beyond it a loop, which is traced faster and runs slower.
_UNROLLED = 8
_FLOAT64_HELP = "finite differences run in float64: write constants as Python numbers, or in the dtype of the input"


class FunctionLayer(keras.Layer):  # type: ignore[misc]  # Keras has no types
    """A plain function of tensors, called on one example after the other, and tried on `values` first."""

    def __init__(self, function: Callable[..., Any], target: str, base: Path | None, values: Sequence[Any]) -> None:
        super().__init__(name=target.rpartition(":")[2].rpartition(".")[2])
        self._function = function
        self._target = target
        self._base = base
        self._values = tuple(values)  # a list would be tracked
        self._signature: Any = None  # of its outputs for one example, known after the trial

    def get_config(self) -> dict[str, Any]:
        """Return what another engine makes its own layer of; see `engines.per_example`."""
        own = {"function": self._function, "target": self._target, "values": [np.asarray(v) for v in self._values]}
        return {**super().get_config(), **own}

    def compute_output_spec(self, *inputs: Any) -> Any:
        """Infer the outputs by an eager call: a trace would refuse Python's own `if` and `while` on tensors."""
        values = self._values or [1] * len(inputs)
        examples = [
            tf.cast(np.broadcast_to(value, (1, *t.shape[1:])), t.dtype) for value, t in zip(values, inputs, strict=True)
        ]
        try:
            with user_code.calling("function", self._target, "GC051", self._base):
                outputs = self.call(*examples)
        except RunError as error:
            if self.compute_dtype == "float64" and error.help is None:
                error.help = _FLOAT64_HELP
            raise
        self._signature = tf.nest.map_structure(lambda t: tf.TensorSpec(t.shape[1:], t.dtype), outputs)
        return tf.nest.map_structure(lambda t: keras.KerasTensor((None, *t.shape[1:]), t.dtype.name), outputs)

    def call(self, *inputs: Any) -> Any:
        """Return the function's outputs for each example, stacked; in a graph it is traced once for many examples."""
        if not tf.executing_eagerly() and int(inputs[0].shape[0]) > _UNROLLED:
            return tf.map_fn(lambda example: self._function(*example), inputs, fn_output_signature=self._signature)
        batch_size = int(inputs[0].shape[0])
        examples = [self._function(*(tensor[i] for tensor in inputs)) for i in range(batch_size)]
        if any(part is None for example in examples for part in tf.nest.flatten(example)):
            raise RunError(f"{self._target} must return a tensor, or several. Received: None", code="GC051")
        return tf.nest.map_structure(lambda *parts: tf.stack([tf.convert_to_tensor(p) for p in parts]), *examples)
