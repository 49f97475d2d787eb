"""Training parity: what each step leaves behind, by every optimizer, and what goes wrong in a training loop by hand."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import keras
import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

#: Sparse gradients, and a layer that is called in both segments.
SHARED = """
    model:
      input: {shape: [5], dtype: int32}
      layers:
        - Embedding: {input_dim: 7, output_dim: 4, name: tokens}
        - Dense: {units: 4, activation: tanh, name: shared}
        - call: {layer: shared, name: again}
        - Flatten: {name: flat}
        - Dense: {units: 2, name: out}
    split: {after: ["shared:1"]}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""
#: State that moves from step to step: statistics and dropout's seeds; penalties and a constraint on weights.
STATEFUL = """
    model:
      input: {shape: [6]}
      layers:
        - Dense: {units: 5, name: first, kernel_constraint: {MaxNorm: {max_value: 1.0}}}
        - BatchNormalization: {name: normal}
        - Activation: {activation: tanh, name: cut}
        - Dropout: {rate: 0.3, name: dropped}
        - Dense: {units: 4, activation: relu, name: second, kernel_regularizer: l2}
        - Dense: {units: 3, activation: softmax, name: out}
    split: {after: [cut]}
    loss: SparseCategoricalCrossentropy
    data: {batch_size: 8}
"""
DECAY = {"ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 2, "decay_rate": 0.5}}
OWN_ARGUMENTS: dict[str, Any] = {
    "LossScaleOptimizer": {"inner_optimizer": {"Adam": {"learning_rate": DECAY}}, "dynamic_growth_steps": 1},
    "MultiOptimizer": {"optimizer_map": {"default_optimizer": "SGD", "optimizer_map": {".*kernel": "Adam"}}},
}


def optimizers() -> list[str]:
    """The names of Keras's optimizers."""
    base = keras.optimizers.Optimizer
    classes = [c for c in vars(keras.optimizers).values() if isinstance(c, type) and issubclass(c, base)]
    return sorted(c.__name__ for c in classes if c is not base)


def trained(text: str, optimizer: Any, *, steps: int = 5, methods: Any = ("vjp",), **keys: Any) -> dict[str, Any]:
    """The config in `text`, to be trained."""
    train = {"steps": steps, "optimizer": optimizer}
    return {**yaml.safe_load(text), "train": train, "methods": list(methods), **keys}


def statuses(check: CheckReport, kind: str, quantity: str, step: int) -> dict[str, str]:
    rows = [t for t in check.tensors if (t.kind, t.quantity, t.step) == (kind, quantity, step)]
    return {row.path: row.status for row in rows}


def require_match(found: RunReport, steps: int) -> CheckReport:
    """The only check of a run that must match in every step, by weights that have moved."""
    assert found.verdict == "pass", found.error or found.checks[0].failures[:3]
    check = found.checks[0]
    assert (check.outcome, check.steps, check.first_failing_step) == ("match", steps, None)
    assert {t.step for t in check.tensors} == {steps}
    values = statuses(check, "weight", "value", steps)
    assert values.keys() == statuses(check, "weight", "gradient", steps).keys()
    assert set(values.values()) <= {"exact", "close", "inconclusive"}
    return check


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


@pytest.mark.parametrize("name", optimizers())
def test_every_optimizer_of_keras(run: Run, name: str) -> None:
    check = require_match(run(trained(SHARED, {name: OWN_ARGUMENTS.get(name, {})}, steps=2)), 2)
    assert statuses(check, "weight", "value", 2).keys() >= {"tokens/embeddings", "shared/kernel"}


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


def test_rounding_that_an_optimizer_amplifies_is_no_mismatch(run: Run) -> None:
    """The gradient of a bias before batch norm is zero but for rounding; Adam makes a whole step of it."""
    found = run(trained(STATEFUL, {"Adam": {"learning_rate": 0.1}}, methods=["graph"]))
    check = require_match(found, 5)
    (bias,) = (t for t in check.tensors if (t.path, t.quantity) == ("first/bias", "value"))
    assert bias.status in {"close", "inconclusive"}
    assert bias.max_abs_error > 1e-3


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


# --- The user's own code ---

#: A training loop by hand over two segments, with one fault at a time.
LOOP = """
    import tensorflow as tf

    kept = []

    def computed(given):
        first, second = given.segments
        with tf.GradientTape() as tape_0:
            code = first(given.x, training=given.training)
        with tf.GradientTape() as tape_1:
            tape_1.watch(code)
            loss = given.loss(given.y, second(code, training=given.training))
            loss += tf.add_n([0.0, *second.losses])
        handed, *of_second = tape_1.gradient(loss, [code, *second.trainable_variables])
        of_first = tape_0.gradient(code, first.trainable_variables, output_gradients=handed)
        sums = {}
        for v, g in zip([*first.trainable_variables, *second.trainable_variables], [*of_first, *of_second]):
            sums[v.path] = g if v.path not in sums else sums[v.path] + g
        return loss, [sums[v.path] for v in given.variables]

    def gradients(given, fault=None):
        loss, found = computed(given)
        kept.append(found)
        if fault == "stale":
            found = kept[0]
        if fault == "previous":
            found = kept[max(0, len(kept) - 2)]
        if fault == "summed up":
            found = [tf.add_n(list(of_steps)) for of_steps in zip(*kept)]
        if fault == "shape":
            found = [found[0][:1], *found[1:]]
        if fault == "updates too":
            given.variables[0].assign_sub(0.1 * found[0])
        return loss, found

    def step(given, fault=None):
        optimizer, variables = given.optimizer, list(given.variables)
        loss, found = computed(given)
        if fault == "frozen":
            given.model.layers[-1].trainable = False
        if fault == "each part":
            half = len(found) // 2
            optimizer.apply_gradients(zip(found[:half], variables[:half]))
            optimizer.apply_gradients(zip(found[half:], variables[half:]))
        elif fault == "by hand":
            for v, g in zip(variables, found):
                v.assign_sub(0.1 * g)
        elif fault == "one left out":
            optimizer.apply_gradients(zip(found[1:], variables[1:]))
        elif fault == "schedule off by one":
            optimizer.iterations.assign_add(1)
            optimizer.apply_gradients(zip(found, variables))
            optimizer.iterations.assign_sub(1)
        elif fault == "nothing":
            pass
        else:
            optimizer.apply_gradients(zip(found, variables))
        if fault == "slot":
            next(v for v in optimizer.variables if v.path.endswith("out_kernel_momentum")).assign_add([[1e-3]] * 4)
        if fault == "no loss":
            return {"loss": loss}
        return None if fault == "silent" else loss
"""
MODEL = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, activation: tanh, name: first}
        - Dense: {units: 4, activation: tanh, name: second}
        - Dense: {units: 1, name: out, kernel_regularizer: l2}
    split: {after: [first]}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""
