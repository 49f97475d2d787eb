"""`gradcheck diff`, and `run --baseline`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.cli.main import main
from gradcheck.results.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    Ran = Callable[..., tuple[int, str, str]]

CONFIG = """
model:
  input: {shape: [4]}
  layers: [Dense: {units: 5, activation: tanh, name: first}, Dense: {units: 2, name: second}]
split: {after: [first]}
data: {batch_size: 4}
verify_reference: never
methods:
  - vjp
  - candidate: {factory: ./train.py:gradients, name: by hand}
"""
TRAIN = '''
import tensorflow as tf


def gradients(problem):
    """The hand-off as it stands in a training script."""
    first, second = problem.segments
    with tf.GradientTape() as lower:
        boundary = first(problem.x, training=problem.training)
    with tf.GradientTape() as upper:
        upper.watch(boundary)
        loss = problem.loss(problem.y, second(boundary, training=problem.training))
    *of_second, cotangent = upper.gradient(loss, [*second.trainable_variables, boundary])
    return [*lower.gradient(boundary, first.trainable_variables, cotangent), *of_second]
'''
ONES = TRAIN.replace(", cotangent), *of_second", "), *of_second")  # the cotangent is not handed on


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ran:
    """Runs gradcheck in a folder with a config and a right hand-off."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    Path("config.yaml").write_text(CONFIG, encoding="utf-8")
    Path("train.py").write_text(TRAIN, encoding="utf-8")

    def run(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        return (main(arguments), *capfd.readouterr())

    return run


def test_a_planted_mistake_is_what_newly_fails(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ran("run", "config.yaml", "--format", "json:old.json", "-q")[:2] == (0, "")
    Path("train.py").write_text(ONES, encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    code, out, err = ran(
        "run", "config.yaml", "--baseline", "old.json", "--format", "json:new.json", "--format", "github"
    )
    newly = "by hand: match → mismatch (GC101)\n      weight first/kernel: exact → mismatch, max abs 0 → "
    assert code == 1
    assert "newly failing (3)" in err
    assert newly in err
    assert "::error file=train.py,line=5,title=gradcheck config by hand::" in out
    summary = Path("summary.md").read_text(encoding="utf-8")
    assert summary.index("## gradcheck: 1 config: 1 failed") < summary.index("## gradcheck diff: 3 newly failing")

    code, out, err = ran("diff", "old.json", "new.json")
    assert (code, err) == (1, "")
    assert newly in out
    assert ran("diff", "old.json", "new.json", "--show", "summary")[1].startswith(
        "3 newly failing (1 check, 2 tensors)"
    )
    assert ran("diff", "new.json", "old.json")[0] == 0

    # What was known before decides nothing, and the baseline may be replaced by the run that is compared with it.
    code, _, err = ran("run", "config.yaml", "--baseline", "new.json", "--format", "json:new.json")
    assert (code, "0 newly failing" in err, "1 config: 1 failed" in err) == (0, True, True)


def test_the_exit_code_with_a_baseline_is_that_of_what_newly_fails(ran: Ran) -> None:
    ran("run", "config.yaml", "--format", "json:old.json", "-q")
    Path("train.py").write_text("def gradients(problem):\n    raise KeyError('mine')\n", encoding="utf-8")
    assert ran("run", "config.yaml", "--baseline", "old.json", "--format", "json:raised.json")[0] == 3
    assert ran("run", "config.yaml", "--baseline", "raised.json")[0] == 0
    Path("train.py").write_text(ONES, encoding="utf-8")
    assert ran("run", "config.yaml", "--baseline", "old.json", "--exit-zero")[0] == 0
    assert ran("run", "config.yaml", "--baseline", "raised.json")[0] == 1  # the tensors fail only now


def report(**changes: Any) -> str:
    plain: dict[str, Any] = {
        "schema_version": "1",
        "tool": {"name": "gradcheck", "version": "1"},
        "environment": {"python": "3"},
        "summary": {"runs": 0, "passed": 0, "failed": 0, "errors": 0, "vacuous": 0},
        "runs": [],
    }
    return json.dumps(plain | changes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "nested too deeply"),
        (b"\xff\xfe\x00", "is not JSON: it is not UTF-8 text"),
        ("[]", "not a gradcheck report of schema version 1. Received: None"),
        ("3", "not a gradcheck report"),
        ("{}", "Received: None"),
        (report(schema_version="2"), "schema version 1. Received: '2'"),
        (report(runs=3), "not a gradcheck report: Report: expected list. Received: int"),
        (report(runs=[{"name": 3}]), "not a gradcheck report: RunReport"),
        (report(faults=[], score={}), "the output of `gradcheck mutate`"),
        (report(changes=[]), "the output of `gradcheck diff`"),
    ],
)
def test_files_that_are_no_report(ran: Ran, text: str | bytes, said: str) -> None:
    Path("good.json").write_text(report(), encoding="utf-8")
    Path("bad.json").write_bytes(text.encode() if isinstance(text, str) else text)
    for arguments in (
        ("diff", "bad.json", "good.json"),
        ("diff", "good.json", "bad.json"),
        ("run", "config.yaml", "--baseline", "bad.json"),
    ):
        code, out, err = ran(*arguments)
        assert (code, out) == (2, "")
        assert "error[GC010]: bad.json" in err
        assert said in err
        assert "help: " in err
        assert "Traceback" not in err


@pytest.mark.parametrize("missing", ["nowhere.json", "."])
def test_files_that_cannot_be_read(ran: Ran, missing: str) -> None:
    Path("good.json").write_text(report(), encoding="utf-8")
    code, out, err = ran("diff", missing, "good.json")
    assert (code, out) == (2, "")
    assert f"error[GC001]: {missing} cannot be read" in err


def test_old_reports_without_the_newer_keys_are_read(ran: Ran) -> None:
    Path("good.json").write_text(report(), encoding="utf-8")
    code, out, _ = ran("diff", "good.json", "good.json", "--format", "json", "-o", "found.json")
    assert (code, out) == (0, "")
    assert json.loads(Path("found.json").read_text(encoding="utf-8"))["summary"]["unchanged"] == 0
    assert Report.from_json(report()).environment.commit is None


def test_diff_imports_no_tensorflow(ran: Ran) -> None:
    del ran  # the folder
    Path("good.json").write_text(report(), encoding="utf-8")
    program = (
        "import sys; from gradcheck.cli.main import main; code = main(['diff', 'good.json', 'good.json']); "
        "sys.exit(code or 'tensorflow' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
