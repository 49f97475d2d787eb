"""What the tests of the ways of training share."""

from __future__ import annotations

import pytest

from gradcheck.session import patience


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives a diagnosis its time: the mistake is to be named by replays."""
    monkeypatch.setattr(patience, "SECONDS", 60.0)
