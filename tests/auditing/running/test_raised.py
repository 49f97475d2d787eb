from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

FAILING = {
    "train.py": """
        import numpy, helper

        def step(x):
            try:
                return numpy.linalg.inv(x)
            except numpy.linalg.LinAlgError as error:
                helper.give_up(error)

        step(numpy.zeros((2, 2)))
    """,
    "helper.py": """
        def give_up(error):
            raise RuntimeError("no step") from error
    """,
}


def test_a_script_that_fails_is_an_error_at_its_own_line(audit: Callable[..., Any]) -> None:
    done = audit(FAILING, "--format", "concise", "train.py")
    assert done.returncode == 3
    assert "error[GC053]: train.py raised RuntimeError: no step" in done.stderr
    assert "helper.py:3:5" in done.stderr
    assert "helper.py:3:5" in done.stdout


def test_the_traceback_has_its_own_files_alone_and_the_causes(audit: Callable[..., Any]) -> None:
    told = audit(FAILING).stderr
    assert told.count("Traceback (most recent call last):") == 2
    assert "LinAlgError: Singular matrix" in told
    assert "The above exception was the direct cause" in told
    shown = [line for line in told.splitlines() if line.startswith("  File ")]
    assert len(shown) == 4
    assert all("train.py" in line or "helper.py" in line for line in shown)
    assert audit(FAILING, "-v", "train.py").stderr.count("linalg") > told.count("linalg")


@pytest.mark.parametrize("code", ["", "0", "None"])
def test_an_exit_without_an_error_is_none(audit: Callable[..., Any], code: str) -> None:
    script = f"""
        import sys
        from gradcheck.auditing.watch import update
        update()
        sys.exit({code})
    """
    assert audit(script).returncode == 0


@pytest.mark.parametrize("code", ["2", "'no data'"])
def test_another_exit_is_an_error(audit: Callable[..., Any], code: str) -> None:
    done = audit(f"import sys\nsys.exit({code})\n")
    assert done.returncode == 3
    assert f"error[GC053]: train.py ended by sys.exit({code})" in done.stderr
    assert "train.py:2:1" in done.stderr
    assert "Traceback" not in done.stderr


def test_its_excepthook_sees_what_python_would_give_it(audit: Callable[..., Any]) -> None:
    script = """
        import sys
        def hook(kind, error, trace):
            print("hook:", kind.__name__, trace.tb_lineno, trace.tb_frame.f_globals["__name__"], error.__context__)
        sys.excepthook = hook
        1 / 0
    """
    done = audit(script)
    assert "hook: ZeroDivisionError 6 __main__ None\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 3


def test_a_mistake_in_what_it_imports_has_its_line(audit: Callable[..., Any]) -> None:
    done = audit({"train.py": "import helper\n", "helper.py": "a = 1\nb = = 2\n"})
    assert done.returncode == 3
    assert "helper.py:2:5" in done.stderr


def test_what_was_seen_before_it_failed_is_reported(audit: Callable[..., Any]) -> None:
    done = audit("from gradcheck.auditing.watch import update\nupdate()\n1 / 0\n", "--format", "json", "train.py")
    assert '"steps": 1' in done.stdout
    assert done.returncode == 3


def test_threads_of_a_script_that_failed_do_not_keep_the_command(audit: Callable[..., Any]) -> None:
    start = time.monotonic()
    done = audit("import queue, threading\nthreading.Thread(target=queue.Queue().get).start()\n1 / 0\n")
    assert done.returncode == 3
    assert time.monotonic() - start < 8


@pytest.mark.parametrize("updates", [0, 2])
def test_interrupted_it_cleans_up_and_tells_what_was_judged(tmp_path: Path, updates: int) -> None:
    script = f"""
import atexit, time
from gradcheck.auditing.watch import update
for _ in range({updates}):
    update()
atexit.register(print, "registered")
try:
    print("ready", flush=True)
    time.sleep(60)
finally:
    print("finally")
"""
    (tmp_path / "train.py").write_text(script, encoding="utf-8")
    stand_in = Path(__file__).parents[1] / "stand_in.py"
    program = (
        "import runpy, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell has its background jobs ignore it
        "sys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", program, stand_in, "audit", "--steps", "all", "train.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stderr is not None
    assert command.stderr.readline() == "ready\n"
    command.send_signal(signal.SIGINT)
    report, told = command.communicate(timeout=30)
    assert command.returncode == 130
    if updates:
        assert "note: interrupted: what the script does after this was not watched\n" in report
        assert report.startswith("PASS train")
        assert re.fullmatch(r"finally\n1 script: 1 passed in .* s\nregistered\ninterrupted\n", told)
    else:
        assert (report, told) == ("", "finally\nregistered\ninterrupted\n")
