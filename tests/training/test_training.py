"""Training parity: split equals whole in what every step leaves behind, by every optimizer of Keras."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import keras
import pytest
import yaml

from tests.training.trained import (
    DECAY,
    LOOP,
    MODEL,
    RIGHT,
    SHARED,
    STATEFUL,
    by_hand,
    require_match,
    statuses,
    trained,
)

if TYPE_CHECKING:
    from tests.training.trained import Run

OWN_ARGUMENTS: dict[str, Any] = {
    "LossScaleOptimizer": {"inner_optimizer": {"Adam": {"learning_rate": DECAY}}, "dynamic_growth_steps": 1},
    "MultiOptimizer": {"optimizer_map": {"default_optimizer": "SGD", "optimizer_map": {".*kernel": "Adam"}}},
}


def optimizers() -> list[str]:
    """The names of Keras's optimizers."""
    base = keras.optimizers.Optimizer
    classes = [c for c in vars(keras.optimizers).values() if isinstance(c, type) and issubclass(c, base)]
    return sorted(c.__name__ for c in classes if c is not base)


@pytest.mark.third
@pytest.mark.parametrize(
    "optimizer",
    [
        {"Adam": {}},
        {"AdamW": {"weight_decay": 0.1}},
        {"RMSprop": {"momentum": 0.5, "centered": True}},
        {"Adafactor": {"learning_rate": 0.1}},
        {"Lion": {"learning_rate": 0.01}},
        {"SGD": {"learning_rate": DECAY, "momentum": 0.9, "nesterov": True}},
    ],
    ids=lambda optimizer: next(iter(optimizer)),
)
def test_five_steps_of_split_and_whole(run: Run, optimizer: dict[str, Any]) -> None:
    found = run(trained(STATEFUL, optimizer, methods=["vjp", "recompute"]))
    check = require_match(found, 5)
    slots = statuses(check, "optimizer", "value", 5)
    assert len(slots) > (2 if "SGD" in optimizer else 8)
    (iteration,) = (path for path in slots if path.endswith("/iteration"))
    assert slots[iteration] == "exact"
    assert set(statuses(check, "state", "value", 5).values()) <= {"exact", "close"}
    assert found.checks[1].outcome == "match"


@pytest.mark.third
@pytest.mark.parametrize("name", optimizers())
def test_every_optimizer_of_keras(run: Run, name: str) -> None:
    check = require_match(run(trained(SHARED, {name: OWN_ARGUMENTS.get(name, {})}, steps=2)), 2)
    assert statuses(check, "weight", "value", 2).keys() >= {"tokens/embeddings", "shared/kernel"}


@pytest.mark.third
@pytest.mark.parametrize(
    "arguments",
    [
        {"gradient_accumulation_steps": 2},
        {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2},
        {"clipnorm": 0.01},
        {"clipvalue": 0.001},
        {"global_clipnorm": 0.01},
        {"weight_decay": 0.1},
        {"loss_scale_factor": 64.0},
    ],
    ids=lambda arguments: next(iter(arguments)),
)
def test_what_every_optimizer_can_do(run: Run, arguments: dict[str, Any]) -> None:
    require_match(run(trained(STATEFUL, {"SGD": {"learning_rate": 0.1, "momentum": 0.9, **arguments}}, steps=4)), 4)


def test_until_gradients_are_accumulated_no_weight_has_moved(run: Run) -> None:
    (check,) = run(trained(SHARED, {"SGD": {"gradient_accumulation_steps": 3}}, steps=2)).checks
    assert set(statuses(check, "weight", "value", 2).values()) == {"dead"}
    assert {t.note for t in check.tensors if t.status == "dead"} >= {"has not moved since the start"}


@pytest.mark.parametrize("method", ["recompute", "graph", "graph_scalar", "jacobian", "naive"])
def test_every_method_that_gives_gradients_trains(run: Run, method: str) -> None:
    expected = "mismatch" if method == "naive" else "match"
    found = run(
        trained(STATEFUL, "Adam", steps=3, methods=[{method: {"expect": expected}}], report={"jacobians": True})
    )
    assert (found.verdict, found.checks[0].outcome, found.checks[0].steps) == ("pass", expected, 3), found.error
    assert found.checks[0].first_failing_step == (1 if method == "naive" else None)
    assert found.checks[0].diagnoses == ()  # what is as expected needs none


@pytest.mark.parametrize(
    "optimizer",
    [{"Adam": {}}, {"Adagrad": {}}, {"SGD": {"learning_rate": 0.1, "clipnorm": 0.01}}, {"SGD": {}}],
    ids=str,
)
def test_a_jacobian_is_dense_where_the_reference_is_sparse(run: Run, optimizer: dict[str, Any]) -> None:
    """Of the rows of one token Adam squares each, and of a dense gradient their sum."""
    found = run(trained(SHARED, optimizer, steps=2, methods=["jacobian", "vjp"]))
    jacobian, vjp = found.checks
    require_match(found, 2)
    assert (vjp.outcome, vjp.notes) == ("match", ())
    (note,) = jacobian.notes
    assert "whose sparse gradients (tokens/embeddings) are made dense first" in note


