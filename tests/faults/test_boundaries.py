"""GC101 to GC106: cotangents that are missing, reduced, rounded, dropped or exchanged, beside the same by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

#: `first` crosses both cuts; beside it `hidden` crosses the first one, and `middle` the second.
CHAIN = """
    model:
      input: {shape: [3]}
      layers:
        - Dense: {units: 4, activation: tanh, name: first}
        - Dense: {units: 4, activation: tanh, name: hidden}
        - Multiply: {name: joined, inputs: [hidden, first]}
        - Dense: {units: 4, activation: tanh, name: middle}
        - Add: {name: total, inputs: [middle, first]}
        - Dense: {units: 2, name: out}
    split: {after: [hidden, middle]}
    loss: MeanSquaredError
    data: {batch_size: 3}
"""
LAYERS = {0: {"first", "hidden"}, 1: {"middle"}, 2: {"out"}}


def weights_of(*segments: int) -> set[str]:
    return {f"{layer}/{name}" for i in segments for layer in LAYERS[i] for name in ("kernel", "bias")}


def same_cotangent(_: Any, cotangent: Any) -> Any:
    return cotangent


def the_loss(_: Any, loss: Any) -> Any:
    return loss


def by_hand(
    study: Any,
    back: Callable[[str, Any], Any] = same_cotangent,
    seed: Callable[[str, Any], Any] = same_cotangent,
    target: Callable[[Any, Any], Any] = the_loss,
) -> dict[str, Any]:
    """One tape per segment.

    `back` changes what `taker.tensor` sends back, `seed` the seed of a tensor; `target` of output and loss is what is
    differentiated.
    """
    problem = study.problem
    parts, (x,), (y,) = problem.segments, problem.batch.x, problem.batch.y
    with tf.GradientTape() as tape_0:
        made = dict(zip(parts[0].output_names, parts[0](x, training=True), strict=True))
    first, hidden = tf.identity(made["first"]), tf.identity(made["hidden"])
    with tf.GradientTape() as tape_1:
        tape_1.watch([first, hidden])
        middle = parts[1]([{"first": first, "hidden": hidden}[n] for n in parts[1].input_names], training=True)
    skip, last = tf.identity(first), tf.identity(middle)
    with tf.GradientTape() as tape_2:
        tape_2.watch([skip, last])
        output = parts[2]([{"first": skip, "middle": last}[n] for n in parts[2].input_names], training=True)
        loss = tf.reduce_mean((y - output) ** 2)
    weights = [part.trainable_variables for part in parts]
    of_skip, of_last, of_2 = tape_2.gradient(target(output, loss), [skip, last, weights[2]])
    c_middle = seed("middle", back("2.middle", of_last))
    of_first, of_hidden, of_1 = tape_1.gradient(middle, [first, hidden, weights[1]], output_gradients=c_middle)
    back_0 = back("2.first", of_skip), back("1.first", of_first)
    c_first = seed("first", sum(part for part in back_0 if part is not None))
    c_hidden = seed("hidden", back("1.hidden", of_hidden))
    c_hidden = tf.zeros_like(hidden) if c_hidden is None else c_hidden
    of_0 = tape_0.gradient([made["first"], made["hidden"]], weights[0], output_gradients=[c_first, c_hidden])
    pairs = zip([v for part in weights for v in part], [*of_0, *of_1, *of_2], strict=True)
    return {v.path: gradient.numpy() for v, gradient in pairs}


def test_by_hand_and_unchanged_it_is_right(study: Any, same: Any) -> None:
    chain = study(CHAIN)
    same(by_hand(chain), chain.weights())


@pytest.mark.parametrize(
    ("code", "place", "effect", "wrong", "tensors", "change"),
    [
        ("GC101", "boundary 1 → 2", "segment_1", (0, 1), {"middle"}, tf.ones_like),
        ("GC101", "boundary 0 → 1, 2", "segment_0", (0,), {"first", "hidden"}, tf.ones_like),
        ("GC101", "every boundary", "", (0, 1), {"first", "hidden", "middle"}, tf.ones_like),
        ("GC103", "boundary 1 → 2", "averaged", (0, 1), {"middle"}, lambda c: c * 0 + tf.reduce_mean(c, 0)),
        ("GC103", "boundary 0 → 1, 2", "summed", (0,), {"first", "hidden"}, lambda c: c * 0 + tf.reduce_sum(c, 0)),
        ("GC104", "boundary 1 → 2", "the cotangent of segment_1 went through float16", (0, 1), {"middle"}, None),
        ("GC104", "boundary 0 → 1, 2", "the cotangent of segment_0 went through bfloat16", (0,), {}, None),
        ("GC504", "boundary 0 → 1, 2", "negated", (0,), {"first", "hidden"}, tf.negative),
    ],
)
def test_a_wrong_seed(
    study: Any, same: Any, *, code: str, place: str, effect: str, wrong: Any, tensors: Any, change: Any
) -> None:
    chain = study(CHAIN)
    injection = chain.one(code, place=place, effect=effect)
    assert chain.wrong_weights(injection) <= weights_of(*wrong)
    assert injection.place.segment == (None if injection.place.everywhere else max(wrong))
    assert {path.partition("/")[0] for path in chain.wrong_weights(injection)} == {n for i in wrong for n in LAYERS[i]}
    assert not [key for key in chain.wrong(injection) if key.startswith(("loss", "output"))]
    if change is not None:
        same(chain.weights(injection), by_hand(chain, seed=lambda n, c: change(c) if n in tensors else c))


def test_the_outputs_in_place_of_the_loss(study: Any, same: Any) -> None:
    chain = study(CHAIN)
    injection = chain.one("GC101", place="the loss")
    assert injection.place.segment == 2
    assert chain.wrong_weights(injection) == weights_of(0, 1, 2)
    assert not [key for key in chain.wrong(injection) if key.startswith(("loss", "output"))]
    same(chain.weights(injection), by_hand(chain, target=lambda output, _: output))


#: An output that the next segment takes too, and a head whose logits Keras hides on it.
HEADS = """
    model:
      input: {shape: [3]}
      layers:
        - Dense: {units: 4, activation: tanh, name: trunk, kernel_regularizer: l2}
        - Dense: {units: 2, name: early}
        - Dense: {units: 2, activation: sigmoid, name: late}
      outputs: [early, late]
    split: {after: [trunk, early]}
    loss: {early: MeanSquaredError, late: BinaryCrossentropy}
    data: {batch_size: 3, targets: {uniform: {minval: 0, maxval: 1}}}
