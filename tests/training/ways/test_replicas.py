from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.problem.problem import TensorKey
from gradcheck.training.ways.interface import taken
from gradcheck.training.ways.replicas import _of_all
from tests.training.trained import SHARED, trained

if TYPE_CHECKING:
    from gradcheck.results.report import CheckReport, RunReport
    from tests.training.trained import Run

MODEL = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, activation: tanh, name: first}
        - %s
        - Dense: {units: 1, name: out, kernel_regularizer: l2}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""
PLAIN = MODEL % "Activation: {activation: tanh, name: second}"
LOSSES = """
    import keras
    import tensorflow as tf

    def mean():
        return lambda y, output: tf.reduce_mean((y - output) ** 2)

    def sum():
        return lambda y, output: tf.reduce_sum((y - output) ** 2)

    def weighted():
        return lambda y, output, sample_weight=None: tf.reduce_mean((y - output) ** 2)
"""
MODELS = """
    import keras
    import tensorflow as tf

    def around(layer, model=keras.Model):
        x = keras.Input((4,))
        return model(x, keras.layers.Dense(1, name="out")(layer(keras.layers.Dense(5, name="first")(x))))

    class Counts(keras.layers.Layer):
        def build(self, shape):
            zero = dict(shape=(), initializer="zeros", trainable=False)
            self.calls = self.add_weight(name="calls", **zero)
            self.own = self.add_weight(name="own", **zero)
            self.mean = self.add_weight(name="mean", aggregation="mean", **zero)

        def call(self, x):
            self.calls.assign(self.calls + 1)
            self.own.assign(self.own + tf.reduce_mean(x))
            self.mean.assign(self.mean + tf.reduce_mean(x))
            return x

    class Draws(keras.layers.Layer):
        def call(self, x):
            return x * keras.random.uniform(tf.shape(x))

    class Raises(keras.layers.Layer):
        def call(self, x):
            if tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context():
                raise ValueError("not in replicas")
            return x

    class Trains(keras.Model):
        divides = True

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((self(x, training=True) - y) ** 2)
                if self.divides:
                    loss /= tf.distribute.get_strategy().num_replicas_in_sync
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"loss": loss}

    class DividesNothing(Trains):
        divides = False

    def counts():
        return around(Counts())

    def draws():
        return around(Draws())

    def raises():
        return around(Raises())

    def trains():
        return around(lambda x: x, Trains)

    def divides_nothing():
        return around(lambda x: x, DividesNothing)

    def strings():
        x = keras.Input((), dtype="string")
        codes = keras.layers.StringLookup(vocabulary=["a", "b"])(x)
        return keras.Model(x, keras.layers.Dense(1)(keras.layers.Embedding(3, 3)(codes)))

    def two():
        a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
        both = keras.layers.Dense(5)(keras.layers.Concatenate()([a, b]))
        outputs = {"u": keras.layers.Dense(2, name="u")(both), "v": keras.layers.Dense(1, name="v")(both)}
        return keras.Model({"a": a, "b": b}, outputs)
"""
SGD = {"SGD": {"learning_rate": 0.1, "momentum": 0.9}}
WEIGHTS = {"batch_size": 6, "sample_weight": {"constant": [4, 1, 1, 2, 0.5, 0]}}


def divided(run: Run, text: str, optimizer: Any = "Adam", *, count: int = 2, **keys: Any) -> RunReport:
    config = trained(text, optimizer, steps=2, methods=[{"replicas": {"count": count}}], **keys)
    config.pop("split", None)
    return run(config, {"losses.py": LOSSES, "models.py": MODELS})


def made(function: str) -> dict[str, Any]:
    return {"model": {"factory": f"./models.py:{function}"}}


def require_match(found: RunReport) -> CheckReport:
    assert found.verdict == "pass", found.error or found.checks[0].failures[:3]
    return found.checks[0]


def kinds(check: CheckReport) -> set[str]:
    return {row.kind for row in check.tensors}


@pytest.mark.third
@pytest.mark.parametrize(
    "keys",
    [
        {"optimizer": {"AdamW": {"weight_decay": 0.1}}},
        {"optimizer": {"SGD": {"learning_rate": 0.1, "use_ema": True}}},
        pytest.param(
            {"count": 9, "data": {"batch_size": 9}}, marks=pytest.mark.slow
        ),  # another process, of more devices
        {"loss": {"MeanSquaredError": {"reduction": "sum"}}},
        {"loss": {"MeanSquaredError": {"reduction": "none"}}},
        {"loss": {"factory": "./losses.py:sum"}},
        {"loss": "random_cotangent"},
        {"data": WEIGHTS},
        {"precision": "mixed_float16", "optimizer": SGD},
        made("trains"),
        made("two"),
    ],
    ids=["decay", "average", "nine", "sum", "none", "own sum", "cotangent", "weights", "scaled", "own", "two"],
)
def test_replicas_add_up_to_the_whole_batch(run: Run, keys: dict[str, Any]) -> None:
    check = require_match(divided(run, PLAIN, **keys))
    assert kinds(check) >= {"weight", "optimizer"}
    assert not any("GC301" in note for note in check.notes)


