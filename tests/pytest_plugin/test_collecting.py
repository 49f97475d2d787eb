"""Which files are tests, and what that costs where none is."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import gradcheck.pytest_plugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pytest_plugin.conftest import Project

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_package_declares_the_plugin() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"]
    assert EntryPoint("gradcheck", declared["pytest11"]["gradcheck"], "pytest11").load() is gradcheck.pytest_plugin


def test_one_test_for_each_check_and_point(project: Project) -> None:
    project.config("a.gradcheck.yaml", "vjp", "numeric: {points: [given, zeros]}", "naive: {expect: mismatch}")
    project.config("deep/b.gradcheck.yml", "vjp", "vjp")
    shown = project.run("--collect-only", "-q").outlines
    assert shown[:6] == [
        "a.gradcheck.yaml::vjp",
        "a.gradcheck.yaml::numeric",
        "a.gradcheck.yaml::numeric[zeros]",
        "a.gradcheck.yaml::naive",
        "deep/b.gradcheck.yml::vjp",
        "deep/b.gradcheck.yml::vjp:2",
    ]


def test_other_yaml_files_are_left_alone(project: Project) -> None:
    project.config("plain.yaml")
    (project.pytester.path / "compose.yml").write_text("model: [1", encoding="utf-8")
    project.run().assert_outcomes()


def test_a_folder_of_the_ini_file_has_its_configs_collected(project: Project) -> None:
    project.config("configs/deep/plain.yaml")
    project.config("configs/.hidden.yaml")
    (project.pytester.path / "configs" / "other.yaml").write_text("services: {}", encoding="utf-8")
    project.config("elsewhere/plain.yaml")
    project.pytester.makeini("[pytest]\ngradcheck_paths = configs\n")
    assert "configs/deep/plain.yaml::vjp" in project.run("--collect-only", "-q").outlines
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("tests", ["tests", "."])
def test_a_folder_beside_the_testpaths_is_collected_too_and_once(project: Project, tests: str) -> None:
    project.config("configs/plain.yaml")
    (project.pytester.path / "tests").mkdir()
    project.pytester.path.joinpath("tests", "test_one.py").write_text("def test_one(): ...\n", encoding="utf-8")
    project.pytester.makeini(f"[pytest]\ngradcheck_paths = ./tests/../configs\ntestpaths = {tests}\n")
    project.run().assert_outcomes(passed=2)
    project.run("tests").assert_outcomes(passed=1)


def test_a_folder_that_is_missing_is_said(project: Project) -> None:
    project.pytester.makeini("[pytest]\ngradcheck_paths = confgs\n")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: gradcheck_paths: there is no folder */confgs"])


def test_a_file_that_is_named_is_collected(project: Project) -> None:
    project.config("plain.yaml", "vjp", "jacobian")
    project.run("plain.yaml").assert_outcomes(passed=2)
    project.run("plain.yaml::jacobian").assert_outcomes(passed=1)


def test_tests_are_selected_by_name_and_marker(project: Project, outcome: Callable[..., dict[str, str]]) -> None:
    project.config("a.gradcheck.yaml", "vjp", "jacobian")
    project.pytester.makepyfile("def test_plain(): ...")
    assert set(outcome("-k", "jacobian or plain")) == {
        "a.gradcheck.yaml::jacobian",
        "test_tests_are_selected_by_name_and_marker.py::test_plain",
    }
    assert set(outcome("-m", "gradcheck")) == {"a.gradcheck.yaml::vjp", "a.gradcheck.yaml::jacobian"}


def test_the_marker_is_known(project: Project) -> None:
    project.config("a.gradcheck.yaml")
    project.run("--strict-markers").assert_outcomes(passed=1)
    project.run("--markers").stdout.fnmatch_lines(["@pytest.mark.gradcheck(rtol=None, atol=None): *"])


def test_a_project_without_configs_imports_nothing_more(tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text("def test_one(): ...\n", encoding="utf-8")
    (tmp_path / "compose.yaml").write_text("services: {}\n", encoding="utf-8")
    code = """\
import pytest, sys
before = set(sys.modules)
assert pytest.main(["-q", "-p", "gradcheck.pytest_plugin"]) == 0
print("loaded:", *sorted(name for name in set(sys.modules) - before if name.startswith("gradcheck")))
print("heavy:", *sorted({"tensorflow", "keras", "numpy", "pydantic", "yaml", "click", "rich"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-2:] == ["loaded: gradcheck gradcheck.pytest_plugin", "heavy:"]
