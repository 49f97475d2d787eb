from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Explain = Callable[..., dict[str, str]]

HEAD = """
    import keras
    import numpy as np
    import tensorflow as tf

    class Layer(keras.layers.Layer):
        def build(self, shape):
            self.a = self.add_weight(name="a", shape=(3,))
            self.b = self.add_weight(name="b", shape=(3,))

        def compute_output_shape(self, shape):
            return shape

"""


@pytest.fixture
def problem(tmp_path: Path) -> Callable[..., Any]:
    """Prepares a model of one layer with this body, and calls back with the problem inside its session."""

    def prepared(body: str, then: Callable[[Any], Any], **config: Any) -> Any:
        from gradcheck.config.schema import Config
        from gradcheck.problem.prepare import prepare, session

        (tmp_path / "layers.py").write_text(dedent(HEAD + body), encoding="utf-8")
        model = {"input": {"shape": [3]}, "layers": [{"./layers.py:Layer": {"name": "own"}}]}
        loaded = Config.model_validate({"model": model, "data": {"batch_size": 4}, **config})
        with session(loaded):
            return then(prepare(loaded, tmp_path))

    return prepared


@pytest.fixture
def explain(problem: Callable[..., Any]) -> Explain:
    """The notes by path for everything whose reference gradient is None, or zero where `dead`."""

    def run(body: str, *, dead: bool = False, **config: Any) -> dict[str, str]:
        import numpy as np

        from gradcheck.comparing.missing_gradients import why_none
        from gradcheck.comparing.reference import Reference

        def notes(problem: Any) -> dict[str, str]:
            tensors = {k: t for k, t in Reference(problem).tensors.items() if k.kind in ("weight", "input")}
            absent = [k for k, t in tensors.items() if t is None]
            zero = [k for k, t in tensors.items() if dead and t is not None and not np.any(t)]
            return {key.path: note for key, note in why_none(problem, absent, zero).items()}

        return problem(body, notes, **config)

    return run


def call(*lines: str) -> str:
    return "        def call(self, x):\n" + "".join(f"            {line}\n" for line in lines)


def test_nothing_to_explain(explain: Explain) -> None:
    assert explain(call("return x * self.a + self.b")) == {}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("tf.stop_gradient(self.a)", "tf.stop_gradient"),
        ("tf.numpy_function(np.square, [self.a.value], tf.float32)", "tf.numpy_function"),
        ("tf.cast(tf.cast(self.a, tf.int32), tf.float32)", "Cast, which makes int32"),
        ("tf.cast(self.a > 0, tf.float32)", "Greater, which makes bool"),
        ("tf.cast(tf.argmax(self.a), tf.float32)", "ArgMax, which makes int64"),
        ("tf.custom_gradient(lambda a: (2 * a, lambda dy: None))(tf.identity(self.a))", "a tf.custom_gradient"),
        ("tf.round(self.a) * 0 + tf.math.bessel_i0(tf.floor(self.a))", "Round, which has no gradient"),
    ],
)
def test_what_the_gradient_stops_at(explain: Explain, line: str, says: str) -> None:
    found = explain(call(f"return x * ({line}) + self.b"))
    assert list(found) == ["own/a"]
    assert found["own/a"].startswith(f"the gradient stops at {says}"), found
    assert "(layers.py:15)" in found["own/a"]


def test_an_input_that_becomes_whole_numbers(explain: Explain) -> None:
    found = explain(call("return tf.gather(self.a, tf.cast(x, tf.int32) % 3) + self.b"))
    assert found == {"input": "the gradient stops at Cast, which makes int32 (layers.py:15)"}


def test_a_shape_is_no_stop(explain: Explain) -> None:
    lines = ("n = tf.cast(tf.shape(self.a)[0], tf.float32)", "return x * n * tf.stop_gradient(self.a) + self.b")
    found = explain(call(*lines))
    assert found == {"own/a": "the gradient stops at tf.stop_gradient (layers.py:16)"}


def test_every_way_to_the_loss_is_followed(explain: Explain) -> None:
    found = explain(call("return tf.stop_gradient(x * self.a) + tf.cast(self.a > 0, tf.float32) + self.b"))
    assert found["own/a"] == (
        "the gradient stops at Greater, which makes bool (layers.py:15); tf.stop_gradient (layers.py:15)"
    )
    assert found["input"] == "the gradient stops at tf.stop_gradient (layers.py:15)"


