from __future__ import annotations

import io
import sys
import time
from typing import TYPE_CHECKING

import click
import pytest

from gradcheck.cli.terminal.options import Settings
from gradcheck.cli.terminal.progress import progress
from gradcheck.workers.task import Stage

if TYPE_CHECKING:
    from collections.abc import Callable


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What a terminal of 80 columns shows of stages, given as the number of tasks and the arguments of each call."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")

    def show(tasks: int, *stages: tuple[int, str, str], stream: io.StringIO | None = None, quiet: bool = False) -> str:
        stream = Terminal() if stream is None else stream
        monkeypatch.setattr(sys, "stderr", stream)
        with click.Context(click.Command("run"), obj=Settings(quiet=quiet, color="never")), progress(tasks) as tell:
            for stage in stages:
                tell(*stage)
            time.sleep(0.3)  # it is drawn ten times in a second
        return stream.getvalue()

    return show


def test_a_stage_says_how_much_is_done(shown: Callable[..., str]) -> None:
    text = shown(1, (0, "a.yaml: ", Stage("GC101 at boundary 0", 39, 421)))
    assert "a.yaml: GC101 at boundary 0" in text
    assert "39 of 421" in text
    assert "left" in text


def test_a_long_stage_is_shortened_and_acts_on_nothing(shown: Callable[..., str]) -> None:
    text = shown(1, (0, "[1/2] [red]x[/red]\x1b[31m: ", "stage " * 30))
    assert "[red]x[/red]\\x1b[31m: stage" in text
    assert "…" in text
    assert "\x1b[31m" not in text


@pytest.mark.parametrize(("tasks", "options"), [(1, {"stream": io.StringIO()}), (1, {"quiet": True}), (0, {})])
def test_nothing_off_a_terminal_or_when_quiet_or_idle(
    shown: Callable[..., str], tasks: int, options: dict[str, object]
) -> None:
    assert shown(tasks, (0, "a.yaml: ", "building"), **options) == ""


def test_tasks_add_up(shown: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever begins and ends first: one that says nothing of how much is done is done when it ends."""
    completed: list[float] = []
    monkeypatch.setattr("rich.progress.Progress.update", lambda _, __, **fields: completed.append(fields["completed"]))
    stages = [(0, "building"), (1, "building"), (1, Stage("vjp", 1, 2)), (3, Stage("vjp", 1, 4)), (0, Stage("", 1, 1))]
    shown(4, *((index, "", stage) for index, stage in stages))
    assert completed == [0, 0, 0.5, 0.75, 1.75]
