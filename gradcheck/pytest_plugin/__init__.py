"""The pytest plugin: configs are collected as tests, and a fixture checks live objects. See docs/pytest.md.

pytest imports this module in every project of an environment with gradcheck. It imports nothing that pytest has not
loaded anyway; the rest of the plugin is imported for a config, for a test with the fixture, or for an option.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from gradcheck.pytest_plugin.live_checks import LiveChecks

_SUFFIXES = (".yaml", ".yml")
_NAMED = (".gradcheck.yaml", ".gradcheck.yml")
_PATHS = "gradcheck_paths"
_TOLERANCES = {"rtol": "relative", "atol": "absolute"}
_MARKER = (
    "gradcheck(rtol=None, atol=None): checks gradients, with these tolerances where the config or the call has none"
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for tolerances and the folders of configs."""
    group = parser.getgroup("gradcheck")
    for name, kind in _TOLERANCES.items():
        instead = f"{kind} tolerance of gradients, a number or auto, in place of those of configs, calls and markers"
        group.addoption(f"--gradcheck-{name}", metavar="NUMBER", help=instead)
        default = f"{kind} tolerance of gradients, where no config, call or marker has one"
        parser.addini(f"gradcheck_{name}", default, default=None)
    parser.addini(_PATHS, "folders in which every YAML config of gradcheck is a test", type="paths", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and collect `gradcheck_paths` beside `testpaths`; a wrong option ends it here."""
    for name in _TOLERANCES:
        if config.getini(f"gradcheck_{name}") or config.getoption(f"gradcheck_{name}") is not None:
            from gradcheck.pytest_plugin.tolerances import tolerances_of_session  # noqa: PLC0415 - if it is needed

            tolerances_of_session(config)
    config.addinivalue_line("markers", _MARKER)
    folders = _folders(config)
    missing = [folder for folder in folders if not folder.exists()]
    if missing:
        raise pytest.UsageError(f"{_PATHS}: there is no folder {missing[0]}")
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS:
        tests = [Path(os.path.abspath(path)) for path in config.args]  # noqa: PTH100 - keeps symbolic links
        config.args += [str(folder) for folder in folders if not any(folder.is_relative_to(path) for path in tests)]


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a config: by its name, in one of the folders, or because the command line names it."""
    if file_path.suffix.lower() not in _SUFFIXES:
        return None
    named = file_path.name.endswith(_NAMED)
    inside = not file_path.name.startswith(".") and any(map(file_path.is_relative_to, _folders(parent.config)))
    if not (named or inside or parent.session.isinitpath(file_path)):
        return None
    from gradcheck.config.yaml.discover import is_config  # noqa: PLC0415 - takes longer than all the rest
    from gradcheck.pytest_plugin.config_items import GradcheckFile  # noqa: PLC0415 - as above

    if not (named or is_config(file_path)):
        return None
    file: pytest.Collector = GradcheckFile.from_parent(parent, path=file_path)
    return file


@pytest.fixture
def gradcheck(request: pytest.FixtureRequest) -> LiveChecks:
    """Check live objects: `check_model`, `check_parts`, `check_step` and so on, which fail with the report."""
    from gradcheck.pytest_plugin.live_checks import LiveChecks  # noqa: PLC0415 - only for a test that checks
    from gradcheck.pytest_plugin.tolerances import tolerances_of  # noqa: PLC0415 - as above

    return LiveChecks(tolerances_of(request.node))


def _folders(config: pytest.Config) -> list[Path]:
    return [Path(os.path.abspath(folder)) for folder in config.getini(_PATHS)]  # noqa: PTH100 - as above
