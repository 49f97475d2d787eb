"""GC608: variables that TensorFlow refuses in a custom gradient, wherever the exception becomes an error."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.errors import Mistake
    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

CODE = """
    import keras
    import tensorflow as tf
    from keras import ops

    class Scale(keras.layers.Layer):
        def __init__(self, how="given", **kwargs):
            super().__init__(**kwargs)
            self.how = how

        def build(self, shape):
            self.w = self.add_weight(name="w", shape=(shape[-1],))
            self.b = self.add_weight(name="b", shape=(shape[-1],))

        def call(self, x):
            as_argument = {"value": self.w.value, "tensor": tf.convert_to_tensor(self.w), "given": self.w}
            w = {**as_argument, "ops": ops.convert_to_tensor(self.w)}.get(self.how, self.w)
            b = self.b if self.how == "both" else tf.zeros([3], x.dtype)

            @tf.custom_gradient
            def scaled(x, w):
                def grad(dy):
                    return dy * w, tf.reduce_sum(dy * x, 0)
                return x * w + b, grad

            @tf.custom_gradient
            def inside(x):
                def grad(dy):
                    return dy * w
                return x * w, grad

            @tf.custom_gradient
            def accepted(x):
                def grad(dy, variables=None):
                    return dy * self.w, [tf.reduce_sum(dy * x, 0) for _ in variables]
                return x * self.w, grad

            alone = {"used": inside, "compiled": tf.function(inside), "accepted": accepted}.get(self.how)
            return scaled(x, w) if alone is None else alone(x)

    def model(how):
        inputs = keras.Input([3])
        return keras.Model(inputs, keras.layers.Dense(2)(Scale(how, name="scale")(inputs)))

    def candidate(given, how):
        with tf.GradientTape() as tape:
            loss = given.loss(given.y, given.model(Scale(how, name="scale")(given.x)))
        return loss, tape.gradient(loss, given.variables)
"""

GIVEN = "Scale.call.scaled (user.py:20) under tf.custom_gradient is given the Keras variable scale/w as an argument"
USED = "Scale.call.inside (user.py:26) under tf.custom_gradient uses scale/w inside"
PASS_TENSOR, TAKE_VARIABLES = (
    "`w.value` or `tf.convert_to_tensor(w)`, not the variable",
    "let grad take `variables=None`",
)
DATA = {"data": {"batch_size": 4}, "methods": ["numeric"]}


def layers(how: str) -> dict[str, Any]:
    scale = {"./user.py:Scale": {"how": how, "name": "scale"}}
    return {"input": {"shape": [3]}, "layers": [scale, {"Dense": 2}]}


def failure(run: Run, config: dict[str, Any]) -> Mistake:
    found = run({**DATA, **config}, {"user.py": CODE})
    assert (found.exit_code, found.verdict) == (3, "error")
    assert found.error is not None
    return found.error


def refused(mistake: Mistake) -> None:
    """Of the right code, and at the user's own call."""
    assert mistake.code == "GC608", mistake.message
    assert str(mistake.file).endswith("user.py")
    assert any(call in str(mistake.excerpt) for call in ("scaled(x, w)", "alone(x)"))


@pytest.mark.parametrize("how", ["given", "ops"])
def test_a_keras_variable_as_an_argument(run: Run, how: str) -> None:
    mistake = failure(run, {"model": layers(how)})
    refused(mistake)
    assert GIVEN in mistake.message
    assert PASS_TENSOR in str(mistake.help)
    assert TAKE_VARIABLES not in str(mistake.help)


@pytest.mark.parametrize("execution", ["eager", "graph"])
@pytest.mark.parametrize("how", ["used", "compiled"])
def test_a_variable_used_inside(run: Run, how: str, execution: str) -> None:
    mistake = failure(run, {"model": layers(how), "execution": execution})
    refused(mistake)
    assert USED in mistake.message
    assert TAKE_VARIABLES in str(mistake.help)
    assert PASS_TENSOR not in str(mistake.help)


@pytest.mark.parametrize(
    "model",
    [
        {"factory": "./user.py:model", "kwargs": {"how": "used"}},
        {
            "segments": [
                {"factory": "./user.py:model", "kwargs": {"how": "used"}},
                {"factory": "./user.py:model", "kwargs": {"how": "value"}},
            ]
        },
    ],
)
def test_while_a_model_is_built(run: Run, model: dict[str, Any]) -> None:
    mistake = failure(run, {"model": model})
    refused(mistake)
    assert USED in mistake.message


@pytest.mark.parametrize(
    ("how", "says"), [("given", GIVEN), ("both", f"{GIVEN} and uses scale/b inside"), ("used", USED)]
)
def test_in_a_candidate(run: Run, how: str, says: str) -> None:
    own = {"factory": "./user.py:candidate", "kwargs": {"how": how}}
    config = {"model": layers("value"), "methods": [{"candidate": own}, "vjp"], "split": {"after": ["scale"]}}
    found = run({**DATA, **config}, {"user.py": CODE})
    candidate, vjp = found.checks
    assert (candidate.outcome, vjp.outcome, found.exit_code) == ("error", "match", 3)
    assert candidate.error is not None
    refused(candidate.error)
    message = f"candidate ./user.py:candidate raised TypeError: {says}, and its grad takes no `variables`"
    assert candidate.error.message == message
    helps = [phrase in str(candidate.error.help) for phrase in (PASS_TENSOR, TAKE_VARIABLES)]
    assert helps == [how != "used", how != "given"]


@pytest.mark.parametrize(("how", "says"), [("given", GIVEN), ("used", USED)])
def test_in_gradcheck_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, says: str) -> None:
    from gradcheck.session.configs import CheckOptions
    from gradcheck.session.layer import Target, check_layer, layer_config

    (tmp_path / "user.py").write_text(dedent(CODE), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    target = Target(name="./user.py:Scale", shapes=[(3,)], kwargs={"how": how, "name": "scale"})
    found = check_layer(target, layer_config(target), CheckOptions()).run
    assert (found.exit_code, found.verdict) == (3, "error")
    (error,) = found.errors
    refused(error)
    assert says in error.message


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
@pytest.mark.parametrize("how", ["value", "tensor", "accepted"])
def test_what_the_help_says_is_right(run: Run, how: str, execution: str) -> None:
    config = {"model": layers(how), "execution": execution}
    found = run({**DATA, **config}, {"user.py": CODE})
    assert (found.verdict, found.exit_code) == ("pass", 0), found.error


def test_without_the_frame_that_raised_it_both_are_said() -> None:
    from gradcheck.building.messages import described, raised

    error = TypeError("@tf.custom_gradient grad_fn must accept keyword argument 'variables', since function uses: []")
    found = raised("it failed", error, "GC053")
    assert found.code == "GC608"
    assert described(error) == f"TypeError: {error}"
    assert PASS_TENSOR in str(found.help)
    assert TAKE_VARIABLES in str(found.help)


def test_another_error_keeps_its_code() -> None:
    from gradcheck.building.messages import raised

    found = raised("it failed", TypeError("another"), "GC053", help_="as it was")
    assert (found.code, found.help, found.location) == ("GC053", "as it was", None)