def test_sparse_gradients_are_added_up(run: Run) -> None:
    require_match(divided(run, SHARED, SGD))


@pytest.mark.third
@pytest.mark.parametrize(
    "keys",
    [
        {"loss": {"factory": "./losses.py:mean"}},
        {"data": WEIGHTS, "loss": {"MeanSquaredError": {"reduction": "mean_with_sample_weight"}}},
        {"optimizer": {"SGD": {"learning_rate": 0.1, "global_clipnorm": 0.01}}},
        {"optimizer": {"SGD": {"learning_rate": 0.1, "clipnorm": 0.01}}},
        {"optimizer": {"SGD": {"learning_rate": 0.1, "clipvalue": 0.01}}},
        {"data": {"batch_size": 5}, "optimizer": SGD},
        made("divides_nothing"),
    ],
    ids=["scalar", "own weights", "global norm", "norm", "value", "uneven", "own step"],
)
def test_replicas_that_come_to_something_else(run: Run, keys: dict[str, Any]) -> None:
    found = divided(run, PLAIN, **{"optimizer": SGD, **keys})
    assert found.verdict == "fail", found.error
    assert {row.kind for row in found.checks[0].failures} >= {"weight"}


def test_batch_normalisation_by_the_replicas_own_statistics_is_a_remark(run: Run) -> None:
    check = require_match(divided(run, MODEL % "BatchNormalization: {name: normal}"))
    assert any(note.startswith("GC301") and "normal" in note for note in check.notes)
    assert "state" in kinds(check)


@pytest.mark.on_request
def test_synchronized_batch_normalisation_is_that_of_the_whole_batch(run: Run) -> None:
    check = require_match(divided(run, MODEL % "BatchNormalization: {synchronized: true}"))
    assert not any("GC301" in note for note in check.notes)
    assert "state" in kinds(check)


def test_a_scalar_loss_is_not_taken_for_a_sum_where_examples_are_coupled(run: Run) -> None:
    text, loss = MODEL % "BatchNormalization: {name: normal}", {"factory": "./losses.py:sum"}
    require_match(divided(run, text, loss=loss))
    assert divided(run, text, loss={"factory": "./losses.py:mean"}).verdict == "fail"


@pytest.mark.on_request
def test_each_replica_moves_state_of_its_own_unless_it_is_aggregated(run: Run) -> None:
    check = require_match(divided(run, PLAIN, **made("counts")))
    assert {row.path.rpartition("/")[2] for row in check.tensors if row.kind == "state"} == {"calls", "own", "mean"}


def test_a_batch_that_fit_does_not_begin_with_is_looped_over(run: Run) -> None:
    uneven = {"data": {"batch_size": 5}, "loss": {"MeanSquaredError": {"reduction": "sum"}}}
    for keys in (made("strings"), uneven):
        check = require_match(divided(run, PLAIN, **keys))
        assert any("loop over `train_step`" in note for note in check.notes)
    assert kinds(check) == {"weight", "optimizer"}  # not the loss that Keras reports


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (made("draws"), "draws random numbers"),
        ({"loss": {"factory": "./losses.py:weighted"}}, "sample_weight"),
    ],
    ids=["draws", "weighted"],
)
def test_what_does_not_apply_says_why(run: Run, keys: dict[str, Any], reason: str) -> None:
    found = divided(run, PLAIN, **keys)
    assert found.verdict == "vacuous", found.error
    assert any(note.startswith("replicas does not apply: ") and reason in note for note in found.notes)


@pytest.mark.parametrize(("size", "count"), [(2, 3), (6, 4)])
def test_more_replicas_than_parts_are_a_mistake_in_the_config(run: Run, size: int, count: int) -> None:
    found = divided(run, PLAIN, data={"batch_size": size}, count=count)
    assert (found.exit_code, found.error.code) == (2, "GC031")
    assert found.error.line


def test_an_error_in_a_replica_has_the_users_line(run: Run) -> None:
    found = divided(run, PLAIN, **made("raises"))
    assert found.verdict == "error"
    (mistake,) = [check.error for check in found.checks if check.error]
    assert (mistake.code, mistake.exit_code) == ("GC053", 3)
    assert mistake.message == "training raised ValueError: not in replicas"
    assert mistake.excerpt is not None
    assert "raise ValueError" in mistake.excerpt
    require_match(divided(run, PLAIN))  # in another process: collectives of the first one may wait forever


class _Loop:
    """A plain loop that leaves the weight 0 behind."""

    def __init__(self, key: TensorKey) -> None:
        weight = type("Weight", (), {"path": key.path})
        self.problem = type("Problem", (), {"weights": (weight,)})
        self.steps = [{key: np.zeros(2)}]


def test_of_workers_that_disagree_the_furthest_is_compared() -> None:
    key = TensorKey("weight", "w", "value")
    right, wrong = ([taken({key: np.full(2, value)}, loss=None, state={}, seconds=0.0)] for value in (0.0, 1.0))
    loop: Any = _Loop(key)
    assert _of_all(loop, [right, right]) == (right, ())
    for runs in ([right, wrong], [wrong, right]):
        steps, (remark,) = _of_all(loop, runs)
        assert steps is wrong
        assert "worker 2 of 2 comes to other weights than worker 1" in remark
