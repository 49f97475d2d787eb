from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.engines import asking
from gradcheck.errors import ConfigError, RunError
from gradcheck.workers.task import Task
from tests.workers.test_pool import ROOT, gone_soon

if TYPE_CHECKING:
    from collections.abc import Callable


def result(engine: str, name: str, seconds: float | None = None) -> Any:
    task = Task(target=f"tests.engines.jobs:{name}", arguments=(), seconds=seconds)
    (found,) = asking._process(engine).run([task])
    return found


@pytest.mark.parametrize("engine", [pytest.param("jax"), pytest.param("torch", marks=pytest.mark.on_request)])
def test_the_process_has_the_backend_and_no_tensorflow(engine: str) -> None:
    pytest.importorskip(engine)
    process, backend, loaded = result(engine, "modules")
    assert backend == engine
    assert engine in loaded
    assert "tensorflow" not in loaded
    assert result(engine, "modules")[0] == process, "it stays"


def test_a_crash_and_a_deadline_are_clear_errors_and_the_next_question_is_answered() -> None:
    pytest.importorskip("jax")
    ended, late = result("jax", "ends"), result("jax", "sleeps", seconds=0.2)
    assert isinstance(ended, RunError)
    assert (ended.code, "exit code 3" in ended.message) == ("GC060", True)
    assert (late.code, late.message) == ("GC057", "timed out after 0.2 seconds, at the stage: starting")
    assert result("jax", "modules")[1] == "jax"


def test_it_dies_with_the_one_that_started_it() -> None:
    pytest.importorskip("jax")
    code = (
        "from gradcheck.engines import asking; from gradcheck.workers.task import Task; import os\n"
        "task = Task(target='tests.engines.jobs:modules', arguments=())\n"
        "(found,) = asking._process('jax').run([task]); print(found[0], flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    parent = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    assert gone_soon(int(parent.stdout))


def test_an_engine_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="method jax needs JAX, which is not installed") as missing:
        asking.require("jax")
    assert missing.value.help == "pip install jax"
    with pytest.raises(ConfigError, match="there is no engine jx") as unknown:
        asking.require("jx")
    assert unknown.value.help == "did you mean `jax`? Known engines: jax, torch"


def test_nothing_of_an_engine_is_imported_before_it_is_asked(in_new_process: Callable[[str], str]) -> None:
    code = "import sys, gradcheck.engines.asking; print({'jax', 'torch', 'keras', 'tensorflow'} & {*sys.modules})"
    assert in_new_process(code) == "set()"


@pytest.fixture
def in_new_process() -> Callable[[str], str]:
    def output(code: str) -> str:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    return output
