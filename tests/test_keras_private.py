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


# What tracing relies on


class Composite(keras.layers.Layer):
    def __init__(self) -> None:
        super().__init__()
        self.dense = keras.layers.Dense(2)
        self.gain = self.add_weight(shape=(), initializer="ones", name="gain")
        self.seeds = keras.random.SeedGenerator(1)

    def call(self, x: Any, training: bool | None = None) -> Any:
        self.seen = training, private.current_training(), private.in_stateless_scope(), private.autocast_dtype()
        self.add_loss(keras.ops.sum(x))
        return keras.ops.add(self.dense(x), self.gain)


def test_what_a_layer_made_of_layers_holds() -> None:
    layer = Composite()
    layer(np.ones((1, 3), np.float32))
    assert private.sublayers(layer) == [layer.dense]
    assert [v.name for v in private.own_variables(layer)] == ["gain", "seed_generator_state"]
    assert [v.name for v in private.own_variables(keras.layers.BatchNormalization())] == []
    assert not private.is_rematerialized(layer)
    assert private.is_keras_own(layer.dense)
    assert not private.is_keras_own(layer)


@pytest.mark.keras("3.9")
def test_a_layer_that_keras_recomputes() -> None:
    with keras.RematScope(mode="full"):
        assert private.is_rematerialized(keras.layers.Dense(2))


def test_which_models_are_graphs_of_layers(model: keras.Model) -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    class OwnSequential(keras.Sequential):
        def call(self, x: Any) -> Any:
            return x

    x = keras.Input((3,))
    sequential = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    assert private.functional_of(model) is model
    assert private.functional_of(sequential) is private.functional_within(sequential)
    assert private.functional_of(Own(x, keras.layers.Dense(2)(x))) is None
    assert private.functional_of(OwnSequential([x, keras.layers.Dense(2)])) is None
    assert private.functional_of(keras.layers.Dense(2)) is None


def test_attributes_are_replaced_and_put_back_and_inherited_ones_removed() -> None:
    class Base:
        inherited = 1

    class Holder(Base):
        own = 2

    with pytest.raises(RuntimeError), private.replaced(Holder, inherited=3, own=4):
        assert (Holder.inherited, Holder.own) == (3, 4)
        raise RuntimeError
    assert (Holder.inherited, Holder.own) == (1, 2)
    assert "inherited" not in vars(Holder)


def test_values_that_are_assigned_apart_from_the_variables() -> None:
    variable = keras.Variable(1.0)
    assert not private.in_stateless_scope()
    with private.stateless():
        variable.assign(2.0)
        assert private.in_stateless_scope()
        assert float(variable.value) == 2.0
    assert float(variable.value) == 1.0


def test_outputs_that_are_given_are_not_inferred() -> None:
    layer, given = keras.layers.Dense(2), keras.KerasTensor((None, 7), "float32")
    with private.outputs_given(layer, given):
        assert layer(keras.Input((3,))).shape == (None, 7)
    assert layer(keras.Input((3,))).shape == (None, 2)
    assert "compute_output_spec" not in vars(layer)


def test_what_models_are_called_on() -> None:
    model = keras.Sequential([keras.layers.Dense(2)])
    with private.calls_of_models() as seen:
        model(np.ones((1, 3)))
        model(np.ones((2, 3)))
    model(np.ones((4, 3)))
    assert seen[id(model)].shape == (2, 3)


def test_calls_on_symbolic_tensors_are_seen() -> None:
    layer, seen = Composite(), list[Any]()
    layer(np.ones((1, 3), np.float32))

    def inferred(infer: Any, inner: Any, args: Any, kwargs: Any) -> Any:
        if inner is not layer:
            return infer(inner, *args, **kwargs)
        seen.append((kwargs["training"], len(args)))
        return inner.call(*args, **kwargs)

    hooks = private.SymbolicCalls(
        begun=lambda args, kwargs: (args, {**kwargs, "training": True}) if args[0] is x else (args, kwargs),
        layer=inferred,
        call=lambda operation, arguments, outputs: seen.append(
            (operation.name.partition("_")[0], len(arguments.keras_tensors), len(outputs))
        ),
        loss=lambda add, inner, loss: seen.append((inner is layer, callable(add), loss.shape)),
        read=lambda variable: seen.append(variable.name),
    )
    x, nodes = keras.KerasTensor((None, 3), "float32"), len(layer._inbound_nodes)
    with private.symbolic_calls(hooks):
        layer(x)
        keras.Variable(3.0, name="read").assign(1.0)
    calls = [entry for entry in seen if isinstance(entry, tuple)]
    assert calls[0] == (True, 1)
    assert ("sum", 1, 1) in calls
    assert (True, True, ()) in calls
    assert ("dense", 1, 1) in calls
    assert calls[-1] == ("composite", 1, 1)
    assert "read" in seen
    assert len(layer._inbound_nodes) == nodes
    assert layer.losses == []
    assert layer(x).shape == (None, 2)
    assert len(layer._inbound_nodes) == nodes + 1


