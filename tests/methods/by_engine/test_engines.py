from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.engines import asking
from gradcheck.results.report import PROVEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

MODEL = """
model:
  input: {shape: [6]}
  layers:
    - Dense: {units: 4, activation: relu, name: first}
    - BatchNormalization: {name: norm}
    - Dense: {units: 3, kernel_regularizer: {class_name: L2, config: {l2: 0.0625}}, name: last}
    - Activation: softmax
split: {after: [first, norm]}
loss: CategoricalCrossentropy
data: {batch_size: 5}
"""
ENGINES = [pytest.param("jax"), pytest.param("torch", marks=pytest.mark.on_request)]


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    names = getattr(getattr(request.node, "callspec", None), "params", {})
    pytest.importorskip(names.get("engine", "jax"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    "keys",
    [
        "",
        "precision: float64",
        pytest.param("precision: mixed_bfloat16", marks=pytest.mark.on_request),
        "microbatches: 2",
        "train: {steps: 2, optimizer: Adam}",
    ],
)
def test_everything_is_compared_and_matches(run: Run, engine: str, keys: str) -> None:
    report = run(f"{MODEL}{keys}\nmethods: [{engine}]")
    (check,) = report.checks
    assert (check.outcome, check.notes) == ("match", ())
    kinds = {tensor.kind for tensor in check.tensors}
    assert {"weight", "output", "loss", "state"} <= kinds
    assert "train" in keys or {"input", "boundary"} <= kinds
    assert {t.status for t in check.of_kind("weight")} <= PROVEN
    assert report.exit_code == 0


LAYERS = """
import keras
import tensorflow as tf
from keras import ops


class WrongTanh(keras.layers.Layer):
    def call(self, x):
        return planted(x) if keras.backend.backend() == "tensorflow" else ops.tanh(x)


def planted(x):
    @tf.custom_gradient
    def tanh(x):
        y = tf.tanh(x)
        return y, lambda upstream: upstream * (1 - y)  # not 1 - y * y

    return tanh(x)


@tf.custom_gradient
def square(x):
    return ops.square(x), lambda upstream: upstream * x  # not 2 * x


class Square(keras.layers.Layer):
    def call(self, x):
        return square(x)


class Sine(keras.layers.Layer):
    def call(self, x):
        return tf.sin(x)


class Penalty(keras.layers.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=shape[1:], name="scale")

    def call(self, x):
        self.add_loss(ops.sum(ops.square(x)) * two())
        return x * self.scale


def two():
    return 2.0


def loss():
    return lambda y, output: ops.mean(ops.abs(y - output), axis=-1)
"""


def model(layer: str) -> str:
    return f"""
model:
  input: {{shape: [4]}}
  layers:
    - Dense: {{units: 5, name: first}}
    - {layer}
    - Dense: {{units: 2, name: last}}
split: {{every: layer}}
verify_reference: never
data: {{batch_size: 3}}
"""


def own(name: str) -> str:
    return model(f'"./layers.py:{name}": {{name: mine}}')


def test_a_wrong_gradient_is_convicted(run: Run) -> None:
    report = run(own("WrongTanh") + "methods: [vjp, jax]", {"layers.py": LAYERS})
    split, check = report.checks
    assert (split.outcome, check.outcome, report.exit_code) == ("match", "mismatch", 1)
    assert {t.path for t in check.failures} == {"input", "first/kernel", "first/bias", "first"}
    (diagnosis,) = check.diagnoses
    assert (diagnosis.code, diagnosis.layer) == ("GC806", "mine")
    assert "forward values agree" in diagnosis.evidence
    assert "this speaks of rounding alone" in (check.second_opinion or "")


def tampered(name: str) -> Callable[..., Any]:
    """The method of the engine `name`, with one gradient of JAX's doubled."""
    from gradcheck.methods import METHODS

    jax = METHODS["jax"]

    def method(problem: Any, options: Any) -> Any:
        found = jax(problem, options)
        wrong = {key: 2 * g if key.path == "first/kernel" else g for key, g in found.tensors.items()}
        return replace(found, tensors=wrong) if name == "wrong" else found

    return method


@pytest.mark.parametrize(
    ("layer", "others", "says"),
    [
        ("own", ("right", "right"), "TensorFlow is the one that differs: JAX and PyTorch agree, two against one"),
        ("Dense", ("wrong", "right"), "JAX is the one that differs: TensorFlow and PyTorch agree, two against one"),
    ],
)
def test_of_three_the_one_that_differs_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch, layer: str, others: tuple[str, str], says: str
) -> None:
    from gradcheck.methods import METHODS

    of = {name: tampered(kind) for name, kind in zip(("jax", "torch"), others, strict=True)}
    for name, method in of.items():
        monkeypatch.setitem(METHODS, name, method)
    text = own("Square") if layer == "own" else model("Dense: 3")
    text = text.replace("split: {every: layer}\n", "")  # the weights are then the first that differ
    check = run(text + "methods: [jax, torch]", {"layers.py": LAYERS}).checks[0]
    (diagnosis,) = check.diagnoses
    assert diagnosis.evidence.endswith(says)


