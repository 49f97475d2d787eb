"""What is not explained, and said so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gradcheck.diagnose import Explained, Explaining


@pytest.mark.parametrize(("budget", "fits"), [(3 * 400, True), (3 * 400 - 1, False)])
def test_replays_beside_a_saved_reference_need_room_for_three_gradients(
    monkeypatch: pytest.MonkeyPatch, budget: int, fits: bool
) -> None:
    weight = SimpleNamespace(variable=np.zeros((10, 10), np.float32))
    problem: Any = SimpleNamespace(reference_file="saved.npz", weights=[weight], memory_budget=budget)
    unused: Any = None
    method: Any = SimpleNamespace(info=SimpleNamespace(engine=False))
    gradients: Any = SimpleNamespace(against={})
    monkeypatch.setattr(Explaining, "_mistakes", lambda *_, **__: Explained(second_opinion="it was diagnosed"))
    found = Explaining(unused, problem, unused, unused).gradients(method, (), gradients, calls=(), seconds=1.0)
    assert (found.second_opinion == "it was diagnosed") == fits
    assert [said.partition(":")[0] for said in found.warnings] == ([] if fits else ["not diagnosed"])
