"""This process's side: engines that are installed, and their processes, which are kept for the next question."""

from __future__ import annotations

import atexit
import os
from functools import cache
from importlib.util import find_spec
from threading import Lock
from typing import TYPE_CHECKING, Any

from gradcheck.errors import CannotAsk, ConfigError, GradcheckError
from gradcheck.phrases import suggestion
from gradcheck.workers.pool import Workers
from gradcheck.workers.task import Task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.engines.question import Answer, FunctionCall, Numbers

#: Engines by the name of their package, which is that of Keras's backend and of the method.
TITLES = {"jax": "JAX", "torch": "PyTorch"}
_ONE_AT_A_TIME = Lock()


def is_installed(engine: str) -> bool:
    """Whether the engine's package is there; it is not imported."""
    return find_spec(engine) is not None


def require(engine: str, needed_by: str = "") -> None:
    """Raise ConfigError if there is no such engine, or it is not installed. `needed_by` is who asks."""
    if engine not in TITLES:
        help_ = suggestion(engine, TITLES, "Known engines")
        raise ConfigError(f"there is no engine {engine}", code="GC032", help=help_)
    if not is_installed(engine):
        raise ConfigError(
            f"{needed_by or f'method {engine}'} needs {TITLES[engine]}, which is not installed",
            code="GC032",
            help=f"pip install {engine}",
        )


def awaited(engine: str) -> None:
    """Start the engine's process, to be ready when it is asked."""
    if os.name == "posix" and is_installed(engine):
        _process(engine)


def asked(engine: str, subject: bytes, numbers: Numbers, *, seconds: float | None = None) -> Answer:
    """Return what the engine answers.

    Args:
        engine: its name.
        subject: the pickled `Subject`.
        numbers: values and batch.
        seconds: how long it may take, without its start; None is no limit.

    Raises:
        CannotAsk: if it cannot run the model, or no process can be started here.
        RunError: GC057 if it takes too long, GC060 if its process ends.
        ConfigError: if it is not installed.
    """
    require(engine)
    answer: Answer = _told(engine, "answer", (subject, numbers), seconds)
    return answer


def called(engine: str, call: FunctionCall, *, seconds: float | None = None) -> list[Any]:
    """Return the outputs of a function of the user's, or of a VJP of it; otherwise as `asked`.

    Raises:
        KeyedError: GC028 if there is no such function.
        RunError: GC051 if it raises, or is no function of arrays.
    """
    require(engine, call.target)
    outputs: list[Any] = _told(engine, "call", (call,), seconds)
    return outputs


def swept(engine: str, question: bytes, values: Sequence[Any], *, seconds: float | None = None) -> list[Any]:
    """Return the scalar of a call that is swept, a pickled `SweptQuestion`, and its derivatives; else as `asked`."""
    found: list[Any] = _told(engine, "sweep", (question, list(values)), seconds)
    return found


def _told(engine: str, what: str, arguments: tuple[Any, ...], seconds: float | None) -> Any:
    """Return what a function of `answering` returns in the engine's process."""
    if os.name != "posix":
        raise CannotAsk("no other process can be started on this system")
    task = Task(target=f"gradcheck.engines.answering:{what}", arguments=(engine, *arguments), seconds=seconds)
    with _ONE_AT_A_TIME:  # a compiled function asks from a thread of its own
        (result,) = _process(engine).run([task])
    if isinstance(result, GradcheckError):
        if result.code == "GC057":  # no command has an option for it
            result.help = "take a smaller model or batch; the methods jax and torch have an option `timeout`"
        raise result
    return result


@cache
def _process(engine: str) -> Any:
    pool = Workers(begin=("gradcheck.engines.answering:begin", engine)).__enter__()
    atexit.register(pool.__exit__, None, None, None)
    return pool
