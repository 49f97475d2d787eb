"""Every private name of Keras that gradcheck relies on, on the installed Keras."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck import keras_private as private
from gradcheck.errors import RunError


@pytest.fixture(scope="module")
def model() -> keras.Model:
    inner = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="inner"), keras.layers.Dropout(0.5)])
    x = keras.Input((3,))
    return keras.Model(x, keras.layers.Softmax(name="softmax")(inner(keras.layers.Dense(3, name="outer")(x))))


def layer_named(model: keras.Model, name: str) -> Any:
    return next(layer for layer in private.all_layers([model]) if layer.name == name)


def test_every_layer_at_any_depth_once(model: keras.Model) -> None:
    found = private.all_layers([model, model])
    assert found[0] is model
    assert {"inner", "outer", "softmax"} <= {layer.name for layer in found}
    assert len(found) == len({id(layer) for layer in found})


def test_what_a_layer_holds() -> None:
    layer = keras.layers.Dense(2, activity_regularizer="l2")
    layer(np.ones((1, 3), np.float32))
    layer.trainable = False
    assert [v.name for v in private.own_weights(layer)] == ["kernel", "bias"]
    assert all(isinstance(v, private.Variable) for v in [*layer.weights, keras.Variable(1.0)])
    assert layer.trainable_variables == []
    assert float(private.own_losses(layer)[0]) > 0
    assert private.own_metrics(layer) == []


def test_what_a_layer_does(model: keras.Model) -> None:
    dropout = next(layer for layer in private.all_layers([model]) if isinstance(layer, keras.layers.Dropout))
    assert private.draws(dropout)
    assert private.takes_training(dropout)
    assert not private.draws(layer_named(model, "inner"))
    assert not private.takes_training(keras.layers.Flatten())


def test_the_flag_of_a_layer_does_not_spread() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    private.set_trainable_flag(model, trainable=False)
    assert (private.trainable_flag(model), private.trainable_flag(model.layers[0])) == (False, True)
    assert private.trainable_flag(model.layers[0].kernel)


def test_masks_and_logits_hide_on_tensors() -> None:
    masked = keras.layers.Masking()(tf.zeros((1, 2, 3)))
    assert not np.asarray(private.mask_of(masked)).any()
    private.set_mask(masked, None)
    assert private.mask_of(masked) is None
    soft = keras.activations.softmax(tf.constant([[1.0, 2.0]]))
    assert np.asarray(private.logits_of(soft)).tolist() == [[1.0, 2.0]]
    private.set_logits(soft, soft)
    assert private.logits_of(soft) is soft
    assert private.logits_of(tf.zeros(1)) is None


def test_the_graph_of_a_functional_model(model: keras.Model) -> None:
    assert isinstance(model, private.Functional)
    assert next(n for n in private.nodes_in_order(model) if not n.is_input).operation.name == "outer"
    assert private.operation_of(model.outputs[0]).name == "softmax"
    sequential = model.layers[2]
    assert isinstance(private.functional_within(sequential), private.Functional)
    assert private.functional_within(model) is None
    assert private.SymbolicArguments(model.inputs[0]).keras_tensors == [model.inputs[0]]


def test_the_run_of_a_graph_is_replaced_and_put_back(model: keras.Model) -> None:
    calls: list[str] = []

    def counting(original: Any) -> Any:
        def run(*args: Any, **kwargs: Any) -> Any:
            calls.append("run")
            return original(*args, **kwargs)

        return run

    x = np.ones((1, 3), np.float32)
    with private.runs_replaced([model], counting):
        model(x)
    model(x)
    assert calls == ["run"]


def test_weights_are_seen_before_they_are_allocated() -> None:
    seen: list[tuple[str, tuple[int, ...], Any]] = []
    with private.allocations_watched(lambda *args: seen.append(args)):
        keras.layers.Dense(2, name="seen").build((None, 3))
    keras.layers.Dense(2).build((None, 3))
    assert [(path, shape, str(dtype)) for path, shape, dtype in seen] == [
        ("seen/kernel", (3, 2), "float32"),
        ("seen/bias", (2,), "float32"),
    ]


def test_what_belongs_to_a_session() -> None:
    kept = private.session_trackers()
    try:
        private.of_session("gradcheck_test", []).append(1)
        assert private.of_session("gradcheck_test", []) == [1]
        keras.utils.clear_session()
        assert private.of_session("gradcheck_test", []) == []
        assert private.global_seed().shape == (2,)
    finally:
        private.set_session_trackers(kept)
    assert private.of_session("gradcheck_test", []) == [1]
    assert private.split_of(keras.layers.TextVectorization(split="character")) == "character"


@pytest.mark.parametrize(
    "reach",
    [private.own_weights, private.own_losses, private.own_metrics, private.operation_of, private.trainable_flag],
)
def test_a_name_that_is_gone_is_one_clear_error(reach: Any) -> None:
    with pytest.raises(RunError, match=r"Keras 3\.\d+\.\d+ has no `object\._\w+` any more") as caught:
        reach(object())
    assert caught.value.help is not None


def test_a_loss_in_a_wider_dtype_is_another_object() -> None:
    factor = tf.constant(2.0, tf.float64)
    loss = private.LossFunctionWrapper(lambda y, output: tf.abs(y - output) * tf.cast(factor, output.dtype))
    wider = private.loss_computing_in(loss, "float64")
    assert (loss.dtype, wider.dtype, wider(tf.zeros(2), tf.ones(2)).dtype) == ("float32", "float64", tf.float64)
    assert private.loss_computing_in(loss, "float32") is loss


def test_what_a_model_was_compiled_with() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    model.compile(loss=["mse"], loss_weights=[2.0])
    assert private.compiled_loss_weights(model) == [2.0]


def test_a_layer_is_built_without_a_trace_of_the_call() -> None:
    layer = keras.layers.Dense(2)
    private.built_by_call(layer, [keras.KerasTensor((None, 3))])
    assert layer.built
    assert layer._inbound_nodes == []


def test_a_shared_object_is_loaded_once() -> None:
    saved = {**keras.saving.serialize_keras_object(keras.layers.Dense(2)), "shared_object_id": 1}
    with private.sharing_scope():
        one, other = (keras.saving.deserialize_keras_object(saved) for _ in range(2))
    assert one is other


def test_a_variable_takes_the_path_of_another() -> None:
    one, other = (keras.random.SeedGenerator(1).state for _ in range(2))
    private.name_like(one, other)
    assert one.path == other.path
