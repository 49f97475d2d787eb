"""Processes of a script, with an observation that needs no TensorFlow."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.auditing.records.files import read, read_with_children

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

METHODS = pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])


@METHODS
def test_the_script_does_not_notice(audit: Callable[..., Any], method: str) -> None:
    script = f"""
        import multiprocessing, sys
        context = multiprocessing.get_context("{method}")

        class Worker(context.Process):
            def __init__(self, pipe, **kwargs):
                super().__init__(**kwargs)
                self.pipe = pipe

            def run(self):
                self.pipe.send([sorted(type(self).__dict__), self.name])
                sys.exit(7)

        def fail():
            raise ValueError("of its own")

        if __name__ == "__main__":
            ours, theirs = context.Pipe()
            worker = Worker(theirs, name="worker")
            before = list(vars(worker))
            worker.start()
            print(ours.recv())
            worker.join()
            print("exit", worker.exitcode, set(vars(worker)) - set(before))
            other = context.Process(target=fail)
            other.start()
            other.join()
            print("exit", other.exitcode)
            with context.Pool(2) as pool:
                print(pool.map(abs, [-1, -2, -3]))
    """
    told = audit(script).stderr
    assert "'run'], 'worker']" in told
    assert "exit 7 {'_sentinel'}" in told
    assert "exit 1\n" in told
    assert "[1, 2, 3]" in told
    assert 'in fail\n    raise ValueError("of its own")\nValueError: of its own' in told
    assert "gradcheck/" not in told.partition("Traceback")[2].partition("ValueError: of its own")[0]


@METHODS
def test_a_process_that_is_terminated_is_told_of(audit: Callable[..., Any], method: str) -> None:
    script = f"""
        import multiprocessing, time
        if __name__ == "__main__":
            child = multiprocessing.get_context("{method}").Process(target=time.sleep, args=(100,), name="sleeper")
            child.start()
            child.terminate()
            child.join()
            print("exit", child.exitcode)
    """
    done = audit(script, "--format", "json", "train.py")
    assert "exit -15\n" in done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert run["notes"] == [
        "sleeper left no record: it was terminated, or ended by os._exit, before it had seen enough"
    ]


@METHODS
def test_what_a_process_has_seen_is_asked_for_before_it_is_terminated(
    audit: Callable[..., Any], tmp_path: Path, method: str
) -> None:
    script = f"""
        import multiprocessing

        def wait(pipe):
            pipe.send(1)
            pipe.recv()

        if __name__ == "__main__":
            from gradcheck.auditing.watch import update
            ours, theirs = multiprocessing.Pipe()
            child = multiprocessing.get_context("{method}").Process(target=wait, args=(theirs,))
            child.start()
            ours.recv()
            while True:
                update()
    """
    done = audit(script, "--record", "seen.npz", "train.py")
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "seen.npz").children == ("seen-1.npz",)
    records = read_with_children(tmp_path / "seen.npz")
    assert [record.name.partition("Process-")[2] for record in records] == ["", "1"]
    assert records[0].run is not None
    assert records[0].run.checks[0].steps == 2


def test_processes_of_processes_write_theirs_beside(audit: Callable[..., Any], tmp_path: Path) -> None:
    script = """
        import multiprocessing
        context = multiprocessing.get_context("spawn")

        def two(depth):
            if depth:
                children = [context.Process(target=two, args=(depth - 1,), name=f"{depth}-{i}") for i in range(2)]
                [child.start() for child in children]
                [child.join() for child in children]

        if __name__ == "__main__":
            two(2)
    """
    audit(script, "--record", "seen.npz", "train.py")
    assert {path.name for path in tmp_path.glob("*.npz")} == {
        "seen.npz", "seen-1.npz", "seen-2.npz", "seen-1-1.npz", "seen-1-2.npz", "seen-2-1.npz", "seen-2-2.npz",
    }  # fmt: skip
    assert [record.name for record in read_with_children(tmp_path / "seen.npz")] == [
        "train", "2-0", "1-0", "1-1", "2-1", "1-0", "1-1",
    ]  # fmt: skip


def test_processes_that_wait_for_the_end_of_the_script_end(audit: Callable[..., Any]) -> None:
    script = """
        import atexit, multiprocessing
        from gradcheck.auditing.watch import update
        ours, theirs = multiprocessing.Pipe()
        atexit.register(ours.send, "enough")
        child = multiprocessing.get_context("fork").Process(target=theirs.recv)
        child.start()
        update()
    """
    assert audit(script).returncode == 0