def test_a_wrong_jacobian_is_caught_beside_dense_gradients(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradcheck.methods.by_segment import jacobian
    from gradcheck.methods.by_segment.jacobian import ByJacobians

    class Wrong(ByJacobians):
        def contribution(self, segment: Any, key: Any, gradient: Any) -> Any:
            right = super().contribution(segment, key, gradient)
            return 1.001 * right if key.path == "tokens/embeddings" else right

    monkeypatch.setattr(jacobian, "ByJacobians", Wrong)
    found = run(trained(SHARED, "Adam", steps=2, methods=["jacobian"]))
    assert found.verdict == "fail"
    assert found.checks[0].first_failing_step == 1
    assert "tokens/embeddings" in {tensor.path for tensor in found.checks[0].failures}


@pytest.mark.parametrize("execution", ["graph", pytest.param("xla", marks=pytest.mark.slow)])
def test_compiled(run: Run, execution: str) -> None:
    require_match(run(trained(STATEFUL, "Adam", steps=3, execution=execution)), 3)


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"])
def test_precisions(run: Run, precision: str) -> None:
    optimizer = {"SGD": {"learning_rate": 0.1}} if precision.endswith("float16") else "Adam"
    check = require_match(run(trained(STATEFUL, optimizer, steps=3, precision=precision)), 3)
    scales = [t for t in check.tensors if t.path.endswith("/dynamic_scale")]
    assert bool(scales) == (precision == "mixed_float16")


def test_a_loss_scale_that_overflows_is_lowered_and_said(run: Run) -> None:
    config = trained(STATEFUL, "SGD", precision="mixed_float16", loss_weights=[100.0])
    check = require_match(run(config), 5)
    (scale,) = (t for t in check.tensors if t.path.endswith("/dynamic_scale"))
    assert scale.note is not None
    assert scale.note.startswith("the loss scale starts at ")
    written = {"LossScaleOptimizer": {"inner_optimizer": "SGD", "initial_scale": 2.0**15}}
    found = run({**config, "train": {"steps": 2, "optimizer": written}})
    assert found.checks[0].first_failing_step == 1
    assert "nonfinite" in {t.status for t in found.checks[0].failures}


def test_micro_batches(run: Run) -> None:
    require_match(run(trained(STATEFUL, "Adam", microbatches=3, methods=["vjp"])), 5)


def test_parts_of_their_own_beside_a_reference(run: Run) -> None:
    """Both parts hold a copy of the layer that the whole model has once."""
    files = {
        "parts.py": """
            import keras
            from keras import layers

            def whole():
                x = keras.Input((4,))
                tied = layers.Dense(4, activation="tanh", name="tied")
                return keras.Model(x, layers.Dense(2, name="out")(tied(tied(x))))

            def first():
                return keras.Sequential([keras.Input((4,)), layers.Dense(4, activation="tanh", name="tied")])

            def second():
                x = keras.Input((4,))
                return keras.Model(x, layers.Dense(2, name="out")(layers.Dense(4, activation="tanh", name="tied")(x)))
        """
    }
    config = """
        model:
          segments: [{factory: "./parts.py:first"}, {factory: "./parts.py:second"}]
          reference: {factory: "./parts.py:whole"}
        loss: MeanSquaredError
        data: {batch_size: 4}
    """
    require_match(run(trained(config, "Adam"), files), 5)


def test_a_weight_that_the_forward_pass_assigns(run: Run) -> None:
    model = """
        model:
          input: {shape: [4]}
          layers:
            - SpectralNormalization: {layer: {Dense: {units: 4, name: dense}}, name: normal}
            - Dense: {units: 2, name: out}
        split: {after: [normal]}
        loss: MeanSquaredError
        data: {batch_size: 4}
    """
    found = run(trained(model, "Adam", methods=["vjp", RIGHT]), {"loop.py": LOOP})
    require_match(found, 3 + 2)
    assert (found.checks[1].outcome, found.checks[1].warnings) == ("match", ())


@pytest.mark.parametrize(
    "train", [{"Adam": {"learning_rate": 0.1, "epsilon": 1e-12}}, {"Lion": {"learning_rate": 0.1}}]
)
def test_rounding_that_an_optimizer_amplifies_is_no_mismatch(run: Run, train: Any) -> None:
    """The gradient of a bias before batch norm is zero but for rounding, and a whole step is made of its sign."""
    method = {"candidate": {"factory": "./loop.py:gradients", "kwargs": {"fault": "rounding"}}}
    check = require_match(run(trained(STATEFUL, train, steps=2, methods=[method]), {"loop.py": LOOP}), 2)
    (bias,) = (t for t in check.tensors if (t.path, t.quantity) == ("first/bias", "value"))
    assert bias.status in {"close", "inconclusive"}
    assert bias.max_abs_error > 0.05
    (off,) = run(trained(STATEFUL, train, methods=[method], tolerance={"noise": "off"}), {"loop.py": LOOP}).checks
    assert "first/bias" in {t.path for t in off.failures}


def test_weights_that_do_not_move_prove_nothing(run: Run) -> None:
    still = {"SGD": {"learning_rate": 0.0}}
    found = run(trained(SHARED, still, steps=2))
    assert set(statuses(found.checks[0], "weight", "value", 2).values()) == {"dead"}
    assert found.verdict == "pass"  # by the gradients
    assert by_hand(run, None, still).verdict == "vacuous"


def test_without_any_gradient_there_is_no_step(run: Run) -> None:
    model = """
        model: {factory: "./model.py:build"}
        split: {after: [first]}
        loss: MeanSquaredError
        data: {batch_size: 4}
        verify_reference: never
    """
    build = """
        import keras
        from keras import layers, ops

        def build():
            x = keras.Input((4,))
            return keras.Model(x, ops.stop_gradient(layers.Dense(2, name="first")(x)))
    """
    found = run(trained(model, "Adam"), {"model.py": build})
    assert (found.verdict, found.exit_code) == ("vacuous", 4), found.error
    (check,) = found.checks
    assert set(statuses(check, "weight", "gradient", 5).values()) == {"absent"}
    assert set(statuses(check, "weight", "value", 5).values()) == {"dead"}


def test_a_factory_that_returns_one_model_twice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "store", SimpleNamespace(model=None))
    files = {
        "model.py": """
            import keras, store

            def build():
                if store.model is None:
                    store.model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4), keras.layers.Dense(2)])
                return store.model
        """
    }
    model = 'model: {factory: "./model.py:build"}\nsplit: {after: [0]}\nloss: MeanSquaredError\ndata: {batch_size: 4}'
    found = run(trained(model, "SGD"), files)
    assert found.error is not None
    assert (found.exit_code, found.error.code) == (3, "GC051")
    assert "two copies of the model" in found.error.message


