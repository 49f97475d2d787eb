"""What each check of a config comes to, where and in which words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.pytest_plugin.conftest import Project

ROOT = Path(__file__).resolve().parent.parent.parent
CONFTEST = """\
from gradcheck.pytest_plugin import config_items
from tests.pytest_plugin.stand_in import StandIn

config_items.workers = StandIn
"""


@pytest.mark.parametrize(
    ("method", "said", "result"),
    [
        ("vjp", "", "passed"),
        ("vjp", "vjp: mismatch", "failed"),
        ("naive: {expect: mismatch}", "naive: mismatch", "passed"),
        ("naive: {expect: mismatch}", "naive: match", "failed"),
        ("vjp", "vjp: raises", "failed"),
        ("vjp", "vjp: dead", "failed"),
        ("vjp", "vjp: inconclusive", "failed"),
        ("vjp", "vjp: not applicable", "failed"),
        ("vjp", "error: 1", "failed"),
        ("vjp", "reference: 1", "failed"),
        ("vjp", "unproven: 1", "failed"),
        ("vjp", "died: 1", "failed"),
    ],
)
def test_the_outcome_is_that_of_gradcheck_run(
    project: Project, outcome: Callable[..., dict[str, str]], method: str, said: str, result: str
) -> None:
    project.config("a.gradcheck.yaml", method, said=said)
    assert list(outcome().values()) == [result]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("dead", "jacobian: nothing was proven: none of 1 trainable variable has a gradient to compare*"),
        ("inconclusive", "jacobian: inconclusive: 1 of 1 trainable variable undecided*"),
        ("not applicable", "jacobian does not apply: it cannot"),
    ],
)
def test_what_proves_nothing_beside_a_proof_is_skipped_with_its_reason(
    project: Project, said: str, reason: str
) -> None:
    project.config("a.gradcheck.yaml", "vjp", "jacobian", said=f"jacobian: {said}")
    result = project.run()
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines([f"SKIPPED [[]1[]] a.gradcheck.yaml:10: {reason}"])


def test_a_selected_check_alone_is_not_the_whole_config(project: Project) -> None:
    project.config("a.gradcheck.yaml", "vjp", "jacobian", said="jacobian: inconclusive")
    project.run("a.gradcheck.yaml::jacobian").assert_outcomes(skipped=1)
    assert [run["checks"] for run in project.runs] == [["jacobian"]]


def test_the_selected_checks_of_a_config_share_one_run(project: Project) -> None:
    project.config("a.gradcheck.yaml", "vjp", "jacobian", "recompute")
    project.config("b.gradcheck.yaml", "vjp", "graph")
    project.run("-k", "vjp or jacobian").assert_outcomes(passed=3, deselected=2)
    assert [(run["config"], run["checks"]) for run in project.runs] == [
        ("a.gradcheck.yaml", ["vjp", "jacobian"]),
        ("b.gradcheck.yaml", ["vjp"]),
    ]


def test_a_failure_is_the_report_of_its_check_at_its_line(project: Project) -> None:
    project.config("deep/a.gradcheck.yaml", "vjp", "jacobian", said="jacobian: mismatch")
    result = project.run("--junitxml=found.xml")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*__ a.gradcheck.yaml: jacobian __*",
            "deep/a.gradcheck.yaml: FAIL jacobian: 0/1 weights match",
            "deep/a.gradcheck.yaml: FAIL jacobian w mismatch *",
            "deep/a.gradcheck.yaml:10: MISMATCH",
            "*gradcheck*",
            "deep/a.gradcheck.yaml: pass vjp: 1/1 weights*",
            "FAILED deep/a.gradcheck.yaml::jacobian - jacobian: 1 of 1 trainable variable*",
        ]
    )
    shown = result.stdout.str()
    assert "Traceback" not in shown
    assert "config_items.py" not in shown
    passed, failed = ET.parse(project.pytester.path / "found.xml").iter("testcase")  # noqa: S314 - our own
    assert (passed.get("classname"), passed.get("name")) == ("deep.a.gradcheck.yaml", "vjp")
    failure = failed.find("failure")
    assert failure is not None
    assert (failure.get("message") or "").startswith("jacobian: 1 of 1 trainable variable does NOT match")


def test_a_report_has_the_line_and_the_duration_of_the_run(project: Project) -> None:
    project.config("a.gradcheck.yaml", "vjp", "jacobian", said="jacobian: mismatch")
    found = project.pytester.inline_run(plugins=[sys.modules["gradcheck.pytest_plugin"]])
    reports = [report for report in found.getreports("pytest_runtest_logreport") if report.when == "call"]
    assert [report.location for report in reports] == [
        ("a.gradcheck.yaml", 8, "a.gradcheck.yaml: vjp"),
        ("a.gradcheck.yaml", 9, "a.gradcheck.yaml: jacobian"),
    ]
    crash: Any = reports[1].longrepr.reprcrash
    assert (Path(crash.path).name, crash.lineno) == ("a.gradcheck.yaml", 10)


def test_exit_first_stops_at_the_first_check(project: Project) -> None:
    project.config("a.gradcheck.yaml", "vjp", "jacobian", said="vjp: mismatch, jacobian: mismatch")
    project.run("-x").assert_outcomes(failed=1)


def test_a_broken_config_fails_with_every_mistake_beside_the_others(project: Project) -> None:
    project.config("a.gradcheck.yaml", "vjp", "vjpp", more="modell: 1\n")
    project.config("b.gradcheck.yaml", "vjp")
    result = project.run()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*__ a.gradcheck.yaml: config __*",
            "error[[]GC004[]]: unknown method `vjpp`",
            "  --> a.gradcheck.yaml:10:5",
            "      - vjpp",
            "        ^^^^",
            "help: did you mean `vjp`? *",
            "error[[]GC003[]]: unknown key `modell`",
            "  --> a.gradcheck.yaml:11:1",
            "FAILED a.gradcheck.yaml::config - error[[]GC004[]]: unknown method `vjpp`",
        ]
    )
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize("text", ["", "model: [1", "- 1", "a: 1\na: 2\n", "\x00", "name: x\n"])
def test_no_broken_text_shows_a_traceback(project: Project, text: str) -> None:
    (project.pytester.path / "a.gradcheck.yaml").write_text(text, encoding="utf-8")
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.re_match_lines([r"error\[GC0\d\d\]: .+", r"  --> a\.gradcheck\.yaml:\d+:\d+"])
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        ("error: 1", ["error[[]GC053[]]: the factory raised", "  --> a.gradcheck.yaml:2", "help: mend it"]),
        ("vjp: raises", ["error[[]GC054[]]: the candidate raised", "  --> train.py:3"]),
        ("died: 1", ["error[[]GC060[]]: the worker is gone"]),
        ("unproven: 1", ["a.gradcheck.yaml: FAIL require: all: *w*dead*"]),
        ("reference: 1", ["a.gradcheck.yaml: FAIL reference: *"]),
        ("vjp: dead", ["a.gradcheck.yaml: vacuous Nothing was proven: *"]),
    ],
)
def test_what_fails_the_whole_run_fails_its_tests_in_its_own_words(
    project: Project, said: str, lines: list[str]
) -> None:
    project.config("a.gradcheck.yaml", "vjp", said=said)
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([*lines, "", "a.gradcheck.yaml:9: *"])


def test_an_error_of_one_check_is_not_that_of_another(project: Project, outcome: Callable[..., dict[str, str]]) -> None:
    project.config("a.gradcheck.yaml", "vjp", "jacobian", said="vjp: raises")
    assert list(outcome().values()) == ["failed", "passed"]


def test_warnings_of_a_run_are_warnings_of_pytest_at_the_line(project: Project) -> None:
    project.config("a.gradcheck.yaml", "vjp", said="warnings: [the median floor is large]")
    result = project.run()
    result.assert_outcomes(passed=1, warnings=1)
    result.stdout.fnmatch_lines(["*a.gradcheck.yaml:9: GradcheckWarning: the median floor is large"])
    result = project.run("-W", "error::gradcheck.pytest_plugin.config_items.GradcheckWarning")
    result.assert_outcomes(failed=1)
    assert "Traceback" not in result.stdout.str()


@pytest.mark.parametrize("said", ["vjp: mismatch", "vjp: raises"])
def test_a_mark_of_the_users_own_holds(project: Project, said: str) -> None:
    project.config("a.gradcheck.yaml", "vjp", said=said)
    project.pytester.makeconftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            items[0].add_marker(pytest.mark.xfail(reason="known"))
        """
    )
    project.run().assert_outcomes(xfailed=1)


