"""GC110 and GC111: cotangents that come back to other micro-batches or rows, beside the same by hand."""

from __future__ import annotations

from typing import Any

import pytest
import tensorflow as tf

from gradcheck.faults import FAULTS
from gradcheck.faults.accumulation.slicing import SlicingFault

LAYERS = """
      input: {shape: [3]}
      layers:
        - Dense: {units: 4, activation: tanh, name: first}
        - Dense: {units: 3, activation: tanh, name: second}
        - Dense: {units: 2, name: out}
    split: {after: [first, second]}
    loss: MeanSquaredError
    data: {batch_size: 8}
"""
WHOLE = "\n    model:" + LAYERS
SLICED = "\n    microbatches: 4\n    model:" + LAYERS
#: Slices of 3, 3 and 1.
RAGGED = SLICED.replace("microbatches: 4", "microbatches: 3").replace("batch_size: 8", "batch_size: 7")
EVERYWHERE = (0, 1)


def by_hand(study: Any, rows: list[int], at: tuple[int, ...]) -> dict[str, Any]:
    """The whole batch at once, one tape for each segment; row i gets the cotangent of row `rows[i]` at `at`."""
    problem = study.problem
    (x,), (y,) = problem.batch.x, problem.batch.y
    boundary, tapes = x, []
    for segment in problem.segments:
        with tf.GradientTape() as tape:
            tape.watch(boundary)
            output = segment([boundary], training=True)
            if segment is problem.segments[-1]:
                output = tf.reduce_mean((y - output) ** 2)
        tapes.append((tape, boundary, output))
        boundary = tf.identity(output)
    cotangent, found = None, {}
    for index, (tape, boundary, output) in reversed([*enumerate(tapes)]):
        if index in at:
            cotangent = tf.gather(cotangent, rows)
        variables = problem.segments[index].trainable_variables
        cotangent, *gradients = tape.gradient(output, [boundary, *[v.value for v in variables]], cotangent)
        found.update({v.path: g.numpy() for v, g in zip(variables, gradients, strict=True)})
    return {path: found[path] for path in study.weights()}


def of(whose: list[int], size: int = 2) -> list[int]:
    """The rows of micro-batches of one size in another order."""
    return [size * k + row for k in whose for row in range(size)]


@pytest.mark.parametrize("at", [(1,), (0,), EVERYWHERE])
@pytest.mark.parametrize(
    ("code", "effect", "rows"),
    [
        ("GC110", "in reversed order: 0 got that of 3, 1 got that of 2,", of([3, 2, 1, 0])),
        ("GC110", "rolled by one: 0 got that of 3,", of([3, 0, 1, 2])),
        ("GC110", "rolled back by one: 0 got that of 1", of([1, 2, 3, 0])),
        ("GC110", "one too late: 1 got that of 0, 2 got that of 1", of([0, 0, 1, 2])),
        ("GC110", "one too early: 0 got that of 1", of([1, 2, 3, 3])),
        ("GC110", "in another order: 1 got that of 2, 2 got that of 1", of([0, 2, 1, 3])),
        ("GC110", "wrongly: all got that of 0", of([0, 0, 0, 0])),
        ("GC110", "wrongly: all got that of 3", of([3, 3, 3, 3])),
        ("GC111", "in reversed order in each of 4 micro-batches", [1, 0, 3, 2, 5, 4, 7, 6]),
        ("GC111", "in reversed order, over the whole batch", [7, 6, 5, 4, 3, 2, 1, 0]),
        ("GC111", "rolled by one, over the whole batch", [7, 0, 1, 2, 3, 4, 5, 6]),
        ("GC111", "as if dealt out in turn to 4, over the whole batch", [0, 4, 1, 5, 2, 6, 3, 7]),
        ("GC111", "as if collected in turn from 4, over the whole batch", [0, 2, 4, 6, 1, 3, 5, 7]),
        ("GC111", "rolled back by one, over the whole batch", [1, 2, 3, 4, 5, 6, 7, 0]),
    ],
)
def test_the_problems_own_micro_batches(
    study: Any, same: Any, *, code: str, effect: str, rows: list[int], at: tuple[int, ...]
) -> None:
    sliced = study(SLICED)
    place = "every boundary" if at == EVERYWHERE else f"boundary {at[0]} → {at[0] + 1}"
    injection = sliced.one(code, place=place, effect=effect)
    same(sliced.weights(injection), by_hand(sliced, rows, at))
    assert {path.partition("/")[0] for path in sliced.wrong_weights(injection)} == {*["first", "second"][: max(at) + 1]}
    assert not [key for key in sliced.wrong(injection) if key.startswith(("loss", "output"))]
    assert injection.slices is None


