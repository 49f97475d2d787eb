"""The hand-off by itself, on a chain of three that is worked out on paper.

x = 2, w = (3, 5, 7): b1 = 6, b2 = 30, b3 = 210, and the loss is (out - y)^2 with out - y = 1, so dL/dout = 2.
Along the chain: dw3 = 2·30, c2 = 2·7 = 14, dw2 = 14·6, c1 = 14·5 = 70, dw1 = 70·2, dx = 70·3.
With a skip from b1 to the output: c1 = 14·5 + 2 = 72.
Added to itself by way of a layer that hands on the very tensor it was given, b1 gives 12: c1 = 2 + 2, dw1 = 4·2,
dx = 4·3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.config.load import load_given
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.split import HandOff, split
from gradcheck.problem.prepare import prepare, session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.problem.problem import Problem


def times(name: str, weight: float) -> dict[str, Any]:
    kernel = {"class_name": "Constant", "config": {"value": weight}}
    return {"Dense": {"units": 1, "use_bias": False, "kernel_initializer": kernel, "name": name}}


THREE = [times("first", 3.0), times("second", 5.0), times("third", 7.0)]


def problem_of(layers: list[Any], after: list[str], target: float) -> Iterator[Problem]:
    config = {
        "model": {"input": {"shape": [1]}, "layers": layers},
        "split": {"after": after},
        "loss": "MeanSquaredError",
        "data": {"batch_size": 1, "inputs": {"constant": 2.0}, "targets": {"constant": target}},
    }
    loaded = load_given(config, {})
    with session(loaded.config):
        yield prepare(loaded.config, loaded.base)


def found(problem: Problem, steps: HandOff | None = None) -> dict[str, float]:
    computed = split(problem, batch_tensors(problem), steps)
    gradients = {f"{key.kind} {key.path}": np.asarray(g).item() for key, g in computed.gradients.items()}
    return {"loss": float(computed.loss), **gradients}


@pytest.fixture
def chain() -> Iterator[Problem]:
    yield from problem_of(THREE, ["first", "second"], 209.0)


@pytest.fixture
def skipping() -> Iterator[Problem]:
    layers = [*THREE, {"Add": {"name": "sum", "inputs": ["third", "first"]}}]
    yield from problem_of(layers, ["first", "second"], 215.0)


@pytest.fixture
def reusing() -> Iterator[Problem]:
    """The skip starts inside the first segment, which goes on with the tensor that it hands over."""
    layers = [*THREE, {"Add": {"name": "sum", "inputs": ["third", "first"]}}]
    yield from problem_of(layers, ["second"], 215.0)


@pytest.fixture
def handing_on() -> Iterator[Problem]:
    layers = [
        THREE[0],
        {"Dropout": {"rate": 0.0, "name": "same"}},
        {"Add": {"name": "sum", "inputs": ["first", "same"]}},
    ]
    yield from problem_of(layers, ["first", "same"], 11.0)


CHAIN = {
    "loss": 1.0,
    "weight third/kernel": 60.0,
    "boundary second": 14.0,
    "weight second/kernel": 84.0,
    "boundary first": 70.0,
    "weight first/kernel": 140.0,
    "input input": 210.0,
}


def test_a_chain(chain: Problem) -> None:
    assert found(chain) == CHAIN


SKIPPING = {**CHAIN, "boundary first": 72.0, "weight first/kernel": 144.0, "input input": 216.0}


def test_a_skip_connection_sums_what_its_consumers_send_back(skipping: Problem) -> None:
    assert found(skipping) == SKIPPING


def test_a_segment_that_goes_on_with_what_it_hands_over_adds_its_own_part(reusing: Problem) -> None:
    assert found(reusing) == SKIPPING


def test_a_tensor_that_crosses_twice_is_counted_once_each_way(handing_on: Problem) -> None:
    assert found(handing_on) == {
        "loss": 1.0,
        "boundary same": 2.0,
        "boundary first": 4.0,
        "weight first/kernel": 8.0,
        "input input": 12.0,
    }


class Seeded(HandOff):
    """Hands on ones in place of the cotangent of `second`."""

    def cotangent(self, segment: Any, ref: Any, output: Any, cotangent: Any) -> Any:  # noqa: ARG002 - the step's signature
        return cotangent / cotangent if segment.plan.index == 1 else cotangent


def test_a_wrong_step_shows_from_there_on(chain: Problem) -> None:
    wrong = {"weight second/kernel": 6.0, "boundary first": 5.0, "weight first/kernel": 10.0, "input input": 15.0}
    assert found(chain, Seeded()) == {**CHAIN, **wrong}
