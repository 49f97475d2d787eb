from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.auditing.interface import AuditOptions
from gradcheck.auditing.records.files import read
from gradcheck.cli.main import main
from tests.auditing.stand_in import CountingWatch, modules

if TYPE_CHECKING:
    from pathlib import Path

TRAIN = """
import sys
from gradcheck.auditing.watch import update
print("arguments:", sys.argv[1:])
for _ in range(5):
    update()
print("the end")
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, module in modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    (tmp_path / "train.py").write_text(TRAIN, encoding="utf-8")
    (tmp_path / "idle.py").write_text("", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_script_is_ended_and_the_report_goes_to_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--format", "json", "train.py"]) == 0
    told = capfd.readouterr()
    (run,) = json.loads(told.out)["runs"]
    assert (run["name"], run["config"], run["verdict"]) == ("train", "train.py", "pass")
    assert run["checks"][0]["steps"] == 2
    assert "the end" not in told.err
    assert told.err.splitlines()[-1].startswith("1 script: 1 passed in ")


def test_what_follows_the_script_is_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "train.py", "--steps", "7", "--help", "--", "-m"]) == 0
    assert "arguments: ['--steps', '7', '--help', '--', '-m']" in capfd.readouterr().err
    assert CountingWatch.latest.options.steps == 2


@pytest.mark.parametrize(
    ("arguments", "noted"),
    [
        (["--show", "summary"], "--show was"),
        (["--format=json", "--rtol", "1", "--format=html"], "--format, --rtol were"),
        (["--epochs", "2", "show", "-q", "--sho", "--show-all"], None),
    ],
)
def test_options_of_the_command_after_the_script_are_noted(
    arguments: list[str], noted: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "--show", "summary", "train.py", *arguments]) == 0
    told = capfd.readouterr()
    assert f"arguments: {arguments}" in told.err
    notes = [line for line in told.err.splitlines() if line.startswith("note: ")]
    passed = f"note: {noted} passed to the script; options of gradcheck go before SCRIPT"
    assert notes == ([passed] if noted else [])
    assert "passed to the script" not in told.out


def test_a_module_is_run_by_its_name(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "-m", "--steps", "3", "train", "-q"]) == 0
    assert "arguments: ['-q']" in capfd.readouterr().err
    assert CountingWatch.latest.updates == 3


def test_options_are_those_of_the_observation() -> None:
    assert main(["audit", "train.py"]) == 0
    assert CountingWatch.latest.options == AuditOptions()
    given = "--steps all --skip 1 --ignore head/* --ignore *bias --allow gc304 --allow GC201 --rtol 1e-3 --atol 0"
    assert main(["audit", *given.split(), "train.py"]) == 0
    assert CountingWatch.latest.options == AuditOptions(
        steps=None, skip=1, ignore=("head/*", "*bias"), allow=("GC304", "GC201"), rtol=1e-3, atol=0.0
    )


def test_to_its_end(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "--steps", "all", "train.py"]) == 0
    assert CountingWatch.latest.updates == 5
    assert "the end" in capfd.readouterr().err


def test_no_update_proves_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "idle.py"]) == 4
    assert "1 script: 1 proved nothing" in capfd.readouterr().err
    assert main(["audit", "--exit-zero", "-q", "idle.py"]) == 0
    assert "1 script" not in capfd.readouterr().err


def test_an_error_has_its_code_even_so(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "idle.py").write_text("1 / 0\n", encoding="utf-8")
    assert main(["audit", "--exit-zero", "idle.py"]) == 3
    assert "error[GC053]: idle.py raised ZeroDivisionError" in capfd.readouterr().err


def test_the_report_is_written_where_it_was_meant(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "idle.py").write_text("import os\nos.chdir('/')\n", encoding="utf-8")
    assert main(["audit", "--format", "json", "-o", "report.json", "idle.py"]) == 4
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["summary"]["vacuous"] == 1
    assert capfd.readouterr().out == ""


def test_progress_is_a_plain_line_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", "train.py"]) == 0
    assert "update 1" not in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["audit", "train.py"]) == 0
    assert "gradcheck: update 1 of 2\ngradcheck: update 2 of 2\n" in capsys.readouterr().err
    assert main(["audit", "-q", "train.py"]) == 0
    assert "update 1" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.py"], "error[GC001]: no such script: missing.py"),
        (["."], "error[GC001]: . is a folder, not a script"),
        (["-m", "missing"], "error[GC028]: no module named missing that can be run"),
        (["--steps", "0", "train.py"], "'0' is neither a number from 1 on nor all"),
        (["--steps", "many", "train.py"], "'many' is neither a number from 1 on nor all"),
        (["--skip", "-1", "train.py"], "-1 is not in the range x>=0"),
        (["--allow", "GC3044", "train.py"], "Received: GC3044\nhelp: did you mean `GC304`?"),
        (["-o", "nowhere/report", "train.py"], "nowhere/report cannot be written"),
        (["--record", "nowhere/record", "train.py"], "nowhere/record cannot be written"),
        (["--join", "a", "b", "--format", "json"], "options go before the files. Received: --format after one"),
        ([], "Missing argument 'SCRIPT'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_run_is_refused_before_anything_is(
    capfd: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(["audit", *arguments]) == 2
    error = capfd.readouterr().err
    assert told in error
    assert "arguments:" not in error


def test_what_was_seen_is_recorded_and_joined(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def join_files(paths: list[Path], options: AuditOptions) -> Any:
        assert options.allow == ("GC304",)
        runs = [read(path).run for path in paths]
        latest = CountingWatch.latest
        latest.updates = sum(run.checks[0].steps for run in runs if run is not None)
        return latest.report(name="joined", file="a b", seconds=0.0)

    joining = SimpleNamespace(join_files=join_files)
    monkeypatch.setitem(sys.modules, "gradcheck.auditing.records.joining", joining)
    assert main(["audit", "--record", "a", "train.py"]) == 0
    assert main(["audit", "--record", "b", "--steps", "3", "train.py"]) == 0
    capfd.readouterr()
    assert main(["audit", "--allow", "gc304", "--format", "json", "--join", "a", "b"]) == 0
    (run,) = json.loads(capfd.readouterr().out)["runs"]
    assert (run["name"], run["checks"][0]["steps"]) == ("joined", 5)


def test_a_report_that_cannot_be_made_is_an_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def report(*_: Any, **__: Any) -> Any:
        raise ValueError("nothing to be said")

    monkeypatch.setattr(CountingWatch, "report", report)
    assert main(["audit", "train.py"]) == 3
    assert "error[GC050]: ValueError: nothing to be said" in capfd.readouterr().err
