"""Which tolerance holds: of the command line, the config or call, the marker, or the ini file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pytest_plugin.conftest import Project

MARKING = """\
import pytest

def pytest_collection_modifyitems(items):
    for item in items:
        item.add_marker(pytest.mark.gradcheck(rtol=0.3))
"""
OWN = "tolerance: {rtol: 0.2, overrides: {'front/*': {rtol: 1.0}}}\n"
OVERRIDES = {"overrides": {"front/*": {"rtol": 1.0}}}


def written(project: Project, *arguments: str) -> object:
    """The tolerance that the config is run with."""
    project.run(*arguments).assert_outcomes(passed=1)
    return project.runs[-1]["tolerance"]


def test_the_command_line_beats_the_config_which_beats_the_marker_which_beats_the_ini_file(project: Project) -> None:
    project.config("a.gradcheck.yaml")
    assert written(project) == {}
    project.pytester.makeini("[pytest]\ngradcheck_rtol = 0.4\ngradcheck_atol = 4e-4\n")
    assert written(project) == {"rtol": 0.4, "atol": 4e-4}
    project.pytester.makeconftest(MARKING)
    assert written(project) == {"rtol": 0.3, "atol": 4e-4}
    project.config("a.gradcheck.yaml", more=OWN)
    assert written(project) == {"rtol": 0.2, "atol": 4e-4, **OVERRIDES}
    assert written(project, "--gradcheck-rtol=1e-1", "--gradcheck-atol", "auto") == {
        "rtol": 0.1,
        "atol": "auto",
        **OVERRIDES,
    }


def test_checks_with_other_tolerances_are_another_run(project: Project) -> None:
    project.config("a.gradcheck.yaml", "vjp", "jacobian", "recompute")
    project.pytester.makeconftest(MARKING.replace("for item in items", "for item in items[1:]"))
    project.run().assert_outcomes(passed=3)
    assert [(run["checks"], run["tolerance"]) for run in project.runs] == [
        (["vjp"], {}),
        (["jacobian", "recompute"], {"rtol": 0.3}),
    ]


@pytest.mark.parametrize("value", ["small", "-1", "nan", "inf", ""])
def test_what_is_no_tolerance_is_said_at_once(project: Project, value: str) -> None:
    project.config("a.gradcheck.yaml")
    result = project.run(f"--gradcheck-rtol={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [f"ERROR: --gradcheck-rtol: a tolerance is a number from 0, or auto. Received: '{value}'"]
    )


def test_a_marker_without_a_number_fails_its_test_without_a_traceback(project: Project) -> None:
    project.config("a.gradcheck.yaml")
    project.pytester.makeconftest(MARKING.replace("0.3", "'x'"))
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["the marker gradcheck, rtol: a tolerance is a number from 0, or auto. Received: 'x'"])
    assert "Traceback" not in result.stdout.str()
