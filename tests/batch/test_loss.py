from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck.batch.loss import Loss, build_loss, canonical_name, output_names, specs_by_output
from gradcheck.building.precision import precision_scope
from gradcheck.config.sections.loss import LossSpec
from gradcheck.errors import ConfigError, GradcheckError, RunError

HERE = Path()

LOSSES = """
import keras, tensorflow as tf
def scalar(factor=1.0):
    return lambda y, output: factor * tf.reduce_sum(y - output)
def vector():
    return lambda y, output: tf.reduce_sum(y - output, axis=-1)
def weighted():
    def loss(y, output, sample_weight=None):
        return tf.reduce_sum((y - output) * tf.reshape(sample_weight, [-1, 1]))
    return loss
def keras_loss():
    return keras.losses.MeanSquaredError(reduction="sum")
def raises():
    raise OSError("no disk")
def nothing():
    pass
"""


@pytest.fixture(autouse=True)
def session() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def model(outputs: int = 1, *, mapping: bool = False) -> keras.Model:
    x = keras.Input((3,), name="x")
    made = [keras.layers.Dense(2, name=f"out_{i}")(x) for i in range(outputs)]
    named = {f"key_{i}": t for i, t in reversed(list(enumerate(made)))}
    return keras.Model(x, named if mapping else made[0] if outputs == 1 else made)


def spec(written: Any) -> LossSpec:
    return LossSpec.model_validate(written)


def build(written: Any, of: keras.Model | None = None, *, weights: Any = None, base: Path = HERE) -> Loss:
    config: Any
    if isinstance(written, list):
        config = tuple(map(spec, written))
    elif isinstance(written, dict) and set(written) <= {"out_0", "out_1", "out_11", "key_1"}:
        config = {key: spec(value) for key, value in written.items()}
    else:
        config = spec(written)
    return build_loss(config, weights, of or model(), base=base, seed=0)


RNG = np.random.default_rng(0)
Y = tf.constant(RNG.normal(size=(4, 2)), tf.float32)
OUT = tf.constant(RNG.normal(size=(4, 2)), tf.float32)


@pytest.mark.parametrize("name", ["MeanSquaredError", "mean_squared_error", "mse", "MSE"])
def test_a_keras_loss_by_any_of_its_names(name: str) -> None:
    assert float(build(name)(Y, OUT)) == pytest.approx(float(np.mean((Y - OUT) ** 2)), rel=1e-6)


def test_a_keras_loss_with_arguments() -> None:
    loss = build({"MeanSquaredError": {"reduction": "sum"}})
    assert float(loss(Y, OUT)) == pytest.approx(float(np.sum(np.mean((Y - OUT) ** 2, axis=-1))), rel=1e-6)
    assert loss.terms[0] is not None
    assert loss.terms[0].reduction == "sum"


def test_the_random_cotangent_is_the_gradient() -> None:
    loss = build("random_cotangent")
    with tf.GradientTape() as tape:
        tape.watch(OUT)
        value = loss(Y, OUT)
    assert value.shape == ()
    np.testing.assert_array_equal(tape.gradient(value, OUT), Y)


@pytest.mark.parametrize(
    ("precision", "output", "expected"),
    [("float16", "float16", "float32"), ("float32", "float32", "float32"), ("float64", "float64", "float64")],
)
def test_the_loss_is_computed_in_float32_or_better(precision: str, output: str, expected: str) -> None:
    with precision_scope(precision):
        for name in ("random_cotangent", "MeanSquaredError"):
            loss = build(name)
            ones = tf.fill((64, 64), tf.constant(1 + 2**-9, output))
            value = loss(tf.cast(tf.fill((64, 64), 3.0), expected), ones)
            assert value.dtype.name == expected
            exact = 64 * 64 * 3 * (1 + 2**-9) if name == "random_cotangent" else (2 - 2**-9) ** 2
            assert float(value) == pytest.approx(exact, rel=1e-7)  # float16 sums are off by 9e-7


def test_a_float64_loss_is_float64_through_and_through() -> None:
    y, out = RNG.normal(size=(4, 2)), RNG.normal(size=(4, 2))
    with precision_scope("float64"):
        loss = build("MeanSquaredError")
        kept = build("MeanSquaredError")
    assert float(loss(y, tf.constant(out))) == pytest.approx(float(np.mean((y - out) ** 2)), rel=1e-15)
    assert float(kept(y, tf.constant(out))) == float(loss(y, tf.constant(out)))  # outside the scope as well