"""


def test_every_output_in_place_of_the_loss(study: Any, same: Any) -> None:
    """Nothing is left of the loss: neither what a penalty adds to it nor what it reads behind an output."""
    heads = study(HEADS)
    problem = heads.problem
    with tf.GradientTape() as tape:
        outputs = problem.model(problem.batch.x[0], training=True)
    variables = problem.model.trainable_variables
    expected = dict(zip([v.path for v in variables], tape.gradient(outputs, variables), strict=True))
    same(heads.weights(heads.one("GC101", place="the loss")), {k: g.numpy() for k, g in expected.items()})


@pytest.mark.parametrize(
    ("code", "place", "lost"),
    [
        ("GC105", "boundary 0 → 1, 2, tensor first", {"1.first", "2.first"}),
        ("GC105", "boundary 0 → 2, tensor first", {"2.first"}),
        ("GC105", "boundary 0 → 1, tensor first", {"1.first"}),
        ("GC105", "boundary 0 → 1, tensor hidden", {"1.hidden"}),
    ],
)
def test_a_dropped_cotangent(study: Any, same: Any, code: str, place: str, lost: set[str]) -> None:
    chain = study(CHAIN)
    injection = chain.one(code, place=place)
    expected = by_hand(chain, lambda link, c: tf.zeros_like(c) if link in lost else c)
    found = chain.weights(injection)
    same({k: np.zeros_like(expected[k]) if v is None else v for k, v in found.items()}, expected)
    assert injection.place.segment == 0
    assert injection.place.layer == place.rpartition(" ")[2]


#: Two residual blocks in five segments.
RESIDUAL = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 4, activation: tanh, name: a}
        - Dense: {units: 4, activation: tanh, name: b}
        - Add: {name: first_sum, inputs: [b, a]}
        - Dense: {units: 4, activation: tanh, name: c}
        - Add: {name: second_sum, inputs: [c, first_sum]}
        - Dense: {units: 2, name: out}
    split: {after: [a, b, first_sum, c]}
    loss: MeanSquaredError
    data: {batch_size: 3}
"""


def test_what_a_loop_drops_everywhere(study: Any, same: Any) -> None:
    residual = study(RESIDUAL)
    everywhere = residual.injections("GC105", place="every boundary")
    assert len(everywhere) == 1  # both loops lose the same here, and the others lose nothing
    layers = {layer.name: layer for part in residual.problem.segments for layer in part.used_layers}
    (x,), (y,) = residual.problem.batch.x, residual.problem.batch.y
    with tf.GradientTape() as tape:
        a = layers["a"](x)
        first_sum = layers["b"](a) + tf.stop_gradient(a)
        second_sum = layers["c"](first_sum) + tf.stop_gradient(first_sum)
        loss = tf.reduce_mean((layers["out"](second_sum) - y) ** 2)
    variables = residual.problem.model.trainable_variables
    gradients = tape.gradient(loss, [v.value for v in variables])
    same(residual.weights(everywhere[0]), {v.path: g for v, g in zip(variables, gradients, strict=True)})
    assert everywhere[0].place.everywhere


