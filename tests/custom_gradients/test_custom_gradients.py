from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import Diagnosis

    Check = Callable[..., tuple[Diagnosis, ...]]

HEAD = """
    import keras
    import tensorflow as tf

    class Layer(keras.layers.Layer):
        def build(self, shape):
            self.a = self.add_weight(name="a", shape=(3,))
            self.b = self.add_weight(name="b", shape=(3,))
"""

#: y = x · a + b, with the gradients looked up by variable.
RIGHT = """
        def call(self, x):
            a, b = self.a.value, self.b.value

            @tf.custom_gradient
            def affine(x):
                def grad(dy, variables=None):
                    found = {a.ref(): tf.reduce_sum(dy * x, 0), b.ref(): tf.reduce_sum(dy, 0)}
                    return dy * a, [found[v.ref()] for v in variables]
                return x * a + b, grad

            return affine(x)
"""


@pytest.fixture
def check(tmp_path: Path) -> Check:
    def run(body: str, head: str = HEAD, **config: Any) -> tuple[Diagnosis, ...]:
        from gradcheck.config.schema import Config
        from gradcheck.custom_gradients import check_custom_gradients, watching
        from gradcheck.problem.prepare import prepare, session

        (tmp_path / "layers.py").write_text(dedent(head) + dedent(body).replace("\n", "\n    "), encoding="utf-8")
        model = {"input": {"shape": [3]}, "layers": ["./layers.py:Layer"]}
        loaded = Config.model_validate({"model": model, "data": {"batch_size": 4}, **config})
        with session(loaded), watching() as watch:
            return check_custom_gradients(prepare(loaded, tmp_path), watch)

    return run


def plain(forward: str, grad: str) -> str:
    """A layer with one custom gradient of x alone."""
    return f"""
        def call(self, x):
            @tf.custom_gradient
            def own(x):
                def grad(dy):
                    return {grad}
                return {forward}, grad

            return own(x) * self.a + self.b
    """


def codes(found: tuple[Diagnosis, ...]) -> list[str]:
    return [diagnosis.code for diagnosis in found]


@pytest.mark.parametrize("precision", ["float32", "float64", "bfloat16", "float16"])
def test_a_right_one_with_variables_passes(check: Check, precision: str) -> None:
    assert check(RIGHT, precision=precision) == ()


@pytest.mark.parametrize(
    ("forward", "grad"),
    [
        ("tf.math.softplus(x)", "dy * tf.sigmoid(x)"),
        ("tf.identity(x)", "-0.1 * dy"),  # reversed on purpose: linear all the same
        ("tf.round(x)", "dy"),  # straight through
        ("tf.sqrt(tf.abs(x) * 0)", "dy / tf.sqrt(tf.abs(x) * 0)"),  # infinite everywhere
    ],
)
def test_a_right_one_passes(check: Check, forward: str, grad: str) -> None:
    assert check(plain(forward, grad)) == ()


@pytest.mark.parametrize(
    ("grad", "says"),
    [
        ("dy * x ** 2 + 1e-3", "zero"),
        ("tf.math.l2_normalize(dy) * x", "not linear"),
        ("dy * dy", "not linear"),
        ("tf.clip_by_value(dy, -20., 20.)", "-64 times"),
        ("tf.nn.relu(dy)", "not linear"),
        ("dy * tf.random.normal(dy.shape)", "another gradient"),
    ],
)
def test_what_is_not_linear_is_found(check: Check, grad: str, says: str) -> None:
    (found,) = check(plain("x * x", grad))[:1]
    assert found.code == "GC601"
    assert says in found.evidence
    assert "Layer.call.own (layers.py:" in found.evidence


@pytest.mark.parametrize(
    ("grad", "says"),
    [
        ("tf.reduce_sum(dy)", "shape ()"),
        ("tf.transpose(dy)", "shape (3, 4)"),
        ("tf.cast(dy, tf.float64)", "dtype float64"),
        ("(dy, dy)", "2 gradients for 1 arguments"),
        ("dy.nonsense", "AttributeError"),
    ],
)
def test_what_does_not_fit_is_found(check: Check, grad: str, says: str) -> None:
    (found,) = check(plain("x * x", grad))
    assert (found.code, says in found.evidence) == ("GC604", True), found.evidence


def test_sparse_gradients_and_gradients_of_none_pass(check: Check) -> None:
    body = """
        def call(self, x):
            @tf.custom_gradient
            def own(x, scale):
                def grad(dy):
                    rows = tf.range(tf.shape(x)[0])
                    return tf.IndexedSlices(dy * scale, rows, tf.shape(x)), None
                return x * scale, grad

            return own(x, 2.0) * self.a + self.b
    """
    assert check(body) == ()


