"""GC401 to GC406: right gradients at the wrong weight, in the wrong form, or not all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.faults import FAULTS
from gradcheck.faults.accumulation.slicing import SlicingFault
from gradcheck.numerics import to_array
from gradcheck.problem.problem import TensorKey

#: `shared` is called in both segments; `square` and it have kernels of one shape.
TIED = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 4, activation: tanh, name: shared}
        - Dense: {units: 4, activation: tanh, name: square}
        - call: {layer: shared, inputs: [square], name: again}
        - Dense: {units: 2, name: out}
    split: {after: [square]}
    loss: MeanSquaredError
    data: {batch_size: 3}
"""
TABLE = """
    model:
      input: {shape: [5], dtype: int32}
      layers:
        - Embedding: {input_dim: 4, output_dim: 3, name: table}
        - Flatten: {name: flat}
        - Dense: {units: 2, name: out}
    split: {after: [table]}
    loss: MeanSquaredError
    data: {batch_size: 3}
"""


def two_tapes(study: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What each segment's tape gives, by path of the weight."""
    problem = study.problem
    parts, (x,), (y,) = problem.segments, problem.batch.x, problem.batch.y
    with tf.GradientTape() as early:
        boundary = parts[0](x, training=True)
    with tf.GradientTape() as late:
        late.watch(boundary)
        loss = tf.reduce_mean((parts[1](boundary, training=True) - y) ** 2)
    of_late = parts[1].trainable_variables
    cotangent, *gradients = late.gradient(loss, [boundary, *of_late])
    of_early = parts[0].trainable_variables
    first = early.gradient(boundary, of_early, output_gradients=cotangent)
    return (
        {v.path: g for v, g in zip(of_early, first, strict=True)},
        {v.path: g for v, g in zip(of_late, gradients, strict=True)},
    )


def test_one_use_of_a_tied_weight(study: Any) -> None:
    tied = study(TIED)
    by_segment = two_tapes(tied)
    for index in (0, 1):
        injection = tied.one("GC401", place="shared/kernel", effect=f"segment_{index} was kept")
        found = tied.weights(injection)["shared/kernel"]
        np.testing.assert_allclose(found, by_segment[index]["shared/kernel"], rtol=1e-5)
        assert tied.wrong_weights(injection) == {"shared/kernel"}
        assert (injection.place.segment, injection.place.layer) == (1, "shared/kernel")
    every = tied.one("GC401", place="every", effect="the last segment")
    assert tied.wrong_weights(every) == {"shared/kernel", "shared/bias"}
    assert not study(TABLE).injections("GC401")


def test_exchanged_gradients(study: Any) -> None:
    tied = study(TIED)
    right = tied.weights()
    kernels = tied.one("GC402", place="shared/kernel and square/kernel")
    found = tied.weights(kernels)
    np.testing.assert_array_equal(found["shared/kernel"], right["square/kernel"])
    np.testing.assert_array_equal(found["square/kernel"], right["shared/kernel"])
    assert tied.wrong_weights(kernels) == {"shared/kernel", "square/kernel"}
    reverse = tied.weights(tied.one("GC402", effect="reversed"))
    assert list(map(np.shape, reverse.values())) == [np.shape(g) for g in list(right.values())[::-1]]
    assert not tied.injections("GC402", place="out/kernel and")


def test_every_order_is_another_one(study: Any) -> None:
    tied = study(TIED)
    seen = []
    for injection in tied.injections("GC402"):
        assert injection.finish is not None
        order = injection.finish({weight.key: weight.path for weight in tied.problem.weights})
        assert order not in seen
        seen.append(order)


def test_no_gradient_for_a_weight_a_layer_or_a_segment(study: Any) -> None:
    tied = study(TIED)
    one = tied.one("GC403", effect="square/bias got")
    assert tied.wrong(one) == {"weight:square/bias": "missing"}
    layer = tied.one("GC403", place="every weight of square")
    assert tied.wrong(layer) == {"weight:square/bias": "missing", "weight:square/kernel": "missing"}
    segment = tied.one("GC403", place="every weight of segment_0")
    assert tied.wrong(segment) == {
        **dict.fromkeys(["weight:square/bias", "weight:square/kernel"], "missing"),
        **dict.fromkeys(
            ["weight:shared/bias", "weight:shared/kernel"], "mismatch"
        ),  # the other segment's part is there
    }
    assert segment.place.segment == 0


def test_the_last_row_of_each_index(study: Any) -> None:
    table = study(TABLE)
    sparse = two_tapes(table)[0]["table/embeddings"]
    assert isinstance(sparse, tf.IndexedSlices)
    expected = np.zeros((4, 3), np.float32)
    for index, row in zip(sparse.indices.numpy(), sparse.values.numpy(), strict=True):
        expected[index] = row
    injection = table.one("GC404", effect="the last was kept")
    key = next(weight.key for weight in table.problem.weights if weight.path == "table/embeddings")
    found = np.asarray(tf.convert_to_tensor(table.replays.gradients(injection).tensors[key]))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert table.wrong_weights(injection) == {"table/embeddings"}
    assert not study(TIED).injections("GC404")


def sparse_of(segment: Any, x: Any, cotangent: Any) -> tf.IndexedSlices:
    """The gradient of the table, in a segment that is seeded with `cotangent`."""
    table = next(v for v in segment.trainable_variables if v.path == "table/embeddings")
    with tf.GradientTape() as tape:
        output = segment([x], training=True)
    (found,) = tape.gradient(output, [table.value], output_gradients=cotangent)
    assert isinstance(found, tf.IndexedSlices)
    return found


@pytest.mark.parametrize(("word", "which"), [("first", 0), ("last", -1)])
@pytest.mark.parametrize("own", [True, False])
def test_values_under_the_indices_of_one_micro_batch(study: Any, word: str, which: int, own: bool) -> None:
    config = TABLE.replace("batch_size: 3", "batch_size: 4")
    table = study(config.replace("    model:", "    microbatches: 2\n    model:") if own else config)
    (fault,) = (fault for fault in FAULTS if fault.code == "GC404")
    assert isinstance(fault, SlicingFault)
    found = list(fault.injections(table.problem) if own else fault.injections_over(table.problem, 2))
    (injection,) = (i for i in found if f"under the indices of the {word} micro-batch, of 2" in i.effect)
    assert injection.slices == (None if own else 2)
    (x,), cotangent = table.problem.batch.x, table.replays.right.tensors[TensorKey("boundary", "table")]
    parts = [sparse_of(table.problem.segments[0], x[i : i + 2], cotangent[i : i + 2]) for i in (0, 2)]
    expected = np.zeros((4, 3), np.float32)
    np.add.at(expected, parts[which].indices.numpy(), parts[0].values.numpy() + parts[1].values.numpy())
    np.testing.assert_allclose(to_array(table.weights(injection)["table/embeddings"]), expected, rtol=1e-5, atol=1e-7)
    assert table.wrong_weights(injection) == {"table/embeddings"}


#: Two segments look up one table.
TWO_LOOKUPS = """
    model:
      input:
        one: {shape: [5], dtype: int32}
        two: {shape: [5], dtype: int32}
      layers:
        - Embedding: {input_dim: 4, output_dim: 3, name: table, inputs: [one]}
        - Dense: {units: 3, activation: tanh, name: middle}
        - call: {layer: table, inputs: [two], name: again}
        - Add: {name: total, inputs: [middle, again]}
        - Dense: {units: 2, name: out}
    split: {after: [middle]}
    loss: MeanSquaredError
    data: {batch_size: 3}
"""


def test_values_of_one_segment_under_the_indices_of_another(study: Any) -> None:
    looked_up = study(TWO_LOOKUPS)
    first, last = looked_up.injections("GC404", effect="segment that uses it, of 2")
    right = looked_up.weights()["table/embeddings"]
    for injection in (first, last):
        found = looked_up.weights(injection)["table/embeddings"]
        np.testing.assert_allclose(to_array(found).sum(0), to_array(right).sum(0), rtol=1e-4, atol=1e-6)
        assert looked_up.wrong_weights(injection) == {"table/embeddings"}
    ragged = study(TABLE.replace("    model:", "    microbatches: 2\n    model:"))
    assert not ragged.injections("GC404", effect="under the indices")  # slices of 2 and 1: a sum does not fit


def test_transposed(study: Any) -> None:
    tied = study(TIED)
    right = tied.weights()
    assert [i.place.text for i in tied.injections("GC406")] == ["square/kernel", "shared/kernel", "every square weight"]
    injection = tied.one("GC406", place="shared/kernel")
    np.testing.assert_array_equal(tied.weights(injection)["shared/kernel"], right["shared/kernel"].T)
    assert tied.wrong_weights(injection) == {"shared/kernel"}
