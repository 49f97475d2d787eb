"""What the README and the walkthroughs, of an audit and of the ways of training, show is what happens."""

from __future__ import annotations

import dataclasses
import os
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from gradcheck import check, load_config
from gradcheck.cli.main import COMMANDS, main
from gradcheck.config import load_given
from gradcheck.results.report import SCHEMA_VERSION, Diagnosis

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
WALKTHROUGH = (ROOT / "docs" / "audit.md").read_text(encoding="utf-8")
WAYS = (ROOT / "docs" / "ways.md").read_text(encoding="utf-8")
SAVED_FILES = ("model.keras", "trained.weights.h5", "losses.py", "data.py")
WAYS_SECTION = "## Ways of training that must agree"
#: A key of the config with a value, as a table of the README writes it.
SNIPPETS = re.findall(r"`((?:model|split|loss|data|tolerance): [^`]+)`", README)


def blocks(language: str, page: str = README) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def file_name(block: str) -> str:
    """What the comment in a block's first line says; empty for a block that is no file."""
    found = re.match(r"# (\S+\.\w+)\n", block)
    return found[1] if found else ""


def files(language: str, page: str = README) -> dict[str, str]:
    return {file_name(block): block for block in blocks(language, page) if file_name(block)}


def judged(page: str) -> list[tuple[str, int]]:
    """The configs whose report a page shows, each with its exit code."""
    return [(name, int(code)) for name, code in re.findall(r"<!-- (\w+\.yaml): exit (\d) -->", page)]


def configs() -> list[str]:
    """The configs that pass: all but those whose report is shown."""
    shown = {name for name, _ in judged(README)}
    return [name for name, text in files("yaml").items() if "model" in yaml.safe_load(text) and name not in shown]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The README's files beside each other, and empty ones in place of what they only mention."""
    path = tmp_path_factory.mktemp("readme")
    for name, text in {**files("yaml"), **files("python")}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, encoding="utf-8")
    for name in SAVED_FILES:
        (path / name).write_text(
            "def make(): ...\n\ndef physics(): ...\n\ndef batch(): ...\n\nclass MyLayer: ...\n", encoding="utf-8"
        )
    (path / "layers.py").write_text("class MyLayer: ...\n", encoding="utf-8")
    (path / "photos").mkdir()
    np.savez(path / "batch.npz", x=np.zeros(1))
    return path


def section(marker: str, end: str, page: str = README) -> str:
    """The text block between two comments."""
    found = re.search(rf"<!-- {marker} -->\n```text\n(.*?)```\n<!-- {end} -->", page, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_help_is_the_real_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["run", "--help"]) == 0
    shown = section("gradcheck run --help", "end of gradcheck run --help")
    assert shown == capsys.readouterr().out, "replace the block by the output of: COLUMNS=100 gradcheck run --help"


def test_every_command_is_in_the_table() -> None:
    assert set(re.findall(r"^\| `gradcheck (\w+)", README, re.MULTILINE)) == set(COMMANDS)


def test_every_method_is_in_the_table_and_no_other() -> None:
    from gradcheck.config.sections.methods import METHODS

    tables = "".join(README.partition(f"{title}\n")[2].partition("## ")[0] for title in ("### Methods", WAYS_SECTION))
    assert set(re.findall(r"^\| `(\w+)`", tables, re.MULTILINE)) == {"tape", *METHODS}


