"""The problem of a module's config."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.config import load_config
from gradcheck.problem.prepare import prepare, session

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def problem(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """What `CONFIG` of the module describes, prepared once."""
    path = tmp_path_factory.mktemp("problem") / "config.yaml"
    path.write_text(request.module.CONFIG, encoding="utf-8")
    loaded = load_config(path)
    with session(loaded.config):
        yield prepare(loaded.config, loaded.base)
