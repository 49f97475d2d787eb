"""What the workers of these tests are given to do."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck.errors import ConfigErrors, Location, Mistake
from gradcheck.workers.task import Stage as Counted

if TYPE_CHECKING:
    from collections.abc import Callable

    Stage = Callable[[str], None]


def process_after(seconds: float, stage: Stage) -> int:
    stage("asleep")
    time.sleep(seconds)
    stage("awake")
    return os.getpid()


def counts(stage: Stage) -> None:
    for done in range(3):
        stage(Counted("at work", done, 3, {"found": done}))


def returned(value: Any, _: Stage) -> Any:
    return value


def unpicklable(_: Stage) -> Any:
    return lambda: None


def exits(status: int, stage: Stage) -> None:
    stage("leaving")
    os._exit(status)


def is_killed(number: int, _: Stage) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def reads_nothing(_: Stage) -> None:
    ctypes.string_at(0)


def closes_everything(_: Stage) -> None:
    os.closerange(0, 100)
    time.sleep(60)


def raises(_: Stage) -> None:
    raise ValueError("mine")


def raises_an_interrupt(_: Stage) -> None:
    raise KeyboardInterrupt


def leaves(_: Stage) -> None:
    sys.exit(0)


def raises_two_mistakes(_: Stage) -> None:
    place = Location(path=Path("a.yaml"), line=3, column=2, length=4, excerpt=" keys: 1")
    raise ConfigErrors([Mistake(code="GC003", message="one").at(place), Mistake(code="GC004", message="two")])


def loops(_: Stage) -> None:
    while True:
        pass


def catches_everything(_: Stage) -> None:
    while True:
        try:
            time.sleep(0.01)
        except BaseException:
            pass


def holds_the_interpreter(_: Stage) -> None:
    ctypes.PyDLL(None).sleep(60)


def cleans_up(marker: str, _: Stage) -> None:
    try:
        time.sleep(60)
    finally:
        Path(marker).touch()


def starts_a_thread(stage: Stage) -> int:
    threading.Thread(target=time.sleep, args=(60,)).start()
    return process_after(0, stage)


def forks_a_process_that_leaves(_: Stage) -> int:
    child = os.fork()
    if child == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def starts_a_process(marker: str, _: Stage) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(marker).write_text(str(child.pid), encoding="utf-8")
    loops(_)


def prints(_: Stage) -> None:
    print("by python")  # noqa: T201 - which is what is tried
    os.write(1, b"by descriptor\n")


def imported(_: Stage) -> bool:
    return "tensorflow" in sys.modules


def ctrl_c(_: Stage) -> str:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.2)
    return "went on"
