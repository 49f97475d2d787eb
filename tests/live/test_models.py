"""`check_model` and `check_parts`: what they accept, what they catch, what they say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck import check_model, check_parts
from gradcheck.errors import ConfigErrors


def statuses(report: Any, index: int = 0) -> dict[str, str]:
    return {tensor.path: tensor.status for tensor in report.runs[0].checks[index].tensors}


def dense(keras: Any, **compiled: Any) -> Any:
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, activation="tanh"), keras.layers.Dropout(0.5), keras.layers.Dense(2)]
    )
    if compiled:
        model.compile(**compiled)
    return model


def test_a_right_model_passes_by_every_method(keras_: Any, batch: Any) -> None:
    report = check_model(dense(keras_), *batch, "mse", methods=["vjp", "recompute", "numeric", "forward"])
    assert report, report
    assert [check.method for check in report.runs[0].checks] == ["vjp", "recompute", "numeric", "forward"]


@pytest.mark.parametrize(
    ("split", "segments"), [({}, 3), ({"after": "dense"}, 2), ({"parts": 2}, 2), ({"split": {"after": [0]}}, 2)]
)
def test_it_is_cut_as_a_config_cuts(keras_: Any, batch: Any, split: Any, segments: int) -> None:
    report = check_model(dense(keras_), batch[0], **split)
    assert report, report
    assert len(report.runs[0].segments) == segments


def test_loss_and_weights_are_those_it_was_compiled_with(keras_: Any, batch: Any) -> None:
    x, y = batch
    model = dense(keras_, loss="mse", loss_weights=3.0)
    (run,) = check_model(model, x, y, training=False).runs
    assert run.reference is not None
    expected = 3.0 * float(np.mean((np.asarray(model(x)) - y) ** 2))
    assert run.reference.loss == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("loss", ["mse", "MeanSquaredError", "object", "function", "own"])
def test_a_loss_is_what_compile_takes(keras_: Any, batch: Any, loss: str) -> None:
    import tensorflow as tf

    made = {
        "object": keras_.losses.MeanSquaredError(),
        "function": keras_.losses.mean_squared_error,
        "own": lambda y, output: tf.reduce_mean((y - output) ** 2, axis=-1),
    }.get(loss, loss)
    weight = np.linspace(0.5, 1.5, 6)
    model = dense(keras_)
    report = check_model(model, *batch, made, sample_weight=weight, training=False, methods=["vjp", "numeric"])
    assert report, report
    model.compile(loss=made)
    expected = model.evaluate(*batch, sample_weight=weight, verbose=0)
    assert report.runs[0].reference.loss == pytest.approx(expected, rel=1e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size", "mean_with_sample_weight"])
def test_a_losss_reduction_counts(keras_: Any, batch: Any, reduction: str) -> None:
    model = dense(keras_, loss=keras_.losses.MeanAbsoluteError(reduction=reduction))
    weight = np.linspace(0.5, 1.5, 6)
    (run,) = check_model(model, *batch, training=False, sample_weight=weight, microbatches=3).runs
    assert run.exit_code == 0
    expected = model.evaluate(*batch, sample_weight=weight, verbose=0, batch_size=6)
    assert run.reference.loss == pytest.approx(expected, rel=1e-5)  # type: ignore[union-attr]


@pytest.mark.parametrize("form", ["list", "dict"])
def test_several_outputs_and_a_loss_for_each(keras_: Any, form: str) -> None:
    import tensorflow as tf

    a, b = keras_.Input((3,), name="a"), keras_.Input((2,), name="b")
    both = keras_.layers.Concatenate()([a, b])
    one, two = keras_.layers.Dense(2, name="one")(both), keras_.layers.Dense(4, name="two")(both)
    x = {"a": tf.ones((5, 3)), "b": np.ones((5, 2), "float64")}
    y = [np.ones((5, 2)), tf.constant([0, 1, 2, 3, 0])]
    losses = ["mae", keras_.losses.SparseCategoricalCrossentropy(from_logits=True)]
    if form == "list":
        model, x_, y_, losses_ = keras_.Model([a, b], [one, two]), list(x.values()), y, losses
    else:
        model, x_ = keras_.Model({"a": a, "b": b}, {"one": one, "two": two}), x
        y_, losses_ = dict(zip(("one", "two"), y, strict=True)), dict(zip(("one", "two"), losses, strict=True))
    model.compile(loss=losses_, loss_weights=[2.0, 0.5] if form == "list" else {"one": 2.0, "two": 0.5})
    report = check_model(model, x_, y_, methods=["vjp", "numeric"])
    assert report, report
    expected = model.evaluate(x_, y_, verbose=0, return_dict=True)["loss"]
    assert report.runs[0].reference.loss == pytest.approx(expected, rel=1e-5)  # type: ignore[union-attr]


def test_targets_without_a_loss_are_not_used_and_a_note_says_so(keras_: Any, batch: Any) -> None:
    model = dense(keras_)
    ours, theirs = check_model(model, *batch), check_model(model, batch[0], loss="random_cotangent")
    assert ours
    assert "y is not used: there is no loss that takes it" in ours.runs[0].notes[0]
    assert ours.runs[0].reference.loss == theirs.runs[0].reference.loss  # type: ignore[union-attr]


def test_every_mistake_of_the_options_is_said_at_once(keras_: Any, batch: Any) -> None:
    with pytest.raises(ConfigErrors) as error:
        check_model(dense(keras_), batch[0], precison="float64", seed=-1)
    assert len(error.value.mistakes) == 2


def test_data_that_do_not_fit_are_an_error_of_the_run(keras_: Any, batch: Any) -> None:
    report = check_model(dense(keras_), batch[0][:, :3])
    assert not report
    assert (report.runs[0].verdict, report.runs[0].error.code) == ("error", "GC030")  # type: ignore[union-attr]
    with pytest.raises(AssertionError, match="GC030"):
        report.raise_for_mismatch()


def test_a_wrong_custom_gradient_is_caught(keras_: Any, batch: Any) -> None:
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def squared(x: Any) -> Any:
        return x * x, lambda dy: 2.1 * x * dy

    model = keras_.Sequential([keras_.Input((4,)), keras_.layers.Dense(3), keras_.layers.Lambda(squared)])
    report = check_model(model, batch[0], methods=["numeric"])
    assert not report
    assert statuses(report)["sequential/dense/kernel"] == "mismatch"
    assert report.runs[0].checks[0].diagnoses[0].code == "GC601"
    verified = check_model(model, batch[0])  # the reference itself is tried
    assert [check.method for check in verified.runs[0].checks] == ["reference", "vjp"]
    assert not verified


def test_a_negative_control_is_expected_to_fail(keras_: Any, batch: Any) -> None:
    report = check_model(dense(keras_), *batch, "mse", methods=["vjp", {"naive": {"expect": "mismatch"}}])
    assert report, report
    assert not check_model(dense(keras_), *batch, "mse", methods=["naive"])


@pytest.mark.parametrize("precision", ["float64", "mixed_bfloat16", "float16"])
def test_another_precision_than_its_own_is_that_of_a_copy(keras_: Any, batch: Any, precision: str) -> None:
    model = dense(keras_, loss="mse")
    report = check_model(model, *batch, precision=precision)
    assert report, report
    assert report.runs[0].precision == precision
    assert model.dtype_policy.name == "float32"


def test_its_own_precision_is_the_default(keras_: Any, batch: Any) -> None:
    policy = keras_.config.dtype_policy()
    keras_.config.set_dtype_policy("mixed_bfloat16")
    model = dense(keras_, loss="mse")
    keras_.config.set_dtype_policy(policy)
    report = check_model(model, *batch, methods=["vjp", "numeric"])
    assert report, report
    assert report.runs[0].precision == "mixed_bfloat16"
    (run,) = check_model(model, *batch, precision="float32").runs
    assert {tensor.dtype for tensor in run.checks[0].of_kind("output")} == {"float32"}


def test_what_keras_cannot_copy_is_said_and_the_rest_is_checked(keras_: Any, batch: Any) -> None:
    class Factor:
        by = 2.0

    class Scaled(keras_.layers.Layer):  # type: ignore[misc,name-defined]
        def __init__(self, factor: Any) -> None:
            super().__init__()
            self.inner = factor

        def call(self, x: Any) -> Any:
            return x * self.inner.by

    model = keras_.Sequential([keras_.Input((4,)), keras_.layers.Dense(2), Scaled(Factor())])
    report = check_model(model, *batch, "mse", methods=["vjp", "numeric"])
    assert report, report
    notes = " ".join(report.runs[0].notes)
    assert "numeric does not apply" in notes
    assert "give each class of your own a get_config()" in notes
    assert check_model(model, *batch, "mse", train={"steps": 2})
    refused = check_model(model, *batch, "mse", precision="float64")
    assert refused.runs[0].error.code == "GC051"  # type: ignore[union-attr]
    assert "get_config()" in str(refused)


def test_training_starts_from_the_compiled_optimizer(keras_: Any, batch: Any) -> None:
    model = dense(keras_, loss="mse", optimizer=keras_.optimizers.Adam(0.01))
    model.fit(*batch, verbose=0)
    report = check_model(model, *batch, train={"steps": 2})
    assert report, report
    slots = {t.path for t in report.runs[0].checks[0].of_kind("optimizer")}
    assert "adam/sequential_dense_kernel_velocity" in slots


def test_a_sequential_model_without_an_input_is_built(keras_: Any, batch: Any) -> None:
    model = keras_.Sequential([keras_.layers.Dense(3), keras_.layers.Dense(2)])
    assert check_model(model, *batch, "mse")
    assert model.built
    assert [layer.name for layer in model.layers] == ["dense", "dense_1"]


def test_a_dataset_and_weights_of_classes_are_as_in_fit(keras_: Any) -> None:
    import tensorflow as tf

    x, y = np.random.default_rng(0).normal(size=(8, 4)), np.arange(8) % 2
    data = tf.data.Dataset.from_tensor_slices((x, y)).batch(4)
    model = dense(keras_, loss=keras_.losses.SparseCategoricalCrossentropy(from_logits=True))
    (run,) = check_model(model, data=data, class_weight={0: 1.0, 1: 3.0}, training=False).runs
    assert run.exit_code == 0, run
    weight = np.where(y[:4] == 1, 3.0, 1.0)
    expected = model.evaluate(x[:4], y[:4], sample_weight=weight, verbose=0)
    assert run.reference.loss == pytest.approx(expected, rel=1e-5)  # type: ignore[union-attr]


def test_parts_are_chained_and_keep_their_own_variables(parts: Any, batch: Any) -> None:
    report = check_parts(parts, *batch, methods=["vjp", "numeric", {"naive": {"expect": "mismatch"}}])
    assert report, report
    assert [segment.name for segment in report.runs[0].segments] == ["front", "back"]
    assert statuses(report)["front/first/kernel"] in ("exact", "close")


def test_a_layer_in_two_parts_is_one_layer_in_their_copies_too(keras_: Any, batch: Any) -> None:
    shared = keras_.layers.Dense(4, activation="tanh", name="shared")
    front = keras_.Sequential([keras_.Input((4,)), shared], name="front")
    back = keras_.Sequential([keras_.Input((4,)), shared, keras_.layers.Dense(2)], name="back")
    report = check_parts([front, back], *batch, "mse", methods=["vjp", "numeric"], precision="float64")
    assert report, report
    assert report.runs[0].coverage.trainable == 4


def test_parts_that_do_not_fit_each_other(parts: Any, batch: Any) -> None:
    report = check_parts(parts[::-1], batch[0])
    assert report.runs[0].error.code == "GC051"  # type: ignore[union-attr]
    assert not report


def test_a_part_with_a_wrong_gradient_is_caught(keras_: Any, parts: Any, batch: Any) -> None:
    import tensorflow as tf

    @tf.custom_gradient  # type: ignore[untyped-decorator]
    def halved(x: Any) -> Any:
        return tf.identity(x), lambda dy: 0.5 * dy

    middle = keras_.Sequential([keras_.Input((5,)), keras_.layers.Lambda(halved)], name="middle")
    assert not check_parts([parts[0], middle, parts[1]], *batch, methods=["vjp", "numeric"])


def test_parts_that_are_not_built_are_built_in_a_chain(keras_: Any, batch: Any) -> None:
    class Own(keras_.Model):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__(name="own")
            self.dense = keras_.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.dense(x)

    parts = [keras_.Sequential([keras_.layers.Dense(3)]), keras_.layers.Dense(4), Own()]
    report = check_parts(parts, *batch, "mse")
    assert report, report
    assert [part.built for part in parts] == [True] * 3
    assert parts[2].dense.built
    assert report.runs[0].coverage.trainable == 6


def test_rows_without_an_axis_get_one_as_in_keras(keras_: Any) -> None:
    model = keras_.Sequential([keras_.Input((1,)), keras_.layers.Dense(3), keras_.layers.Dense(1)])
    x = np.arange(5.0)
    report = check_model(model, x, 2 * x, "mse")
    assert report, report
    model.compile(loss="mse")
    assert report.runs[0].reference.loss == pytest.approx(model.evaluate(x, 2 * x, verbose=0), rel=1e-5)  # type: ignore[union-attr]
