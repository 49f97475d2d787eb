"""Subclassed models, live: cut inside, compared in other precisions, and as parts; nothing of them changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradcheck import check_function, check_model, check_parts


@pytest.fixture(scope="module")
def net() -> Any:
    """A class without arguments of Keras's own, as most are written."""
    import keras

    class Block(keras.layers.Layer):
        def __init__(self, units: int) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(units, activation="tanh")
            self.drop = keras.layers.Dropout(0.3)
            self.norm = keras.layers.BatchNormalization()

        def call(self, x: Any, training: bool | None = None) -> Any:
            self.last = self.drop(self.dense(x), training=training)
            self.add_loss(0.1 * keras.ops.mean(self.last**2))
            return self.norm(x + self.last)

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.blocks = [Block(4), Block(4)]
            self.head = keras.layers.Dense(2)

        def call(self, x: Any, training: bool | None = None) -> Any:
            for block in self.blocks:
                x = block(x, training=training)
            return self.head(x)

    return Net


@pytest.fixture(scope="module")
def x() -> Any:
    return np.random.default_rng(0).normal(size=(6, 4)).astype("float32")


def test_it_is_cut_inside_by_the_paths_of_its_attributes(net: Any, x: Any) -> None:
    report = check_model(net(), x, after=["blocks/0", "blocks/1/drop"], methods=["vjp", "recompute", "numeric"])
    assert report, report
    run = report.runs[0]
    assert [segment.layers[-1] for segment in run.segments] == ["blocks/0/norm", "blocks/1/drop", "head"]
    assert {t.path for t in run.checks[0].of_kind("weight")} >= {"blocks/0/dense/kernel", "head/bias"}
    assert not [note for note in run.notes if "stays one call" in note]


def test_the_compiled_model_trains_in_parts_as_in_one(net: Any, x: Any) -> None:
    model, y = net(), np.zeros((6, 2), "float32")
    model.compile("adam", "mse")
    model.fit(x, y, epochs=1, verbose=0)
    before = [np.array(v) for v in (*model.variables, *model.optimizer.variables)]
    report = check_model(model, x, y, every="layer", train={"steps": 2})
    assert report, report
    after = [np.array(v) for v in (*model.variables, *model.optimizer.variables)]
    assert all(one.tobytes() == other.tobytes() for one, other in zip(before, after, strict=True))


def test_another_precision_is_that_of_a_copy_with_its_values(net: Any, x: Any) -> None:
    model = net()
    model(x)
    model.head.bias.assign([3.0, 4.0])
    loss = [check_model(model, x, precision=p, training=False).runs[0].reference.loss for p in ("float32", "float64")]  # type: ignore[union-attr]
    assert loss[1] == pytest.approx(loss[0], rel=1e-2)


def test_an_unbuilt_model_is_built_as_its_first_call_would(net: Any, x: Any) -> None:
    import keras

    keras.utils.set_random_seed(3)
    called = net()
    called(x)
    keras.utils.set_random_seed(3)
    checked = net()
    assert check_model(checked, x)
    assert [v.path for v in checked.variables] != []
    for one, other in zip(called.get_weights(), checked.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert not hasattr(checked.blocks[0], "last")


def test_parts_may_be_subclassed(net: Any, x: Any) -> None:
    import keras

    report = check_parts([net(), keras.Sequential([keras.layers.Dense(4)]), net()], x, methods=["vjp", "numeric"])
    assert report, report
    naive = check_parts([net(), keras.layers.Dense(3)], x, methods=["naive"])
    assert not naive
    with pytest.raises(AssertionError, match="naive"):
        naive.raise_for_mismatch()


def test_a_composite_that_is_wrong_inside_is_named_inside(x: Any) -> None:
    import keras
    import tensorflow as tf

    @tf.custom_gradient
    def halved(x: Any) -> Any:
        return keras.ops.square(x), lambda upstream: upstream * x

    class Halved(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return halved(x)

    class Outer(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.wrong, self.last = keras.layers.Dense(4), Halved(), keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.last(self.wrong(self.first(x)))

    class Around(keras.layers.Layer):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Outer()

        def call(self, x: Any) -> Any:
            return self.inner(x)

    report = check_function(Around(), x, methods=["numeric"], training=True)
    assert not report
    (diagnosis,) = report.runs[0].checks[0].diagnoses
    assert diagnosis.code == "GC601"
    assert str(diagnosis.layer).endswith("/inner/wrong")


def test_a_branch_of_training_is_built_and_a_layer_that_is_never_called_is_penalised(x: Any) -> None:
    import keras

    class Branching(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.aux, self.last = (keras.layers.Dense(4) for _ in range(3))
            self.idle = keras.layers.Dense(2, kernel_regularizer="l2")
            self.idle.build((None, 3))

        def call(self, x: Any, training: bool | None = None) -> Any:
            h = self.first(x)
            return self.last(h + self.aux(h) if training else h)

    for training, calls in ((True, ["first", "aux", "add", "last"]), (False, ["first", "last"])):
        report = check_model(Branching(), x, every="layer", training=training)
        assert report, report
        (run,) = report.runs
        assert [layer for segment in run.segments for layer in segment.layers] == calls
        assert not run.notes
        (idle,) = (tensor for tensor in run.checks[0].of_kind("weight") if tensor.shape == (3, 2))
        assert idle.status in ("exact", "close")


def test_tensors_of_tensorflow_are_numbers_to_a_model_that_is_not_built() -> None:
    import keras
    import tensorflow as tf

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = keras.layers.Dense(4), keras.layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.out(self.hidden(x))

    report = check_model(Net(), tf.ones((3, 5)), tf.zeros((3, 2)), loss="mse")
    assert report, report
