"""GC609: the values of a custom gradient's function with TensorFlow's own gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.config import load_config
from gradcheck.custom_gradients import watching
from gradcheck.session.mutation import mutate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

#: A reversal, a straight-through estimator, a clipped cotangent, one that reads a weight, and one that is TensorFlow's.
LAYERS = """
    import keras
    import tensorflow as tf


    @tf.custom_gradient
    def turned_around(x):
        return tf.identity(x), lambda upstream: -0.5 * upstream


    @tf.custom_gradient
    def signs(x):
        return tf.sign(x), lambda upstream: upstream


    @tf.custom_gradient
    def rounded(x):
        return tf.round(x), lambda upstream: upstream


    @tf.custom_gradient
    def squash(x):
        y = tf.tanh(x)
        return y, lambda upstream: upstream * (1 - y * y)


    class Reversed(keras.layers.Layer):
        def call(self, x):
            return turned_around(x)


    class Signs(keras.layers.Layer):
        def call(self, x):
            return signs(x)


    class Rounded(keras.layers.Layer):
        def call(self, x):
            return rounded(x)


    class Squash(keras.layers.Layer):
        def call(self, x):
            return squash(x)


    class Scaled(keras.layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1],), initializer="ones", name="w")

        @tf.custom_gradient
        def scaled(self, x):
            w = self.w.value

            def grad(upstream, variables=None):
                of_w = tf.reduce_sum(upstream * x, axis=0)
                return 0.1 * upstream * w, [0.2 * of_w for _ in variables or ()]

            return x * w, grad

        @tf.function
        def call(self, x):
            return self.scaled(x)
"""
TRAIN = """
    import tensorflow as tf


    def gradients(check, middle):
        first, second, third = check.segments
        with tf.GradientTape() as tape:
            h = middle(first, second, check)
            loss = check.loss(check.y, third(h, training=check.training))
        return tape.gradient(loss, check.variables)


    def right(check):
        return gradients(check, lambda first, second, check: second(first(check.x)))


    def plain(check):
        def middle(first, second, check):
            kernel, bias = second.trainable_variables
            return tf.tanh(first(check.x) @ kernel.value + bias.value)

        return gradients(check, middle)
"""


def config(*middle: Any, methods: tuple[Any, ...] = ("vjp",)) -> dict[str, Any]:
    layers = [{"Dense": {"units": 4, "activation": "tanh", "name": "first"}}, *middle]
    layers += [{"Dense": {"units": 4, "activation": "tanh", "name": "second"}}, {"Dense": {"units": 2, "name": "out"}}]
    return {
        "model": {"input": {"shape": [5]}, "layers": layers},
        "split": {"after": ["first", "second"]},
        "loss": "MeanSquaredError",
        "data": {"batch_size": 6},
        "verify_reference": "never",
        "methods": list(methods),
    }


def layer(name: str) -> dict[str, Any]:
    return {f"./layers.py:{name}": {"name": name.lower()}}


def test_a_forward_pass_written_anew_is_diagnosed(run: Run) -> None:
    methods = [{"candidate": {"factory": f"./train.py:{name}", "name": name}} for name in ("right", "plain")]
    right, plain = run(
        config(layer("Reversed"), methods=tuple(methods)), {"layers.py": LAYERS, "train.py": TRAIN}
    ).checks
    assert right.outcome == "match"
    (found,) = plain.diagnoses
    assert (found.code, found.confidence, found.segment, found.layer) == ("GC609", "exact", 1, "reversed")
    assert "segment_1 ran without the custom gradient of turned_around (layers.py:" in found.evidence


def mutated(tmp_path: Path, run: Run, *middle: Any) -> list[Any]:
    run(config(*middle), {"layers.py": LAYERS, "train.py": TRAIN})
    report = mutate(load_config(tmp_path / "config.yaml"), 600.0, lambda _: None)
    return [fault for fault in report.faults if fault.code == "GC609"]


def test_it_is_injected_caught_and_named(run: Run, tmp_path: Path) -> None:
    faults = mutated(tmp_path, run, layer("Scaled"), layer("Reversed"))
    assert [(f.place.partition(" (")[0], f.status, f.named) for f in faults] == [
        ("turned_around", "caught", True),
        ("Scaled.scaled", "caught", True),
        ("every custom gradient", "caught", True),
    ]


def test_where_the_gradient_is_tensorflows_or_there_is_none_it_has_no_place(run: Run, tmp_path: Path) -> None:
    (fault,) = mutated(tmp_path, run, layer("Squash"), layer("Rounded"))
    assert (fault.status, fault.reason) == (
        "not-applicable",
        "no custom gradient in this model differs from TensorFlow's own gradient of its function",
    )


def test_a_straight_through_estimator(run: Run, tmp_path: Path) -> None:
    (fault,) = mutated(tmp_path, run, layer("Signs"))
    assert (fault.place.partition(" (")[0], fault.status, fault.named) == ("signs", "caught", True)


@pytest.mark.parametrize("arguments", [1, 2])
def test_tensorflows_own_gradient_takes_its_place_and_gives_it_back(arguments: int) -> None:
    with watching() as watch:

        @tf.custom_gradient
        def product(a: Any, b: Any, factor: Any = 1.0) -> Any:
            return factor * a * b, lambda upstream: (upstream, upstream)

        def gradients() -> list[Any]:
            x = [tf.constant(3.0), tf.constant(5.0)][:arguments]
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = product(x[0], x[-1], factor=2.0)
            return [float(g) for g in tape.gradient(y, x)]

        custom = gradients()
        (place,) = {call.place for call in recorded(watch, gradients)}
        with watch.left_out([place]):
            np.testing.assert_allclose(gradients(), [12.0] if arguments == 1 else [10.0, 6.0])
        assert gradients() == custom == ([2.0] if arguments == 1 else [1.0, 1.0])


def recorded(watch: Any, function: Any) -> list[Any]:
    with watch.recording() as calls:
        function()
    return list(calls)
