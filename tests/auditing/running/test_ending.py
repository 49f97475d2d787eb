from __future__ import annotations

import contextlib
import signal
import socket
import threading
import time
from queue import Queue
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from gradcheck.auditing.running.ending import SIGNAL, Stopped, Stopper

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK = 5.0
#: Python prints nothing of a thread that ends by SystemExit; pytest warns.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")


def never() -> NoReturn:
    raise AssertionError("it ended by itself")


def in_a_thread(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function)
    thread.start()
    return thread


def nothing_comes() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.recv(1)


@pytest.mark.parametrize(
    "wait",
    [
        lambda: Queue[int]().get(),
        lambda: Queue[int]().get(timeout=100),
        lambda: time.sleep(100),
        lambda: in_a_thread(lambda: time.sleep(QUICK + 2)).join(),
        lambda: contextlib.ExitStack().enter_context(threading.Semaphore(0)),
        lambda: threading.Event().wait(),
        nothing_comes,
    ],
    ids=["queue", "queue with a timeout", "sleep", "join", "lock", "event", "socket"],
)
def test_another_thread_ends_it_whatever_it_waits_for(wait: Callable[[], Any]) -> None:
    cleaned: list[str] = []
    stopper = Stopper(never)

    def script() -> None:
        in_a_thread(lambda: (time.sleep(0.1), stopper.end()))
        try:
            try:
                wait()
            except Exception:
                cleaned.append("swallowed")
        finally:
            time.sleep(0.05)
            cleaned.append("finally")

    before, start = signal.getsignal(SIGNAL), time.monotonic()
    assert stopper.run(script) is None
    assert stopper.requested
    assert cleaned == ["finally"]
    assert time.monotonic() - start < QUICK
    assert signal.getsignal(SIGNAL) is before


def test_in_its_own_thread_it_is_raised() -> None:
    stopper = Stopper(never)
    reached: list[str] = []

    def script() -> None:
        with pytest.raises(Stopped):
            stopper.end()
        reached.append("swallowed")
        stopper.end()
        reached.append("not reached")

    assert stopper.run(script) is None
    assert reached == ["swallowed"]


def test_cleaning_up_is_not_interrupted() -> None:
    stopper = Stopper(never)
    cleaned = []
    known = threading.Event()

    class Resource:
        def __enter__(self) -> None: ...

        def __exit__(self, *_: object) -> None:
            stopper.end()
            cleaned.append("exit")

    def other() -> None:
        known.wait()  # a thread that is started has a name only afterwards
        for _ in range(20):
            with contextlib.suppress(SystemExit):
                stopper.end()
            time.sleep(0.02)

    def script() -> None:
        try:
            with Resource():
                thread = in_a_thread(other)
                known.set()
                thread.join()
        finally:
            try:
                int("no number")
            except ValueError:
                thread.join()
                cleaned.append("finally")

    assert stopper.run(script) is None
    assert cleaned == ["exit", "finally"]


def test_the_other_thread_goes_on_once_and_ends_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    stopper = Stopper(never)
    steps = []

    def work() -> None:
        for step in range(3):
            steps.append(step)
            stopper.end()

    def script() -> None:
        thread = in_a_thread(work)
        try:
            time.sleep(100)
        finally:
            thread.join()

    assert stopper.run(script) is None
    assert steps == [0, 1]
    assert capfd.readouterr().err == ""


def test_where_nothing_can_be_interrupted_the_thread_that_asks_ends() -> None:
    results: list[Any] = []

    def elsewhere() -> None:
        stopper = Stopper(never)
        steps = []

        def work() -> None:
            steps.append("before")
            stopper.end()
            steps.append("not reached")

        results.append(stopper.run(lambda: in_a_thread(work).join()))
        results.append(steps)

    in_a_thread(elsewhere).join()
    assert results == [None, ["before"]]


@pytest.mark.parametrize("error", [ValueError("mine"), SystemExit(2), RecursionError("deep")], ids=repr)
def test_what_it_raises_is_returned(error: BaseException) -> None:
    def script() -> None:
        raise error

    assert Stopper(never).run(script) is error


def test_what_the_end_leads_to_is_no_error() -> None:
    stopper = Stopper(never)

    def script() -> None:
        try:
            stopper.end()
        finally:
            raise OSError("closed already")

    assert stopper.run(script) is None


def test_an_interruption_is_one() -> None:
    def script() -> None:
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        Stopper(never).run(script)


TRAINS_IN_A_THREAD = """
    import atexit, queue, sys, threading, time
    from gradcheck.auditing.watch import update

    def serve():
        while True:
            update()
            time.sleep(0.02)

    def wait_for_ever():
        queue.Queue().get()

    atexit.register(print, "registered")
    threading.Thread(target=serve, daemon="daemon" in sys.argv).start()
    try:
        queue.Queue().get()
    finally:
        print("finally")
        if "waiting" in sys.argv:
            threading.Thread(target=wait_for_ever).start()
        if "hanging" in sys.argv:
            wait_for_ever()
"""


@pytest.mark.parametrize(
    ("argument", "shortest", "longest"), [("", 0, 3), ("daemon", 0, 3), ("waiting", 2, 6), ("hanging", 10, 14)]
)
def test_threads_do_not_keep_the_command(
    audit: Callable[..., Any], argument: str, shortest: float, longest: float
) -> None:
    start = time.monotonic()
    done = audit(TRAINS_IN_A_THREAD, "--format", "json", "train.py", argument)
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("finally\n") == done.stderr.count("registered\n") == 1
    assert '"verdict": "pass"' in done.stdout
    assert done.stdout.endswith("}\n")
    assert "Traceback" not in done.stderr
    assert shortest <= seconds <= longest + 3
    assert ("10 s after the last update that was watched the script was still busy" in done.stdout) == (
        argument == "hanging"
    )
    if argument == "hanging":
        assert "at train.py:11" in done.stdout


def test_processes_do_not_keep_the_command(audit: Callable[..., Any]) -> None:
    script = """
        import multiprocessing, time
        from gradcheck.auditing.watch import update

        ours, theirs = multiprocessing.Pipe()
        child = multiprocessing.get_context("fork").Process(target=theirs.recv)
        child.start()
        while True:
            update()
    """
    start = time.monotonic()
    assert audit(script).returncode == 0
    assert time.monotonic() - start < 8


def test_a_script_of_threads_runs_to_its_end(audit: Callable[..., Any]) -> None:
    script = """
        import concurrent.futures, threading, time
        from gradcheck.auditing.watch import update

        def later():
            time.sleep(0.5)
            update()
            threading.Thread(target=lambda: (time.sleep(0.2), update(), print("last"))).start()

        threading.Thread(target=later).start()
        concurrent.futures.ThreadPoolExecutor().submit(print, "pooled")
        print("the end of the file")
    """
    done = audit(script, "--steps", "all", "--format", "json", "train.py")
    assert done.returncode == 0
    assert done.stderr.index("the end of the file") < done.stderr.index("last") < done.stderr.index("1 script:")
    assert '"steps": 2' in done.stdout
