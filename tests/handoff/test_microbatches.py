"""Micro-batches: as the whole model over the same slices, and as the whole batch where nothing couples its examples."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import keras
import pytest
import tensorflow as tf
from packaging.version import Version

from gradcheck.errors import ConfigErrors
from gradcheck.handoff.interface import Computed, Tensors
from gradcheck.handoff.microbatches import MicroBatch, accumulated, joined, micro_batches
from gradcheck.handoff.split import HandOff
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.split import Pass
    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

#: Since Keras 3.14 the loss added for an activity is a mean over the batch; before, a sum, which no slices match.
ACTIVITY = {"activity_regularizer": "l2"} if Version(keras.__version__) >= Version("3.14") else {}
DENSE: dict[str, Any] = {
    "model": {
        "input": {"shape": [6]},
        "layers": [
            {"Dense": {"units": 5, "activation": "tanh", "kernel_regularizer": "l2", "name": "first"}},
            {"Dense": {"units": 4, "activation": "tanh", "name": "second", **ACTIVITY}},
            {"Dense": {"units": 3, "name": "out"}},
        ],
    },
    "split": {"after": ["first", "second"]},
    "data": {"batch_size": 10},
    "microbatches": 4,
    "methods": ["vjp", "recompute"],
}
MASKED: dict[str, Any] = {
    "model": {
        "input": {"shape": [5], "dtype": "int32"},
        "layers": [
            {"Embedding": {"input_dim": 4, "output_dim": 3, "mask_zero": True, "name": "table"}},
            {"LSTM": {"units": 4, "return_sequences": True, "name": "lstm"}},
            {"Dense": {"units": 3, "name": "out"}},
        ],
    },
    "split": {"every": "layer"},
    "data": {"batch_size": 10},
    "microbatches": 4,
    "methods": ["vjp", "recompute"],
}
CLASSES = {"SparseCategoricalCrossentropy": {"from_logits": True}}
WEIGHTS = {"sample_weight": {"uniform": {"minval": 0.1, "maxval": 2}}}


def reduced(by: str | None) -> dict[str, Any]:
    return {"MeanSquaredError": {"reduction": by}}


def failing(report: RunReport) -> Any:
    return report.error or [(c.method, t.path, t.status, t.max_rel_error) for c in report.checks for t in c.failures]


WEIGHTED_MEAN = pytest.param("mean_with_sample_weight", marks=pytest.mark.keras("3.7"))
REDUCTIONS = ["sum_over_batch_size", "sum", WEIGHTED_MEAN, None]


def assert_equal_to_the_whole_batch(report: RunReport) -> None:
    assert report.verdict == "pass", failing(report)
    assert not [note for note in report.notes if "GC301" in note], report.notes
    assert any("equal those over the whole batch" in note for note in report.notes)
    for check in report.checks:
        assert check.of_kind("boundary")
        assert {t.shape[0] for t in check.of_kind("output", "boundary")} == {10}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_slices_match_and_sum_up_to_the_whole_batch(run: Run, reduction: str | None, *, weighted: bool) -> None:
    data = {**DENSE["data"], **(WEIGHTS if weighted else {})}
    assert_equal_to_the_whole_batch(
        run({**DENSE, "loss": {"MeanSquaredError": {"reduction": reduction}}, "data": data})
    )


MASKED_DATA = """
    import numpy as np

    def batch(weighted):
        rng = np.random.default_rng(0)
        x = rng.integers(0, 4, (10, 5))
        x[-1] = 0  # the ragged last slice has no unmasked element at all
        weight = rng.uniform(0.1, 2, (10, 5)) if weighted else None
        return x, rng.integers(0, 3, (10, 5)), weight
