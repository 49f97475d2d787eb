"""GC302, GC303, GC605: second forward passes that move the state on, or start from where it was moved to."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

STATISTICS = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, name: first}
        - BatchNormalization: {momentum: 0.5, name: norm}
        - Dense: {units: 2, name: out}
    split: {after: [norm]}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""
NOISE = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, name: first}
        - Dropout: {rate: 0.5, name: dropout}
        - Dense: {units: 6, activation: tanh, name: second}
        - Dense: {units: 2, name: out}
    split: {after: [dropout, second]}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""
CARRIED = """
    model: {factory: "./carried.py:build"}
    split: {after: [gru]}
    loss: MeanSquaredError
    data: {batch_size: 2}
"""
FILES = {
    "carried.py": """
        import keras

        def build():
            x = keras.Input(batch_shape=(2, 3, 2))
            return keras.Model(x, keras.layers.Dense(2, name="out")(keras.layers.GRU(3, stateful=True, name="gru")(x)))
    """
}


def kinds(study: Any, injection: Any) -> set[str]:
    return {key.partition(":")[0] for key in study.wrong(injection)}


def test_state_that_is_moved_twice_and_nothing_else(study: Any) -> None:
    moved = study(STATISTICS)
    (injection,) = moved.injections("GC302")
    assert moved.wrong(injection).keys() == {"state:norm/moving_mean", "state:norm/moving_variance"}
    assert injection.place.segment == 0
    assert not moved.injections("GC303")
    dropped = study(NOISE)
    assert kinds(dropped, dropped.one("GC302", effect="once more")) == {"state"}


def test_a_fresh_mask_by_hand(study: Any, same: Any) -> None:
    noise = study(NOISE)
    problem = noise.problem
    parts, (x,), (y,) = problem.segments, problem.batch.x, problem.batch.y
    with problem.state.preserved():
        boundary = parts[0](x, training=True)
        with tf.GradientTape() as late:
            late.watch(boundary)
            loss = tf.reduce_mean((parts[2](parts[1](boundary, training=True), training=True) - y) ** 2)
        rest = [*parts[1].trainable_variables, *parts[2].trainable_variables]
        cotangent, *of_rest = late.gradient(loss, [boundary, *rest])
        with tf.GradientTape() as early:
            again = parts[0](x, training=True)
        of_first = early.gradient(again, parts[0].trainable_variables, output_gradients=cotangent)
    pairs = zip([*parts[0].trainable_variables, *rest], [*of_first, *of_rest], strict=True)
    expected = {v.path: gradient.numpy() for v, gradient in pairs}

    right, fresh = noise.injections("GC303", effect="second forward pass")
    for injection in (right, fresh):
        same(noise.weights(injection), expected)
        assert noise.wrong_weights(injection) == {"first/kernel", "first/bias"}
    assert "state" not in kinds(noise, right)
    assert "state" in kinds(noise, fresh)
    (recomputed,) = noise.injections("GC605", effect="that the first one left")
    same(noise.weights(recomputed), expected)


def test_a_second_pass_from_a_moved_recurrent_state(study: Any) -> None:
    carried = study(CARRIED, FILES)
    assert not carried.injections("GC303")  # no seed is drawn from
    (injection,) = carried.injections("GC605", effect="that the first one left")
    assert kinds(carried, injection) == {"weight", "input"}
    assert not [path for path in carried.wrong_weights(injection) if path.startswith("out")]
    (undone,) = carried.injections("GC605", effect="moved it on")
    assert kinds(carried, undone) == {"weight", "input", "state"}


def test_a_second_pass_in_the_other_mode(study: Any) -> None:
    moved = study(STATISTICS)
    injection = moved.one("GC605", effect="another training flag")
    assert "first/kernel" in moved.wrong_weights(injection)
    assert "state" not in kinds(moved, injection)


def test_each_segment_and_all_of_them(study: Any) -> None:
    twice = NOISE.replace(
        "        - Dense: {units: 2", "        - Dropout: {rate: 0.5, name: again}\n        - Dense: {units: 2"
    )
    both = study(twice.replace("[dropout, second]", "[dropout, again]"))
    assert [i.place.text for i in both.injections("GC302", effect="once more")] == [
        "segment 1",
        "segment 0",
        "every segment",
    ]
    for index, wrong in ((1, {"first", "second"}), (0, {"first"})):
        injection = both.injections("GC303", place=f"segment {index}")[0]
        assert {path.partition("/")[0] for path in both.wrong_weights(injection)} == wrong
        assert injection.place.segment == index


def test_nothing_to_recompute_wrongly_without_state(study: Any) -> None:
    still = study(STATISTICS.replace("loss:", "training: false\n    loss:"))
    assert not [i for code in ("GC302", "GC303", "GC605") for i in still.injections(code)]


def test_all_that_a_loop_recomputes_but_the_last_segment(study: Any) -> None:
    """Its forward pass and its backward pass follow one another, so it keeps what it needs."""
    out = "        - Dense: {units: 2, name: out}"
    late = "        - Dropout: {rate: 0.5, name: late}"
    config = NOISE.replace(out, f"{late}\n{out}\n{late.replace('late', 'last')}")
    noise = study(config.replace("after: [dropout, second]", "after: [dropout, late]"))
    for code in ("GC302", "GC303", "GC605"):
        assert noise.injections(code, place="every segment but the last")
    twice = noise.one("GC302", place="every segment but the last")
    last = noise.one("GC302", place="segment 2", effect="once more")
    every = noise.one("GC302", place="every segment", effect="every segment ran forward once more")
    moved, of_last, of_all = (set(noise.wrong(injection)) for injection in (twice, last, every))
    assert len(moved) == 2
    assert len(of_last) == 1
    assert moved | of_last == of_all
    assert not study(NOISE).injections("GC302", place="every segment but the last")  # it moves nothing there


def drawn(study: Any, first: int, *, recorded: int) -> dict[str, Any]:
    """By hand: the first segment runs twice; the boundary is draw `first`, and what is differentiated is `recorded`."""
    problem = study.problem
    parts, (x,), (y,) = problem.segments, problem.batch.x, problem.batch.y
    with problem.state.preserved():
        draws = []
        for _ in range(2):
            with tf.GradientTape() as tape:
                draws.append((tape, parts[0](x, training=True)))
        boundary = tf.identity(draws[first][1])
        with tf.GradientTape() as late:
            late.watch(boundary)
            loss = tf.reduce_mean((parts[2](parts[1](boundary, training=True), training=True) - y) ** 2)
        rest = [*parts[1].trainable_variables, *parts[2].trainable_variables]
        cotangent, *of_rest = late.gradient(loss, [boundary, *[v.value for v in rest]])
        tape, output = draws[recorded]
        of_first = tape.gradient(output, [v.value for v in parts[0].trainable_variables], output_gradients=cotangent)
    pairs = zip([*parts[0].trainable_variables, *rest], [*of_first, *of_rest], strict=True)
    return {v.path: gradient.numpy() for v, gradient in pairs}


def test_a_pass_before_the_step(study: Any, same: Any) -> None:
    noise = study(NOISE)
    alone, whole = noise.injections("GC302", effect="once before")
    assert (alone.place.text, whole.place.text) == ("segment 0", "every segment")
    for injection in (alone, whole):
        same(noise.weights(injection), drawn(noise, 1, recorded=1))
        assert kinds(noise, injection) >= {"weight", "output", "loss", "state"}
    carried = study(CARRIED, FILES)
    assert kinds(carried, carried.one("GC302", effect="once before")) >= {"weight", "output", "loss", "state"}
    assert not study(STATISTICS).injections("GC302", effect="once before")


def test_one_draw_sent_and_another_recorded(study: Any, same: Any) -> None:
    noise = study(NOISE)
    (injection,) = noise.injections("GC303", effect="ran forward twice")
    same(noise.weights(injection), drawn(noise, 1, recorded=0))
    assert kinds(noise, injection) >= {"weight", "output", "loss", "state"}
    same(noise.weights(noise.injections("GC303")[1]), drawn(noise, 0, recorded=1))  # as a recomputation does
    sliced = study(NOISE.replace("    model:", "    microbatches: 2\n    model:"))
    first_sent, whole, by_slice = (
        sliced.one("GC303", effect="of the first draw were sent on"),
        sliced.one("GC302", effect="over the batch once before"),
        sliced.one("GC302", effect="over each micro-batch once before"),
    )
    assert kinds(sliced, first_sent) >= {"weight", "output", "loss", "state"}
    assert sliced.weights(whole).keys() == sliced.weights(by_slice).keys()
    assert kinds(sliced, whole) >= {"weight", "output", "state"}
    seeds = [sliced.replays.gradients(i).state for i in (whole, by_slice)]
    assert [k for k in seeds[0] if (seeds[0][k].numpy() != seeds[1][k].numpy()).any()]
