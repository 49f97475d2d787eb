"""What a tape's derivatives come to beside measured slopes: wrong, excused or undecided, and what is said of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.methods.directional.slopes import NEIGHBOURS, Probe, Slopes, compared, judged
from gradcheck.numerics import Derivative
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck.handoff.interface import Gradients

KEY, OTHER = TensorKey("weight", "a"), TensorKey("input", "x")


def slope(value: float, error: float = 1e-9, **more: Any) -> Derivative:
    fields = {"left": value, "right": value, "left_error": error, "right_error": error, "steepest": abs(value)}
    return Derivative(value=value, error=error, **{**fields, **more})


def kink(left: float, right: float) -> Derivative:
    return slope((left + right) / 2, abs(right - left) / 2, left=left, right=right, kink=True)


ROOT = slope(math.inf, math.inf)
JUMP = slope(0.0, jump=True)
NOTHING = slope(0.0, math.inf)
SURE_KINK = slope(2.0, 1.0, left=1.0, right=3.0, left_error=0.0, right_error=0.0, kink=True)


def slopes(tape: Sequence[float], *found: Derivative, **more: Any) -> Slopes:
    directions = np.eye(len(tape))
    probe = Probe(tape=np.array(tape), shape=(len(tape),), direction=lambda i: directions[i])
    return Slopes(probe=probe, found=found, **{"elements": True, **more})


class Beside:
    """Around a point: gradients nearby that are given, and what is denied a little beside."""

    def __init__(self, nearby: Mapping[TensorKey, Sequence[float]], wrong: Mapping[TensorKey, Sequence[int]]) -> None:
        self._nearby, self._wrong = nearby, wrong
        self.tries = 0
        self.asked: Mapping[TensorKey, list[int]] = {}

    def nearby(self, rng: np.random.Generator) -> Mapping[TensorKey, Any]:  # noqa: ARG002 - the protocol's signature
        self.tries += 1
        return {key: np.array(values) for key, values in self._nearby.items()}

    def denied_beside(
        self,
        rng: np.random.Generator,  # noqa: ARG002 - the protocol's signature
        left: Mapping[TensorKey, list[int]],
    ) -> Mapping[TensorKey, frozenset[int]]:
        self.asked = left
        return {key: frozenset(indices) for key, indices in self._wrong.items()}


def as_gradients(*found: Slopes) -> Gradients:
    return compared(dict(zip((KEY, OTHER), found, strict=False)), lambda _: "along", seconds=0.0)


def note(found: Slopes) -> str:
    return as_gradients(found).notes[KEY]


# Wrong, excused or undecided


def test_what_is_denied_gets_the_code_of_its_point() -> None:
    tape = [2.0, 5.0, 9.0, 0.0, 7.0, 8.0]
    found = slopes(tape, slope(2.0), slope(0.0), kink(1.0, 3.0), ROOT, slope(2.0), slope(2.0))
    # A difference of 1e-5 of the largest derivative is none: beside a slope of 0 no share of the slope says so.
    around = Beside({KEY: [2.0, 8e-5, 3.0, 1e6, 7.0, 8.0]}, {KEY: [4]})
    ruled = judged(around, {KEY: found}, seed=0)[KEY]
    assert ruled.codes == {1: "GC803", 2: "GC804", 3: "GC805", 4: "GC601"}
    assert ruled.excused == {5}
    assert (around.tries, around.asked) == (NEIGHBOURS, {KEY: [4, 5]})
    assert ruled.which("denied") == [1, 2, 3, 4]


def test_a_tensor_of_which_nothing_is_left_open_is_not_tried_again() -> None:
    suspects = {KEY: slopes([5.0], slope(2.0)), OTHER: slopes([7.0], slope(2.0))}
    around = Beside({KEY: [2.0], OTHER: [7.0]}, {})
    ruled = judged(around, suspects, seed=0)
    assert around.asked == {OTHER: [0]}
    assert [(r.codes, r.excused) for r in ruled.values()] == [({0: "GC803"}, frozenset()), ({}, {0})]


@pytest.mark.parametrize("fine", [slopes([2.0], slope(2.0)), slopes([0.0], slope(2.0), connected=False)])
def test_what_is_not_denied_is_not_tried_again(fine: Slopes) -> None:
    around = Beside({}, {})
    assert judged(around, {KEY: fine}, seed=0) == {KEY: fine}
    assert around.tries == 0
    ruled = judged(Beside({OTHER: [2.0]}, {}), {KEY: fine, OTHER: slopes([5.0], slope(2.0))}, seed=0)
    assert ruled[KEY] is fine
    assert list(ruled) == [KEY, OTHER]


# Figures


def test_the_figures_that_are_compared() -> None:
    tape = [2.0, 2.5, 5.0, 7.0, math.inf, math.inf, 4.0, 6.0]
    measured = (slope(2.0), kink(1.0, 3.0), slope(2.0, 1e-3), slope(2.0), slope(3.0), ROOT, NOTHING, JUMP)
    found = slopes(tape, *measured, excused=frozenset({3}))
    assert found.standings == ("agrees", "kink", "denied", "denied", "nonfinite", "infinite", "unknown", "infinite")
    assert found.tape.tolist() == [2.0, 2.5, 5.0, 7.0, math.inf, 0.0, 4.0, 0.0]
    assert found.values.tolist() == [2.0, 2.0, 2.0, 7.0, 3.0, 0.0, 4.0, 0.0]
    assert found.bars.tolist() == [1e-9, 1.0, 1e-3, math.inf, 1e-9, math.inf, math.inf, math.inf]
    assert found.least == pytest.approx(7e-5)  # of the largest that is finite


def test_a_kink_that_is_denied_is_held_against_the_nearer_slope() -> None:
    found = slopes([9.0], slope(2.0, 1.0, left=1.0, right=3.0, kink=True, left_error=0.5, right_error=0.25))
    assert (found.values.tolist(), found.bars.tolist()) == ([3.0], [0.25])


def test_not_finite_is_held_against_the_slope_as_it_is() -> None:
    assert slopes([math.nan], ROOT).values.tolist() == [math.inf]


def test_nothing_is_said_of_a_weight_that_the_forward_pass_assigns() -> None:
    assigned = slopes([5.0, 2.0], slope(2.0), slope(2.0), assigned=True)
    assert assigned.bars.tolist() == [math.inf] * 2
    assert not assigned.moves
    assert note(assigned).startswith("along; GC801: the forward pass assigns this weight")


@pytest.mark.parametrize(
    ("tape", "found", "flat"),
    [
        (0.0, slope(1e-6, 0.0, steepest=1.0), True),
        (0.0, slope(0.0, 1e-6, steepest=1.0), True),
        (0.0, slope(1e-6, 1e-9, steepest=1.0), False),
        (0.0, slope(-1e-6, 1e-9, steepest=1.0), False),
        (0.0, slope(0.0, 1e-3, steepest=0.0), True),  # nothing changes at all
        (1e-8, slope(1e-8, 1e-9, steepest=1.0), False),
    ],
)
def test_zero_but_for_a_tiny_share_of_the_slopes_around_is_zero(tape: float, found: Derivative, flat: bool) -> None:
    beside = slopes([tape, 1.0], found, slope(1.0))
    assert beside.standings[0] == "agrees"
    assert (beside.values[0], beside.bars[0]) == ((0.0, 0.0) if flat else (found.value, found.error))


@pytest.mark.parametrize(
    ("found", "moves"),
    [
        (slope(1.0, 0.2), True),
        (slope(-1.0, 0.2), True),
        (slope(1.0, 0.25), False),  # four times its error, and no more
        (slope(1.0, 0.2, left=0.0), True),
        (slope(1.0, 0.2, right=0.0), True),
        (slope(0.0), False),
        (slope(0.0, math.nan, left=math.nan, right=math.nan), False),
        (ROOT, False),
        (slope(0.0, left=math.inf), False),
        (slope(1.0, 0.2, jump=True), False),
    ],
)
def test_what_moves_beyond_doubt(found: Derivative, moves: bool) -> None:
    assert slopes([0.0], found).moves is moves
    assert slopes([0.0, 0.0], slope(0.0), found).moves is moves


# What a report says


def test_a_gradient_that_is_none_is_missing_where_the_loss_moves() -> None:
    moving = slopes([0.0, 0.0], slope(2.0), slope(3.0), connected=False)
    still = slopes([0.0], slope(0.0), connected=False)
    found = as_gradients(moving, still)
    assert found.tensors[KEY].tolist() == [2.0, 3.0]
    assert found.against == {KEY: None, OTHER: None}
    assert found.tensors[OTHER] is None
    assert found.error_bars == {}
    assert {key: wrong.code for key, wrong in found.wrong.items()} == {KEY: "GC403"}
    assert found.notes == {
        KEY: "along; GC403: the tape says None, finite differences 2 at [0], and 1 more",
        OTHER: "along",
    }


def test_what_is_compared_has_the_shape_of_its_tensor() -> None:
    found = as_gradients(slopes([2.0, 5.0], slope(2.0), slope(4.0)), slopes([3.0], slope(3.0)))
    assert [found.tensors[key].tolist() for key in (KEY, OTHER)] == [[2.0, 4.0], [3.0]]
    assert [found.against[key].tolist() for key in (KEY, OTHER)] == [[2.0, 5.0], [3.0]]
    assert [found.error_bars[key].tolist() for key in (KEY, OTHER)] == [[1e-9, 1e-9], [1e-9]]
    assert (found.loss, found.state, found.tolerance_dtype, found.wrong) == (None, {}, "float32", {})
    more = compared({}, str, seconds=0.0, tensors={KEY: 1}, against={KEY: 2})
    assert (more.tensors, more.against) == ({KEY: 1}, {KEY: 2})


BOTH = (
    "GC601: the tape says 5, finite differences 2",
    "GC804: outside of both slopes: the tape says 9, the slopes are 1 and 3",
)


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (slopes([2.0], slope(2.0)), ""),
        (slopes([5.0], slope(2.0), codes={0: "GC601"}), "GC601: the tape says 5, finite differences 2"),
        (
            slopes([2.0, 5.0, 6.0], slope(2.0), slope(2.0), slope(2.0), codes={1: "GC803", 2: "GC803"}),
            "GC803: wrong at this point alone: the tape says 5, finite differences 2 at [1], and 1 more",
        ),
        (
            slopes([9.0, 5.0], kink(1.0, 3.0), slope(2.0), codes={0: "GC804", 1: "GC601"}, elements=False),
            f"{BOTH[0]}; {BOTH[1]}",
        ),
        (slopes([1.0, 9.0], slope(1.0), kink(1.0, 3.0), codes={1: "GC804"}), f"{BOTH[1]} at [1]"),
        (slopes([0.0], ROOT, codes={0: "GC805"}), "GC805: the slope is infinite, and the tape says 0"),
        (slopes([math.nan, 1.0], slope(2.0), slope(1.0)), "GC703: the tape says nan, finite differences 2 at [0]"),
        (slopes([2.0], kink(1.0, 3.0)), "GC802: at a kink, slopes 1 and 3 on the two sides"),
        (
            slopes([2.0, 2.0, 2.0], slope(2.0), kink(1.0, 3.0), NOTHING),
            "GC802: at a kink (2 of 3), slopes 1 and 3 on the two sides",
        ),
        (
            slopes([5.0, 2.0], slope(2.0), slope(2.0), excused=frozenset({0})),
            "GC802: at a kink (1 of 2), for right beside this point the gradient agrees",
        ),
        (slopes([math.inf], ROOT), "GC805: the slope is infinite"),
        (slopes([1.0], JUMP), "GC805: the loss jumps here"),
        (slopes([1.0, math.inf], JUMP, ROOT), "GC805: the loss jumps here (2 of 2)"),
        (slopes([0.0], NOTHING, connected=False), ""),
        (slopes([0.0], SURE_KINK, connected=False), "GC403: the tape says None, finite differences 2"),
        (slopes([2.0, 2.0], slope(2.0, 0.5), slope(2.0, 0.25)), "GC801: known only to within 0.5 (2 of 2)"),
        (slopes([2.0, 2.0], slope(2.0, 0.5), slope(2.0), elements=False), "GC801: known only to within 0.5"),
        (slopes([5.0], slope(2.0, 0.5), codes={0: "GC601"}), "GC601: the tape says 5, finite differences 2"),
    ],
)
def test_what_is_said_of_a_tensor(found: Slopes, says: str) -> None:
    assert note(found) == "; ".join(filter(None, ["along", says]))


def test_the_first_kind_of_mistake_stands_for_the_tensor() -> None:
    found = slopes([9.0, math.nan, 5.0], kink(1.0, 3.0), slope(2.0), slope(2.0), codes={0: "GC804", 2: "GC601"})
    assert as_gradients(found).wrong[KEY].code == "GC703"


def test_zero_is_zero_beside_the_largest_of_all_tensors() -> None:
    tiny = slopes([1e-13], slope(1e-13, 1e-7))
    assert note(tiny) == "along; GC801: known only to within 1e-07"
    assert as_gradients(tiny, slopes([1.0], slope(1.0))).notes[KEY] == "along"


def test_an_element_in_words() -> None:
    probe = Probe(tape=np.array([1.0, math.inf, -3.0, math.nan]), shape=(2, 2), direction=lambda _: np.zeros(4))
    assert (probe.index(2), probe.size) == ("[1, 0]", 3.0)
