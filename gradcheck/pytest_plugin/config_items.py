"""A config as a test file, and each of its checks as a test."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.config.load import load_config
from gradcheck.config.schema import ToleranceConfig
from gradcheck.errors import ConfigErrors, GradcheckError
from gradcheck.pytest_plugin.item_result import Failure, broken, result_of_check
from gradcheck.pytest_plugin.tolerances import tolerances_of
from gradcheck.session.configs import CheckOptions, errored
from gradcheck.workers import Runner, Task, result_of, workers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gradcheck.config.load import LoadedConfig
    from gradcheck.pytest_plugin.tolerances import Tolerances
    from gradcheck.results.report import RunReport

_CHECK = "gradcheck.session.configs:check_with_environment"
_POOL = pytest.StashKey[Runner]()


class GradcheckWarning(pytest.PytestWarning):
    """A warning in the report of a config that passes."""


class GradcheckFile(pytest.File):
    """A config: it is run once, at its first test, for all of its tests that are selected."""

    def __init__(self, **given: Any) -> None:
        """Run nothing yet."""
        super().__init__(**given)
        self._runs: dict[Tolerances, tuple[RunReport, bool]] = {}

    def collect(self) -> Iterator[pytest.Item]:
        """Yield one test for each check; for a config with mistakes one test, which fails."""
        try:
            self.loaded = load_config(self.path, require_split=True)
        except ConfigErrors as errors:
            yield BrokenConfig.from_parent(self, name="config", failure=broken(errors, self.config.rootpath))
            return
        uses = Counter[str]()
        for index, written in enumerate(self.loaded.config.methods):
            place = self.loaded.locate("methods", index)
            for label in (method.label for method in written.at_points):
                uses[label] += 1
                name = label if uses[label] == 1 else f"{label}:{uses[label]}"
                line = place.line if place else 1
                yield GradcheckItem.from_parent(self, name=name, label=label, use=uses[label] - 1, line=line)
        self.labels = uses

    def run_for(self, item: GradcheckItem) -> tuple[RunReport, bool]:
        """Return the report that `item` is part of, and whether it has every check of the config.

        The checks of one run are those that have the same tolerances.
        """
        wanted = item.tolerances
        if wanted not in self._runs:
            items = [one for one in self.session.items if isinstance(one, GradcheckItem) and one.parent is self]
            together = [one for one in items if one.tolerances == wanted]
            complete = len(together) == sum(self.labels.values())
            only = None if complete else frozenset(one.label for one in together)
            run = _checked(_with_tolerances(self.loaded, wanted), CheckOptions(only=only), self.config)
            self._runs[wanted] = replace(run, config=self.nodeid), complete
        return self._runs[wanted]


class _LocatedItem(pytest.Item):
    """A test at a line of a config, whose failures are texts for people."""

    parent: GradcheckFile

    def __init__(self, *, line: int, **given: Any) -> None:
        super().__init__(**given)
        self.line = line
        self.add_marker(pytest.mark.gradcheck)
        if self.config.getoption("dist", None) is not None:  # --dist=loadgroup keeps a config's tests on one worker
            self.add_marker(pytest.mark.xdist_group(self.parent.nodeid))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the place of the test, with the line from 0, and its title."""
        return self.path, self.line - 1, f"{self.path.name}: {self.name}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the text of a failure without a traceback, at the line of the config."""
        if not isinstance(excinfo.value, (Failure, GradcheckWarning, pytest.UsageError)):
            return super().repr_failure(excinfo, style)
        shown = excinfo.getrepr(style="value")
        if shown.reprcrash is not None:
            shown.reprcrash.path, shown.reprcrash.lineno = str(self.path), self.line
            shown.reprcrash.message = getattr(excinfo.value, "summary", str(excinfo.value))
        return shown


class GradcheckItem(_LocatedItem):
    """One check of a config.

    Attributes:
        label: the name of its method in reports.
        use: its number, from 0, among the checks with this label.
        line: the line of its method.
    """

    def __init__(self, *, label: str, use: int, **given: Any) -> None:
        super().__init__(**given)
        self.label, self.use = label, use

    @property
    def tolerances(self) -> Tolerances:
        """The tolerances from outside of the config."""
        return tolerances_of(self)

    def runtest(self) -> None:
        """Fail, or skip with the reason, as the report says."""
        run, complete = self.parent.run_for(self)
        root = self.config.rootpath
        result = result_of_check(run, self.label, self.use, labels=self.parent.labels, complete=complete, root=root)
        if result.failure:
            place = f"{self.parent.nodeid}:{self.line}"
            raise Failure(f"{result.text}\n\n{place}: {result.failure}", result.summary)
        for warning in result.warnings:
            self.warn(GradcheckWarning(warning))
        if result.skip:
            raise pytest.skip.Exception(result.summary, _use_item_location=True)
        self.add_report_section("call", "gradcheck", result.text)


class BrokenConfig(_LocatedItem):
    """A config with mistakes."""

    def __init__(self, *, failure: Failure, **given: Any) -> None:
        super().__init__(line=failure.line, **given)
        self._failure = failure

    def runtest(self) -> None:
        """Fail with every mistake."""
        raise self._failure


def _with_tolerances(loaded: LoadedConfig, tolerances: Tolerances) -> LoadedConfig:
    own = loaded.config.tolerance.model_dump(exclude_unset=True)
    tolerance = ToleranceConfig.model_validate(tolerances.around(own))
    return replace(loaded, config=loaded.config.model_copy(update={"tolerance": tolerance}))


def _checked(loaded: LoadedConfig, options: CheckOptions, config: pytest.Config) -> RunReport:
    """Run one config in the worker process of this session, which starts when it is first needed."""
    if _POOL not in config.stash:
        stack = ExitStack()
        config.stash[_POOL] = stack.enter_context(workers())
        config.add_cleanup(stack.close)
    try:
        task = Task(target=_CHECK, arguments=(loaded, options)).placed(loaded.config.placement)
        run, _ = result_of(config.stash[_POOL], task)
    except GradcheckError as error:
        return errored(loaded, error)
    found: RunReport = run
    return found
