"""Nothing that is handed to a check is changed, bit for bit, and the random numbers that follow are the same."""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradcheck import check_function, check_model, check_parts, check_step


def compiled_model(*, stateful: bool) -> Any:
    """A trained model with every kind of state: statistics, seeds, recurrent states, a frozen layer, slots, metrics."""
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(5)
    tensor = inputs = keras.Input((3, 2), batch_size=4 if stateful else None)
    tensor = keras.layers.LSTM(4, stateful=stateful, return_sequences=True)(tensor)
    tensor = keras.layers.BatchNormalization()(keras.layers.Dropout(0.3)(tensor))
    tensor = keras.layers.Dense(3, activation="tanh", trainable=False)(keras.layers.Flatten()(tensor))
    model = keras.Model(inputs, keras.layers.Dense(2)(tensor))
    model.compile("adam", "mse", metrics=["mae"])
    model.fit(*batch(), batch_size=4, verbose=0)
    return model


def batch() -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(4, 3, 2)).astype("float32"), rng.normal(size=(4, 2)).astype("float32")


def contents(value: Any) -> Any:
    """The identity of a value, and of what a container holds."""
    if isinstance(value, dict):
        return id(value), [(key, id(inner)) for key, inner in value.items()]
    return (id(value), [id(inner) for inner in value]) if isinstance(value, (list, tuple, set)) else id(value)


def everything(*models: Any) -> Any:
    """All that a check might change of models, their layers and optimizers."""
    import keras

    layers = [layer for model in models for layer in model._flatten_layers()]
    optimizers = [model.optimizer for model in models if getattr(model, "optimizer", None)]
    states = [v for layer in layers for v in keras.tree.flatten(getattr(layer, "states", None) or [])]
    metrics = [v for model in models for metric in getattr(model, "metrics", []) for v in metric.variables]
    variables = [*states, *metrics, *(v for holder in [*models, *optimizers] for v in holder.variables)]
    return (
        [np.asarray(v.value).tobytes() for v in variables],
        [v.trainable for v in variables],
        [layer._trainable for layer in layers],
        [{key: contents(value) for key, value in vars(holder).items()} for holder in [*layers, *optimizers]],
    )


def surroundings() -> Any:
    import keras
    import tensorflow as tf

    return (
        keras.config.dtype_policy().name,
        keras.config.floatx(),
        keras.config.epsilon(),
        keras.config.image_data_format(),
        tf.config.functions_run_eagerly(),
        list(sys.path),
        list(vars(keras.src.backend.common.global_state.GLOBAL_STATE_TRACKER).items()),
    )


def numbers() -> list[float]:
    """What the global generators draw next."""
    import keras
    import tensorflow as tf

    return [
        random.random(),
        np.random.uniform(),
        float(tf.random.normal([])),
        float(tf.random.uniform([])),
        float(keras.random.normal(())),
        float(tf.random.get_global_generator().normal([])),
    ]


def seeded() -> None:
    import keras
    import tensorflow as tf

    keras.utils.clear_session()
    keras.utils.set_random_seed(11)
    tf.random.set_global_generator(tf.random.Generator.from_seed(1))
    random.random()
    tf.random.normal([])
    keras.random.normal(())


@pytest.fixture(scope="module")
def models() -> Any:
    return {stateful: compiled_model(stateful=stateful) for stateful in (True, False)}


@pytest.fixture(scope="module")
def model(models: Any) -> Any:
    return models[True]


#: Each is drawn with the rest of the options that go with it.
WAYS = st.one_of(
    st.fixed_dictionaries(
        {
            "methods": st.sampled_from([["vjp"], ["recompute"], ["naive"], ["graph", "vjp"], ["vjp", "jacobian"]]),
            "train": st.sampled_from([{"steps": 0}, {"steps": 2}]),
        }
    ),
    st.fixed_dictionaries({"methods": st.just(["numeric", "forward"]), "split": st.none()}),
    st.fixed_dictionaries({"methods": st.just(["vjp", "naive"]), "microbatches": st.just(2)}),
    st.fixed_dictionaries({"verify_reference": st.just("always")}, optional={"parts": st.just(2)}),
    st.fixed_dictionaries({"after": st.just("dropout")}),
)
OPTIONS = st.fixed_dictionaries(
    {"training": st.booleans(), "execution": st.sampled_from(["eager", "graph"])},
    optional={"precision": st.sampled_from(["float64", "mixed_bfloat16"])},
)


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(way=WAYS, options=OPTIONS, stateful=st.booleans())
def test_a_model_and_its_surroundings_are_as_before(models: Any, way: Any, options: Any, *, stateful: bool) -> None:
    model = models[stateful and "microbatches" not in way]  # its batch is of a fixed size
    seeded()
    expected = numbers()
    seeded()
    before, around = everything(model), surroundings()
    report = check_model(model, *batch(), **options, **way)
    assert report.runs[0].checks, report
    assert everything(model) == before
    assert surroundings() == around
    assert numbers() == expected


