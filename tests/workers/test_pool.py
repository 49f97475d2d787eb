from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.errors import ConfigErrors, GradcheckError
from gradcheck.workers import Task, result_of, workers
from gradcheck.workers.pool import Workers
from gradcheck.workers.task import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


def task(name: str, *arguments: Any, seconds: float | None = None) -> Task:
    return Task(target=f"tests.workers.jobs:{name}", arguments=arguments, seconds=seconds)


@pytest.fixture(scope="module")
def shared() -> Iterator[Workers]:
    with Workers(tensorflow=False) as pool:
        yield pool


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    # A process that has ended and was inherited by one that does not wait for it is gone, whatever its number says.
    return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


def gone_soon(process: int) -> bool:
    until = time.monotonic() + 5
    while alive(process) and time.monotonic() < until:
        time.sleep(0.05)
    return not alive(process)


def line_of(function: str) -> int:
    """The number of the first line of `function` that does more than tell its stage."""
    lines = (ROOT / "tests/workers/jobs.py").read_text(encoding="utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"def {function}("))
    return next(i for i, line in enumerate(lines, 1) if i > start + 1 and "stage(" not in line)


class TestStages:
    def test_one_says_how_far_the_task_is_and_what_is_known(self, shared: Workers) -> None:
        told: list[tuple[int, str]] = []
        assert list(shared.run([task("counts")], lambda *stage: told.append(stage))) == [None]
        assert told == [(0, "at work")] * 3
        assert [(stage.done, stage.total, stage.known) for _, stage in told if isinstance(stage, Stage)] == [
            (done, 3, {"found": done}) for done in range(3)
        ]


class TestResults:
    def test_they_come_in_order_whoever_is_first(self) -> None:
        with Workers(2, tensorflow=False) as pool:
            slow, quick, last = pool.run([task("process_after", s) for s in (0.5, 0.0, 0.0)])
        assert quick == last != slow

    def test_they_come_as_they_are_finished_where_that_is_asked_for(self) -> None:
        with Workers(2, tensorflow=False) as pool:
            found = pool.as_finished([task("process_after", s) for s in (30.0, 0.0)])
            assert next(found)[0] == 1
            found.close()
            assert [process.gone for process in pool._processes] == [True, False]

    def test_one_process_serves_all_that_end_well(self, shared: Workers) -> None:
        assert len(set(shared.run([task("process_after", 0) for _ in range(3)]))) == 1

    def test_there_are_no_more_processes_than_work(self) -> None:
        with Workers(8, tensorflow=False) as pool:
            assert list(pool.run([task("returned", 1)])) == [1]
            assert len(pool._processes) == 1

    def test_stages_are_told_with_the_index(self, shared: Workers) -> None:
        told: list[tuple[int, str]] = []
        list(shared.run([task("returned", 0), task("process_after", 0)], lambda *event: told.append(event)))
        assert told == [(1, "asleep"), (1, "awake")]

    @pytest.mark.parametrize("size", [10, 10_000_000])
    def test_values_of_any_size(self, shared: Workers, size: int) -> None:
        assert result_of(shared, task("returned", "x" * size)) == "x" * size

    def test_what_is_printed_goes_to_standard_error(self, capfd: pytest.CaptureFixture[str]) -> None:
        with Workers(tensorflow=False) as pool:
            result_of(pool, task("prints"))
        assert capfd.readouterr() == ("", "by python\nby descriptor\n")

    def test_nothing_is_imported_unasked(self, shared: Workers) -> None:
        assert result_of(shared, task("imported")) is False

    def test_the_working_directory_is_not_searched(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "pickle.py").write_text("raise SystemExit('hostile')", encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", [path or str(ROOT) for path in sys.path])
        with Workers(tensorflow=False) as pool:
            assert result_of(pool, task("returned", 1)) == 1


class TestFailures:
    def failure(self, pool: Workers, name: str, *arguments: Any, seconds: float | None = None) -> GradcheckError:
        """The error of one task, behind which another one still has its result."""
        error, after = pool.run([task(name, *arguments, seconds=seconds), task("returned", "after")])
        assert after == "after"
        assert isinstance(error, GradcheckError), error
        return error

    @pytest.mark.parametrize(
        ("name", "arguments", "how", "located"),
        [
            ("exits", (0,), "ended itself with exit code 0", True),
            ("exits", (3,), "ended itself with exit code 3", True),
            ("reads_nothing", (), "was ended by SIGSEGV", True),
            ("is_killed", (signal.SIGABRT,), "was ended by SIGABRT", True),
            ("is_killed", (signal.SIGKILL,), "was ended by SIGKILL", False),
            ("is_killed", (signal.SIGRTMIN + 1,), f"was ended by signal {signal.SIGRTMIN + 1}", False),
            ("closes_everything", (), "has closed its connection", False),
        ],
    )
    def test_a_process_that_ends(
        self, shared: Workers, name: str, arguments: tuple[int, ...], how: str, located: bool
    ) -> None:
        error = self.failure(shared, name, *arguments)
        assert (error.code, error.exit_code) == ("GC060", 3)
        assert how in error.message
        assert (error.location is not None) is located
        if error.location is not None:
            assert (error.location.path.name, error.location.line) == ("jobs.py", line_of(name))

    def test_the_stage_is_told(self, shared: Workers) -> None:
        assert self.failure(shared, "exits", 0).message.endswith("at the stage: leaving")

    def test_a_process_that_was_forked_may_leave(self, shared: Workers) -> None:
        assert result_of(shared, task("forks_a_process_that_leaves")) == 7
        assert self.failure(shared, "is_killed", signal.SIGKILL).location is None

    @pytest.mark.parametrize(
        ("name", "code", "message"),
        [
            ("raises", "GC050", "ValueError: mine"),
            ("raises_an_interrupt", "GC053", "KeyboardInterrupt"),
            ("leaves", "GC050", "SystemExit: 0"),
            ("unpicklable", "GC050", "lambda"),
        ],
    )
    def test_what_is_raised(self, shared: Workers, name: str, code: str, message: str) -> None:
        before = result_of(shared, task("process_after", 0))
        error = self.failure(shared, name)
        assert (error.code, message in error.message) == (code, True), error.message
        assert result_of(shared, task("process_after", 0)) == before  # the process goes on

    def test_errors_of_ours_arrive_whole(self, shared: Workers) -> None:
        error = self.failure(shared, "raises_two_mistakes")
        assert isinstance(error, ConfigErrors)
        assert [mistake.message for mistake in error.mistakes] == ["one", "two"]
        assert str(error.location) == "a.yaml:3:2"
        with pytest.raises(ConfigErrors):
            result_of(shared, task("raises_two_mistakes"))

    def test_ctrl_c_is_the_parents(self, shared: Workers) -> None:
        assert result_of(shared, task("ctrl_c")) == "went on"


class TestTime:
    @pytest.mark.parametrize("name", ["loops", "catches_everything", "holds_the_interpreter"])
    def test_what_takes_longer_is_ended_whatever_it_does(self, shared: Workers, name: str) -> None:
        result_of(shared, task("returned", 0))  # it has started
        start = time.perf_counter()
        (error,) = shared.run([task(name, seconds=0.5)])
        assert time.perf_counter() - start < 3
        assert (error.code, error.location.path.name) == ("GC057", "jobs.py")
        assert error.message == "timed out after 0.5 seconds, at the stage: starting"

    def test_what_cleans_up_may(self, shared: Workers, tmp_path: Path) -> None:
        marker = tmp_path / "cleaned"
        (error,) = shared.run([task("cleans_up", str(marker), seconds=10.0), task("returned", 0)][:1])
        assert (error.code, marker.exists()) == ("GC057", True)

    def test_enough_time_is_enough(self, shared: Workers) -> None:
        assert result_of(shared, task("process_after", 0.2, seconds=30)) > 0

    def test_a_thread_keeps_nothing(self) -> None:
        start = time.perf_counter()
        with Workers(tensorflow=False) as pool:
            process = result_of(pool, task("starts_a_thread"))
        assert time.perf_counter() - start < 10
        assert not alive(process)


class TestEnd:
    def test_no_process_is_left(self) -> None:
        with Workers(2, tensorflow=False) as pool:
            processes = set(pool.run([task("process_after", 0.3), task("process_after", 0.3)]))
        assert len(processes) == 2
        assert not any(map(alive, processes))

    def test_what_is_closed_early_is_ended(self) -> None:
        with Workers(2, tensorflow=False) as pool:
            with closing(pool.run([task("process_after", 0), task("loops"), task("loops")])) as results:
                next(results)
            assert not any(process.busy for process in pool._processes)
            assert list(pool.run([task("returned", 1)])) == [1]

    @pytest.mark.skipif(sys.stdin.isatty(), reason="only off a terminal does a worker lead a group")
    def test_what_it_started_ends_with_it(self, tmp_path: Path) -> None:
        marker = tmp_path / "child"
        with Workers(tensorflow=False) as pool:
            list(pool.run([task("starts_a_process", str(marker), seconds=2)]))
        assert gone_soon(int(marker.read_text(encoding="utf-8")))

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
    def test_it_ends_with_its_parent(self, number: signal.Signals) -> None:
        script = (
            "from gradcheck.workers import Task\nfrom gradcheck.workers.pool import Workers\n"
            "tasks = [Task(target='tests.workers.jobs:process_after', arguments=(0,)),\n"
            "         Task(target='tests.workers.jobs:loops', arguments=())]\n"
            "with Workers(tensorflow=False) as pool:\n"
            "    for result in pool.run(tasks): print(result, flush=True)\n"
        )
        parent = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        assert parent.stdout is not None
        process = int(parent.stdout.readline())
        assert alive(process)
        parent.send_signal(number)
        parent.wait()
        assert gone_soon(process)


def test_a_debugger_can_have_it_all_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADCHECK_WORKERS", "0")
    with workers() as pool:
        here, error = pool.run([task("process_after", 0), task("raises_two_mistakes")])
    assert here == os.getpid()
    assert isinstance(error, ConfigErrors)


def test_a_task_alone_has_a_process_that_did_nothing_before_and_nothing_after() -> None:
    shared = task("process_after", 0.0)
    with Workers(tensorflow=False) as pool:
        first, second, alone, last, again = pool.run([shared, shared, replace(shared, alone=True), shared, shared])
    assert (first, last) == (second, again)
    assert len({first, alone, last}) == 3


def test_a_task_ends_when_a_server_that_it_needs_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcheck.placement.health.PAUSE", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    waiting = replace(task("process_after", 60.0), alone=True, servers=(f"127.0.0.1:{port}",))
    start = time.monotonic()
    with Workers(tensorflow=False) as pool:
        failed, after = pool.run([waiting, task("process_after", 0.0)])
    assert time.monotonic() - start < 30
    assert isinstance(failed, GradcheckError)
    assert (failed.code, f"worker 0 (127.0.0.1:{port}) cannot be reached" in str(failed)) == ("GC061", True)
    assert isinstance(after, int)
