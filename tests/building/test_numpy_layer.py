from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck.building.numpy_layer import NoSecondDerivativeError
from gradcheck.building.precision import precision_scope
from gradcheck.building.sources import build_model
from gradcheck.config.sections.model import LayersSource
from gradcheck.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import RunReport

    Build = Callable[..., keras.Model]

MATMUL = """
    import numpy as np

    class Layer:
        def __init__(self, units=2):
            self.units = units

        def weights(self, input_shape):
            return {"W": (self.units, input_shape[-1]), "b": np.full(self.units, 0.5)}

        def forward(self, x):
            self.x = x
            return x @ self.W.T + self.b

        def backward(self, dy):
            return dy @ self.W, {"b": dy.sum(0), "W": dy.T @ self.x}
"""
#: No weights, two inputs, and a context that is only right if it belongs to its own call.
PRODUCT = """
    class Layer:
        def forward(self, a, b):
            self.seen = [a, b]
            return a * b

        def backward(self, dy):
            return dy * self.seen[1], dy * self.seen[0]
"""
SQUARE = """
    class Layer:
        def __init__(self):
            self.seen = []

        def forward(self, x):
            self.seen.append(x)
            return x * x

        def backward(self, dy):
            return 2 * self.seen[-1] * dy
"""


@pytest.fixture
def build(tmp_path: Path) -> Build:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)

    def model(text: str, layers: Any = None, shape: Any = (3,), **more: Any) -> keras.Model:
        (tmp_path / "layers.py").write_text(dedent(text), encoding="utf-8")
        own = {"numpy_layer": {"class": "./layers.py:Layer", "name": "own"}}
        source = {"input": {"shape": list(shape)}, "layers": layers or [own], **more}
        return build_model(LayersSource.model_validate(source), tmp_path).model

    return model


def gradients(model: keras.Model, x: Any, *, graph: bool = False) -> list[Any]:
    """Of sum(y²)/2 with respect to the input and each weight."""

    def compute(x: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.cast(model(x), tf.float64) ** 2) / 2
        return tape.gradient(loss, [x, *(v.value for v in model.trainable_variables)])

    return [np.asarray(g) for g in (tf.function(compute, autograph=False) if graph else compute)(x)]


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("precision", ["float32", "float64", "mixed_float16", "bfloat16"])
def test_it_computes_what_numpy_computes(build: Build, precision: str, graph: bool) -> None:
    with precision_scope(precision):
        model = build(MATMUL)
        assert model.output_shape == (None, 2)
        x = tf.cast(np.random.default_rng(0).normal(size=(4, 3)), model.inputs[0].dtype)
        weight, bias = (np.asarray(v.value).astype(float) for v in model.trainable_variables)
        assert [v.path for v in model.trainable_variables] == ["own/W", "own/b"]
        assert bias.tolist() == [0.5, 0.5]
        given = np.asarray(x).astype(float)
        dy = given @ weight.T + bias
        eps = {"float32": 1e-5, "float64": 1e-13, "mixed_float16": 1e-2, "bfloat16": 5e-2}[precision]
        found = gradients(model, x, graph=graph)
        assert [g.dtype for g in found] == [model.inputs[0].dtype, *(v.dtype for v in model.trainable_variables)]
        for expected, got in zip([dy @ weight, dy.T @ given, dy.sum(0)], found, strict=True):
            np.testing.assert_allclose(got.astype(float), expected, rtol=eps, atol=10 * eps)


@pytest.mark.parametrize("graph", [False, True])
def test_each_call_keeps_what_it_saved(build: Build, graph: bool) -> None:
    own = {"numpy_layer": {"class": "./layers.py:Layer", "name": "own"}}
    model = build(SQUARE, [own, {"call": {"layer": "own"}}, {"call": {"layer": "own"}}])
    x = tf.constant([[1.0, 1.1, -0.9]])
    (found,) = gradients(model, x, graph=graph)  # y = x⁸, so d(y²/2)/dx = 8 x¹⁵
    np.testing.assert_allclose(found, 8 * x.numpy() ** 15, rtol=1e-5)


