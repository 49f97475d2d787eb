"""A project with configs, and pytest on it with the plugin alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import gradcheck.pytest_plugin
from gradcheck.pytest_plugin import config_items, live_checks  # noqa: F401 - pytester forgets what an inner run imports
from tests.pytest_plugin.stand_in import LOG, StandIn

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

CONFIG = """\
description: "{said}"
model:
  input: {{shape: [4]}}
  layers:
    - Dense: {{units: 3, name: front}}
    - Dense: 1
split: {{after: [front]}}
methods:
{methods}
"""


class Project:
    """A folder with configs, and runs of pytest on it."""

    def __init__(self, pytester: pytest.Pytester, log: Path) -> None:
        self.pytester, self._log = pytester, log

    def config(self, name: str, *methods: str, said: str = "", more: str = "") -> Path:
        """Write a config, in which `said` describes the outcomes of its methods for the stand-in."""
        path = self.pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = "\n".join(f"  - {method}" for method in methods or ("vjp",))
        path.write_text(CONFIG.format(said=f"{{{said}}}", methods=lines) + more, encoding="utf-8")
        return path

    def run(self, *arguments: str) -> pytest.RunResult:
        """Run pytest in this process, and show all results."""
        return self.pytester.runpytest_inprocess("-rA", *arguments, plugins=[gradcheck.pytest_plugin])

    @property
    def runs(self) -> list[dict[str, Any]]:
        """The runs of configs, by the stand-in."""
        return [json.loads(line) for line in self._log.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Project:
    """A project whose configs are not run, but come to what their descriptions say."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv(LOG, str(tmp_path / "log"))
    monkeypatch.setattr(config_items, "workers", StandIn)
    (tmp_path / "log").touch()
    return Project(pytester, tmp_path / "log")


@pytest.fixture
def outcome(project: Project) -> Callable[..., dict[str, str]]:
    """Runs pytest, and returns the outcome of each test by its node id."""

    def outcomes(*arguments: str) -> dict[str, str]:
        found: dict[str, str] = {}

        class Seen:
            @staticmethod
            def pytest_runtest_logreport(report: pytest.TestReport) -> None:
                if report.when == "call" or report.outcome != "passed":
                    found[report.nodeid] = report.outcome

        project.pytester.inline_run(*arguments, plugins=[gradcheck.pytest_plugin, Seen()])
        return found

    return outcomes
