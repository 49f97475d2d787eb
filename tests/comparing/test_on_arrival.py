"""A gradient that agrees is dropped when it arrives; one that does not is kept, and fails as it always did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.comparing.keys import as_array
from gradcheck.comparing.on_arrival import OnArrival
from gradcheck.handoff.arrivals import Agreeing
from gradcheck.handoff.hand_off import HandOff
from gradcheck.numerics import TolerancePolicy
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

KEY = TensorKey("weight", "w")
ONES = np.ones(3, np.float32)


class Known:
    """A problem, and a reference."""

    precision = "float32"

    def __init__(self, expected: Any) -> None:
        self.tensors = {KEY: expected}


@pytest.mark.parametrize(
    ("expected", "gradient", "agrees"),
    [
        (ONES, ONES, True),
        (ONES, ONES * np.float32(1 + 1e-6), True),
        (0 * ONES, 0 * ONES, True),
        (ONES, ONES * 2, False),
        (ONES, ONES * np.nan, False),
        (ONES * np.nan, ONES * np.nan, False),
        (ONES, None, False),
        (None, ONES, False),
        (ONES, np.ones(4, np.float32), False),
    ],
)
def test_what_agrees_is_dropped(expected: Any, gradient: Any, agrees: bool) -> None:
    known: Any = Known(expected)
    tensor = None if gradient is None else tf.constant(gradient)
    found = OnArrival(known, known, TolerancePolicy())(KEY, tensor)
    assert (found is not tensor) == agrees
    if agrees:
        assert isinstance(found, Agreeing)
        assert found.comparison.status in ("exact", "close", "dead")
        assert as_array(found) is expected  # in its place whoever needs its values gets the reference's


def test_a_wrong_gradient_of_a_split_fails_and_is_named(
    run: Callable[..., RunReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = {"input": {"shape": [4]}, "layers": [{"Dense": {"units": 3, "name": name}} for name in "abc"]}
    right = HandOff.contribution

    def wrong(self: HandOff, segment: Any, key: TensorKey, gradient: Any) -> Any:
        return right(self, segment, key, gradient) * (3.0 if key.path == "b/kernel" else 1.0)

    monkeypatch.setattr(HandOff, "contribution", wrong)
    report = run({"model": model, "split": {"every": "layer"}, "verify_reference": "never"})
    (check,) = report.checks
    assert [tensor.path for tensor in check.tensors if tensor.failed] == ["b/kernel"]
    assert check.tensors[0].status == "exact"
    assert check.second_opinion
    assert report.exit_code == 1
