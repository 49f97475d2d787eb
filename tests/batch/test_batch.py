from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck.batch import Batch, make_batch
from gradcheck.batch.loss import build_loss
from gradcheck.building.precision import precision_scope
from gradcheck.config.sections.data import DataConfig
from gradcheck.config.sections.loss import LossSpec
from gradcheck.errors import ConfigError

HERE = Path()


@pytest.fixture(autouse=True)
def session() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def dense(units: int = 3, *, inputs: int = 1, dtype: str | None = None, activation: str | None = None) -> keras.Model:
    xs = [keras.Input((4,), name=f"in_{i}", dtype=dtype) for i in range(inputs)]
    joined = xs[0] if inputs == 1 else keras.layers.Concatenate()(xs)
    return keras.Model(
        xs if inputs > 1 else xs[0], keras.layers.Dense(units, name="out", activation=activation)(joined)
    )


def batch(
    model: keras.Model, loss: Any = "random_cotangent", *, seed: int = 0, base: Path = HERE, **data: Any
) -> Batch:
    by_name = isinstance(loss, dict) and all(name.islower() for name in loss)
    losses: Any = {k: LossSpec.model_validate(v) for k, v in loss.items()} if by_name else None
    losses = losses or LossSpec.model_validate(loss)
    return make_batch(DataConfig.model_validate(data), model, losses, seed=seed, base=base)


def failing(model: keras.Model, loss: Any = "random_cotangent", *, base: Path = HERE, **data: Any) -> Any:
    with pytest.raises(ConfigError) as caught:
        batch(model, loss, base=base, **data)
    assert caught.value.code == "GC030"
    return caught.value


def x_of(model: keras.Model, **data: Any) -> np.ndarray[Any, Any]:
    return np.asarray(batch(model, **data).x[0])


def test_inputs_and_targets_are_normal_by_default() -> None:
    made = batch(dense(), batch_size=1000)
    assert [tuple(t.shape) for t in (*made.x, *made.y)] == [(1000, 4), (1000, 3)]
    for tensor in (*made.x, *made.y):
        assert abs(float(tf.reduce_mean(tensor))) < 0.1
        assert abs(float(tf.math.reduce_std(tensor)) - 1) < 0.1
    assert made.sample_weight is None


def test_two_examples_unless_the_config_says_otherwise() -> None:
    assert batch(dense()).x[0].shape == (2, 4)


def test_the_seed_decides_and_nothing_else() -> None:
    one, again, other = (batch(dense(), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.x[0], again.x[0])
    np.testing.assert_array_equal(one.y[0], again.y[0])
    assert not np.array_equal(one.x[0], other.x[0])
    assert not np.array_equal(one.x[0][:, :3], one.y[0])
    np.random.default_rng(0).normal(size=5)
    tf.random.set_seed(99)
    np.testing.assert_array_equal(one.x[0], batch(dense(), seed=1).x[0])


def test_a_further_input_changes_none_of_the_others() -> None:
    one, three = batch(dense()), batch(dense(inputs=3))
    np.testing.assert_array_equal(one.x[0], three.x[0])
    np.testing.assert_array_equal(one.y[0], three.y[0])
    assert not np.array_equal(three.x[1], three.x[2])


@pytest.mark.parametrize(
    ("precision", "inputs", "targets"),
    [
        ("float16", "float16", "float32"),
        ("bfloat16", "bfloat16", "float32"),
        ("float64", "float64", "float64"),
        ("mixed_float16", "float32", "float32"),
    ],
)
def test_dtypes_are_those_of_the_inputs_and_of_the_loss(precision: str, inputs: str, targets: str) -> None:
    with precision_scope(precision):
        made = batch(dense())
    assert (made.x[0].dtype.name, made.y[0].dtype.name) == (inputs, targets)  # type: ignore[union-attr]


def test_a_twin_in_another_precision_sees_the_same_numbers() -> None:
    single = batch(dense()).x[0]
    keras.utils.clear_session(free_memory=False)
    with precision_scope("float64"):
        np.testing.assert_allclose(batch(dense()).x[0], single, rtol=1e-6)


def test_open_axes_have_length_8_and_outputs_what_comes_out() -> None:
    x = keras.Input((None, 2), name="sequence")
    made = batch(keras.Model(x, keras.layers.Conv1D(3, 3)(x)))
    assert made.x[0].shape == (2, 8, 2)
    assert made.y[0].shape == (2, 6, 3)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("spec", "check"),
    [
        ({"normal": {"mean": 5, "stddev": 0.1}}, lambda x: x.min() > 4 and x.max() < 6 and x.std() > 0.01),
        ({"uniform": {"minval": 2, "maxval": 3}}, lambda x: x.min() >= 2 and x.max() < 3 and x.std() > 0.1),
        ("uniform", lambda x: x.min() >= 0 and x.max() < 1),
        ({"integers": {"low": 3, "high": 6}}, lambda x: set(x.ravel()) == {3.0, 4.0, 5.0}),
        ("integers", lambda x: set(x.ravel()) == {0.0, 1.0}),
        ({"constant": 2.5}, lambda x: (x == 2.5).all()),
        ({"constant": {"value": [1, 2, 3, 4]}}, lambda x: (x == [1, 2, 3, 4]).all()),
    ],
)
def test_kinds_of_arrays(spec: Any, check: Any) -> None:
    assert check(x_of(dense(), inputs=spec, batch_size=20))