def test_a_graph_may_run_forward_often_and_backward_later(build: Build) -> None:
    model = build(SQUARE)

    @tf.function
    def looped(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, model(y)), (0, x), maximum_iterations=3)[1]
        return tape.gradient(y, x)

    x = tf.constant([[1.0, 1.1, -0.9]])
    np.testing.assert_allclose(looped(x), 8 * x.numpy() ** 7, rtol=1e-5)


def test_several_inputs_and_integers(build: Build) -> None:
    both = {"a": {"shape": [3]}, "b": {"shape": [3], "dtype": "int32"}}
    own = {"numpy_layer": {"class": "./layers.py:Layer", "inputs": ["a", "b"]}}
    model = build(PRODUCT, [own], input=both)
    a, b = tf.constant([[1.0, 2.0, 3.0]]), tf.constant([[4, 5, 6]])
    with tf.GradientTape() as tape:
        tape.watch(a)
        y = model([a, b])
    assert y.dtype == tf.float32
    np.testing.assert_allclose(tape.gradient(y, a), [[4.0, 5.0, 6.0]])


def test_an_open_axis_stays_open(build: Build) -> None:
    assert build(SQUARE, shape=(None, 2)).output_shape == (None, None, 2)


@pytest.mark.parametrize("execution", ["eager", "graph"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_it_can_be_split(run: Callable[..., RunReport], execution: str, precision: str) -> None:
    config = """
        model:
          input: {shape: [3]}
          layers:
            - Dense: {units: 4, activation: tanh}
            - numpy_layer: {class: "./layers.py:Layer", kwargs: {units: 5}, name: own}
            - Dense: 2
        split: {every: layer}
        methods: [vjp]
    """
    found = run(config, {"layers.py": MATMUL}, execution=execution, precision=precision)
    assert (found.verdict, found.coverage.compared) == ("pass", 6), found.error


def test_explicit_jacobians_and_differences_agree(run: Callable[..., RunReport]) -> None:
    config = """
        model:
          input: {shape: [6]}
          layers:
            - numpy_layer: {class: "./layers.py:Layer", kwargs: {units: 5}, name: own}
            - Activation: tanh
        split: {every: layer}
        methods: [jacobian, numeric]
    """
    found = run(config, {"layers.py": MATMUL})
    assert (found.verdict, [c.outcome for c in found.checks]) == ("pass", ["match", "match"])


@pytest.mark.parametrize(
    ("right", "wrong", "path"),
    [
        ('"W": dy.T @ self.x', '"W": 1.001 * dy.T @ self.x', "own/W"),
        ('"b": dy.sum(0)', '"b": dy.mean(0)', "own/b"),
        ("return dy @ self.W,", "return dy @ np.abs(self.W),", "input"),
    ],
)
def test_a_wrong_backward_is_caught(run: Callable[..., RunReport], right: str, wrong: str, path: str) -> None:
    config = """
        model:
          input: {shape: [6]}
          layers:
            - numpy_layer: {class: "./layers.py:Layer", name: own}
        methods: [numeric]
    """
    assert right in MATMUL
    found = run(config, {"layers.py": MATMUL.replace(right, wrong)})
    assert (found.verdict, [t.path for t in found.checks[0].failures]) == ("fail", [path])


def test_xla_is_refused(run: Callable[..., RunReport]) -> None:
    config = """
        model:
          input: {shape: [3]}
          layers:
            - numpy_layer: {class: "./layers.py:Layer", name: own}
            - Dense: 1
        split: {every: layer}
        execution: xla
    """
    found = run(config, {"layers.py": MATMUL})
    assert (found.exit_code, found.error.code) == (3, "GC059")
    assert found.error.message == "the NumPy code of layer own cannot be compiled by XLA"


def test_its_gradient_has_no_derivative(build: Build) -> None:
    model, x = build(SQUARE), tf.constant([[1.0, 2.0, 3.0]])
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x)
        first = tape.gradient(y, x)
    with pytest.raises(NoSecondDerivativeError):
        outer.gradient(first, x)
    with pytest.raises(NoSecondDerivativeError), tf.autodiff.ForwardAccumulator(x, tf.ones_like(x)):
        model(x)


def changed(old: str, new: str) -> str:
    assert old in MATMUL
    return MATMUL.replace(old, new)


BACKWARD = 'return dy @ self.W, {"b": dy.sum(0), "W": dy.T @ self.x}'


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        (changed("def forward", "def forwards"), "GC051", "needs the methods forward(x) and backward(dy)"),
        (changed("self.units = units", "self.units = unit"), "GC051", "NameError"),
        (changed('"W": (', '"W": ("a", '), "GC051", "weight W must be a shape"),
        (changed("return {", "return self.missing or {"), "GC051", "AttributeError"),
        (changed("return x @", "return [[1], [2, 3]] or x @"), "GC053", "one array of numbers"),
        (changed("self.x = x", "self.x = lambda: x"), "GC053", "what forward saves on self (x) cannot be kept"),
        (changed("self.x = x", "x += 1"), "GC053", "read-only"),
        (changed(BACKWARD, "return dy @ self.W"), "GC604", "a mapping of W, b"),
        (changed(BACKWARD, 'return dy @ self.W, {"W": dy.T @ self.x}'), "GC604", "gradients of W, b. Received: W"),
        (
            changed(BACKWARD, BACKWARD.replace("dy.T @ self.x", "self.x.T @ dy")),
            "GC604",
            "Received: one of shape (3, 2)",
        ),
        (changed(BACKWARD, BACKWARD.replace("dy @ self.W", "dy")), "GC604", "x must have its shape (4, 3)"),
        (PRODUCT, "GC053", "TypeError"),
        (SQUARE.replace("return 2", "return 1, 2"), "GC604", "x must have its shape (4, 3). Received: a tuple of 2"),
    ],
)
def test_mistakes_of_the_class_are_told(build: Build, text: str, code: str, says: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        gradients(build(text), tf.ones((4, 3)))
    assert (caught.value.code, says in str(caught.value)) == (code, True), caught.value


@pytest.mark.parametrize("method", ["forward", "backward"])
def test_what_numpy_code_raises_is_told_at_its_own_line(build: Build, tmp_path: Path, method: str) -> None:
    only_once_built = "if len(x) == 4: raise ValueError('no')"
    body, fault = ("self.x = x", only_once_built) if method == "forward" else (BACKWARD, "raise ValueError('no')")
    text = changed(body, f"{fault}\n            {body}")
    with pytest.raises(GradcheckError) as caught:
        gradients(build(text), tf.ones((4, 3)))
    found = caught.value
    assert found.message == f"{method} of ./layers.py:Layer raised ValueError: no"
    assert (found.code, found.location.path) == ("GC053", tmp_path / "layers.py")
    lines = dedent(text).splitlines()
    assert "raise ValueError" in lines[found.location.line - 1]


def test_in_a_graph_the_line_is_in_the_message(build: Build) -> None:
    model = build(changed("self.x = x", "self.x = x\n            if x[0, 0] == 2: raise ValueError('no')"))
    with pytest.raises(tf.errors.OpError, match=r'(?s)layers\.py", line 13.*ValueError: no'):
        gradients(model, 2 * tf.ones((4, 3)), graph=True)


@pytest.mark.parametrize("text", ["class Layer: pass", changed('"W": (', '"W": ("a", ')])
def test_a_class_of_another_form_is_told_at_its_entry(build: Build, text: str) -> None:
    with pytest.raises(GradcheckError) as caught:
        build(text)
    assert caught.value.keys == ("model", "layers", 0)


def test_a_class_that_is_not_there_is_told(build: Build) -> None:
    with pytest.raises(GradcheckError) as caught:
        build("Lawyer = 1")
    assert (caught.value.code, caught.value.help) == ("GC028", "did you mean `Lawyer`?")


def test_random_numbers_of_forward_are_those_of_its_backward(build: Build) -> None:
    model = build("""
        import numpy as np

        class Layer:
            def forward(self, x):
                self.mask = np.random.uniform(size=x.shape) < 0.5
                return x * self.mask

            def backward(self, dy):
                return dy * self.mask
    """)
    x = tf.ones((8, 3))

    def both() -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = model(x)
        return y, tape.gradient(y, x)

    for compute in (both, tf.function(both, autograph=False)):
        mask, found = compute()
        assert 0 < np.mean(mask) < 1
        np.testing.assert_array_equal(found, mask)
