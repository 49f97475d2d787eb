"""The records of a method's tensors: what they are compared with, what is excused, their order, the first wrong one."""

from __future__ import annotations

import math
from itertools import permutations
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.comparing import tensorwise
from gradcheck.comparing.keys import TensorPlace
from gradcheck.comparing.tensorwise import (
    compare_all,
    compared_tensors,
    excused,
    first_divergence,
    first_wrong,
    record,
)
from gradcheck.handoff.interface import Gradients
from gradcheck.numerics import EXACT, TolerancePolicy, compare
from gradcheck.problem.problem import TensorKey
from gradcheck.results.tensor import Required, Worst
from tests.records import row

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from gradcheck.results.report import TensorReport

ONES = np.ones(2, np.float32)
ZEROS = np.zeros(2, np.float32)
A, B, C = (TensorKey("weight", path) for path in "abc")


def place(*segments: int, like: Any = None) -> TensorPlace:
    return TensorPlace(segments, "layer", "name", like)


class Reference:
    """One whose noise floors are given, and that says whether they were asked for."""

    def __init__(self, tensors: Mapping[TensorKey, Any], floor: float) -> None:
        self.tensors, self._floor, self.measured = tensors, floor, False

    @property
    def noise_floors(self) -> Mapping[TensorKey, float]:
        self.measured = True
        return dict.fromkeys(self.tensors, self._floor)


@pytest.fixture(autouse=True)
def _tensors_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorwise, "named_tensors", lambda _, gradients: gradients.tensors)


def compared(
    right: Mapping[TensorKey, Any],
    tensors: Mapping[TensorKey, Any],
    *,
    floor: float = 0.0,
    excusing: bool = True,
    **found: Any,
) -> tuple[dict[str, TensorReport], bool]:
    """The records by path, and whether the reference was asked for its noise floors."""
    reference: Any = Reference(right, floor)
    problem: Any = SimpleNamespace(precision="float32")
    gradients = Gradients(loss=None, outputs=(), tensors=tensors, state={}, seconds=0.0, **found)
    known = {key: place(0) for key in right}
    rows = compare_all(problem, reference, gradients, TolerancePolicy(), noise=excusing, known=known)
    return {found.path: found for found in rows}, reference.measured


def statuses(rows: Mapping[str, TensorReport]) -> dict[str, str]:
    return {path: found.status for path, found in rows.items()}


# What is compared with what


def test_what_a_method_brings_to_be_compared_with_wins() -> None:
    rows, _ = compared({A: ONES, B: ONES}, {A: 2 * ONES}, against={A: 2 * ONES})
    assert statuses(rows) == {"a": "exact"}  # what it does not supply has no record


def test_what_a_method_alone_has_brings_its_own_place() -> None:
    own = TensorKey("jacobian", "j")
    rows, _ = compared({A: ONES}, {own: ONES}, against={own: ONES}, places={own: place(3)}, notes={own: "by rows"})
    assert (rows["j"].segment, rows["j"].note) == (3, "by rows")


@pytest.mark.parametrize(
    ("tensor", "computed_in", "rtol"),
    [
        (ONES, None, 1e-5),
        (ONES.astype(np.float16), None, 2.0**-9),
        (ONES.astype(np.float64), None, 1e-5),
        (ONES.astype(np.float64), "float64", 1e-11),
        (ONES, "bfloat16", 2.0**-6),
        (None, None, 1e-5),
        (None, "float64", 1e-11),
    ],
)
def test_the_tolerance_is_that_of_the_coarser_of_tensor_and_computation(
    tensor: Any, computed_in: str | None, rtol: float
) -> None:
    rows, _ = compared({A: tensor}, {A: tensor}, tolerance_dtype=computed_in)
    assert rows["a"].rtol == rtol


def test_the_dtype_is_the_candidates_where_the_reference_has_none() -> None:
    rows, _ = compared({A: None}, {A: ONES.astype(np.float16)})
    assert (rows["a"].status, rows["a"].rtol) == ("missing", 2.0**-9)