def test_a_variable_assigned_to(explain: Explain) -> None:
    body = """
        def call(self, x):
            if not hasattr(self, "kept"):
                self.kept = tf.Variable(tf.zeros((3,)), trainable=False, name="kept")
            self.kept.assign(self.a * 2.0)
            return x * self.kept + self.b
    """
    assert explain(body) == {
        "own/a": "the gradient stops at the assignment to variable functional/own/kept: its value is state, not a "
        "function of it (layers.py:18)"
    }


def test_a_variable_that_overwrites_itself_and_stops(explain: Explain) -> None:
    found = explain(call("self.a.assign(self.a * 0.5)", "return x * tf.stop_gradient(self.a) + self.b"))
    assert found["own/a"].startswith("the forward pass assigns to it; the gradient stops at ")


def test_a_variable_never_read(explain: Explain) -> None:
    assert explain(call("return x + self.b")) == {"own/a": "the forward pass never reads it"}


def test_a_tensor_kept_from_an_earlier_call(explain: Explain) -> None:
    body = """
        def call(self, x):
            if not hasattr(self, "scale"):
                self.scale = tf.constant((self.a * 2.0).numpy()) if tf.executing_eagerly() else self.a * 2.0
            return x * self.scale + self.b
    """
    assert explain(body) == {
        "own/a": "the forward pass never reads it; its layer keeps tensors that were computed before (scale): no "
        "gradient passes"
    }


def test_a_value_that_goes_nowhere(explain: Explain) -> None:
    assert explain(call("unused = self.a * 2.0", "return x + self.b")) == {"own/a": "its value does not reach the loss"}


def test_numpy_is_found_where_it_stands(explain: Explain) -> None:
    found = explain(call("return x * self.a.numpy() + self.b"))
    assert found["own/a"].startswith("the forward pass leaves TensorFlow: ")
    assert found["own/a"].endswith("(layers.py:15)")


def test_numpy_where_only_eager_code_has_it(explain: Explain) -> None:
    body = call("a = tf.constant(self.a.numpy()) if tf.executing_eagerly() else self.a", "return x * a + self.b")
    assert explain(body)["own/a"] == "it has one in a graph: only what runs eagerly (`.numpy()`) can lose it"


def test_zeros_from_a_py_function_that_leaves_tensorflow(explain: Explain) -> None:
    squared = "a = tf.py_function(lambda a: a.numpy() ** 2, [self.a.value], tf.float32)"
    body = call(squared, "return x * a + self.b")
    assert explain(body) == {}
    assert explain(body, dead=True) == {"own/a": "the gradient stops at tf.py_function (layers.py:15)"}


def test_a_zero_that_is_no_mistake_is_not_explained(explain: Explain) -> None:
    assert explain(call("return x * tf.nn.relu(-1.0 - self.a ** 2) + self.b"), dead=True) == {}


def test_nothing_is_left_in_the_layers(problem: Callable[..., Any]) -> None:
    def twice(found: Any) -> None:
        import tensorflow as tf

        from gradcheck.comparing.missing_gradients import why_none

        keys = [weight.key for weight in found.weights]
        before = [v.numpy() for v in found.model.variables]
        why_none(found, keys)
        assert [v.numpy().tolist() for v in found.model.variables] == [v.tolist() for v in before]
        assert isinstance(found.model(tf.ones((2, 3))), tf.Tensor)
        assert not [v for layer in found.model.layers for v in vars(layer).values() if tf.is_symbolic_tensor(v)]

    problem(call("self.a.assign(self.a + 1.0)", "self.last = x * self.a", "return self.last + self.b"), twice)


def test_variables_that_the_model_does_not_know(problem: Callable[..., Any]) -> None:
    from gradcheck.comparing.missing_gradients import untracked_variables

    body = """
        hidden = tf.Variable([1.0, 2.0, 3.0], name="hidden")

        def call(self, x):
            return keras.random.dropout(x, 0.5) * self.a * self.hidden + self.b
    """
    assert problem(body, untracked_variables) == ("hidden",)
    assert problem(call("return x * self.a"), untracked_variables) == ()


def test_an_operation_is_differentiated_once_however_many_weights_are_dead(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import tensorflow as tf

    asked: list[Any] = []
    gradients = tf.gradients
    monkeypatch.setattr(tf, "gradients", lambda ys, xs: asked.append(ys) or gradients(ys, xs))
    off = {"units": 3, "activation": "relu", "bias_initializer": {"Constant": {"value": -9.0}}}
    model = {"input": {"shape": [3]}, "layers": [{"Dense": {**off, "name": f"layer_{i}"}} for i in range(8)]}
    report = run({"model": model, "split": {"parts": 2}, "verify_reference": "never"})
    assert {tensor.status for tensor in report.checks[0].of_kind("weight")} == {"dead"}
    assert 8 * 3 < len(asked) < 8 * 8