RIGHT: dict[str, Any] = {"candidate": {"factory": "./loop.py:gradients", "name": "by hand"}}


def by_hand(
    run: Run, fault: str | None, optimizer: Any = "Adam", *, steps: int = 3, kind: str = "train_step"
) -> RunReport:
    function = "step" if kind == "train_step" else "gradients"
    method = {"candidate": {kind: f"./loop.py:{function}", "kwargs": {"fault": fault}}}
    return run(trained(MODEL, optimizer, steps=steps, methods=[method]), {"loop.py": LOOP})


@pytest.mark.parametrize("fault", [None, "silent"])
def test_a_training_step_by_hand(run: Run, fault: str | None) -> None:
    found = by_hand(run, fault)
    assert found.verdict == "pass", found.checks[0].failures
    check = found.checks[0]
    assert check.warnings == ()
    kinds = {t.kind for t in check.tensors}
    assert kinds == {"weight", "optimizer"} | (set() if fault else {"loss"})
    assert set(statuses(check, "weight", "value", 3).values()) <= {"exact", "close"}
    assert not statuses(check, "weight", "gradient", 3)
    assert found.coverage.compared == found.coverage.trainable == 6


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", {"RMSprop": {"momentum": 0.9}}])
def test_an_optimizer_that_is_stepped_once_per_part_is_caught(run: Run, optimizer: Any) -> None:
    found = by_hand(run, "each part", optimizer)
    (check,) = found.checks
    assert (found.exit_code, check.first_failing_step) == (1, 1)
    assert check.first_divergence is not None
    assert check.first_divergence.endswith("/iteration")
    (count,) = (t for t in check.failures if t.name == "iteration" and t.step == 3)
    assert count.worst is not None
    assert (count.worst.reference, count.worst.candidate) == (3, 6)


@pytest.mark.parametrize(
    ("fault", "optimizer", "step", "first"),
    [
        ("one left out", {"SGD": {"learning_rate": 1e-5}}, 1, "first/kernel"),
        ("one left out", "Adam", 1, "adam/first_kernel_velocity"),
        ("slot", "Adam", 1, "adam/out_kernel_momentum"),
        ("schedule off by one", {"SGD": {"learning_rate": DECAY}}, 1, "out/bias"),
        ("nothing", "Adam", 1, "adam/iteration"),
    ],
)
def test_a_fault_of_a_training_step(run: Run, fault: str, optimizer: Any, step: int, first: str) -> None:
    found = by_hand(run, fault, optimizer)
    (check,) = found.checks
    assert (found.exit_code, check.first_failing_step, check.first_divergence) == (1, step, first)