def test_zero_is_as_good_a_value_as_any_and_a_dead_gradient() -> None:
    gradients = [TensorKey(kind, "z") for kind in ("weight", "input", "boundary", "jacobian")]
    values = [TensorKey(kind, "z") for kind in ("output", "loss", "state", "optimizer")]
    values.append(TensorKey("weight", "z", quantity="value"))
    both = dict.fromkeys([*gradients, *values], ZEROS)
    found = compared_tensors(dict.fromkeys(both, place(0)), both, both, lambda *_: EXACT)
    assert {key for key, c in found.items() if c.status == "dead"} == set(gradients)
    assert {key for key, c in found.items() if c.status == "exact"} == set(values)


def test_error_bars_decide_beside_the_largest_of_all() -> None:
    right = {A: np.array([1e-17]), B: np.array([1.0])}
    tensors = {A: np.array([1e-11]), B: np.array([1.0])}
    bars = {A: np.array([1e-10]), B: np.array([1e-6])}
    rows, _ = compared(right, tensors, against=right, error_bars=bars)
    assert statuses(rows) == {"a": "close", "b": "exact"}
    rows, _ = compared(right, {A: tensors[A]}, against={A: right[A]}, error_bars={A: bars[A]})
    assert statuses(rows) == {"a": "inconclusive"}
    rows, _ = compared(right, {A: tensors[A]}, against=right, error_bars=bars)  # it has a bar, and is not there
    assert statuses(rows) == {"a": "close"}


@pytest.mark.parametrize("listed", [True, False])
def test_what_fails_and_is_listed_has_the_spread_of_its_errors(listed: bool) -> None:
    reference: Any = Reference({}, 0.125)
    reference.tensors = {A: ONES, B: ONES, C: ONES}
    gradients = Gradients(loss=None, outputs=(), tensors={A: 1.5 * ONES, B: ONES, C: 9 * ONES}, state={}, seconds=0.0)
    known = dict.fromkeys((A, B, C), place(0))
    problem: Any = SimpleNamespace(precision="float32")
    rows = compare_all(problem, reference, gradients, TolerancePolicy(), noise=True, known=known, listed=listed)
    assert [(row.status, row.spread is not None) for row in rows] == [
        ("close", False),  # excused by the noise floor
        ("exact", False),
        ("mismatch", listed),
    ]
    assert [(row.reference_norm, row.candidate_norm) for row in rows] == [
        (pytest.approx(2**0.5), pytest.approx(factor * 2**0.5)) for factor in (1.5, 1.0, 9.0)
    ]


# Noise


def test_noise_excuses_what_it_covers_and_is_shown_where_something_fails() -> None:
    right, tensors = dict.fromkeys((A, B, C), ONES), {A: 1.5 * ONES, B: ONES, C: 9 * ONES}
    rows, measured = compared(right, tensors, floor=0.125)
    assert statuses(rows) == {"a": "close", "b": "exact", "c": "mismatch"}
    assert [rows[path].noise_floor for path in "abc"] == [0.125, None, 0.125]
    assert measured
    rows, measured = compared(right, tensors, floor=0.125, excusing=False)
    assert statuses(rows) == {"a": "mismatch", "b": "exact", "c": "mismatch"}
    assert not measured


@pytest.mark.parametrize(("bad", "status"), [(math.nan * ONES, "nonfinite"), (None, "missing"), (ONES, "exact")])
def test_noise_is_not_measured_where_it_can_excuse_nothing(bad: Any, status: str) -> None:
    rows, measured = compared({A: ONES}, {A: bad}, floor=math.inf)
    assert (statuses(rows), measured) == ({"a": status}, False)