def test_the_second_command_is_the_one_that_ci_runs() -> None:
    commands = [block.strip() for block in blocks("sh")]
    assert len(commands) == 2
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_first_command_passes_and_prints_the_sample() -> None:
    environment, install, command = blocks("sh")[0].strip().split(" && ")
    assert environment == "python3 -m venv .venv"
    assert install == ".venv/bin/pip install -q ."
    program, *arguments = shlex.split(command)
    assert program == ".venv/bin/gradcheck"
    done = subprocess.run(
        [sys.executable, "-m", "gradcheck", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert not_printed(section("sample", "end of sample"), done.stdout) == []


@pytest.mark.parametrize(("page", "script"), [(README, "split.py"), (WALKTHROUGH, "train.py")])
def test_the_audited_scripts_are_judged_as_shown(page: str, script: str, tmp_path: Path) -> None:
    code = files("python", page)[script]
    outputs = re.findall(r"<!-- (audit.*) -->", page)
    diffs = blocks("diff", page)
    assert len(outputs) == len(diffs) + 1
    for i, marker in enumerate(outputs):
        (tmp_path / script).write_text(code, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-m", "gradcheck", "audit", script],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        mended = i == len(diffs)
        assert done.returncode == (0 if mended else 1), done.stderr
        assert not_printed(section(marker, f"end of {marker}", page), done.stdout) == []
        code = code if mended else patched(code, diffs[i])


@pytest.mark.parametrize(
    ("page", "name", "code"), [(page, *found) for page in (README, WAYS) for found in judged(page)]
)
def test_the_ways_of_training_are_judged_as_shown(page: str, name: str, code: int, tmp_path: Path) -> None:
    (tmp_path / name).write_text(files("yaml", page)[name], encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "gradcheck", "run", name, "--show", "summary"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == code, done.stderr
    marker = f"{name}: exit {code}"
    assert not_printed(section(marker, f"end of {marker}", page), done.stdout) == []


def test_every_way_of_training_has_a_section() -> None:
    from gradcheck.config.sections.methods import WAYS as KNOWN

    assert [title for title in re.findall(r"^## (\w+)$", WAYS, re.MULTILINE) if title in KNOWN] == list(KNOWN)


def patched(code: str, diff: str) -> str:
    """The code after a change; its lines, and those around them, stand in the code once."""
    before, after = (
        "".join(line[1:] for line in diff.splitlines(keepends=True) if line[0] in signs) for signs in (" -", " +")
    )
    assert code.count(before) == 1
    return code.replace(before, after)


def not_printed(shown: str, output: str) -> list[str]:
    """The lines of a sample that a command did not print."""
    printed = set(without_figures(output))
    return [line for line in without_figures(shown) if line not in printed]


def without_figures(text: str) -> Iterator[str]:
    """The lines with every figure that rounding or the clock moves replaced; names, shapes and counts stay."""
    for line in re.sub(r", verified to .*", "", text).splitlines():  # where the clock allows it
        yield " ".join(re.sub(r"(?<=[ ])-?\d+(\.\d+)?(e[+-]\d+)?s?(?=[ ,]|$)", "#", line).split())


@pytest.mark.parametrize("name", configs())
def test_every_config_is_valid(folder: Path, name: str) -> None:
    load_config(folder / name, require_split=True)


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_key_in_a_table_is_valid(folder: Path, monkeypatch: pytest.MonkeyPatch, snippet: str) -> None:
    monkeypatch.chdir(folder)
    given: dict[str, Any] = yaml.safe_load(snippet)
    config = {"model": {"input": {"shape": [4]}, "layers": [{"Dense": 2}]}, "split": {"every": "layer"}, **given}
    if "segments" in config["model"]:
        del config["split"]
    load_given(config, {})


def test_the_tables_were_found() -> None:
    assert len(SNIPPETS) >= 18


@pytest.mark.parametrize("name", configs())
def test_every_config_passes(folder: Path, name: str) -> None:
    (run,) = check(folder / name).runs
    assert (run.verdict, run.exit_code) == ("pass", 0), run.error


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("output_gradients=[cotangent, ", "output_gradients=[tf.ones_like(boundary), "),
        ("penalties = front.losses", "penalties = []"),
        ("loss = check.loss(check.y, outputs) + sum(back.losses)", "loss = check.loss(check.y, outputs)"),
        ("back(boundary, training=check.training)", "back(boundary, training=False)"),
    ],
)
def test_the_candidate_is_right_in_every_step(folder: Path, tmp_path: Path, right: str, wrong: str) -> None:
    code = files("python")["train.py"]
    assert code.count(right) == 1
    (tmp_path / "train.py").write_text(code.replace(right, wrong), encoding="utf-8")
    (tmp_path / "candidate.yaml").write_text((folder / "candidate.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    (run,) = check(tmp_path / "candidate.yaml").runs
    assert (run.verdict, run.exit_code) == ("fail", 1)


def test_the_python_example_passes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(compile(files("python")["test_gradients.py"], "test_gradients.py", "exec"), names)  # noqa: S102 - our own text
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()


@pytest.mark.parametrize("name", [name for name in files("python") if name.startswith("live_")])
def test_the_scripts_on_live_objects_run(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(files("python")[name], encoding="utf-8")
    runpy.run_path(str(tmp_path / name), run_name="__main__")


def test_there_is_a_script_for_each_call_on_live_objects() -> None:
    names = [name for name in files("python") if name.startswith("live_")]
    assert names == ["live_model.py", "live_parts.py", "live_function.py", "live_step.py", "live_training.py"]


def test_the_report_keys_exist(folder: Path) -> None:
    report = check(folder / "small.yaml").to_dict()
    assert report["schema_version"] == SCHEMA_VERSION
    run = report["runs"][0]
    of_diagnosis = {field.name for field in dataclasses.fields(Diagnosis)}
    known = {*report, *run, *run["checks"][0], *run["checks"][0]["tensors"][0], *of_diagnosis}
    text = README.partition("`--format json` is for programs.")[2].partition("###")[0]
    values = {"pass", "fail", "error", "vacuous", "null"}
    assert set(re.findall(r"`(\w+)`", text)) - values - known == set()


def test_the_exit_codes_are_the_real_ones() -> None:
    from gradcheck.errors import ExitCode

    table = README.partition("| exit code | means |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\d+) \|", dedent(table), re.MULTILINE) == [str(int(code)) for code in ExitCode]