@pytest.mark.parametrize("training", [True, False])
def test_a_flag_is_in_effect_around_calls(training: bool) -> None:
    layer = Composite()
    assert private.current_training() is None
    with private.called_with(training):
        assert private.current_training() is training
        layer(np.ones((1, 3), np.float32))
        with private.called_with(not training):
            assert private.current_training() is not training
    assert layer.seen[0] is training
    assert private.current_training() is None
    layer(np.ones((1, 3), np.float32))
    assert layer.seen[0] is None
    assert len(layer.losses) == 1


def test_the_dtype_to_which_variables_are_cast() -> None:
    assert private.autocast_dtype() is None
    variable = keras.Variable(1.0, autocast=True)
    with private.autocast_to("bfloat16"):
        assert private.autocast_dtype() == "bfloat16"
        assert variable.value.dtype == tf.bfloat16
        with private.autocast_to(None):
            assert private.autocast_dtype() == "bfloat16"
    layer = Composite()
    layer.dtype_policy = "mixed_float16"
    layer(np.ones((1, 3), np.float32))
    assert layer.seen[3] == "float16"


def test_what_a_function_of_tensors_returns() -> None:
    spec = private.backend_output_spec(lambda x, y: [x @ y, x], keras.KerasTensor((None, 3)), keras.KerasTensor((3, 2)))
    assert [tensor.shape for tensor in spec] == [(None, 2), (None, 3)]


def test_layers_under_rematerialisation() -> None:
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2, name="a"), keras.layers.Dense(1, name="b")])
    first, last = model.layers
    traced: list[str] = []
    for layer in (first, last):
        layer.call = _noting(layer.call, layer.name, traced)
    with private.rematerialized([first], "full"):
        with tf.GradientTape() as tape:
            outputs = model(tf.ones((1, 3)))
        forward, traced[:] = list(traced), []
        tape.gradient(outputs, model.trainable_variables)
    assert (forward, traced) == (["a", "b"], ["a"])  # the backward pass calls the one once more
    traced[:] = []
    with tf.GradientTape() as tape:
        outputs = model(tf.ones((1, 3)))
    tape.gradient(outputs, model.trainable_variables)
    assert traced == ["a", "b"]


def _noting(call: Any, name: str, traced: list[str]) -> Any:
    def noted(*args: Any, **kwargs: Any) -> Any:
        traced.append(name)
        return call(*args, **kwargs)

    return noted


def test_layers_that_rematerialise() -> None:
    with keras.RematScope(mode="full"):
        inside = keras.layers.Dense(2)
    assert private.is_rematerialized(inside)
    assert not private.is_rematerialized(keras.layers.Dense(2))


def test_the_schedule_of_an_optimizer() -> None:
    schedule = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    assert private.schedule_of(keras.optimizers.SGD(schedule)) is schedule
    assert private.schedule_of(keras.optimizers.SGD(0.1)) is None


@pytest.mark.parametrize("frequency", [None, 1])
def test_averages_move_as_in_an_update(frequency: int | None) -> None:
    """What `apply` adds to an update of nothing, for a gradient of zeros moves no weight."""
    ways = []
    for by_apply in (True, False):
        weight = keras.Variable([1.0, 3.0])
        options = {"use_ema": True, "ema_momentum": 0.75, "ema_overwrite_frequency": frequency}
        optimizer = keras.optimizers.SGD(0.1, **options)
        optimizer.build([weight])
        optimizer.apply([tf.zeros(2)], [weight])  # in the first update the averages are the weights
        weight.assign([2.0, -1.0])
        if by_apply:
            optimizer.apply([tf.zeros(2)], [weight])
        else:
            private.average_updated(optimizer)
        ways.append([np.asarray(v).tolist() for v in (weight, *optimizer._model_variables_moving_average)])
    assert ways[0] == ways[1]
    assert ways[0][1] == [1.25, 2.0]
    assert (ways[0][0] == ways[0][1]) == (frequency == 1)


def test_policies_by_another_name() -> None:
    layer = keras.layers.Dense(2, dtype="float32")
    with private.policies_replaced("float64"):
        twin = keras.layers.Dense.from_config(layer.get_config())
        plain = keras.layers.Dense(2, dtype="float16")
    assert (twin.dtype_policy.name, plain.dtype_policy.name) == ("float64", "float64")
    assert keras.layers.Dense.from_config(layer.get_config()).dtype_policy.name == "float32"


def test_what_keras_hides_on_a_tensor_goes_with_a_copy() -> None:
    source, target = tf.ones((2, 3)), tf.zeros((2, 3))
    private.set_mask(source, tf.constant([True, False]))
    private.set_logits(source, tf.fill((2, 3), 5.0))
    assert private.hidden_copied(source, target) is target
    assert np.asarray(private.mask_of(target)).tolist() == [True, False]
    assert private.logits_of(target) is private.logits_of(source)


def test_double_precision_outside_of_tensorflow() -> None:
    from keras.src.backend.common import dtypes

    before = dtypes.BIT64_TO_BIT32_DTYPE["float64"]
    try:
        private.compute_in_double(wanted=False)
        assert keras.backend.result_type("float64", "float64") == "float32"
        private.compute_in_double(wanted=True)
        assert keras.backend.result_type("float64", "float64") == "float64"
    finally:
        dtypes.BIT64_TO_BIT32_DTYPE["float64"] = before
