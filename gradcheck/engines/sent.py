"""A model's code, pickled for a process that has no TensorFlow.

Classes and functions of the user's are sent as they are, and their files are not imported again. What is TensorFlow's
is replaced by a stand-in that raises when it is used, so that code which branches by backend runs.
"""

from __future__ import annotations

import copyreg
import inspect
import io
import sys
from contextlib import ExitStack, contextmanager
from types import FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

import cloudpickle
import keras

from gradcheck.building.messages import described
from gradcheck.building.user_code import is_users
from gradcheck.engines.absent import Absent, unwrapped
from gradcheck.errors import CannotAsk

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What exists with TensorFlow alone. While a model is loaded, functions with a custom gradient are watched.
_TENSORFLOW = ("tensorflow", "keras.src.backend.tensorflow", "gradcheck.custom_gradients")


def packed(content: Any) -> bytes:
    """Pickle `content`.

    Raises:
        CannotAsk: if something in it cannot be pickled.
    """
    buffer = io.BytesIO()
    try:
        with _by_value():
            _Pickler(buffer).dump(content)
    except Exception as error:
        raise CannotAsk(f"its code cannot be handed to another process: {described(error)}") from error
    return buffer.getvalue()


@contextmanager
def _by_value() -> Iterator[None]:
    """Pickle what the user's modules define by its code: another process finds no module of these names."""
    with ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if is_users(name, module) and getattr(module, "__name__", None) == name:
                cloudpickle.register_pickle_by_value(module)
                stack.callback(cloudpickle.unregister_pickle_by_value, module)
        yield


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
    """A pickler of layers' classes and of losses."""

    def reducer_override(self, obj: Any) -> Any:
        """Return how `obj` is made again in a process without TensorFlow."""
        if isinstance(obj, keras.losses.Loss):
            return copyreg.__newobj__, (type(obj),), vars(obj)  # type: ignore[attr-defined]  # typeshed lacks it
        if isinstance(obj, MethodType):
            return getattr, (obj.__self__, obj.__name__)
        if _is_tensorflows(obj):
            function = inspect.unwrap(getattr(obj, "python_function", obj))
            return (Absent, (_name(obj),)) if function is obj else (unwrapped, (function, _has_gradient(obj)))
        return super().reducer_override(obj)


def _is_tensorflows(obj: Any) -> bool:
    """Whether an object exists with TensorFlow alone: a module of it, a class, a function, a tensor."""
    if isinstance(obj, ModuleType):
        return _belongs(obj.__name__)
    if isinstance(obj, FunctionType):  # one under a decorator has the user's name, and TensorFlow's code
        return _belongs(obj.__globals__.get("__name__"))
    return _belongs(obj.__module__ if isinstance(obj, type) else type(obj).__module__)


def _belongs(module: Any) -> bool:
    return isinstance(module, str) and any(module == own or module.startswith(f"{own}.") for own in _TENSORFLOW)


def _name(obj: Any) -> str:
    if isinstance(obj, ModuleType):
        return obj.__name__
    kind = getattr(obj, "__qualname__", None)
    return f"{obj.__module__}.{kind}" if kind else f"a {type(obj).__name__}"


def _has_gradient(obj: Any) -> bool:
    """Whether an object of TensorFlow's around a function of the user's is made by `tf.custom_gradient`."""
    return type(obj).__name__ == "Bind" or getattr(getattr(obj, "__code__", None), "co_name", "") == "decorated"