def test_layers_and_losses_of_the_users_own(run: Run) -> None:
    text = own("Penalty") + "loss: {factory: './layers.py:loss'}\nmethods: [jax]"
    (check,) = run(text, {"layers.py": LAYERS}).checks
    assert check.outcome == "match"
    assert "mine/scale" in {t.path for t in check.of_kind("weight")}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (own("Sine"), "it cannot run there: it calls tensorflow.sin, which is TensorFlow's"),
        (model("Dropout: 0.5"), "it draws random numbers"),
    ],
)
def test_what_cannot_be_asked_is_inconclusive_and_says_why(run: Run, text: str, reason: str) -> None:
    report = run(text + "methods: [vjp, jax]", {"layers.py": LAYERS})
    check = report.checks[1]
    assert (check.outcome, check.as_expected, check.tensors) == ("inconclusive", True, ())
    assert check.notes[0].startswith(f"jax cannot be asked: {reason}")
    assert (report.verdict, report.exit_code) == ("pass", 0)


def test_nothing_but_inconclusive_proves_nothing(run: Run) -> None:
    report = run(own("Sine") + "methods: [jax]", {"layers.py": LAYERS})
    assert (report.verdict, report.exit_code) == ("vacuous", 4)


def test_dropout_is_compared_where_it_is_off(run: Run) -> None:
    (check,) = run(model("Dropout: 0.5") + "training: false\nmethods: [jax]").checks
    assert check.outcome == "match"


def test_a_weight_that_a_forward_pass_assigns_is_left_out(run: Run) -> None:
    (check,) = run(model("SpectralNormalization: {layer: {Dense: 3}, name: norm}") + "methods: [jax]").checks
    assert check.outcome == "match"
    (note,) = check.notes
    assert note.startswith("norm/dense/kernel: assigned in the forward pass, and not compared")
    assert "norm/dense/kernel" not in {t.path for t in check.of_kind("weight")}


def test_an_engine_that_is_not_installed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "find_spec", lambda _: None)
    report = run(model("Dense: 3") + "methods: [vjp, jax]")
    assert report.error is not None
    assert (report.exit_code, report.error.help) == (2, "pip install jax")
    report = run(model("Dense: 3") + "methods: [vjp, jax: {required: false}]")
    assert report.exit_code == 0
    assert report.notes == ("jax does not apply: method jax needs JAX, which is not installed (pip install jax)",)


def test_one_layer_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gradcheck.cli.main import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADCHECK_WORKERS", "0")
    assert main(["layer", "LayerNormalization", "--input-shape", "4", "--method", "jax", "--format", "concise"]) == 0
    assert "pass jax: 2/2 weights match" in capsys.readouterr().out


@pytest.mark.parametrize("engine", ENGINES)
def test_zero_and_none_are_one_behind_integers(run: Run, engine: str) -> None:
    """JAX has a gradient of zero where TensorFlow has none, such as that of an index which was a float."""
    layers = "[{Dense: {units: 4, name: first}}, {Embedding: {input_dim: 9, output_dim: 2, name: table}}]"
    (check,) = run(f"model: {{input: {{shape: [3]}}, layers: {layers}}}\nmethods: [{engine}]").checks
    assert check.outcome == "match"
    assert {t.status for t in check.tensors if t.path.startswith("first/") or t.kind == "input"} == {"absent"}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_layer_that_needs_initial_values_is_built_with_them(run: Run, engine: str) -> None:
    model = {"factory": "tests.zoo.layer_models:stateful_lstm"}
    (check,) = run({"model": model, "data": {"batch_size": 4}, "methods": [engine]}).checks
    assert (check.outcome, check.notes) == ("match", ())