def test_without_a_seed_there_is_none_afterwards(model: Any) -> None:
    import tensorflow as tf

    tf.random.set_seed(None)
    check_model(model, *batch())
    assert float(tf.random.normal([])) != float(tf.random.normal([]))
    from tensorflow.python.eager import context

    assert context.global_seed() is None


def test_an_error_leaves_as_little_behind(model: Any) -> None:
    before, around = everything(model), surroundings()
    report = check_model(model, batch()[0][:, :2], batch()[1])
    assert report.runs[0].verdict == "error"
    with pytest.raises(Exception, match="precison"):
        check_model(model, *batch(), precison="float64")
    assert everything(model) == before
    assert surroundings() == around


def test_a_step_leaves_models_optimizer_and_its_own_lists_as_they_were(model: Any) -> None:
    import keras
    import tensorflow as tf

    seen: list[int] = []
    count = 0
    metric = keras.metrics.Mean()

    def step(x: Any, y: Any) -> Any:
        nonlocal count
        count += 1
        seen.append(count)
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        model.layers[1].trainable = True
        metric.update_state(loss)
        random.random()
        np.random.uniform()
        gradients = tape.gradient(loss, model.trainable_variables)
        model.optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    seeded()
    expected = numbers()
    seeded()
    before, around = everything(model), surroundings()
    report = check_step(step, model, *batch(), steps=2)
    assert report.runs[0].checks[0].steps == 2, report
    assert everything(model) == before
    assert surroundings() == around
    assert numbers() == expected
    assert (seen, count, float(metric.total)) == ([], 0, 0.0)


def test_an_optimizer_that_a_compiled_step_builds_stays_built_at_its_first_values() -> None:
    import keras
    import tensorflow as tf

    dense = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    optimizer = keras.optimizers.Adam(0.1)

    @tf.function  # type: ignore[untyped-decorator]
    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((dense(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, dense.trainable_variables)
        optimizer.apply_gradients(zip(gradients, dense.trainable_variables, strict=True))
        return loss

    x = tf.random.normal([4, 2])
    before = [np.asarray(v) for v in dense.variables]
    report = check_step(step, dense, x, x, loss="mse", steps=2)
    assert report, report
    for variable, value in zip(dense.variables, before, strict=True):
        np.testing.assert_array_equal(np.asarray(variable), value)
    assert optimizer.built
    assert int(optimizer.iterations) == 0
    assert not any(np.asarray(v).any() for v in optimizer.variables[2:])
    step(x, x)
    assert int(optimizer.iterations) == 1
    assert any(np.asarray(v).any() for v in optimizer.variables[2:])


def test_parts_and_functions_are_as_before() -> None:
    import keras
    import tensorflow as tf

    front = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4), keras.layers.Dropout(0.5)])
    back = keras.Sequential([keras.Input((4,)), keras.layers.BatchNormalization(), keras.layers.Dense(2)])
    x = np.random.default_rng(0).normal(size=(4, 3))
    variable = tf.Variable(2.0)

    def moving(x: Any) -> Any:
        variable.assign_add(1.0)
        return variable * x

    for module in (front, back):
        module(np.ones((1, module.input_shape[-1]), "float32"))
    before, around = everything(front, back), surroundings()
    check_parts([front, back], x, methods=["vjp", "numeric"])
    check_function(front, x)
    check_function(moving, 3.0)
    assert everything(front, back) == before
    assert surroundings() == around
    assert float(variable) == 2.0