"""


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_masked_elements_count_for_nothing(run: Run, reduction: str | None, *, weighted: bool) -> None:
    loss = {"SparseCategoricalCrossentropy": {"reduction": reduction, "from_logits": True}}
    data = {"batch_size": 10, "factory": "./data.py:batch", "kwargs": {"weighted": weighted}}
    assert_equal_to_the_whole_batch(run({**MASKED, "loss": loss, "data": data}, {"data.py": MASKED_DATA}))


def test_targets_that_a_loss_ignores_count_for_nothing(run: Run) -> None:
    loss = {"SparseCategoricalCrossentropy": {"ignore_class": 0, "from_logits": True}}
    assert_equal_to_the_whole_batch(run({**DENSE, "loss": loss}))


def test_every_output_has_a_loss_of_its_own(run: Run) -> None:
    layers = [
        {"Dense": {"units": 4, "name": "first"}},
        {"Dense": {"units": 3, "name": "left", "activation": "softmax"}},
    ]
    layers.append({"Dense": {"units": 2, "name": "right"}, "inputs": ["first"]})
    model = {"input": {"shape": [6]}, "layers": layers, "outputs": ["left", "right"]}
    losses = ["CategoricalCrossentropy", {"MeanSquaredError": {"reduction": "sum"}}]
    config = {**DENSE, "model": model, "split": {"every": "layer"}, "loss": losses, "loss_weights": [0.3, 2.0]}
    assert_equal_to_the_whole_batch(run(config))


@pytest.mark.parametrize("plain", ["1 / len(parts)", "len(xs) / len(x)"])
def test_a_ragged_slice_that_counts_as_a_full_one_is_caught(run: Run, plain: str) -> None:
    source = f"""
        import tensorflow as tf

        def gradients(given):
            x, y, totals = given.x, given.y, [0.0] * len(given.variables)
            parts = [(x[i : i + 3], y[i : i + 3]) for i in range(0, len(x), 3)]
            for xs, ys in parts:
                with tf.GradientTape() as tape:
                    loss = tf.reduce_mean((ys - given.model(xs, training=True)) ** 2) * {plain}
                found = tape.gradient(loss, given.variables)
                totals = [total + g for total, g in zip(totals, found)]
            return totals
    """
    layers = [{"Dense": {"units": 4, "name": "first"}}, {"Dense": {"units": 3, "name": "out"}}]
    model = {"input": {"shape": [6]}, "layers": layers}
    method = {"candidate": {"factory": "./mine.py:gradients"}}
    config = {**DENSE, "model": model, "split": {"after": "first"}, "loss": "MeanSquaredError", "methods": [method]}
    report = run(config, {"mine.py": source})
    assert report.verdict == ("fail" if "parts" in plain else "pass"), failing(report)


NORM: dict[str, Any] = {
    **DENSE,
    "model": {
        "input": {"shape": [6]},
        "layers": [
            {"Dense": {"units": 5, "name": "first"}},
            {"BatchNormalization": {"name": "norm", "momentum": 0.5}},
            {"Dropout": {"rate": 0.3, "name": "drop"}},
            {"Dense": {"units": 3, "name": "out"}},
        ],
    },
    "split": {"every": "layer"},
}


@pytest.mark.parametrize(
    ("schedule", "execution"),
    [
        ("gpipe", "eager"),
        ("gpipe", "graph"),
        pytest.param("gpipe", "xla", marks=pytest.mark.on_request),
        ("1f1b", "eager"),
        pytest.param("1f1b", "graph", marks=pytest.mark.on_request),
        ("1f1b", "xla"),
    ],
)
def test_what_couples_the_batch_is_explained_and_fails_nothing(run: Run, schedule: str, execution: str) -> None:
    report = run({**NORM, "schedule": schedule, "execution": execution})
    assert report.verdict == "pass", failing(report)
    (note,) = (note for note in report.notes if note.startswith("GC301"))
    assert "norm normalises each slice by its own statistics" in note
    assert "drop draws other random numbers" in note
    for check in report.checks:
        assert {t.path for t in check.of_kind("state")} >= {"norm/moving_mean", "norm/moving_variance"}


SHARED_SEED = """
    import keras

    def build():
        seed = keras.random.SeedGenerator(3)

        class Noise(keras.layers.Layer):
            def __init__(self, **kwargs):
                super().__init__(**kwargs)
                self.seed_generator = seed

            def call(self, x):
                return x * (1 + keras.random.normal(keras.ops.shape(x), seed=self.seed_generator))

        x = keras.Input((6,))
        y = Noise(name="noise_1")(keras.layers.Dense(5, name="first")(x))
        y = Noise(name="noise_2")(keras.layers.Dense(4, name="second")(y))
        return keras.Model(x, keras.layers.Dense(3, name="out")(y))