def test_what_is_recorded_fits_the_memory_budget(run: Run) -> None:
    found = run(trained(MODEL, "Adam", steps=2000, memory_budget="2MiB"))
    assert found.error is not None
    assert (found.exit_code, found.error.code) == (3, "GC056")
    assert "2000 training steps" in found.error.message


def test_both_sides_draw_the_same_numbers(run: Run) -> None:
    """Layers without a seed of their own draw from the session's generator; both copies have one."""
    files = {
        "noise.py": """
            import keras

            class Noise(keras.layers.Layer):
                def call(self, x):
                    return x * (1 + keras.random.normal((x.shape[-1],)))
        """
    }
    model = """
        model:
          input: {shape: [4]}
          layers:
            - Dense: {units: 4, name: first}
            - "./noise.py:Noise"
            - Dense: {units: 2, name: out}
        split: {after: [first]}
        loss: MeanSquaredError
        data: {batch_size: 4}
    """
    check = require_match(run(trained(model, "Adam", methods=["vjp", "vjp"]), files), 5)
    assert {t.status for t in check.tensors} == {"exact"}


@pytest.mark.parametrize(
    ("train", "line", "code", "words"),
    [
        ("{steps: 2, optimizer: Adm}", 1, "GC020", "Adm"),
        ("{steps: 2, optimizer: {Adam: {learning_rate: {ExponentalDecay: {}}}}}", 1, "GC020", "ExponentalDecay"),
        ("{steps: 2, optimizer: {Adam: {beta: 3}}}", 1, "GC004", "beta"),
    ],
)
def test_an_optimizer_that_keras_does_not_have(run: Run, train: str, line: int, code: str, words: str) -> None:
    text = f"train: {train}\n{yaml.safe_dump(yaml.safe_load(MODEL))}"
    error = run(text).error
    assert error is not None
    assert (error.exit_code, error.code, error.line) == (2, code, line)
    assert words in error.message


def test_an_argument_that_is_misspelt(run: Run) -> None:
    train = "train: {steps: 2, optimizer: {Adam: {learning_rat: 0.1}}}"
    error = run(f"{train}\n{yaml.safe_dump(yaml.safe_load(MODEL))}").error
    assert error is not None
    assert (error.code, error.help) == ("GC004", "did you mean `learning_rate`?")
    assert error.message.count("eceived") == 1