def test_the_tests_of_a_config_stay_on_one_worker_of_xdist(project: Project) -> None:
    names = ["tests/a.gradcheck.yaml", "tests/b.gradcheck.yaml", "configs/c.yaml"]
    for name in names:
        project.config(name, "vjp", "jacobian", "recompute", said="jacobian: mismatch")
    project.pytester.makeconftest(CONFTEST)
    project.pytester.makeini("[pytest]\ntestpaths = tests\ngradcheck_paths = configs\n")
    options = ("-p", "xdist.plugin", "-p", "gradcheck.pytest_plugin", "-n", "2", "--dist", "loadfile")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=project.pytester.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert "3 failed, 6 passed" in done.stdout, done.stdout
    assert sorted(run["config"] for run in project.runs) == ["a.gradcheck.yaml", "b.gradcheck.yaml", "c.yaml"]
    failed = re.findall(r"^FAILED (\S+) - jacobian: 1 of", done.stdout, re.MULTILINE)
    assert sorted(failed) == sorted(f"{name}::jacobian" for name in names)
    assert [name for name in names if f"\n{name}:10: MISMATCH\n" not in done.stdout] == []


def test_the_tests_of_a_config_are_a_group_of_xdist_where_there_is_xdist(project: Project) -> None:
    project.config("a.gradcheck.yaml", "vjp", "jacobian")
    items, _ = project.pytester.inline_genitems("-p", "xdist.plugin", "-p", "gradcheck.pytest_plugin")
    assert [[mark.args for mark in item.iter_markers("xdist_group")] for item in items] == [[("a.gradcheck.yaml",)]] * 2
    items, _ = project.pytester.inline_genitems("-p", "gradcheck.pytest_plugin", "--strict-markers")
    assert [list(item.iter_markers("xdist_group")) for item in items] == [[], []]


@pytest.mark.on_request
def test_three_configs_and_a_fixture_on_two_workers(tmp_path: Path) -> None:
    for name in ("one", "two"):
        shutil.copy(ROOT / "configs" / "two_dense.yaml", tmp_path / f"{name}.gradcheck.yaml")
    examples = ROOT / "tests" / "examples" / "failing"
    shutil.copy(examples / "ones_handed_off.yaml", tmp_path / "ones.gradcheck.yaml")
    shutil.copy(examples / "train.py", tmp_path)
    (tmp_path / "test_live.py").write_text(
        "def test_cube(gradcheck):\n    gradcheck.check_function(lambda x: x**3, 2.0)\n", encoding="utf-8"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-p", "gradcheck.pytest_plugin", "-n", "2"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stdout
    assert "1 failed, 3 passed" in done.stdout
    assert "\nones.gradcheck.yaml:17: MISMATCH\n" in done.stdout
    assert "GC101" in done.stdout