@pytest.mark.parametrize(("place", "dead"), [("boundary 1 → 2", (1,)), ("boundary 0 → 1, 2", (0,)), ("every", (0, 1))])
@pytest.mark.parametrize(("came", "status"), [("nothing", "missing"), ("zeros", "mismatch")])
def test_a_detached_boundary_leaves_nothing(study: Any, place: str, dead: Any, came: str, status: str) -> None:
    chain = study(CHAIN)
    injection = chain.one("GC102", place=place, effect=f"{came} came")
    wrong, found = chain.wrong(injection), chain.weights(injection)
    for path in weights_of(*dead):
        assert wrong[f"weight:{path}"] == status
        assert found[path] is None if came == "nothing" else not found[path].any()
    assert not weights_of(2) & chain.wrong_weights(injection)


def test_detaching_what_a_segment_takes_leaves_the_other_way_open(study: Any, same: Any) -> None:
    chain = study(CHAIN)
    injection = chain.one("GC102", effect="what segment_1 takes was detached: zeros")
    lost = {"1.first", "1.hidden"}
    same(chain.weights(injection), by_hand(chain, lambda link, c: tf.zeros_like(c) if link in lost else c))
    assert injection.place.text == "boundary 0 → 1"


def test_exchanged_cotangents(study: Any, same: Any) -> None:
    chain = study(CHAIN)
    cotangents: dict[str, Any] = {}
    by_hand(chain, seed=cotangents.setdefault)
    other = {"first": "hidden", "hidden": "first"}
    injection = chain.one("GC106", place="boundary 0 → 1, 2, tensors")
    same(chain.weights(injection), by_hand(chain, seed=lambda name, _: cotangents[other.get(name, name)]))
    assert chain.wrong_weights(injection) == weights_of(0)

    sent: dict[str, Any] = {}
    by_hand(chain, sent.setdefault)
    other = {"2.first": "2.middle", "2.middle": "2.first"}
    injection = chain.one("GC106", place="boundary 0, 1 → 2")
    same(chain.weights(injection), by_hand(chain, lambda link, c: sent[other[link]] if link in other else c))
    assert injection.place.segment == 1


def test_a_boundary_in_a_lower_precision(study: Any) -> None:
    chain = study(CHAIN)
    right = chain.weights()["first/kernel"]
    for dtype, eps in (("float16", 2.0**-10), ("bfloat16", 2.0**-7)):
        injection = chain.one("GC104", place="every boundary", effect=f"and its cotangent went through {dtype}")
        far = np.abs(chain.weights(injection)["first/kernel"] - right).max() / np.abs(right).max()
        assert eps / 50 < far < eps * 10
        assert any(key.startswith("output") for key in chain.wrong(injection))
    assert not chain.injections("GC104", effect="float32")


def test_a_rounded_boundary_by_hand(study: Any, same: Any) -> None:
    chain = study(CHAIN)
    injection = chain.one(
        "GC104", place="every boundary", effect="the cotangent of every segment but the last went through float16"
    )
    same(chain.weights(injection), by_hand(chain, lambda _, c: tf.cast(tf.cast(c, tf.float16), tf.float32)))


@pytest.mark.parametrize(
    ("effect", "each", "total"),
    [
        ("the summed cotangent of segment_0", False, True),
        ("the cotangents of segment_0 and their sum", True, True),
        ("the cotangent of segment_0", True, False),
    ],
)
def test_cotangents_that_are_cast_before_or_after_they_are_summed(
    study: Any, same: Any, effect: str, each: bool, total: bool
) -> None:
    chain, rounded = study(CHAIN), (lambda c: tf.cast(tf.cast(c, tf.bfloat16), tf.float32))
    expected = by_hand(
        chain,
        back=lambda link, c: rounded(c) if each and link in ("2.first", "1.first", "1.hidden") else c,
        seed=lambda name, c: rounded(c) if total and name in ("first", "hidden") else c,
    )
    injection = chain.one("GC104", place="boundary 0 → 1, 2", effect=f"{effect} went through bfloat16")
    same(chain.weights(injection), expected)
    assert ("boundary:hidden" in chain.wrong(injection)) == each  # what came back is right until it is summed


def test_only_a_tensor_with_several_takers_has_a_sum(study: Any) -> None:
    chain = study(CHAIN)
    assert not chain.injections("GC104", place="boundary 1 → 2", effect="their sum")
    assert not chain.injections("GC104", place="every boundary", effect="their sum")  # the first alone
    both = chain.one("GC104", place="boundary 0", effect="hands on, its cotangents and their sum went through float16")
    assert any(key.startswith("output") for key in chain.wrong(both))


def test_a_boundary_that_is_short_already_is_not_cast_again(study: Any) -> None:
    mixed = study("""
        precision: mixed_float16
        model:
          input: {shape: [3]}
          layers: [Dense: 4, Dense: 4, Dense: {units: 2, dtype: float32}]
        split: {every: layer}
        loss: MeanSquaredError
        data: {batch_size: 3}
    """)
    assert not mixed.injections("GC104")
    assert mixed.injections("GC503")