@pytest.mark.parametrize("fault", ["stale", "previous", "summed up"])
def test_gradients_of_another_step(run: Run, fault: str) -> None:
    assert by_hand(run, None, kind="factory").verdict == "pass"
    found = by_hand(run, fault, kind="factory")
    (check,) = found.checks
    assert (found.exit_code, check.steps, check.first_failing_step) == (1, 3, 2)
    wrong = [t for t in check.failures if t.step == 2]
    assert {t.quantity for t in wrong if t.kind == "weight"} == {"gradient", "value"}
    assert check.first_divergence == "out/bias"


def test_a_gradient_that_no_optimizer_takes_ends_the_training(run: Run) -> None:
    found = by_hand(run, "shape", kind="factory")
    (check,) = found.checks
    assert (found.exit_code, check.steps, check.first_failing_step) == (1, 1, 1)
    assert check.first_divergence == "first/kernel"
    assert any("first/kernel" in warning and "step 1" in warning for warning in check.warnings)


def test_a_candidate_that_does_not_use_its_optimizer(run: Run) -> None:
    found = by_hand(run, "by hand", {"SGD": {"learning_rate": 0.1}})
    (check,) = found.checks
    assert found.verdict == "pass", check.failures
    assert {t.kind for t in check.tensors} == {"loss", "weight"}
    assert any("does not use the optimizer" in warning for warning in check.warnings)
    wrong = by_hand(run, "by hand", {"SGD": {"learning_rate": 0.1001}})
    assert wrong.exit_code == 1


def test_what_a_gradient_function_changes_is_put_back(run: Run) -> None:
    found = by_hand(run, "updates too", kind="factory")
    assert found.verdict == "pass", found.checks[0].failures
    assert any("changed 1 weights (first/kernel)" in warning for warning in found.checks[0].warnings)
    frozen = by_hand(run, "frozen")
    assert any("what is trainable" in warning for warning in frozen.checks[0].warnings)


def test_a_training_step_that_raises_or_returns_no_loss(run: Run) -> None:
    found = by_hand(run, "no loss")
    assert (found.exit_code, found.checks[0].error and found.checks[0].error.code) == (3, "GC055")
    text = LOOP + '\n    def raises(given):\n        raise ValueError("not ready")\n'
    config = trained(MODEL, "SGD", methods=[{"candidate": {"train_step": "./loop.py:raises"}}])
    error = run(config, {"loop.py": text}).checks[0].error
    assert error is not None
    assert (error.code, error.excerpt) == ("GC054", '    raise ValueError("not ready")')


def test_an_update_too_small_for_the_size_of_the_weights(run: Run) -> None:
    """A weight that moves by a millionth of itself is within any tolerance of its own size, moved or not."""
    found = by_hand(run, "one left out", {"SGD": {"learning_rate": 1e-5}}, steps=1)
    (kernel,) = (t for t in found.checks[0].failures if t.path == "first/kernel")
    assert kernel.max_rel_error < 1e-5
    assert kernel.status == "mismatch"


# --- Two copies of the model ---


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


# --- Through the command line ---

HAND_OFF = ", output_gradients=from_loss)"


@pytest.mark.parametrize(("hand_off", "code"), [(HAND_OFF, 0), (")", 1)], ids=["handed over", "forgotten"])
def test_two_models_with_a_training_step_of_their_own(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], hand_off: str, code: int
) -> None:
    from gradcheck.cli.main import main

    source = (root / "configs" / "train_two_models.py").read_text(encoding="utf-8")
    assert HAND_OFF in source
    (tmp_path / "train_two_models.py").write_text(source.replace(HAND_OFF, hand_off), encoding="utf-8")
    config = tmp_path / "train_two_models.yaml"
    config.write_bytes((root / "configs" / "train_two_models.yaml").read_bytes())
    assert main(["run", str(config)]) == code
    assert ("first wrong in step 1 of 5" in capfd.readouterr().out) == bool(code)


@pytest.mark.parametrize(
    ("train", "line", "code", "words"),
    [
        ("{steps: 2, optimizer: Adm}", 1, "GC020", "Adm"),
        ("{steps: 2, optimizer: {Adam: {learning_rate: {ExponentalDecay: {}}}}}", 1, "GC020", "ExponentalDecay"),
        ("{steps: 2, optimizer: {Adam: {beta: 3}}}", 1, "GC004", "beta"),
    ],
)
def test_an_optimizer_that_keras_does_not_have(run: Run, train: str, line: int, code: str, words: str) -> None:
    config = {key: value for key, value in yaml.safe_load(MODEL).items()}
    text = f"train: {train}\n{yaml.safe_dump(config)}"
    error = run(text).error
    assert error is not None
    assert (error.exit_code, error.code, error.line) == (2, code, line)
    assert words in error.message