@pytest.mark.parametrize(
    ("call", "says"), [("own(x=x)", "TensorFlow's own"), ("own(1.0 * self.a, x=x)", "no gradient reaches it")]
)
def test_a_call_by_keyword_is_found(check: Check, call: str, says: str) -> None:
    body = f"""
        def compute_output_shape(self, shape):  # else Keras traces call, where TensorFlow refuses keywords itself
            return shape

        def call(self, x):
            @tf.custom_gradient
            def own(a=1.0, x=None):
                return a * x, lambda dy: dy

            return {call} + self.b
    """
    (found,) = check(body)
    assert (found.code, says in found.evidence) == ("GC602", True), found.evidence


FIXED = "return dy * a, [tf.reduce_sum(dy * x, 0), tf.reduce_sum(dy, 0)]"
SWAPPED = "return dy * a, [found[v.ref()] for v in variables][::-1]"
SHORT = "return dy * a, [found[a.ref()]]"


@pytest.mark.parametrize(
    ("returned", "says"),
    [(FIXED, "no order"), (SWAPPED, "gets the gradient of"), (SHORT, "1 gradients for 2 variables")],
)
def test_variables_in_the_wrong_order_are_found(check: Check, returned: str, says: str) -> None:
    right = "return dy * a, [found[v.ref()] for v in variables]"
    (found,) = check(RIGHT.replace(right, returned))
    assert (found.code, says in found.evidence) == ("GC603", True), found.evidence


def test_a_method_and_a_compiled_function_are_seen(check: Check) -> None:
    body = """
        @tf.custom_gradient
        def doubled(self, x):
            return 2 * x, lambda dy: dy * dy

        def call(self, x):
            return tf.function(self.doubled)(x) * self.a + self.b
    """
    assert codes(check(body)) == ["GC601"]


def test_a_loss_is_seen(check: Check, tmp_path: Path) -> None:
    (tmp_path / "losses.py").write_text(
        dedent("""
        import tensorflow as tf

        def make():
            @tf.custom_gradient
            def total(y):
                return tf.reduce_sum(y), lambda dy: tf.abs(dy) * tf.ones_like(y)
            return lambda y_true, y_pred: total(y_pred)
        """),
        encoding="utf-8",
    )
    found = check(RIGHT, loss={"factory": "./losses.py:make"})
    assert (codes(found), "total" in found[0].evidence) == (["GC601"], True)


def test_a_function_called_often_is_reported_once(check: Check) -> None:
    body = """
        def call(self, x):
            @tf.custom_gradient
            def own(x):
                return tf.identity(x), lambda dy: dy * dy

            return own(own(own(x))) * self.a + self.b
    """
    assert codes(check(body)) == ["GC601"]


def test_a_numpy_layer_is_seen_as_the_users_own_method(tmp_path: Path) -> None:
    from gradcheck.config.schema import Config
    from gradcheck.custom_gradients import check_custom_gradients, watching
    from gradcheck.problem.prepare import prepare, session

    text = """
        class Square:
            def forward(self, x):
                self.x = x
                return x * x

            def backward(self, dy):
                return 2 * self.x * dy + 1
    """
    (tmp_path / "layers.py").write_text(dedent(text), encoding="utf-8")
    model = {"input": {"shape": [3]}, "layers": [{"numpy_layer": {"class": "./layers.py:Square"}}]}
    config = Config.model_validate({"model": model})
    with session(config), watching() as watch:
        found = check_custom_gradients(prepare(config, tmp_path), watch)
    assert codes(found)[:1] == ["GC601"]
    assert "Square.backward (layers.py:7)" in found[0].evidence


def test_tensorflow_is_left_as_it_was() -> None:
    import tensorflow as tf

    from gradcheck.custom_gradients import watching

    before = tf.custom_gradient
    with watching():
        assert tf.custom_gradient is not before
    assert tf.custom_gradient is before


def test_what_is_watched_computes_the_same_and_keeps_its_arguments() -> None:
    import tensorflow as tf

    from gradcheck.custom_gradients import watching

    with watching() as watch:

        @tf.custom_gradient(None)
        def cubed(x):  # noqa: ANN001, ANN202 - as users write it
            return x**3, lambda dy: 7.0 * dy

    x = tf.constant(2.0)
    with tf.GradientTape() as tape, watch.recording() as calls:
        tape.watch(x)
        y = cubed(x)
    assert (float(y), float(tape.gradient(y, x))) == (8.0, 7.0)
    assert "keeps_its_arguments.cubed (test_custom_gradients.py:" in calls[0].place
    cubed(x)
    assert len(calls) == 1
