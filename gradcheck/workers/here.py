"""Tasks in this process, one after the other, without limits of time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.workers.failures import understood
from gradcheck.workers.output import quiet_tensorflow, user_output_to_stderr
from gradcheck.workers.task import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from types import TracebackType

    from typing_extensions import Self

    from gradcheck.workers.task import Task


class Here:
    """Runs tasks where it is called from."""

    def __init__(self, *, verbose: bool = False) -> None:
        """With `verbose` show TensorFlow's start-up chatter."""
        self._verbose = verbose

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: nothing was started."""

    def as_finished(
        self, tasks: Sequence[Task], tell: Callable[[int, str], None] = silent
    ) -> Generator[tuple[int, Any]]:
        """Yield the index and the result of each task, in order."""
        yield from enumerate(self.run(tasks, tell))

    def run(self, tasks: Sequence[Task], tell: Callable[[int, str], None] = silent) -> Generator[Any]:
        """Yield the results in order."""
        for index, task in enumerate(tasks):
            yield self._one(task, partial(tell, index))

    def _one(self, task: Task, stage: Callable[[str], None]) -> Any:
        with user_output_to_stderr():
            try:
                stage("loading TensorFlow")
                quiet_tensorflow(verbose=self._verbose)
                return task.perform(stage)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - the task's result, whatever it is
                return understood(error)
