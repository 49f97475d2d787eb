"""Tasks, and the interface of those who run them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from gradcheck.config.schema import Placement


class Stage(str):
    """The name of a stage, with how far the task is.

    Attributes:
        done: the number of its steps that are done.
        total: the number of all its steps; 0 if that is not known.
        known: a result that is known since the last stage, kept if the task is interrupted; None if there is none.
    """

    __slots__ = ("done", "known", "total")
    done: int
    total: int
    known: Any

    def __new__(cls, name: str, done: int = 0, total: int = 0, known: Any = None) -> Self:
        """Return the name, with these attributes."""
        stage = super().__new__(cls, name)
        stage.done, stage.total, stage.known = done, total, known
        return stage


@dataclass(frozen=True, kw_only=True)
class Task:
    """Work that may raise, hang or end its process.

    Attributes:
        target: `module:function`. The module is imported where the task runs, so that only a worker needs TensorFlow.
        arguments: those of the function; the last one, that comes after them, takes the name of each stage as it
            begins. Arguments and result are pickled.
        seconds: how long it may take, without loading TensorFlow; None is no limit.
        alone: whether it needs a process that has done nothing before, and leaves it of no use to others.
        servers: addresses of TensorFlow servers that it works with: it fails as soon as one of them does.
    """

    target: str
    arguments: tuple[Any, ...]
    seconds: float | None = None
    alone: bool = False
    servers: tuple[str, ...] = ()

    def placed(self, placement: Placement | None) -> Task:
        """Return the same task for a config with this `placement`: TensorFlow joins a cluster once in a process."""
        return self if placement is None else replace(self, alone=True, servers=placement.cluster)

    def perform(self, stage: Callable[[str], None]) -> Any:
        """Call the function, and return its result."""
        return named(self.target)(*self.arguments, stage)


def named(target: str) -> Callable[..., Any]:
    """Return the function `module:name`."""
    module, _, name = target.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


class Runner(Protocol):
    """Runs tasks, as a context manager: nothing that it started outlives it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def as_finished(self, tasks: Sequence[Task], tell: Callable[[int, str], None] = ...) -> Generator[tuple[int, Any]]:
        """Yield the index and the result of each task, whichever comes first; otherwise as `run`."""
        ...

    def run(self, tasks: Sequence[Task], tell: Callable[[int, str], None] = ...) -> Generator[Any]:
        """Yield the results in the order of `tasks`, each as soon as it is there.

        A task that raised, took too long or ended its process has a GradcheckError as its result, and the others still
        run. Those that have not begun when the iterator is closed never do.

        Args:
            tasks: the work to be done.
            tell: called with the index of a task and the name of each stage that it reaches.
        """
        ...


def silent(*_: Any) -> None:
    """Ignore the event."""
