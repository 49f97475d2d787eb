"""A user's class with NumPy `forward` and `backward`: the interface that it must have, and the calls of it.

    class MatMul:                                     # y = x · Wᵀ
        def __init__(self, units):
            self.units = units

        def weights(self, input_shape):               # or an attribute: weights = {"W": (3, 4)}
            return {"W": (self.units, input_shape[-1])}

        def forward(self, x):
            self.x = x                                # what backward needs
            return x @ self.W.T

        def backward(self, dy):
            return dy @ self.W, {"W": dy.T @ self.x}  # without weights: dx alone

- `weights` maps names to a shape (a tuple; the initial value is random) or to an array, the initial value. It is a
  mapping, or a method that takes the shape of each input, with None for the batch axis. It may be left out.
- `forward` takes one array for each input, the batch first, and returns one array. Each weight is an attribute.
- `backward` takes dLoss/dy and returns dLoss/dx (a tuple for several inputs); where there are weights a pair of that
  and a mapping of names to dLoss/dweight.

Arrays have the precision that is checked, and are read-only. Every call works on a copy of the object: values that
`forward` saves on `self` exist in the `backward` of the same call only, so that a layer may be called twice.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradcheck.building import user_code
from gradcheck.config.keyed import KeyedRunError
from gradcheck.phrases import listed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

Array: TypeAlias = NDArray[Any]
#: The shape of an input; None for an axis of any length.
Shape: TypeAlias = tuple[int | None, ...]

_BACKWARD_HELP = "return dx, or dx, {name: gradient} where the class has weights; dx is a tuple for several inputs"


def is_numpy_class(value: Any) -> bool:
    """Whether `value`, a class or an object, has the methods `forward` and `backward`."""
    return all(callable(getattr(value, method, None)) for method in ("forward", "backward"))


class NumpyCode:
    """An object of the user's class, which is copied for every call and never changed.

    Args:
        template: the object.
        reference: the name that its class was loaded by, for messages.
        base: the folder of the config: modules beside it can be imported while the code runs; None for no folder.
    """

    def __init__(self, template: Any, reference: str, base: Path | None) -> None:
        if not is_numpy_class(template):
            message = f"numpy_layer {reference} needs the methods forward(x) and backward(dy)"
            raise KeyedRunError(f"{message}. Received: a {type(template).__name__}", code="GC051")
        self.name = type(template).__name__
        self._template = template
        self._reference = reference
        self._base = base
        self._weights: tuple[str, ...] = ()

    def weights(self, shapes: Sequence[Shape]) -> dict[str, tuple[tuple[int, ...], Array | None]]:
        """Return shape and initial value (None for a random one) of every weight, for inputs of these shapes.

        Raises:
            RunError: GC051 if the class raises, or its declaration is not as described above.
        """
        declared = getattr(self._template, "weights", {})
        if callable(declared):
            with user_code.calling("weights of", self._reference, "GC051", self._base):
                declared = declared(*shapes)
        if not isinstance(declared, Mapping):
            raise self._unusable(f"weights must be a mapping of names to shapes or arrays. Received: {declared!r}")
        found = {str(name): self._start(name, value) for name, value in declared.items()}
        self._weights = tuple(found)
        return found

    def _start(self, name: Any, value: Any) -> tuple[tuple[int, ...], Array | None]:
        if isinstance(value, (np.ndarray, float)):
            array = np.asarray(value)
            return array.shape, array
        if isinstance(value, (tuple, list)) and all(isinstance(n, (int, np.integer)) for n in value):
            return tuple(int(n) for n in value), None
        raise self._unusable(f"weight {name} must be a shape (a tuple of integers) or an array. Received: {value!r}")

    def forward(self, arrays: Sequence[Array], dtype: Any) -> tuple[Array, bytes]:
        """Return the output in `dtype`, and the values that the call saved for its backward pass.

        Args:
            arrays: the inputs, then the weights in their order.
            dtype: of the output.

        Raises:
            RunError: GC053 if forward raises, returns no numeric array, or saves values that cannot be pickled.
        """
        call, inputs = self._copy(arrays)
        with self._calling("forward", "GC053"):
            output = call.forward(*inputs)
        array = _numbers(output)
        if array is None:
            raise self._unusable(f"forward must return one array of numbers. Received: {_kind(output)}", "GC053")
        return np.array(array, dtype), self._saved(call)

    def backward(self, dy: Array, saved: bytes, arrays: Sequence[Array]) -> list[Array | None]:
        """Return the gradient of each of `arrays`, in its shape and dtype; None where backward returned None.

        Args:
            dy: dLoss/dOutput.
            saved: the second value that `forward` returned.
            arrays: the arrays that `forward` took.

        Raises:
            RunError: GC053 if backward raises; GC604 for a gradient that is missing or has the wrong shape.
        """
        call, inputs = self._copy(arrays)
        vars(call).update(pickle.loads(saved))  # noqa: S301 - made by `forward` in this process
        with self._calling("backward", "GC053"):
            returned = call.backward(_locked(dy))
        gradients = self._ordered(returned, len(inputs))
        return [self._fitted(*triple) for triple in zip(self.names(len(arrays)), gradients, arrays, strict=True)]

    def names(self, count: int) -> list[str]:
        """Return the names of `count` inputs and weights in messages."""
        inputs = count - len(self._weights)
        return [*(["x"] if inputs == 1 else [f"x{i}" for i in range(inputs)]), *self._weights]

    @property
    def backward_method(self) -> Any:
        """The user's own method."""
        return type(self._template).backward

    def _copy(self, arrays: Sequence[Array]) -> tuple[Any, list[Array]]:
        """Return a copy of the object with its weights, and the inputs."""
        call = copy.deepcopy(self._template)
        locked = [_locked(array) for array in arrays]
        count = len(locked) - len(self._weights)
        vars(call).update(zip(self._weights, locked[count:], strict=True))
        return call, locked[:count]

    def _saved(self, call: Any) -> bytes:
        """Return the attributes that forward has set on `call`, which differ from the template's.

        As bytes they can be a tensor, which passes through graphs and loops and is freed with the other tensors of its
        call.
        """
        missing = object()
        before = vars(self._template)
        new = {k: v for k, v in vars(call).items() if k not in self._weights and v is not before.get(k, missing)}
        try:
            return pickle.dumps(new)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            message = f"what forward saves on self ({listed(new)}) cannot be kept for backward: {error}"
            raise self._unusable(message, "GC053", "save arrays and numbers, not functions") from error

    def _ordered(self, returned: Any, inputs: int) -> list[Any]:
        """Return backward's result as a list: inputs, then weights."""
        of_inputs, of_weights = returned, {}
        if self._weights:
            pair = isinstance(returned, tuple) and len(returned) == 2  # noqa: PLR2004 - a pair
            if not pair or not isinstance(returned[1], Mapping):
                shown = f"Received: {_kind(returned)}"
                message = f"backward must return dx and a mapping of {listed(self._weights)}. {shown}"
                raise self._unusable(message, "GC604", _BACKWARD_HELP)
            of_inputs, of_weights = returned
        if set(of_weights) != set(self._weights):
            message = f"backward must return gradients of {listed(self._weights)}. Received: {listed(of_weights)}"
            raise self._unusable(message, "GC604", _BACKWARD_HELP)
        listed_inputs = [of_inputs] if inputs == 1 else of_inputs
        if not isinstance(listed_inputs, (list, tuple)) or len(listed_inputs) != inputs:
            message = f"backward must return a tuple of {inputs} gradients for the inputs. Received: {_kind(of_inputs)}"
            raise self._unusable(message, "GC604", _BACKWARD_HELP)
        return [*listed_inputs, *(of_weights[name] for name in self._weights)]

    def _fitted(self, name: str, gradient: Any, like: Array) -> Array | None:
        """Return `gradient` in the dtype of the array that it belongs to."""
        if gradient is None:
            return None
        array = _numbers(gradient)
        if array is None or array.shape != like.shape:
            received = _kind(gradient) if array is None else f"one of shape {array.shape}"
            message = f"the gradient of {name} must have its shape {like.shape}. Received: {received}"
            raise self._unusable(message, "GC604", "a gradient has the shape of what it belongs to")
        return array.astype(like.dtype)

    def _calling(self, method: str, code: str) -> AbstractContextManager[None]:
        return user_code.calling(f"{method} of", self._reference, code, self._base)

    def _unusable(self, message: str, code: str = "GC051", help_: str | None = None) -> KeyedRunError:
        return KeyedRunError(f"numpy_layer {self._reference}: {message}", code=code, help=help_)


def _locked(array: Array) -> Array:
    """Return a read-only view: in a graph the array is TensorFlow's own memory."""
    view = array.view()
    view.flags.writeable = False
    return view


def _numbers(value: Any) -> Array | None:
    """Return `value` as an array of real numbers; None if it is none."""
    try:
        array = np.asarray(value)
    except ValueError:  # lists of several lengths
        return None
    return array if array.dtype.kind in "fiub" or array.dtype.name == "bfloat16" else None


def _kind(value: Any) -> str:
    """Describe a received value in brief."""
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"
