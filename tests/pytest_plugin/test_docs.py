"""The project of docs/pytest.md is collected, and comes to what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gradcheck import load_config
from gradcheck.pytest_plugin.live_checks import LiveChecks

if TYPE_CHECKING:
    from tests.pytest_plugin.conftest import Project

PAGE = (Path(__file__).resolve().parent.parent.parent / "docs" / "pytest.md").read_text(encoding="utf-8")


@pytest.fixture
def documented(project: Project) -> Project:
    """The files of the page."""
    for block in re.findall(r"^```(?:yaml|python|toml)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        path = project.pytester.path / block.partition("\n")[0].removeprefix("# ")
        path.parent.mkdir(exist_ok=True)
        path.write_text(block, encoding="utf-8")
    (project.pytester.path / "configs").mkdir()
    return project


def test_the_tests_are_those_that_are_shown(documented: Project) -> None:
    (shown,) = re.findall(r"<!-- collected -->\n```text\n(.*?)```", PAGE, re.DOTALL)
    code = documented.pytester.path / "checks" / "test_gradients.py"
    heavy = r"^import (keras|numpy as np|tensorflow as tf)\n"
    code.write_text(re.sub(heavy, "", code.read_text(encoding="utf-8"), flags=re.MULTILINE), encoding="utf-8")
    listed = [line for line in documented.run("--collect-only", "-q").outlines if "::" in line]
    assert sorted(listed) == sorted(shown.splitlines())


def test_the_failing_line_is_that_of_the_method(documented: Project) -> None:
    place = load_config(documented.pytester.path / "checks" / "two_parts.gradcheck.yaml").locate("methods", 2)
    assert place is not None
    assert f"checks/two_parts.gradcheck.yaml:{place.line}: MISMATCH" in PAGE


def test_every_call_of_the_fixture_is_named() -> None:
    section = PAGE.partition("## The fixture")[2].partition("## ")[0]
    assert [name for name in vars(LiveChecks) if not name.startswith("_") and f"`{name}`" not in section] == []


@pytest.mark.on_request
def test_the_project_comes_to_what_is_shown(documented: Project) -> None:
    result = documented.pytester.runpytest_subprocess("-p", "gradcheck.pytest_plugin")
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(
        ["*: FAIL by-hand: 2/4 weights match, worst front/*", "*diagnosis by-hand GC101 at boundary*"]
    )