"""


@pytest.mark.parametrize("schedule", ["gpipe", "1f1b"])
def test_a_seed_that_stages_share_is_drawn_from_in_the_order_of_the_whole_model(run: Run, schedule: str) -> None:
    config = {**DENSE, "model": {"factory": "./model.py:build"}, "schedule": schedule, "methods": ["vjp"]}
    report = run({**config, "split": {"after": ["noise_1", "noise_2"]}}, {"model.py": SHARED_SEED})
    assert report.verdict == "pass", failing(report)


@pytest.mark.parametrize(("schedule", "peak"), [("gpipe", [4, 4, 4]), ("1f1b", [3, 2, 1])])
def test_no_more_activations_live_than_the_schedule_says(
    run: Run, monkeypatch: pytest.MonkeyPatch, schedule: str, peak: list[int]
) -> None:
    """Counts the passes that nothing has freed, which hold tapes and activations."""
    alive: dict[int, weakref.WeakSet[Any]] = {}
    most = [0, 0, 0]
    forward = HandOff.run

    def counted(self: HandOff, segment: Segment, inputs: Sequence[Any], *, training: bool) -> Pass:
        done = forward(self, segment, inputs, training=training)
        gc.collect()
        stage = segment.plan.index
        alive.setdefault(stage, weakref.WeakSet()).add(done.tape)
        most[stage] = max(most[stage], len(alive[stage]))
        return done

    monkeypatch.setattr(HandOff, "run", counted)
    gc.freeze()  # what exists already is none of these passes, and slow to look through
    try:
        report = run({**DENSE, "schedule": schedule, "methods": ["vjp"]})
    finally:
        gc.unfreeze()
    assert report.verdict == "pass", failing(report)
    found = report.checks[0].schedule
    assert found is not None
    assert [stage.peak_activations for stage in found.stages] == peak == most


def test_fewer_slices_than_asked_for_are_said(run: Run) -> None:
    report = run({**DENSE, "data": {"batch_size": 9}})
    assert report.verdict == "pass", failing(report)
    assert "microbatches: 4 slices of 3 examples are 3 for a batch of 9" in report.notes


def test_more_slices_than_examples_are_refused(run: Run) -> None:
    report = run({**DENSE, "data": {"batch_size": 3}})
    assert (report.verdict, report.exit_code) == ("error", 2)
    assert report.error is not None
    assert "4 micro-batches of a batch of 3" in report.error.message
    assert report.error.excerpt == "microbatches: 4"


def test_a_method_of_the_whole_batch_is_refused(run: Run) -> None:
    with pytest.raises(ConfigErrors, match="`jacobian` does not run in micro-batches") as caught:
        run({**DENSE, "methods": ["vjp", "jacobian"]})
    (mistake,) = caught.value.mistakes
    assert mistake.location is not None
    assert "jacobian" in (mistake.location.excerpt or "")


def test_a_model_of_a_fixed_batch_is_refused(run: Run) -> None:
    source = """
        import keras

        def build():
            x = keras.Input(batch_shape=(10, 6))
            return keras.Model(x, keras.layers.Dense(3, name="out")(keras.layers.Dense(4, name="first")(x)))
    """
    report = run({**DENSE, "model": {"factory": "./model.py:build"}, "split": {"after": "first"}}, {"model.py": source})
    assert report.exit_code == 2
    assert report.error is not None
    assert "fixed shape (10, 6)" in report.error.message


@pytest.mark.parametrize("method", ["vjp", "recompute", "jacobian"])
@pytest.mark.parametrize("execution", ["eager", "graph"])
def test_saturated_predictions_are_differentiated_through_their_logits_as_keras_does(
    run: Run, method: str, execution: str
) -> None:
    """A probability of 0 or 1 has no gradient; the logits that Keras hides on it have one."""
    layers = [{"Dense": {"units": 4, "name": "first"}}, {"Dense": {"units": 3, "activation": "softmax", "name": "out"}}]
    config = {
        "model": {"input": {"shape": [6]}, "layers": layers},
        "split": {"every": "layer"},
        "loss": "CategoricalCrossentropy",
        "data": {"batch_size": 4, "inputs": {"normal": {"stddev": 1000.0}}},
        "methods": [method],
        "execution": execution,
    }
    report = run(config)
    assert report.verdict == "pass", failing(report)
    assert not [t.path for t in report.checks[0].of_kind("weight", "boundary") if t.status == "dead"]


X, W, B = TensorKey("input", "x"), TensorKey("weight", "w"), TensorKey("boundary", "b")
ONE, GONE = TensorKey("boundary", "one"), TensorKey("input", "gone")


def test_what_the_slices_found_is_joined_as_if_by_one_batch() -> None:
    def part(loss: float, rows: list[float]) -> Computed:
        column = tf.reshape(tf.constant(rows), (-1, 1))
        gradients = {X: 10 * column, B: 100 * column, ONE: tf.constant(loss), GONE: None}
        return Computed(tf.constant(loss), [column, tf.constant(loss)], gradients)

    def plain(computed: Computed) -> tuple[float, list[Any], dict[TensorKey, Any]]:
        found = {key: None if g is None else g.numpy().ravel().tolist() for key, g in computed.gradients.items()}
        return float(computed.loss), [output.numpy().ravel().tolist() for output in computed.outputs], found

    parts, weights = [part(3.0, [1.0, 2.0]), part(5.0, [4.0])], {W: tf.constant(8.0)}
    loss, outputs, found = plain(joined(parts, weights))
    assert (loss, outputs) == (8.0, [[1, 2, 4], [3, 5]])
    assert found == {X: [10, 20, 40], B: [100, 200, 400], ONE: [3, 5], GONE: None, W: [8]}
    unscaled = {X: [2.5, 5, 10], W: [2]}  # what crosses a boundary crosses it scaled
    assert plain(joined(parts, weights, tf.constant(4.0))) == (loss, outputs, found | unscaled)
    whole = joined(parts[:1], weights)
    assert whole.loss is parts[0].loss
    assert whole.gradients[ONE] is parts[0].gradients[ONE]  # a scalar of the whole batch stays one


@pytest.mark.parametrize("weighted", [False, True])
def test_a_slice_has_its_part_of_everything_and_what_it_counts_for(*, weighted: bool) -> None:
    def part(rows: slice, share: float) -> Any:
        return SimpleNamespace(of=lambda tensor: tensor[rows], scales=(share, None), share=share)

    x, y, weight, scale = [1, 2, 3], [10, 20, 30], [0.1, 0.2, 0.3], 4.0
    batch = Tensors([x], [y, x], [weight] if weighted else None, scale)
    problem: Any = SimpleNamespace(slices=[part(slice(0, 2), 0.75), part(slice(2, 3), 0.25)])
    assert micro_batches(problem, batch) == [
        MicroBatch(Tensors([x[:2]], [y[:2], x[:2]], [weight[:2]] if weighted else None, scale), (0.75, None), 0.75),
        MicroBatch(Tensors([x[2:]], [y[2:], x[2:]], [weight[2:]] if weighted else None, scale), (0.25, None), 0.25),
    ]
    problem.slices = None
    assert micro_batches(problem, batch) == [MicroBatch(batch)]


def test_what_is_accumulated_is_added_up() -> None:
    totals: dict[TensorKey, Any] = {X: tf.constant(1.0)}
    accumulated(totals, [(X, tf.constant(2.0)), (W, tf.constant(3.0)), (W, None)])
    assert {key: float(total) for key, total in totals.items()} == {X: 3.0, W: 3.0}
