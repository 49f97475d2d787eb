"""Faults with a number: solved for, replayed, and named only if all gradients agree."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.diagnose import Effort, Observed, Replayed
from gradcheck.diagnose.replaying.solved import with_factors
from gradcheck.faults.boundary.cotangent_factor import CotangentFactor
from gradcheck.faults.losses.factors import LossScaleLeft, may_be_loss_scale
from gradcheck.faults.losses.terms import TermWeighed
from gradcheck.numerics import TolerancePolicy

if TYPE_CHECKING:
    from gradcheck.faults.interface import Injection

CONFIG = """
model:
  input: {shape: [3]}
  layers:
    - Dense: {units: 4, activation: tanh, kernel_regularizer: l2, name: trunk}
    - Dense: {units: 3, activation: tanh, name: body, inputs: [trunk]}
    - Dense: {units: 2, name: left, inputs: [body]}
    - Dense: {units: 2, name: right, inputs: [trunk]}
  outputs: [left, right]
split: {after: [trunk, body]}
loss: MeanSquaredError
data: {batch_size: 4}
"""


@pytest.fixture(scope="module")
def bench(problem: Any) -> Bench:
    return Bench(problem)


class Bench:
    def __init__(self, problem: Any) -> None:
        self.problem, self.reference, self.replayed = problem, Reference(problem), Replayed(problem)

    def observed(self, injection: Injection) -> Observed:
        gradients = replace(self.replayed.replays.gradients(injection), outputs=())
        rows = compare_all(self.problem, self.reference, gradients, TolerancePolicy(), noise=False)
        return Observed(problem=self.problem, reference=self.reference, gradients=gradients, rows=rows)

    def found(self, injection: Injection) -> Any:
        observed = self.observed(injection)
        return with_factors(observed, self.replayed, end=time.monotonic() + 60, effort=Effort())

    def count(self, fault: Any) -> int:
        return len(list(fault.injections_with(self.problem, 0.5)))


@given(data=st.data(), factor=st.floats(-20, 20).map(lambda f: round(f, 2)))
@settings(max_examples=25)
def test_any_factor_at_any_place_is_read_off(bench: Bench, data: Any, factor: float) -> None:
    fault = data.draw(st.sampled_from([CotangentFactor(), TermWeighed()]))
    assume(fault.fits(bench.problem, factor) if factor else False)
    assume(min(abs(factor), abs(factor - 1), abs(factor + 1)) > 0.05)
    index = data.draw(st.integers(0, bench.count(fault) - 1))
    planted = list(fault.injections_with(bench.problem, factor))[index]
    assume(bench.observed(planted).failing)
    match = bench.found(planted)
    assert match is not None, planted.effect
    assert match.agreement.close
    # Another place may give the same gradients: what it says is then as true.
    if (match.injection.code, match.injection.place) == (planted.code, planted.place):
        assert match.injection.effect == planted.effect


@pytest.mark.parametrize("index", range(7))
def test_a_loss_scale_is_named_so(bench: Bench, index: int) -> None:
    planted = list(LossScaleLeft().injections_with(bench.problem, 1024))[index]
    assert bench.found(planted).injection.code == "GC503"


def test_what_no_factor_gives_is_not_named(bench: Bench) -> None:
    halved = next(
        i for i in CotangentFactor().injections_with(bench.problem, 0.5) if i.place.text == "boundary 0 → 1, 2"
    )
    observed = bench.observed(halved)
    key = next(key for key in observed.wrong_gradients if key.path == "trunk/kernel")
    tensors = {**observed.gradients.tensors, key: observed.gradients.tensors[key] * 1.01}
    gradients = replace(observed.gradients, tensors=tensors)
    rows = compare_all(bench.problem, bench.reference, gradients, TolerancePolicy(), noise=False)
    changed = Observed(problem=bench.problem, reference=bench.reference, gradients=gradients, rows=rows)
    assert with_factors(changed, bench.replayed, end=time.monotonic() + 60, effort=Effort()) is None


def test_nothing_is_replayed_after_the_end(bench: Bench) -> None:
    halved = next(iter(CotangentFactor().injections_with(bench.problem, 0.5)))
    assert with_factors(bench.observed(halved), bench.replayed, end=0.0, effort=Effort()) is None


@pytest.mark.parametrize(
    ("factor", "scale"), [(1024, True), (1000, True), (4, False), (8, True), (0.5, False), (12, False)]
)
def test_a_loss_scale_is_a_power_above_the_batch(bench: Bench, factor: float, scale: bool) -> None:
    assert may_be_loss_scale(bench.problem, factor) == scale
