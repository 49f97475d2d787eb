"""The examples are run: what they compute equals what one tape over the whole model computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck.catalogue import CATALOGUE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Names = dict[str, Any]
    Whole = Callable[[Names], Any]

#: Learning rate of the namespace's optimizer.
RATE = 0.1


def dense_names(**more: Any) -> Names:
    """Two parts and their whole, the batch, the loss, and each part's gradients."""
    regularizer = more.pop("regularizer", None)
    middle = more.pop("middle", [])
    front = keras.Sequential([keras.Input([3]), keras.layers.Dense(4, "tanh", kernel_regularizer=regularizer), *middle])
    back = keras.Sequential([keras.Input([4]), keras.layers.Dense(1, kernel_regularizer=regularizer)])
    return _with_parts(front, back) | more


def tied_names() -> Names:
    """Both parts use one layer."""
    shared = keras.layers.Dense(3, "tanh")
    front = keras.Sequential([keras.Input([3]), shared])
    return _with_parts(front, keras.Sequential([keras.Input([3]), shared, keras.layers.Dense(1)]))


def _with_parts(front: Any, back: Any) -> Names:
    inputs = keras.Input([3])
    x, y = tf.random.stateless_normal([10, 3], [1, 2]), tf.random.stateless_normal([10, 1], [3, 4])
    names = {
        "tf": tf, "keras": keras, "front": front, "back": back, "x": x, "y": y,
        "model": keras.Model(inputs, back(front(inputs))), "loss_fn": keras.losses.MeanSquaredError(),
        "optimizer": keras.optimizers.SGD(RATE),
    }  # fmt: skip
    with tf.GradientTape(persistent=True) as tape:
        boundary = front(x)
        loss = names["loss_fn"](y, back(boundary))
    cotangent = tape.gradient(loss, boundary)
    with tf.GradientTape() as tape_1:
        loss = names["loss_fn"](y, back(tf.identity(boundary)))
    names["of_front"] = tape.gradient(boundary, front.trainable_variables, output_gradients=cotangent)
    names["of_back"] = tape_1.gradient(loss, back.trainable_variables)
    return names | {"boundary": boundary, "cotangent": cotangent}


def skip_names() -> Names:
    """Two tensors cross the cut."""
    inputs, hidden, skip = keras.Input([3]), keras.Input([4], name="hidden"), keras.Input([4], name="skip")
    first = keras.layers.Dense(4, "tanh", name="skip")(inputs)
    encoder = keras.Model(inputs, [keras.layers.Dense(4, name="hidden")(first), first])
    decoder = keras.Model([hidden, skip], keras.layers.Dense(1)(keras.layers.multiply([hidden, keras.ops.sin(skip)])))
    return dense_names(encoder=encoder, decoder=decoder)


def text_names() -> Names:
    tokens = np.array([[1, 2, 3, 0], [4, 0, 0, 0], [2, 2, 0, 0]])
    layers = {"embedding": keras.layers.Embedding(5, 4, mask_zero=True), "lstm": keras.layers.LSTM(3)}
    names = dense_names(tokens=tokens, head=keras.layers.Dense(1), **layers)
    names["head"](names["lstm"](names["embedding"](tokens)))
    return names | {"y": tf.ones([3, 1])}


def masked_names() -> Names:
    """The mask reaches the loss."""
    names = text_names() | {"head": keras.layers.Dense(2)}
    names["head"](names["embedding"](names["tokens"]))
    return names


def sequence_names() -> Names:
    names = dense_names(lstm=keras.layers.LSTM(3, return_state=True), head=keras.layers.Dense(1))
    sequence = tf.random.stateless_normal([10, 6, 2], [5, 6])
    names["head"](names["lstm"](sequence)[0])
    return names | {"sequence": sequence}


def random_names() -> Names:
    return dense_names(middle=[keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)])


def parts_chained(names: Names) -> Any:
    return names["loss_fn"](names["y"], names["back"](names["front"](names["x"], training=True), training=True))


def with_penalties(names: Names) -> Any:
    return parts_chained(names) + sum(names["model"].losses)


def with_weight(names: Names) -> Any:
    outputs = names["model"](names["x"], training=True)
    return names["loss_fn"](names["y"], outputs) + 0.1 * tf.reduce_mean(tf.square(outputs))


def heads_names() -> Names:
    """Two outputs, and a penalty."""
    inputs = keras.Input([3])
    hidden = keras.layers.Dense(4, "tanh", kernel_regularizer="l2")(inputs)
    return dense_names(two_heads=keras.Model(inputs, [keras.layers.Dense(1)(hidden), keras.layers.Dense(1)(hidden)]))


def of_heads(names: Names) -> Any:
    first, second = (names["loss_fn"](names["y"], output) for output in names["two_heads"](names["x"]))
    return first + 0.3 * second + sum(names["two_heads"].losses)


