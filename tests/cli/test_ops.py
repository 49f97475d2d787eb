"""`gradcheck ops`: a module of one's own, resumed; a process that dies; what is known; scripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.cli.main import main
from gradcheck.reporters.sweep import SWEEP_REPORTERS
from gradcheck.results.report import Report

if TYPE_CHECKING:
    from pathlib import Path

    Ran = tuple[int, str, str]

OPS = """
import os
import tensorflow as tf


def aborts(x):
    os.abort()


@tf.custom_gradient
def wrong(x):
    return tf.tanh(x), lambda upstream: upstream * tf.where(x == 0, tf.cast(0.5, x.dtype), 1 - tf.tanh(x) ** 2)


def right(x, factor):
    return factor * tf.tanh(x)


right.gradcheck = {"args": ["x", 3.0], "order": 1}


def whole(n):
    return tf.range(n)


def _hidden(x):
    return x
"""
RECIPES = "wrong: {args: [{x: [2]}], order: 1}\nwhole: {skip: it takes a whole number}\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ops")
    (made / "my_ops.py").write_text(OPS, encoding="utf-8")
    (made / "my_ops.recipes.yaml").write_text(RECIPES, encoding="utf-8")
    return made


def ran(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str, here: bool = False) -> Ran:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("GRADCHECK_WORKERS", "0" if here else "1")
        code = main(["ops", *arguments])
    return code, *capsys.readouterr()


def test_a_module_is_swept_resumed_and_known(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("./my_ops.py", "--resume", "sweep.jsonl", "--jobs", "1", "--format", "json:first.json")
    code, _, stderr = ran(folder, capsys, *arguments)
    first = Report.from_json((folder / "first.json").read_text())
    runs = {run.name.rpartition(".")[2]: run for run in first.runs}
    assert {name: run.verdict for name, run in runs.items()} == {
        "aborts": "error",
        "right": "pass",
        "whole": "vacuous",
        "wrong": "fail",
    }
    assert code == 3
    assert "SIGABRT" in str(runs["aborts"].error)
    assert runs["whole"].notes == ("all: it takes a whole number",)
    assert runs["whole"].exit_code == 0
    assert runs["right"].inputs == ("my_ops.right(x, 3.0)",)
    assert "TensorFlow binary" not in stderr

    # What is done is not done again, a line that was cut off is, and the result is the same.
    file = folder / "sweep.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 4  # the head, and three functions: the one that died is tried again
    file.write_text("".join(lines[:-1]) + lines[-1][:50])
    marked = lines[1].replace('"seed":0', '"seed":12345').replace('"seed": 0', '"seed": 12345')
    file.write_text(file.read_text().replace(lines[1], marked))
    code, table, _ = ran(
        folder, capsys, *arguments[:-1], "json:second.json", "--format", "table", "--known", "first.json"
    )
    second = Report.from_json((folder / "second.json").read_text())
    assert sum(run.seed == 12345 for run in second.runs) == 1
    assert [without(run) for run in second.to_dict()["runs"]] == [without(run) for run in first.to_dict()["runs"]]
    assert code == 0  # nothing new
    assert "GC803" in table
    assert "got 0.5" in table
    assert "1 function not checked" in table


def without(run: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in run.items() if key != "seed"}


def test_scripts_are_printed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, printed, _ = ran(folder, capsys, "--reproduce", "./my_ops.py:wrong", "-q", here=True)
    assert code == 1
    assert printed.startswith("# my_ops.wrong, numeric: GC803, got 0.5, right 1.0")
    assert "import my_ops, tensorflow as tf" in printed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["tf.math.xlogi"], "did you mean `xlogy`?"),
        (["./other.py"], "no such file"),
        (["logadexp"], "did you mean `logaddexp`?"),
    ],
)
def test_a_name_that_there_is_not(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code, printed, stderr = ran(folder, capsys, *arguments, here=True)
    assert (code, printed) == (2, "")
    assert said in stderr


def test_a_recipe_with_mistakes_has_their_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_ops.py").write_text(OPS, encoding="utf-8")
    (tmp_path / "r.yaml").write_text("wrong:\n  args: [{x: [2], rnge: [0, 1]}]\nright: 3\n", encoding="utf-8")
    code, _, stderr = ran(tmp_path, capsys, "./my_ops.py", "--recipes", "r.yaml", here=True)
    assert code == 2
    assert "r.yaml:2:19" in stderr
    assert "did you mean `range`?" in stderr
    assert "r.yaml:3:8" in stderr


def test_a_file_of_another_installation_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "old.jsonl"
    file.write_text(json.dumps({"gradcheck": "0.0.1"}) + "\n", encoding="utf-8")
    code, _, stderr = ran(folder, capsys, "./my_ops.py:right", "--resume", str(file), here=True)
    assert code == 2
    assert "0.0.1" in stderr
    assert file.read_text() == json.dumps({"gradcheck": "0.0.1"}) + "\n"


@pytest.mark.parametrize("format_", SWEEP_REPORTERS)
def test_every_format_tells_what_is_wrong(folder: Path, format_: str) -> None:
    from gradcheck.reporters import RenderOptions

    report = Report.from_json((folder / "first.json").read_text())
    text = SWEEP_REPORTERS[format_](report, RenderOptions())
    assert "my_ops.wrong" in text
    assert "GC803" in text
