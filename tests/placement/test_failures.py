"""Workers that are killed, stopped or of another version in the middle of a run, and what the plan predicts of them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.placement.conftest import DENSE, placement

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.on_request  # each starts several processes that load TensorFlow

SLOW = """
import time

def gradients(given):
    print("waiting", flush=True)
    time.sleep(3)
    return [v.value + 0.0 for v in given.variables]
"""
OTHER_VERSION = "import sys, tensorflow as tf; tf.__version__ = '2.0.0'; from gradcheck.__main__ import run; run()"


def started(stack: ExitStack, *command: str) -> tuple[Any, str]:
    process = stack.enter_context(
        subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    )
    stack.callback(process.kill)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.fixture
def workers() -> Iterator[list[tuple[Any, str]]]:
    with ExitStack() as stack:
        yield [started(stack, "-m", "gradcheck", "worker") for _ in range(4)]


@pytest.mark.parametrize(("number", "says"), [(signal.SIGKILL, "has ended"), (signal.SIGSTOP, "has not answered")])
def test_a_worker_that_fails_is_named_within_30_seconds(
    tmp_path: Path, workers: list[tuple[Any, str]], number: signal.Signals, says: str
) -> None:
    methods = 'methods: [vjp, candidate: {factory: "./slow.py:gradients"}]\n'
    (tmp_path / "slow.py").write_text(SLOW, encoding="utf-8")
    (tmp_path / "a.yaml").write_text(DENSE, encoding="utf-8")
    (tmp_path / "b.yaml").write_text(DENSE + methods + placement([address for _, address in workers]), encoding="utf-8")
    command = [sys.executable, "-m", "gradcheck", "run", str(tmp_path), "--format", "concise"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stderr is not None
        assert any("waiting" in line for line in run.stderr)
        os.kill(workers[2][0].pid, number)
        start = time.monotonic()
        out, _ = run.communicate(timeout=120)
    assert time.monotonic() - start < 30
    assert run.returncode == 3
    assert re.search(rf"GC061.*worker 2 \({workers[2][1]}\) {says}", out)
    assert "a.yaml: pass" in out
    parents = [path.read_text().rpartition(")")[2].split()[1] for path in Path("/proc").glob("[0-9]*/stat")]
    assert str(run.pid) not in parents


def test_a_worker_with_another_tensorflow(tmp_path: Path, workers: list[tuple[Any, str]]) -> None:
    with ExitStack() as stack:
        _, other = started(stack, "-c", OTHER_VERSION, "worker")
        cluster = [workers[0][1], workers[1][1], workers[2][1], other]
        (tmp_path / "a.yaml").write_text(DENSE + placement(cluster), encoding="utf-8")
        command = [sys.executable, "-m", "gradcheck", "run", str(tmp_path)]
        run = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert run.returncode == 3
    assert f"GC062]: worker 3 ({other}) runs TensorFlow 2.0.0" in run.stdout


def test_a_worker_ends_when_it_is_told(workers: list[tuple[Any, str]]) -> None:
    for (process, _), number in zip(workers, [signal.SIGTERM, signal.SIGINT] * 2, strict=True):
        process.send_signal(number)
    assert [process.wait(10) for process, _ in workers] == [0] * 4


def test_the_plan_is_right_about_bytes_and_memory() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "placement.py"
    run = subprocess.run([sys.executable, str(script), "--steps", "1"], capture_output=True, text=True, check=True)
    (bytes_,) = re.findall(r"cotangents .*: ratio ([\d.]+)", run.stdout)
    assert 1.0 <= float(bytes_) < 1.05
    found = re.search(r"beside the plan: ([\d.]+) to ([\d.]+)", run.stdout)
    assert found is None or (float(found[1]) > 1 / 1.5 and float(found[2]) < 1.5)