def with_sample_weight(names: Names) -> Any:
    return names["loss_fn"](names["y"], names["model"](names["x"]), sample_weight=tf.linspace(0.0, 2.0, 10))


def of_kept(names: Names) -> Any:
    """Keras's own mean over what the mask keeps."""
    outputs = names["head"](names["embedding"](names["tokens"]))
    return names["loss_fn"](tf.zeros_like(outputs), outputs)


def encoded(names: Names) -> Any:
    return names["loss_fn"](names["y"], names["decoder"](names["encoder"](names["x"])))


def of_text(names: Names) -> Any:
    return names["loss_fn"](names["y"], names["head"](names["lstm"](names["embedding"](names["tokens"]))))


def of_sequence(names: Names) -> Any:
    return names["loss_fn"](names["y"], names["head"](names["lstm"](names["sequence"])[0]))


#: By code: the namespace, the whole model's loss, and whose trainable variables `gradients` belong to, in order.
GRADIENTS: dict[str, tuple[Callable[[], Names], Whole, tuple[str, ...]]] = {
    **dict.fromkeys(
        ("GC101", "GC102", "GC103", "GC110", "GC111", "GC112",
         "GC201", "GC202", "GC203", "GC204", "GC206", "GC402", "GC403"),
        (dense_names, parts_chained, ("front", "back")),
    ),
    **dict.fromkeys(("GC105", "GC106"), (skip_names, encoded, ("encoder", "decoder"))),
    "GC107": (text_names, of_text, ("embedding", "lstm", "head")),
    **dict.fromkeys(("GC302", "GC303"), (random_names, parts_chained, ("front", "back"))),
    "GC304": (sequence_names, of_sequence, ("lstm", "head")),
    "GC401": (tied_names, parts_chained, ("model",)),
    "GC407": (dense_names, parts_chained, ("model",)),
    **dict.fromkeys(
        ("GC501", "GC502"), (lambda: dense_names(regularizer="l2"), with_penalties, ("front", "back"))
    ),
    "GC505": (heads_names, of_heads, ("two_heads",)),
    "GC506": (dense_names, with_sample_weight, ("front", "back")),
    "GC507": (masked_names, of_kept, ("embedding", "head")),
    "GC606": (dense_names, with_weight, ("front", "back")),
}  # fmt: skip
#: By code: how many steps of SGD the example takes.
STEPS = {"GC205": 2, "GC305": 2, "GC306": 1, "GC309": 1, "GC310": 1, "GC311": 1, "GC503": 1, "GC504": 1}


def example(code: str) -> str:
    text = CATALOGUE[code].example
    assert text is not None
    return text


def run(text: str, names: Names) -> Names:
    """The namespace after the example has run in it."""
    exec(compile(text, "example", "exec"), names)  # noqa: S102 - our own text
    return names


def state_of(names: Names) -> list[Any]:
    return [*names["front"].non_trainable_variables, *names["back"].non_trainable_variables]


def gradients_of_the_whole(names: Names, whole: Whole, sources: tuple[str, ...]) -> list[Any]:
    """Under one tape, the state put back afterwards."""
    before = [tf.identity(v) for v in state_of(names)]
    variables = [variable for source in sources for variable in names[source].trainable_variables]
    with tf.GradientTape() as tape:
        loss = whole(names)
    for variable, value in zip(state_of(names), before, strict=True):
        variable.assign(value)
    return [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]


def assert_equal_to_the_whole(code: str, text: str) -> None:
    make, whole, sources = GRADIENTS[code]
    names = make()
    expected = gradients_of_the_whole(names, whole, sources)
    found = [tf.convert_to_tensor(g) for g in run(text, names)["gradients"]]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    assert sum(float(tf.norm(other)) for other in expected) > 0


@pytest.mark.parametrize("code", GRADIENTS)
def test_gradients_are_those_of_the_whole_model(code: str) -> None:
    assert_equal_to_the_whole(code, example(code))


