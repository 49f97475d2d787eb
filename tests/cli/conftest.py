from __future__ import annotations

import pytest

from gradcheck.workers import VARIABLE


@pytest.fixture(autouse=True)
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `main` runs, it runs here: TensorFlow is loaded already. Processes of their own have workers."""
    monkeypatch.setenv(VARIABLE, "0")
