"""Replacing attributes of TensorFlow and Keras for a while."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class Patches:
    """The replaced attributes, and what they were."""

    _before: list[tuple[Any, str, Any]] = field(default_factory=list)

    def wrap(self, holder: Any, name: str, around: Callable[..., Any]) -> None:
        """Replace a function by one that calls `around(original, *args, **kwargs)`."""
        original = vars(holder)[name]

        @wraps(original)
        def replaced(*args: Any, **kwargs: Any) -> Any:
            return around(original, *args, **kwargs)

        self.put(holder, name, replaced)

    def put(self, holder: Any, name: str, value: Any) -> None:
        """Replace an attribute."""
        self._before.append((holder, name, vars(holder)[name]))
        setattr(holder, name, value)

    def undo(self) -> None:
        """Put everything back."""
        while self._before:
            setattr(*self._before.pop())