@pytest.mark.parametrize(
    ("code", "right", "wrong"),
    [
        ("GC101", ", output_gradients=cotangent", ""),
        ("GC105", "output_gradients=cotangents", "output_gradients=[cotangents[0], tf.zeros_like(cotangents[1])]"),
        ("GC106", "output_gradients=cotangents", "output_gradients=[*cotangents.values()][::-1]"),
        ("GC107", ", mask=mask", ""),
        ("GC112", "tf.reduce_sum", "tf.reduce_mean"),
        ("GC110", "reversed([*enumerate(parts)]):\n    tape_0, boundary = sent.pop(k)",
         "reversed([*enumerate(parts)]):\n    tape_0, boundary = sent.pop(1 - k)"),
        ("GC111", "tf.argsort(order)", "order"),
        ("GC203", "share = len(x_part) / len(x)", "share = 1 / 3"),
        ("GC302", "v.assign(value)  # rewind", "pass"),
        ("GC304", "output_gradients=cotangents", "output_gradients=[0 * c for c in cotangents]"),
        ("GC401", "total.get(id(variable), 0) + gradient", "gradient"),
        ("GC506", ", sample_weight=sample_weight", ""),
        ("GC507", "tf.reduce_sum(kept)", "tf.size(kept, errors.dtype)"),
        ("GC501", "tf.add_n(front.losses)", "tf.constant(0.0)"),
        ("GC502", "    with tf.GradientTape() as tape:\n        loss = loss_fn(y_part, model(x_part, training=True))",
         "    with tf.GradientTape() as tape:\n        loss = loss_fn(y_part, model(x_part)) + sum(model.losses)"),
        ("GC505", "weight * term", "term"),
    ],
)  # fmt: skip
def test_with_the_mistake_they_are_not(code: str, right: str, wrong: str) -> None:
    assert example(code).count(right) == 1
    with pytest.raises(AssertionError, match="Mismatched elements"):
        assert_equal_to_the_whole(code, example(code).replace(right, wrong))


@pytest.mark.parametrize("code", STEPS)
def test_steps_are_those_of_the_whole_model(code: str) -> None:
    names = dense_names()
    variables = names["model"].trainable_variables
    before = [tf.identity(v) for v in variables]
    for _ in range(STEPS[code]):
        for variable, g in zip(variables, gradients_of_the_whole(names, parts_chained, ("model",)), strict=True):
            variable.assign(variable - RATE * g)
    expected = [tf.identity(v) for v in variables]
    for variable, value in zip(variables, before, strict=True):
        variable.assign(value)
    run(example(code), names)
    for variable, value in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable, value, rtol=1e-4, atol=1e-6)
    if code == "GC306":
        assert int(names["optimizer"].iterations) == 1


@pytest.mark.parametrize("code", ["GC104", "GC108", "GC109", "GC113", "GC301", "GC605", "GC701", "GC702"])
def test_the_others_run(code: str) -> None:
    run(example(code), random_names() if code == "GC605" else dense_names())


def test_recomputation_without_rewinding_is_noticed() -> None:
    text = example("GC605").replace("v.assign(value)", "pass", 1)
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(text, random_names())


def test_sparse_gradients() -> None:
    names = run(example("GC404"), text_names())
    assert isinstance(names["sparse"], tf.IndexedSlices)
    np.testing.assert_allclose(names["dense"][2], 6 * names["embedding"].embeddings[2], rtol=1e-5)  # occurs three times