def test_one_loss_for_every_output() -> None:
    value = build("random_cotangent", model(2))([Y, OUT], [OUT, OUT])
    assert float(value) == pytest.approx(float(tf.reduce_sum(Y * OUT + OUT * OUT)), rel=1e-6)


def test_a_loss_per_output_in_order_with_weights() -> None:
    loss = build(["random_cotangent", "mse"], model(2), weights=(2.0, 0.5))
    expected = 2 * float(tf.reduce_sum(Y * OUT)) + 0.5 * float(np.mean((Y - OUT) ** 2))
    assert float(loss((Y, Y), [OUT, OUT])) == pytest.approx(expected, rel=1e-6)


def test_a_mapping_leaves_outputs_without_a_loss() -> None:
    loss = build({"out_1": "random_cotangent"}, model(3), weights={"out_1": 3.0})
    expected = 3 * float(tf.reduce_sum(Y * OUT))
    assert [term is None for term in loss.terms] == [True, False, True]
    assert float(loss([None, Y, None], [OUT, OUT, OUT])) == pytest.approx(expected, rel=1e-6)
    assert float(loss({"out_1": Y}, {"out_0": OUT, "out_1": OUT, "out_2": OUT})) == pytest.approx(expected, rel=1e-6)


def test_a_model_that_returns_a_mapping_is_addressed_by_its_keys() -> None:
    of = model(2, mapping=True)
    loss = build({"key_1": "random_cotangent", "out_0": "mse"}, of)
    outputs = of(np.ones((4, 3), "float32"))
    expected = float(tf.reduce_sum(Y * outputs["key_1"])) + float(np.mean((OUT - outputs["key_0"]) ** 2))
    assert float(loss({"key_1": Y, "key_0": OUT}, outputs)) == pytest.approx(expected, rel=1e-6)
    in_order = {"out_0": OUT, "out_1": Y}
    flat = [in_order[name] for name in output_names(of)]
    assert float(loss(flat, outputs)) == pytest.approx(expected, rel=1e-6)


def test_the_outputs_mask_is_left_on_the_tensor() -> None:
    x = keras.Input((4,))
    h = keras.layers.Embedding(5, 2, mask_zero=True)(x)
    of = keras.Model(x, h)
    outputs = of(np.array([[1, 2, 0, 0]]))
    y = tf.zeros((1, 4, 2))
    valid = np.mean(np.asarray(outputs)[:, :2] ** 2)
    assert float(build("mse", of)(y, outputs)) == pytest.approx(float(valid), rel=1e-5)
    assert float(build("mse", of)(y, outputs)) != pytest.approx(float(np.mean(np.asarray(outputs) ** 2)), rel=1e-2)


def test_a_vector_of_ones_own_is_averaged_over_what_is_not_masked(tmp_path: Path) -> None:
    (tmp_path / "loss.py").write_text(LOSSES)
    x = keras.Input((4,))
    of = keras.Model(x, keras.layers.Embedding(5, 2, mask_zero=True)(x))
    outputs = of(np.array([[1, 2, 3, 0]]))
    loss = build({"factory": "./loss.py:vector"}, of, base=tmp_path)
    expected = -np.sum(np.asarray(outputs)[:, :3]) / 3
    assert float(loss(tf.zeros((1, 4, 2)), outputs)) == pytest.approx(float(expected), rel=1e-5)


def test_losses_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "loss.py").write_text(LOSSES)

    def value(name: str, weight: Any = None, **kwargs: Any) -> float:
        written = {"factory": f"./loss.py:{name}", "kwargs": kwargs}
        return float(build(written, base=tmp_path)(Y, OUT, weight))

    difference = np.asarray(Y - OUT, "float64")
    weight = np.array([1.0, 0.0, 2.0, 1.0], "float32")
    assert value("scalar", factor=2.0) == pytest.approx(2 * difference.sum(), rel=1e-5)
    assert value("vector") == pytest.approx(difference.sum(axis=-1).mean(), rel=1e-5)
    assert value("vector", weight) == pytest.approx((difference.sum(axis=-1) * weight).mean(), rel=1e-5)
    assert value("weighted", weight) == pytest.approx((difference.sum(axis=-1) * weight).sum(), rel=1e-5)
    assert value("keras_loss") == pytest.approx((difference**2).mean(axis=-1).sum(), rel=1e-5)
    with pytest.raises(ValueError, match="sample_weight argument"):
        value("scalar", weight)