@pytest.mark.parametrize("count", [2, 3, 4])
def test_micro_batches_that_a_candidate_made(study: Any, same: Any, count: int) -> None:
    whole = study(WHOLE)
    assert not whole.injections("GC110")
    faults = {fault.code: fault for fault in FAULTS if isinstance(fault, SlicingFault)}
    size, alike = -(-8 // count), 8 // -(-8 // count)  # with a shorter one at the end where 8 is no multiple
    for injection in faults["GC110"].injections_over(whole.problem, count):
        assert injection.slices == count
        if injection.place.everywhere and "reversed" in injection.effect:
            rows = of([*range(alike)[::-1]], size)
            same(whole.weights(injection), by_hand(whole, [*rows, *range(len(rows), 8)], EVERYWHERE))
            break
    else:
        pytest.fail("no reversed order")
    in_each = [*faults["GC111"].injections_over(whole.problem, count)]
    assert bool(in_each) == (count <= 4)
    assert all(whole.wrong(i) for i in in_each)


def test_rows_of_a_batch_that_is_not_sliced(study: Any, same: Any) -> None:
    whole = study(WHOLE)
    halves = whole.one("GC111", place="boundary 0", effect="with its halves exchanged")
    same(whole.weights(halves), by_hand(whole, [4, 5, 6, 7, 0, 1, 2, 3], (0,)))
    neighbours = whole.one("GC111", place="boundary 1", effect="with each two neighbours exchanged")
    same(whole.weights(neighbours), by_hand(whole, [1, 0, 3, 2, 5, 4, 7, 6], (1,)))
    assert "boundary" not in {key.partition(":")[0] for key in whole.wrong(neighbours) if "second" in key}


def test_micro_batches_of_single_examples_are_rows(study: Any) -> None:
    faults = {fault.code: fault for fault in FAULTS if isinstance(fault, SlicingFault)}
    assert not [*faults["GC110"].injections_over(study(WHOLE).problem, 8)]


def test_every_order_of_a_few_rows(study: Any, same: Any) -> None:
    few = study(WHOLE.replace("batch_size: 8", "batch_size: 4"))
    found = few.injections("GC111", place="boundary 1 → 2")
    assert len(found) == 23 + 2  # with those that are one too late, one too early
    same(few.weights(few.one("GC111", place="boundary 1", effect="1, 3, 0, 2")), by_hand(few, [1, 3, 0, 2], (1,)))


def test_micro_batches_of_another_size_keep_their_own(study: Any, same: Any) -> None:
    ragged = study(RAGGED)
    exchanged = ragged.injections("GC110", place="boundary 0")
    assert len(exchanged) == 3  # two of three: exchanged, or both that of one
    same(ragged.weights(exchanged[0]), by_hand(ragged, [3, 4, 5, 0, 1, 2, 6], (0,)))
    rolled = ragged.one("GC111", place="boundary 0", effect="rolled by one in each")
    same(ragged.weights(rolled), by_hand(ragged, [2, 0, 1, 5, 3, 4, 6], (0,)))


@pytest.mark.parametrize("batch", [1, 2])
def test_single_examples_have_no_order(study: Any, batch: int) -> None:
    single = study(
        SLICED.replace("microbatches: 4", f"microbatches: {batch}").replace("batch_size: 8", f"batch_size: {batch}")
    )
    assert not single.injections("GC111")
    assert bool(single.injections("GC110")) == (batch > 1)


def test_a_tensor_without_a_row_for_each_example_is_left_alone(study: Any) -> None:
    """Here a boundary is a mean over the batch."""
    pooled = study(
        """
        model: {factory: "./pooled.py:build"}
        split: {after: [mean]}
        loss: MeanSquaredError
        data: {batch_size: 4}
        """,
        {
            "pooled.py": """
                import keras

                def build():
                    x = keras.Input(batch_shape=(4, 3))
                    mean = keras.layers.Lambda(lambda t: keras.ops.mean(t, 0, keepdims=True), name="mean")
                    hidden = mean(keras.layers.Dense(3, name="first")(x))
                    return keras.Model(x, keras.ops.add(keras.layers.Dense(3, name="out")(hidden), x))
            """
        },
    )
    assert not pooled.injections("GC111")
