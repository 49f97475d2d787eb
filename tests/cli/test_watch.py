"""`gradcheck run --watch`: a config is run again after each change, whatever was wrong with it before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from queue import Empty, Queue
from typing import TYPE_CHECKING

import click
import pytest
import watchfiles

from gradcheck.cli.terminal.rerun import watched
from gradcheck.errors import ConfigErrors, ExitCode, Mistake
from tests.cli.interruptions import CONFIG, INTERRUPTIBLE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BROKEN = CONFIG.replace("after: [first]", "aftr: [first]")


@pytest.fixture
def context() -> Iterator[None]:
    with click.Context(click.Command("run")):
        yield


def changing(monkeypatch: pytest.MonkeyPatch, count: int) -> list[tuple[object, ...]]:
    """Replaces the watch by one that sees `count` changes; returns what it was asked to watch."""
    asked: list[tuple[object, ...]] = []

    def watch(*folders: object, **_: object) -> Iterator[object]:
        asked.append(folders)
        yield from range(count)

    monkeypatch.setattr(watchfiles, "watch", watch)
    return asked


@pytest.mark.usefixtures("context")
class TestRunsAgain:
    def test_after_each_change_and_after_an_error(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        asked = changing(monkeypatch, 2)
        mistake = Mistake(code="GC001", message="there is no such file")
        outcomes: list[int | Exception] = [0, ConfigErrors([mistake]), 1]

        def once() -> int:
            outcome = outcomes.pop(0)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        assert watched([tmp_path / "a.yaml", tmp_path], once) == 130
        assert outcomes == []
        assert asked == [(tmp_path,)]
        told = capsys.readouterr().err
        assert told.count("changed, running again") == 2
        assert "error[GC001]: there is no such file" in told

    @pytest.mark.parametrize("at", [0, 1])
    def test_an_interrupted_run_is_the_last(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, at: int) -> None:
        changing(monkeypatch, 5)
        runs: list[int] = []

        def once() -> int:
            runs.append(0)
            return ExitCode.INTERRUPTED if len(runs) > at else ExitCode.OK

        assert watched([tmp_path], once) == 130
        assert len(runs) == at + 1


@pytest.mark.on_request
def test_an_edit_a_mistake_and_its_repair(tmp_path: Path) -> None:
    config = tmp_path / "a.yaml"
    config.write_text(CONFIG, encoding="utf-8")
    command = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "run", "a.yaml", "--watch", "--format", "concise"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GRADCHECK_WORKERS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    lines: Queue[str] = Queue()
    assert command.stdout is not None
    threading.Thread(target=lambda: [lines.put(line) for line in command.stdout or ()], daemon=True).start()
    try:
        assert "pass vjp: 4/4 weights match" in told(lines, "1 config: 1 passed")
        edits = [
            (CONFIG + "methods: [naive]\n", "FAIL naive: 2/4 weights match", "1 config: 1 failed"),
            (BROKEN, "error[GC003]: unknown key `aftr`", "1 config: 1 in error"),
            (CONFIG, "pass vjp: 4/4 weights match", "1 config: 1 passed"),
        ]
        for text, expected, last in edits:
            time.sleep(0.5)  # a watch begins a moment after the summary
            config.write_text(text, encoding="utf-8")
            assert expected in told(lines, last)
        command.send_signal(signal.SIGINT)
        assert command.wait(timeout=30) == 130
    finally:
        command.kill()
        command.wait()


def told(lines: Queue[str], last: str) -> str:
    """What is printed up to the line that begins with `last`."""
    found = ""
    while not found.rpartition("\n")[0].rpartition("\n")[2].startswith(last):
        try:
            found += lines.get(timeout=120)
        except Empty:
            pytest.fail(f"no line {last!r} in\n{found}")
    return found