def test_sample_weights() -> None:
    weight = np.array([1.0, 0.0, 2.0, 1.0], "float32")
    squares = np.mean((Y - OUT) ** 2, axis=-1)
    assert float(build("mse")(Y, OUT, weight)) == pytest.approx(float(np.mean(squares * weight)), rel=1e-6)
    products = np.sum(np.asarray(Y * OUT), axis=-1)
    assert float(build("random_cotangent")(Y, OUT, weight)) == pytest.approx(float(products @ weight), rel=1e-5)
    per_step = tf.reshape(tf.range(8.0), (4, 2))
    cubes = tf.random.normal((4, 2, 3))
    expected = tf.reduce_sum(cubes * cubes * per_step[..., None])
    assert float(build("random_cotangent")(cubes, cubes, per_step)) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("name", ["random_cotangent", "mse", "own"])
def test_compiled_it_gives_the_same_gradient(tmp_path: Path, name: str) -> None:
    (tmp_path / "loss.py").write_text(LOSSES)
    loss = build({"factory": "./loss.py:vector"} if name == "own" else name, base=tmp_path)

    def gradient(out: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(out)
            value = loss(Y, out)
        return tape.gradient(value, out)

    np.testing.assert_allclose(gradient(OUT), tf.function(gradient)(OUT), rtol=1e-6)
    assert np.abs(gradient(OUT)).max() > 0


@pytest.mark.parametrize(
    ("written", "weights", "code", "keys", "message", "help_"),
    [
        ("MeanSquareError", None, "GC020", ("loss",), "MeanSquareError", "MeanSquaredError"),
        ({"Huber": {"dleta": 1.0}}, None, "GC031", ("loss",), "dleta=1.0", None),
        ({"random_cotangent": {"seed": 1}}, None, "GC031", ("loss",), "takes no arguments", None),
        (["mse"], None, "GC031", ("loss",), r"1 of loss for 2 outputs \(out_0, out_1\)", "mapping"),
        (["mse", "mea"], None, "GC020", ("loss", 1), "mea", None),
        ({"out_0": "mse", "out_11": "mse"}, None, "GC031", ("loss", "out_11"), "out_11", "did you mean `out_1`?"),
        ({"out_1": "wrong"}, None, "GC020", ("loss", "out_1"), "wrong", "factory"),
        ("mse", (1.0,), "GC031", ("loss_weights",), "1 of loss weight", None),
        ("mse", {"out_2": 1.0}, "GC031", ("loss_weights", "out_2"), "out_2", None),
    ],
)
def test_mistakes_name_the_key(  # noqa: PLR0917 - one column each
    written: Any, weights: Any, code: str, keys: Any, message: str, help_: str | None
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build(written, model(2), weights=weights)
    assert (caught.value.code, caught.value.keys) == (code, keys)  # type: ignore[attr-defined]
    assert help_ is None or help_ in (caught.value.help or "")


@pytest.mark.parametrize(
    ("name", "error", "code", "message"),
    [
        ("scaler", ConfigError, "GC028", "no scaler"),
        ("raises", RunError, "GC053", "loss factory ./loss.py:raises raised OSError: no disk"),
        ("nothing", RunError, "GC053", "must return a function"),
    ],
)
def test_a_factory_that_gives_no_loss(tmp_path: Path, name: str, error: Any, code: str, message: str) -> None:
    (tmp_path / "loss.py").write_text(LOSSES)
    with pytest.raises(error, match=message) as caught:
        build({"factory": f"./loss.py:{name}"}, base=tmp_path)
    found: GradcheckError = caught.value
    assert found.code == code


def test_a_wrong_number_of_outputs_is_never_silently_cut() -> None:
    loss = build("mse", model(2))
    with pytest.raises(ValueError, match="expected 2 tensors"):
        loss([Y], [OUT, OUT])
    with pytest.raises(KeyError):
        loss({"nowhere": Y}, [OUT, OUT])


def test_outputs_of_one_layer_have_names_of_their_own() -> None:
    x = keras.Input((3, 2))
    _, h, c = keras.layers.LSTM(2, return_state=True, name="lstm")(x)
    assert output_names(keras.Model(x, [h, c])) == ("lstm", "lstm:2")
    assert output_names(keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, name="end")])) == ("end",)


def test_specs_by_output_and_canonical_names() -> None:
    one, two = spec("mse"), spec({"factory": "./loss.py:make"})
    assert specs_by_output({"out_1": one}, model(2)) == (None, one)
    assert [canonical_name(s) for s in (one, two)] == ["meansquarederror", ""]


def test_every_loss_class_of_keras_can_be_named() -> None:
    classes = [n for n, v in vars(keras.losses).items() if isinstance(v, type) and n != "Loss"]
    assert len(classes) > 15
    for name in classes:
        assert build(name).terms[0] is not None
