"""One line of progress on standard error: what is being done, how much of all is done, and the time left."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from gradcheck.cli.terminal.options import settings
from gradcheck.reporters.parts.text import inline
from gradcheck.workers.task import Stage, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The speed, of which the time left is a guess, is that of so many seconds.
_SECONDS = 300.0


@contextlib.contextmanager
def progress(tasks: int) -> Iterator[Callable[[int, str, str], None]]:
    """Show one line if standard error is a terminal, and nothing otherwise.

    Yields:
        Takes the index of one of so many `tasks`, its name, and the stage that it has reached. A task counts as much as
        any other, and as far as its stages say how much of it is done.
    """
    if not tasks or settings().quiet or not sys.stderr.isatty():
        yield silent
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.markup import escape  # noqa: PLC0415 - as above
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn  # noqa: PLC0415
    from rich.table import Column  # noqa: PLC0415 - as above

    done = dict[int, float]()
    shown = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        TextColumn("{task.fields[count]}"),
        BarColumn(bar_width=12),
        TimeRemainingColumn(compact=True),
        TextColumn("left"),
        console=Console(stderr=True, no_color=not settings().colored()),
        speed_estimate_period=_SECONDS,
        transient=True,
        expand=True,
    )
    with shown:
        line = shown.add_task("loading TensorFlow", total=tasks, count="")

        def tell(index: int, name: str, stage: str) -> None:
            count = ""
            if isinstance(stage, Stage) and stage.total:
                count = f"{stage.done} of {stage.total}" if stage.total > 1 else ""
                done[index] = stage.done / stage.total
            shown.update(line, description=escape(inline(f"{name}{stage}")), count=count, completed=sum(done.values()))

        yield tell
