"""Training scripts as people write them: right ones pass, wrong ones fail by the right name at the right line.

A third of the right ones is run, each compared, bit for bit, with a run that nobody watches; `--audited all`: all.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

from tests.auditing.watched import SCRIPTS, plain, scripts, watched

RIGHT, WRONG, NONE = scripts("right"), scripts("wrong"), scripts("none")


@pytest.mark.third(option="--audited")
@pytest.mark.parametrize("path", RIGHT, ids=lambda path: path.stem)
def test_a_right_script_passes_and_computes_what_it_does_unwatched(path: Path) -> None:
    report, after = watched(path)
    (check,) = report.checks
    assert [(d.code, d.line, d.evidence) for d in check.diagnoses] == []
    assert (report.verdict, check.failures) == ("pass", ())
    assert after
    assert after == plain(path)


@pytest.mark.third(option="--audited", start=1)
@pytest.mark.parametrize("path", WRONG, ids=lambda path: path.stem)
def test_a_wrong_script_fails_by_its_name_at_its_line(path: Path) -> None:
    report, _ = watched(path)
    (check,) = report.checks
    lines = path.read_text(encoding="utf-8").splitlines()
    (expected,) = [(i, line.split("# expect:")[1].strip()) for i, line in enumerate(lines, 1) if "# expect:" in line]
    assert (report.verdict, report.exit_code) == ("fail", 1)
    first = check.diagnoses[0]
    assert (first.code, first.line) == (expected[1], f"{path.name}:{expected[0]}"), first.evidence


@pytest.mark.parametrize("path", NONE, ids=lambda path: path.stem)
def test_a_script_that_updates_nothing_proves_nothing(path: Path) -> None:
    report, _ = watched(path)
    assert (report.verdict, report.exit_code) == ("vacuous", 4)


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("exception_two_calls_deep", 3, "ValueError: expected examples of shape"),
        ("exit_after_a_step", 3, "exit_after_a_step.py"),
        ("exception_in_thread", 3, "RuntimeError"),
        ("missing_colon", 2, "is not valid Python"),
    ],
)
def test_a_script_that_fails_by_itself_is_an_error(name: str, code: int, said: str) -> None:
    path = SCRIPTS / "fails" / f"{name}.py"
    command = [sys.executable, "-m", "gradcheck", "audit", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert f"{name}.py" in done.stderr
    assert "site-packages" not in done.stderr
