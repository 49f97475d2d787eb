"""Every third model is cut, unless all are asked for: `--subclassed all`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--subclassed") == "all":
        return
    cut = [item for item in items if item.path == Path(__file__).with_name("test_cut_inside.py")]
    left_out = {id(item) for name in {item.name.partition("[")[0] for item in cut} for item in _but_a_third(cut, name)}
    config.hook.pytest_deselected(items=[item for item in items if id(item) in left_out])
    items[:] = [item for item in items if id(item) not in left_out]


def _but_a_third(items: list[pytest.Item], name: str) -> list[pytest.Item]:
    """The tests of one function without every third."""
    of_function = [item for item in items if item.name.startswith(f"{name}[")]
    return [item for index, item in enumerate(of_function) if index % 3]
