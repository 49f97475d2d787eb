"""Fixtures that every part of the suite shares."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import settings
from packaging.version import Version

from gradcheck.session import patience

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
settings.register_profile("any machine", deadline=None)  # a busy one is slow, and nothing is wrong
settings.load_profile("any machine")

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

# Hooks of the whole session, so that a parallel run prints the table too; and `pytester`, for tests of the plugin.
pytest_plugins = ["tests.zoo.table", "pytester"]


def pytest_addoption(parser: pytest.Parser) -> None:
    help_ = "how many wrong candidates and parts are drawn; half as many random models, and a sixth with faults"
    parser.addoption("--generated", metavar="COUNT", type=int, default=8, help=help_)
    help_ = "whether tests/methods/directional/test_probes.py probes every layer of Keras, or a few"
    parser.addoption("--probes", choices=["few", "all"], default="few", help=help_)
    help_ = "whether a third of every family of cases is run (those of tests marked `third`), or all"
    parser.addoption("--families", choices=["third", "all"], default="third", help=help_)
    help_ = "whether tests/zoo/subclassed cuts every third model, or all"
    parser.addoption("--subclassed", choices=["third", "all"], default="third", help=help_)
    help_ = (
        "whether tests/session/test_mutation.py takes every shipped config as it is, or a third, two of them shorter"
    )
    parser.addoption("--mutated", choices=["most", "all"], default="most", help=help_)
    help_ = "whether tests/auditing/test_scripts.py runs every third script, or all"
    parser.addoption("--audited", choices=["third", "all"], default="third", help=help_)
    help_ = "whether tests/upstream runs two of the scripts of docs/upstream-training.md, or all"
    parser.addoption("--upstream", choices=["two", "all"], default="two", help=help_)


@pytest.hookimpl(trylast=True)  # of those that -k and -m select
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out two of three tests of a function marked `third`, and those `on_request`: an option asks for all."""
    families: defaultdict[str, list[pytest.Item]] = defaultdict(list)
    for item in items:
        marker = item.get_closest_marker("third")
        if marker is not None and config.getoption(marker.kwargs.get("option", "--families")) != "all":
            families[item.nodeid.partition("[")[0]].append(item)
    whole = config.getoption("--families") == "all"
    left_out = {id(item) for item in items if item.get_closest_marker("on_request") and not whole}
    left_out |= {id(item) for family in families.values() if len(family) > 2 for item in _but_a_third(family)}
    config.hook.pytest_deselected(items=[item for item in items if id(item) in left_out])
    items[:] = [item for item in items if id(item) not in left_out]


def _but_a_third(family: list[pytest.Item]) -> list[pytest.Item]:
    """The tests of one function without every third, the first of which the marker may name."""
    (marker,) = family[0].iter_markers("third")
    return [item for index, item in enumerate(family) if index % 3 != marker.kwargs.get("start", 0)]


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("keras"):
        import keras

        if Version(keras.__version__) < Version(marker.args[0]):
            pytest.skip(f"Keras has this since {marker.args[0]}")


ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the repository."""
    return ROOT


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., RunReport]:
    """Writes a config, and the files of user code beside it, and runs it as `gradcheck.check` does."""

    def check_one(config: dict[str, Any] | str, files: dict[str, str] | None = None, **overrides: Any) -> RunReport:
        from gradcheck import check

        for name, text in (files or {}).items():
            (tmp_path / name).write_text(dedent(text), encoding="utf-8")
        path = tmp_path / "config.yaml"
        path.write_text(dedent(config) if isinstance(config, str) else yaml.safe_dump(config), encoding="utf-8")
        (found,) = check(path, **overrides).runs
        return found

    return check_one


#: Folders of tests that read verdicts, never the name of a mistake: nothing is replayed there.
VERDICTS_ALONE = ("handoff", "methods", "zoo")
#: Folders of tests of what is done to a model. Its reference is verified there only where a config asks for it, or runs
#: user code: that references of every kind of model are right is shown by the others, above all by the zoo.
REFERENCE_GIVEN = frozenset(
    ("batch", "building", "cutting", "diagnose", "faults", "handoff", "methods", "problem", "training", "ways")
)


@pytest.fixture(autouse=True)
def _short_diagnoses(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaying mistakes would take most of the time of a test that plants one: it is tested in tests/diagnose."""
    folder = request.path.relative_to(ROOT / "tests").parts[0]
    if "diagnose" not in request.node.nodeid:
        monkeypatch.setattr(patience, "SECONDS", 0.0 if folder in VERDICTS_ALONE else 1.0)
        monkeypatch.setattr(patience, "FACTOR", 0.0)
    if folder in REFERENCE_GIVEN:
        monkeypatch.setattr(patience, "QUICK", 0.0)
