from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest

from gradcheck.config.keyed import KeyedError
from gradcheck.config.schema import OptimizerSpec
from gradcheck.config.sections.live import LiveOptimizer
from gradcheck.errors import NotApplicable
from gradcheck.problem.optimizer import INITIAL_SCALE, HandedOver, build_optimizer, loss_scale, start

if TYPE_CHECKING:
    from collections.abc import Mapping

DECAY = {"initial_learning_rate": 0.5, "decay_steps": 10, "decay_rate": 0.5}


def built(written: str | Mapping[str, Any], *, precision: str = "float32", **scale: float) -> Any:
    optimizer = build_optimizer(OptimizerSpec.model_validate(written), precision=precision, **scale)
    optimizer.build([keras.Variable(np.ones(3, "float32"))])
    return optimizer


@pytest.mark.parametrize("name", ["Adam", "adam", "ADAM"])
def test_by_name_in_any_case(name: str) -> None:
    assert type(built(name)) is keras.optimizers.Adam


def test_arguments_as_written() -> None:
    optimizer = built({"SGD": {"learning_rate": 0.25, "momentum": 0.9, "nesterov": True, "global_clipnorm": 2.0}})
    assert (float(optimizer.learning_rate), optimizer.momentum, optimizer.nesterov) == (0.25, 0.9, True)
    assert optimizer.global_clipnorm == 2.0


def test_a_schedule_is_followed() -> None:
    optimizer = built({"SGD": {"learning_rate": {"ExponentialDecay": DECAY}}})
    assert float(optimizer.learning_rate) == 0.5
    optimizer.iterations.assign(10)
    assert float(optimizer.learning_rate) == 0.25


def test_an_optimizer_inside_another_one() -> None:
    inner = {"Adam": {"learning_rate": {"ExponentialDecay": DECAY}}}
    optimizer = built({"LossScaleOptimizer": {"inner_optimizer": inner, "initial_scale": 8.0}})
    assert type(optimizer.inner_optimizer) is keras.optimizers.Adam
    assert float(optimizer.learning_rate) == 0.5
    scale = loss_scale(optimizer)
    assert scale is not None
    assert float(scale) == 8.0


@pytest.mark.skipif(not hasattr(keras.optimizers, "MultiOptimizer"), reason="newer than this Keras")
def test_optimizers_by_pattern() -> None:
    mapping = {"default_optimizer": "SGD", "optimizer_map": {"dense/.*": {"Adam": {"learning_rate": 0.25}}}}
    optimizer = built({"MultiOptimizer": {"optimizer_map": mapping}})
    assert {type(inner).__name__ for inner in optimizer.optimizers} == {"SGD", "Adam"}


def test_the_loss_is_scaled_under_mixed_float16_and_where_it_is_asked_for() -> None:
    assert loss_scale(built("Adam")) is None
    assert loss_scale(built("Adam", precision="mixed_bfloat16")) is None
    assert float(loss_scale(built({"Adam": {"loss_scale_factor": 16.0}}))) == 16.0  # type: ignore[arg-type]  # is one
    wrapped = built("Adam", precision="mixed_float16")
    assert type(wrapped) is keras.optimizers.LossScaleOptimizer
    assert float(wrapped.dynamic_scale) == INITIAL_SCALE
    assert float(built("Adam", precision="mixed_float16", initial_scale=4.0).dynamic_scale) == 4.0


def test_a_loss_scale_of_the_configs_own_is_kept() -> None:
    written = {"LossScaleOptimizer": {"inner_optimizer": "SGD"}}
    lowered = built(written, precision="mixed_float16", initial_scale=4.0)
    assert type(lowered.inner_optimizer) is keras.optimizers.SGD  # not wrapped twice
    assert float(lowered.dynamic_scale) == 4.0
    written = {"LossScaleOptimizer": {"inner_optimizer": "SGD", "initial_scale": 32.0}}
    assert float(built(written, precision="mixed_float16", initial_scale=4.0).dynamic_scale) == 32.0


@pytest.mark.parametrize(
    ("written", "code", "message", "help_"),
    [
        ("Adm", "GC020", "no Keras optimizer is called Adm", "did you mean `Adam`?"),
        (
            {"Adam": {"learning_rate": {"ExponentalDecay": DECAY}}},
            "GC020",
            "no Keras learning-rate schedule is called ExponentalDecay",
            "did you mean `ExponentialDecay`?",
        ),
        ({"LossScaleOptimizer": {"inner_optimizer": "Adm"}}, "GC020", "Adm", "did you mean `Adam`?"),
        ({"Adam": {"beta": 3}}, "GC004", "beta=3", None),
        ({"Adam": {"learning_rate": {"ExponentialDecay": {"decay": 1}}}}, "GC004", "ExponentialDecay: TypeError", None),
        ({"Adam": {"learning_rate": {"ExponentialDecay": 3}}}, "GC004", "learning_rate: expected Name", None),
        ({"Adam": {"learning_rate": {}}}, "GC004", "Received: an empty mapping", None),
        ({"Adam": {"clipnorm": 1.0, "clipvalue": 1.0}}, "GC004", "Only one of", None),
        ({"LossScaleOptimizer": {"inner_optimizer": 3}}, "GC004", "inner_optimizer: expected Name", None),
        ("Optimizer", "GC020", "no Keras optimizer is called Optimizer", None),
    ],
    ids=str,
)
def test_what_keras_does_not_have(written: Any, code: str, message: str, help_: str | None) -> None:
    with pytest.raises(KeyedError) as raised:
        built(written)
    assert (raised.value.code, raised.value.keys) == (code, ("train", "optimizer"))
    assert message in raised.value.message
    assert help_ is None or raised.value.help == help_


def test_a_live_optimizer_is_copied_as_it_is_now() -> None:
    variable = keras.Variable(np.ones(3, "float32"), name="w")
    live = keras.optimizers.Adam(0.5)
    live.apply([np.ones(3, "float32")], [variable])
    live.learning_rate = 0.25
    spec = LiveOptimizer(name="Adam", made=HandedOver.of(live))
    copy = build_optimizer(spec, precision="float32")
    copy.build([variable])
    start(copy, spec)
    assert copy is not live
    for one, other in zip(copy.variables, live.variables, strict=True):
        np.testing.assert_array_equal(one, other)
    assert float(copy.learning_rate) == 0.25


def test_an_optimizer_without_a_configuration_is_no_model_for_another() -> None:
    class Own(keras.optimizers.SGD):  # type: ignore[misc]
        def get_config(self) -> Any:
            raise NotImplementedError

    with pytest.raises(NotApplicable, match="cannot be copied"):
        HandedOver.of(Own())
