"""The functions that a script registers with `atexit`."""

from __future__ import annotations

import atexit
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from typing_extensions import Self


class ExitHandlers:
    """Keeps what is registered with `atexit` inside, to be called while the script's surroundings are still there."""

    def __init__(self) -> None:
        self._registered: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = []

    def __enter__(self) -> Self:
        self._functions = atexit.register, atexit.unregister
        atexit.register, atexit.unregister = self._register, self._unregister
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put `atexit` back and call what has not been called."""
        self.run()
        atexit.register, atexit.unregister = self._functions

    def run(self) -> None:
        """Call each function once, the last one that was registered first; what they raise is printed, as in Python."""
        while self._registered:
            function, arguments, keywords = self._registered.pop()
            try:
                function(*arguments, **keywords)
            except BaseException as error:  # noqa: BLE001 - as Python: the next one is called
                about = {"err_msg": "Exception ignored in atexit callback", "object": function}
                trace = {"exc_type": type(error), "exc_value": error, "exc_traceback": error.__traceback__}
                sys.unraisablehook(SimpleNamespace(**about, **trace))

    def _register(self, func: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
        self._registered.append((func, args, kwargs))
        return func

    def _unregister(self, func: Callable[..., Any], /) -> None:
        self._registered = [entry for entry in self._registered if entry[0] != func]
        self._functions[1](func)