def test_specs_by_name_leave_the_others_at_their_defaults() -> None:
    made = batch(dense(inputs=2), inputs={"in_1": {"constant": 7}})
    np.testing.assert_array_equal(made.x[0], batch(dense()).x[0])
    np.testing.assert_array_equal(made.x[1], np.full((2, 4), 7))


def embedding(size: int, **kwargs: Any) -> keras.layers.Layer:
    return keras.layers.Embedding(size, 2, **kwargs)


class Inside(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.positions = embedding(50), embedding(6)

    def call(self, ids: Any) -> Any:
        return self.tokens(ids) + self.positions(keras.ops.arange(keras.ops.shape(ids)[1]))


def highest(model: keras.Model) -> int:
    x = np.asarray(batch(model, batch_size=400).x[0])
    assert x.min() == 0
    assert set(x.ravel()) == set(range(int(x.max()) + 1))
    return int(x.max())


def test_integers_stay_within_the_smallest_embedding_that_reads_them() -> None:
    x = keras.Input((4,), dtype="int32")
    assert highest(keras.Model(x, embedding(9)(x))) == 8
    assert highest(keras.Model(x, keras.layers.Add()([embedding(9)(x), embedding(5)(x)]))) == 4


def test_integers_are_followed_through_operations_models_and_layers() -> None:
    x = keras.Input((4,), dtype="int32")
    sliced = keras.layers.Reshape((2, 1))(x[:, :2])
    assert highest(keras.Model(x, embedding(7)(sliced))) == 6
    y = keras.Input((4,), dtype="int32")
    inner = keras.Sequential([keras.Input((4,), dtype="int32"), embedding(11)])
    assert highest(keras.Model(y, inner(y))) == 10
    assert highest(keras.Model(y, keras.Model(x, inner(x))(y))) == 10
    assert highest(inner) == 10
    assert highest(keras.Model(x, Inside()(x))) == 5


@pytest.mark.parametrize("shape", [(8,), (2,), (3, 5)])
def test_some_rows_are_padded_where_an_embedding_masks_zeros(shape: tuple[int, ...]) -> None:
    x = keras.Input(shape, dtype="int32")
    model = keras.Model(x, embedding(9, mask_zero=True)(x))
    for seed in range(5):
        rows = np.asarray(batch(model, batch_size=4, seed=seed).x[0]).reshape(-1, shape[-1])
        lengths = (rows != 0).sum(-1)
        assert all((row[:n] != 0).all() for row, n in zip(rows, lengths, strict=True))  # zeros are at the end alone
        assert lengths.max() == shape[-1]
        assert (shape[-1] + 1) // 2 - 1 <= lengths.min() < shape[-1]
        assert lengths.min() > 0
        assert 0 < rows.max() < 9


def test_what_is_not_padded() -> None:
    one, plain, tags = (
        keras.Input((1,), dtype="int32"),
        keras.Input((6,), dtype="int32"),
        keras.Input((6,), dtype="int32"),
    )
    assert x_of(keras.Model(one, embedding(2, mask_zero=True)(one)), batch_size=50).max() == 1
    assert (x_of(keras.Model(plain, embedding(3)(plain)), batch_size=50)[:, 0] == 0).any()
    masked = keras.Model(tags, embedding(3, mask_zero=True)(tags))
    assert x_of(masked, batch_size=1).min() > 0  # the one row is full
    assert x_of(masked, batch_size=50, inputs="integers")[:, 0].min() == 0


def test_only_the_input_that_an_embedding_reads_is_bounded_by_it() -> None:
    ids, other = keras.Input((4,), dtype="int32", name="ids"), keras.Input((4,), dtype="int32", name="other")
    model = keras.Model([ids, other], [embedding(9)(ids), embedding(3)(other)])
    made = batch(model, batch_size=200)
    assert [int(tf.reduce_max(x)) for x in made.x] == [8, 2]
    inner = keras.Model([ids, other], keras.layers.Add()([embedding(9)(ids), embedding(3)(other)]))
    a, b = keras.Input((4,), dtype="int32"), keras.Input((4,), dtype="int32")
    swapped = batch(keras.Model([a, b], inner([b, a])), batch_size=200)
    assert [int(tf.reduce_max(x)) for x in swapped.x] == [2, 8]


def test_a_floating_input_that_an_embedding_reads_holds_ids_too() -> None:
    x = keras.Input((4,))
    assert highest(keras.Model(x, embedding(5)(x))) == 4

    class Patches(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.positions = embedding(5)

        def call(self, patches: Any) -> Any:
            return patches + self.positions(keras.ops.arange(2))

    z = keras.Input((2, 2))
    assert float(tf.reduce_min(batch(keras.Model(z, Patches()(z)), batch_size=50).x[0])) < 0


def test_integers_that_nothing_bounds_and_booleans() -> None:
    x = keras.Input((4,), dtype="int64")
    made = batch(keras.Model(x, keras.layers.Dense(1)(keras.ops.cast(x, "float32"))), batch_size=50)
    assert made.x[0].dtype == tf.int64
    assert set(np.asarray(made.x[0]).ravel()) == {0, 1}
    b = keras.Input((4,), dtype="bool")
    made = batch(keras.Model(b, keras.ops.cast(b, "float32")), batch_size=50)
    assert made.x[0].dtype == tf.bool
    assert 0 < np.asarray(made.x[0]).mean() < 1


def test_text_that_no_layer_looks_up_needs_data_of_ones_own() -> None:
    x = keras.Input((), dtype="string", name="text")
    error = failing(keras.Model(x, keras.layers.Lambda(tf.strings.length, output_shape=())(x)))
    assert "no default data for input text of dtype string" in error.message
    assert error.keys == ("data",)


KINDS: dict[str, Any] = {
    "SparseCategoricalCrossentropy": ((40,), lambda y: set(y) == {0, 1, 2}),
    "CategoricalCrossentropy": ((40, 3), lambda y: (np.sort(y) == [0, 0, 1]).all() and (y.sum(axis=0) > 0).all()),
    "categorical_focal_crossentropy": ((40, 3), lambda y: (np.sort(y) == [0, 0, 1]).all()),
    "CategoricalHinge": ((40, 3), lambda y: (np.sort(y) == [0, 0, 1]).all()),
    "BinaryCrossentropy": ((40, 3), lambda y: set(y.ravel()) == {0, 1}),
    "bce": ((40, 3), lambda y: set(y.ravel()) == {0, 1}),
    "Hinge": ((40, 3), lambda y: set(y.ravel()) == {0, 1}),
    "Dice": ((40, 3), lambda y: set(y.ravel()) == {0, 1}),
    "KLDivergence": ((40, 3), lambda y: np.allclose(y.sum(axis=-1), 1) and y.min() > 0 and y.std() > 0.05),
    "Poisson": ((40, 3), lambda y: y.min() >= 0 and y.std() > 0.1),
    "msle": ((40, 3), lambda y: y.min() >= 0 and y.std() > 0.1),
    "Circle": ((40,), lambda y: set(y) == {0, 1, 2}),
    "MeanSquaredError": ((40, 3), lambda y: y.min() < 0 < y.max()),
    "random_cotangent": ((40, 3), lambda y: y.min() < 0 < y.max()),
}


@pytest.mark.parametrize("loss", KINDS)
def test_targets_are_what_the_loss_is_meant_for(loss: str) -> None:
    if loss[0].isupper() and not hasattr(keras.losses, loss):
        pytest.skip("not in this version of Keras")
    model = dense(activation="softmax")
    made = batch(model, loss, batch_size=40)
    shape, check = KINDS[loss]
    y = np.asarray(made.y[0])
    assert y.shape == shape
    assert check(y)
    value = build_loss(LossSpec(name=loss), None, model, base=HERE, seed=0)(made.y, model(made.x[0]))
    assert np.isfinite(float(value))


def test_classes_may_lie_on_another_axis() -> None:
    x = keras.Input((3, 5))
    model = keras.Model(x, keras.layers.Softmax(axis=1)(x))
    y = batch(model, {"SparseCategoricalCrossentropy": {"axis": 1}}, batch_size=9).y[0]
    assert y.shape == (9, 5)  # type: ignore[union-attr]
    assert set(np.asarray(y).ravel()) == {0, 1, 2}
    one_hot = np.asarray(batch(model, {"CategoricalCrossentropy": {"axis": 1}}, batch_size=9).y[0])
    np.testing.assert_array_equal(one_hot.sum(axis=1), np.ones((9, 5)))


def test_label_sequences_for_ctc() -> None:
    x = keras.Input((6, 4))
    model = keras.Model(x, keras.layers.Dense(5)(x))
    made = batch(model, "CTC", batch_size=4)
    assert made.y[0].shape == (4, 3)  # type: ignore[union-attr]
    assert np.asarray(made.y[0]).min() >= 1
    value = build_loss(LossSpec(name="CTC"), None, model, base=HERE, seed=0)(made.y, model(made.x[0]))
    assert np.isfinite(float(value))


def test_targets_as_described() -> None:
    y = batch(dense(1), "mse", targets={"integers": {"low": 0, "high": 2}}, batch_size=30).y[0]
    assert (y.dtype, y.shape) == (tf.float32, (30, 1))  # type: ignore[union-attr]
    assert set(np.asarray(y).ravel()) == {0, 1}
    ids = batch(dense(5), "SparseCategoricalCrossentropy", targets="integers", batch_size=90).y[0]
    assert (ids.dtype, set(np.asarray(ids).ravel())) == (tf.int32, {0, 1, 2, 3, 4})  # type: ignore[union-attr]


def two_outputs() -> keras.Model:
    x = keras.Input((4,), name="x")
    return keras.Model(x, {"b": keras.layers.Dense(2, name="two")(x), "a": keras.layers.Dense(3, name="three")(x)})


def test_an_output_without_a_loss_has_no_target() -> None:
    made = batch(two_outputs(), {"two": "mse"}, sample_weight={"constant": 2})
    assert made.y[0] is None
    assert made.y[1].shape == (2, 2)  # type: ignore[union-attr]
    assert made.sample_weight is not None
    assert made.sample_weight[0] is None
    np.testing.assert_array_equal(made.sample_weight[1], [2, 2])


def test_an_output_goes_by_its_key_or_its_layer() -> None:
    for name in ("b", "two"):
        made = batch(two_outputs(), targets={name: {"constant": 4}}, sample_weight={name: {"constant": 3}})
        np.testing.assert_array_equal(made.y[1], np.full((2, 2), 4))
        assert made.sample_weight is not None
        assert made.sample_weight[0] is None
        np.testing.assert_array_equal(made.sample_weight[1], [3, 3])
        assert not np.array_equal(made.y[0], np.full((2, 3), 4))


@pytest.mark.parametrize(
    ("data", "keys", "message"),
    [
        ({"inputs": {"in_0": "normal", "in_7": "normal"}}, ("data", "inputs", "in_7"), "no in_7"),
        ({"targets": {"uot": "normal"}}, ("data", "targets", "uot"), "no uot"),
        ({"sample_weight": {"uot": "uniform"}}, ("data", "sample_weight", "uot"), "no uot"),
        ({"inputs": {"uniform": {"minval": 2}}}, ("data", "inputs"), "minval is above maxval"),
        ({"inputs": {"integers": {"low": 5, "high": 5}}}, ("data", "inputs"), "low=5"),
        ({"inputs": {"in_0": {"constant": [1, 2, 3]}}}, ("data", "inputs", "in_0"), "constant cannot be made"),
        ({"targets": {"constant": "text"}}, ("data", "targets"), "takes float32"),
    ],
)
def test_mistakes_name_the_key(data: Any, keys: Any, message: str) -> None:
    error = failing(dense(), **data)
    assert error.keys == keys
    assert message in error.message


def test_an_integer_input_takes_no_fractions_and_nothing_out_of_range() -> None:
    x = keras.Input((4,), dtype="uint8", name="pixels")
    model = keras.Model(x, keras.ops.cast(x, "float32"))
    assert "input pixels takes uint8. Received: float64" in failing(model, inputs="normal").message
    assert "from 256 to 256" in failing(model, inputs={"constant": 256}).message
    assert "from -1 to -1" in failing(model, inputs={"constant": -1}).message
    assert int(batch(model, inputs={"constant": 255.0}).x[0][0, 0]) == 255


def test_a_fixed_batch_must_be_met() -> None:
    x = keras.Input(batch_shape=(3, 4))
    model = keras.Model(x, keras.layers.Dense(1)(x))
    error = failing(model)
    assert "fixed batch of 3. Received: batch_size 2" in error.message
    assert "batch_size: 3" in error.help
    assert batch(model, batch_size=3).y[0].shape == (3, 1)  # type: ignore[union-attr]
