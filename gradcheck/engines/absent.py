"""What stands for TensorFlow where there is none."""

from __future__ import annotations

from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def unwrapped(function: Callable[..., Any], returns_gradient: bool) -> Callable[..., Any]:  # noqa: FBT001 - pickled
    """Return a function without TensorFlow's decorator; of one with a custom gradient the forward pass alone."""
    return (lambda *args, **kwargs: function(*args, **kwargs)[0]) if returns_gradient else function


class Absent:
    """Stands for something of TensorFlow's where there is none: it raises when it is used."""

    def __init__(self, name: str) -> None:
        """`name` is its name in messages."""
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{self._name}.{name}")

    def __call__(self, *args: Any, **_: Any) -> Any:
        """Take `tf.custom_gradient` and `tf.function` as decorators; raise for everything else."""
        decorator = self._name.rpartition(".")[2]
        if decorator in ("custom_gradient", "function") and len(args) == 1 and isinstance(args[0], FunctionType):
            return unwrapped(args[0], decorator == "custom_gradient")
        raise NotImplementedError(f"it calls {self._name}, which is TensorFlow's")

    def __array__(self, *_: Any, **__: Any) -> Any:
        """Raise: it is no tensor here."""
        raise NotImplementedError(f"it uses {self._name}, which is TensorFlow's")