def test_only_what_fails_shows_a_floor() -> None:
    found = {A: compare(ONES, ONES, EXACT), B: compare(ONES, 2 * ONES, EXACT), C: compare(ONES, 3 * ONES, EXACT)}
    covered = excused(found, {A: 1.0, B: 1.0})
    assert (covered[A], covered[C]) == (found[A], found[C])
    assert (covered[B].status, covered[B].noise_floor) == ("close", 1.0)


class Noise:
    """A method's own measure of noise, which says for what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[TensorKey]] = []

    def __call__(self, keys: Collection[TensorKey]) -> Mapping[TensorKey, float]:
        self.asked.append(list(keys))
        return dict.fromkeys(keys, 0.25)


def test_a_method_that_brings_what_it_is_compared_with_measures_its_noise_once() -> None:
    right, tensors, noise = dict.fromkeys((A, B, C), ONES), {A: 2 * ONES, B: 2 * ONES, C: 9 * ONES}, Noise()
    rows, measured = compared(right, tensors, against={A: ONES, C: ONES}, noise=noise, floor=0.125)
    assert [rows[path].noise_floor for path in "abc"] == [0.25, 0.125, 0.25]
    assert statuses(rows) == {"a": "close", "b": "mismatch", "c": "mismatch"}
    assert (noise.asked, measured) == ([[A, C]], True)
    _, measured = compared(right, {A: 2 * ONES}, against={A: ONES}, noise=noise, floor=0.125)
    assert not measured
    rows, measured = compared(right, {A: 2 * ONES}, against={A: ONES}, floor=9.0)  # the reference's own says nothing
    assert (statuses(rows), rows["a"].noise_floor, measured) == ({"a": "mismatch"}, None, False)


def test_a_method_of_more_roundings_is_asked_for_what_the_reference_leaves() -> None:
    right, tensors, noise = dict.fromkeys((A, B, C), ONES), {A: 1.25 * ONES, B: 2 * ONES, C: 9 * ONES}, Noise()
    rows, _ = compared(right, tensors, noise=noise, floor=0.125)
    assert statuses(rows) == {"a": "close", "b": "close", "c": "mismatch"}
    assert [rows[path].noise_floor for path in "abc"] == [0.125, 0.25, 0.25]
    assert noise.asked == [[B, C]]


# Order


def keys(*texts: str) -> list[TensorKey]:
    """`weight a`, or `weight a value`."""
    return [TensorKey(*text.split()) for text in texts]  # type: ignore[arg-type]


#: In report order, with the segments of each.
IN_ORDER = {
    "output o": (1,),
    "loss loss": (),
    "input x": (),
    "weight first": (0,),
    "boundary b": (0,),
    "jacobian b": (0,),
    "weight first value": (0,),
    "weight shared": (1, 2),
    "weight last": (2,),
    "boundary c": (2,),
    "weight last value": (2,),
    "weight unused": (),
    "state mean": (0,),
    "state seed": (),
    "optimizer slot": (0,),
}


def test_records_come_in_the_order_of_the_report() -> None:
    where = {key: place(*found) for key, found in zip(keys(*IN_ORDER), IN_ORDER.values(), strict=True)}
    for given in (keys(*IN_ORDER), keys(*IN_ORDER)[::-1]):
        both = dict.fromkeys(given, ONES)
        assert list(compared_tensors(where, both, both, lambda *_: EXACT)) == keys(*IN_ORDER)
    alike = dict.fromkeys((B, A, C), place(0))  # of one rank: as the reference has them
    assert list(compared_tensors(alike, dict.fromkeys(alike, ONES), {A: ONES, B: ONES}, lambda *_: EXACT)) == [B, A]


#: In the order of the backward pass; of each pair the first is where to look.
BACKWARD = [
    row("out", "mismatch", "output", segment=2),
    row("loss", "mismatch", "loss"),
    row("b2", "mismatch", "boundary", segment=2),
    row("w2", "mismatch", segment=2),
    row("shared", "mismatch", segment=0, segments=(0, 1)),
    row("b0", "mismatch", "boundary", segment=0),
    row("w0", "mismatch", segment=0),
    row("j0", "mismatch", "jacobian", segment=0),
    row("unused", "mismatch"),
    row("x", "mismatch", "input"),
    row("mean", "mismatch", "state", segment=2),
    row("Adam/iteration", "mismatch", "optimizer", name="iteration"),
    row("Adam/slot", "mismatch", "optimizer", name="slot", segment=2),
    row("w2", "mismatch", segment=2, quantity="value"),
]


def test_the_first_wrong_tensor_is_that_of_the_backward_pass() -> None:
    for i, first in enumerate(BACKWARD):
        assert first_wrong([row("fine"), *BACKWARD[i:][::-1], row("also fine", segment=9)]) is first
        assert first_wrong(BACKWARD[i:]) is first
    for pair in permutations(BACKWARD, 2):
        assert first_wrong(pair) is min(pair, key=BACKWARD.index)


def test_of_one_segment_the_later_layer_is_first() -> None:
    earlier, later = row("a", "mismatch", segment=0), row("b", "missing", segment=0)
    assert first_wrong([earlier, later]) is later
    assert first_divergence([earlier, later]) == "b"


def test_only_what_fails_its_check_is_wrong() -> None:
    fine = [row(status, status) for status in ("exact", "close", "dead", "absent", "inconclusive")]
    assert first_wrong([*fine, row("z", "mismatch", exempt=True)]) is None
    assert first_divergence(fine) is None
    assert first_divergence([row("z", "nonfinite", exempt=True)]) == "z"


# Records


def test_a_record_shows_the_comparison_at_its_place() -> None:
    found = compare(np.array([[1.0, 2.0]]), np.array([[1.0, 3.0]]), EXACT)
    shown = record(A, place(1, 3), found, note="twice")
    assert (shown.kind, shown.path, shown.layer, shown.name) == ("weight", "a", "layer", "name")
    assert (shown.segment, shown.segments) == (1, (1, 3))
    assert (shown.status, shown.allclose, shown.shape, shown.dtype) == ("mismatch", False, (1, 2), "float64")
    assert (shown.max_abs_error, shown.max_rel_error, shown.max_ulp_error) == (1.0, 0.5, 2.0**51)
    assert (shown.cosine, shown.norm_ratio) == (found.cosine, found.norm_ratio)
    assert (shown.elements, shown.mismatched_elements, shown.noise_floor) == (2, 1, None)
    assert shown.worst == Worst(index=(0, 1), reference=2.0, candidate=3.0)
    assert (shown.rtol, shown.atol, shown.required) == (0.0, 0.0, Required(rtol=0.5, atol=1.0))
    assert (shown.note, shown.step, shown.quantity) == ("twice", None, None)
    assert (record(A, place(1), found).segments, record(A, place(), found).segment) == (None, None)


def test_an_absent_tensor_has_the_shape_that_it_would_have() -> None:
    shown = record(A, place(0, like=ONES), compare(None, None, EXACT))
    assert (shown.status, shown.shape, shown.dtype) == ("absent", (2,), "float32")


def test_notes_of_the_comparison_and_of_the_method() -> None:
    missing, other = compare(ONES, None, EXACT), compare(ONES, ONES[:1], EXACT)
    assert record(A, place(), missing, note="GC403").note == "None in the candidate; GC403"
    assert record(A, place(), missing).note == "None in the candidate"
    assert record(A, place(), other, note="GC403").note == "shape (2,) against (1,)"


@pytest.mark.parametrize(
    ("key", "quantity"),
    [(A, "gradient"), (TensorKey("weight", "a", quantity="value"), "value"), (TensorKey("optimizer", "m"), "value")],
)
def test_in_training_it_is_a_gradient_or_a_value(key: TensorKey, quantity: str) -> None:
    shown = record(key, place(), compare(ONES, ONES, EXACT), step=2)
    assert (shown.step, shown.quantity) == (2, quantity)