def test_clipped_gradients() -> None:
    names = dense_names()
    names["of_front"] = [100 * g for g in names["of_front"]]
    run(example("GC405"), names)
    assert float(names["norm"]) > 1
    for one, other in zip(names["gradients"], [*names["of_front"], *names["of_back"]], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_gradients_of_a_dense_layer() -> None:
    x, kernel, bias = tf.random.normal([5, 3]), tf.random.normal([3, 3]), tf.zeros([3])
    with tf.GradientTape() as tape:
        tape.watch([x, kernel, bias])
        outputs = x @ kernel + bias
    dy = tf.random.normal([5, 3])
    expected = tape.gradient(outputs, [kernel, bias, x], output_gradients=dy)
    names = run(example("GC406"), {"tf": tf, "x": x, "kernel": kernel, "dy": dy})
    for name, value in zip(("d_kernel", "d_bias", "d_x"), expected, strict=True):
        np.testing.assert_allclose(names[name], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("code", "function", "plain"),
    [
        ("GC601", lambda n: n["softplus"], tf.math.softplus),
        ("GC602", lambda n: n["scaled_softplus"](2.0), lambda z: 2 * tf.math.softplus(z)),
        ("GC603", lambda n: n["affine"], lambda z: 2 * z + 1),
        ("GC604", lambda n: lambda z: n["add_bias"](z, z[0]), lambda z: z + z[0]),
    ],
)
def test_custom_gradients_are_the_derivatives(code: str, function: Whole, plain: Whole) -> None:
    names = run(example(code), {"tf": tf, "x": tf.ones([2])})
    z, upstream = tf.random.normal([4, 3]), tf.random.normal([4, 3])
    found = []
    for call in (function(names), plain):
        with tf.GradientTape() as tape:
            tape.watch(z)
            outputs = call(z)
        found.append((outputs, tape.gradient(outputs, z, output_gradients=upstream)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_custom_gradients_of_variables() -> None:
    names = run(example("GC603"), {"tf": tf})
    z = tf.random.normal([4])
    with tf.GradientTape() as tape:
        outputs = names["affine"](z)
    found = tape.gradient(outputs, [names["scale"], names["shift"]])
    np.testing.assert_allclose(found, [tf.reduce_sum(z), 4.0], rtol=1e-5)


def test_a_gradient_that_is_reversed() -> None:
    names = dense_names()
    right = gradients_of_the_whole(names, parts_chained, ("front",))
    for found, plain in zip(run(example("GC609"), names)["of_front"], right, strict=True):
        np.testing.assert_allclose(found, -plain, rtol=1e-4, atol=1e-6)


def test_a_weight_whose_tensor_is_an_argument() -> None:
    layer = run(example("GC608"), {"tf": tf, "keras": keras})["Scale"]()
    x = tf.random.normal([4, 3])
    layer.build(x.shape)

    def step() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = layer(x)
        return list(tape.gradient(outputs, [x, layer.w.value]))

    for function in (step, tf.function(step), tf.function(step, jit_compile=True)):
        for found, expected in zip(function(), (tf.ones([4, 3]), tf.reduce_sum(x, 0)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_jacobian_of_a_coupled_batch() -> None:
    model = keras.Sequential([keras.Input([3]), keras.layers.BatchNormalization(), keras.layers.Dense(2, "tanh")])
    x, cotangent = tf.random.stateless_normal([6, 3], [1, 2]), tf.random.stateless_normal([6, 2], [3, 4])
    names = run(example("GC607"), {"tf": tf, "model": model, "x": x, "cotangent": cotangent})
    with tf.GradientTape() as tape:
        tape.watch(x)
        outputs = model(x, training=True)
    expected = tape.gradient(outputs, x, output_gradients=cotangent)
    np.testing.assert_allclose(names["d_x"], expected, rtol=1e-4, atol=1e-6)


def test_a_norm_that_is_safe() -> None:
    x = tf.constant([[0.0, 0.0], [3.0, 4.0]])
    with tf.GradientTape() as tape:
        tape.watch(x)
        names = run(example("GC703"), {"tf": tf, "x": x})
    np.testing.assert_allclose(tape.gradient(names["norm"], x), [[0, 0], [0.6, 0.8]])


@pytest.mark.parametrize("code", ["GC307", "GC308"])
def test_training_that_is_resumed(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    saves, loads = example(code).split("# in the new process")
    names = random_names() | {"np": np, "optimizer": keras.optimizers.Adam(RATE, use_ema=True)}
    model = names["model"]

    def step() -> list[Any]:
        variables = model.trainable_variables
        with tf.GradientTape() as tape:
            loss = names["loss_fn"](names["y"], model(names["x"], training=True))
        names["optimizer"].apply(tape.gradient(loss, variables), variables)
        kept = model.non_trainable_variables if code == "GC307" else names["optimizer"].variables
        return [loss, *(tf.identity(v) for v in kept)]

    step()
    run(saves, names)
    seeds = [tf.identity(v) for v in model.non_trainable_variables]
    expected = step()
    if code == "GC308":
        names["optimizer"] = keras.optimizers.Adam(RATE, use_ema=True)
        for v, value in zip(model.non_trainable_variables, seeds, strict=True):
            v.assign(value)
    run(f"# in the new process{loads}", names)
    for one, other in zip(step(), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_noise_that_repeats() -> None:
    layer = run(example("GC704"), {"keras": keras})["Noise"]()
    x = tf.zeros([2, 3])
    (seed,) = layer.non_trainable_variables
    before = tf.identity(seed)
    first = layer(x, training=True)
    seed.assign(before)
    np.testing.assert_array_equal(layer(x, training=True), first)
    assert float(tf.norm(first)) > 0
    np.testing.assert_array_equal(layer(x), x)


@pytest.mark.parametrize(("code", "shape"), [("GC207", (10,)), ("GC208", ())])
def test_losses_that_a_part_of_the_batch_can_compute(code: str, shape: tuple[int, ...]) -> None:
    names = run(example(code), dense_names())
    value = names["loss_fn"](names["y"], names["model"](names["x"]))
    assert value.shape == shape
    of_halves = [
        names["loss_fn"](names["y"][rows], names["model"](names["x"][rows])) for rows in (slice(5), slice(5, 10))
    ]
    np.testing.assert_allclose(np.mean(of_halves), np.mean(value), rtol=1e-5)
    assert names["model"].compiled


def test_every_example_is_run() -> None:
    others = {
        "GC405",
        "GC104",
        "GC108",
        "GC109",
        "GC113",
        "GC301",
        "GC605",
        "GC701",
        "GC702",
        "GC404",
        "GC406",
        "GC601",
        "GC602",
    }
    others |= {"GC207", "GC208", "GC307", "GC308", "GC603", "GC604", "GC607", "GC608", "GC609", "GC703", "GC704"}
    assert {code for code, entry in CATALOGUE.items() if entry.example} == {*GRADIENTS, *STEPS, *others}
