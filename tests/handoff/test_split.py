"""Correct models that a checker may well call wrong: each is cut after every call, and must match."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

MODELS = """
    import keras
    from keras import Input, Model, layers, ops

    class AddsLosses(layers.Layer):
        def call(self, x):
            self.add_loss(ops.mean(ops.square(x), axis=-1))
            return x * 1.5

    def sequential():
        inner = keras.Sequential([layers.Dense(4), layers.Dropout(0.2)])
        return keras.Sequential([Input((4,)), layers.Dense(4), inner, layers.Dense(2)])

    def integers_become_floats():
        x = Input((8, 8, 3), dtype="uint8")
        y = layers.Conv2D(2, 3)(layers.Rescaling(1 / 255.0)(x))
        return Model(x, layers.Dense(2)(layers.Flatten()(y)))

    def stopped_gradient():
        x = Input((5,))
        return Model(x, layers.Dense(2)(layers.Dense(3)(ops.stop_gradient(layers.Dense(4)(x)))))

    def routed_by_top_k():
        x = Input((5,))
        gates = layers.Dense(4, activation="softmax")(x)
        _, chosen = ops.top_k(gates, 2)
        gates = gates * ops.sum(ops.one_hot(chosen, 4), axis=1)
        gates = gates / ops.sum(gates, -1, keepdims=True)
        experts = ops.stack([layers.Dense(3)(x) for _ in range(4)], axis=1)
        return Model(x, layers.Dense(2)(ops.einsum("be,bed->bd", gates, experts)))

    def embedding_tied_by_an_operation():
        x = Input((6,), dtype="int32")
        tokens = layers.Embedding(11, 8)
        y = layers.LayerNormalization()(layers.Dense(8)(tokens(x)))
        return Model(x, ops.einsum("btd,vd->btv", y, tokens.embeddings))

    def embedding_tied_in_a_closure():
        x = Input((6,), dtype="int32")
        tokens = layers.Embedding(11, 8)
        y = layers.Dense(8)(tokens(x))
        return Model(x, layers.Lambda(lambda t: ops.matmul(t, ops.transpose(tokens.embeddings)))(y))

    def nested_with_its_own_mask():
        j = Input((6, 4))
        inner = Model(j, layers.GRU(3)(layers.LSTM(4, return_sequences=True)(j)))
        x = Input((6,), dtype="int32")
        mask = layers.Lambda(lambda t: ops.not_equal(t, 1), output_shape=(6,), dtype="int32")(x)
        return Model(x, layers.Dense(2)(inner(layers.Embedding(11, 4)(x), mask=mask)))

    def converted_twice_on_entry():
        a = Input((4,))
        inner = Model(a, layers.Dense(3)(a))
        b = Input((4,), dtype="int32")
        outer = Model(b, inner(b))
        x = Input((4,))
        return Model(x, layers.Dense(2)(outer(layers.Dense(4)(x) * 5.0)))

    def converted_on_the_way_out():
        a, b = Input((4,)), Input((4,))
        inner = Model([a, b], [b, layers.Dense(4)(a)])
        x = Input((4,))
        y = layers.Dense(4)(x)
        return Model(x, inner([y, layers.Dense(4, dtype="mixed_bfloat16")(y)]))

    def losses_of_two_dtypes():
        x = Input((4,))
        y = layers.Dense(4, activity_regularizer="l2", dtype="float16")(x)
        y = layers.Dense(4, activity_regularizer="l2", kernel_regularizer="l2")(ops.cast(y, "float32"))
        return Model(x, layers.Dense(2)(y))

    def a_loss_for_each_example():
        x = Input((4,))
        return Model(x, layers.Dense(2)(AddsLosses()(layers.Dense(4)(x))))

    def rows_are_not_examples():
        x = Input((6, 5))
        return Model(x, ops.reshape(layers.Dense(4)(x), (-1, 4)))

    def batch_summed():
        x = Input((5,))
        return Model(x, ops.sum(layers.Dense(4)(x), 0))

    def one_number():
        x = Input((5,))
        return Model(x, ops.sum(layers.Dense(4)(x)))

    def recomputed():
        with keras.RematScope(mode="full"):
            j = Input((4,))
            inner = Model(j, layers.Dense(4)(layers.Dense(4)(j)))
        x = Input((4,))
        return Model(x, layers.Dense(2)(inner(layers.Dense(4)(x))))

    class Drops(layers.Layer):
        def __init__(self, seed, **kwargs):
            super().__init__(**kwargs)
            self.seed = seed

        def call(self, x):
            return keras.random.dropout(x, 0.5, seed=self.seed)

    def shared_seed():
        seed = keras.random.SeedGenerator(1)
        x = Input((8,))
        return Model(x, layers.Dense(2)(Drops(seed)(layers.Dense(8)(Drops(seed)(layers.Dense(8)(x))))))

    def variable_of_no_layer():
        x = Input((4,))
        scale = keras.Variable(keras.ops.ones((4,)), name="scale")
        return Model(x, layers.Dense(2)(ops.multiply(layers.Dense(4)(x), scale)))

    def softmax():
        x = Input((4,))
        return Model(x, layers.Dense(3, activation="softmax")(layers.Dense(4)(x)))

    def output_that_feeds_on():
        x = Input((4,))
        early = layers.Dense(3, name="early")(x)
        return Model(x, [early, layers.Dense(2, name="late")(early), early])

    def one_input_late_and_one_unused():
        x, late, unused = Input((4,)), Input((3,)), Input((2,))
        y = layers.Concatenate()([layers.Dense(3)(x), late])
        return Model([x, late, unused], layers.Dense(2)(y))

    def states_of_an_lstm():
        x = Input((5, 3))
        sequence, hidden, cell = layers.LSTM(4, return_sequences=True, return_state=True)(x)
        return Model(x, layers.Dense(2)(layers.LSTM(4)(sequence, initial_state=[hidden, cell])))
"""

#: Whose tape is None, on purpose, where the loss moves: the trial of the reference says so, and a split agrees with it.
STOPPED = frozenset({"stopped_gradient"})
SINCE = {"stopped_gradient": pytest.mark.keras("3.6"), "recomputed": pytest.mark.keras("3.9")}
NAMES = [line.split()[1].partition("(")[0] for line in MODELS.splitlines() if line.startswith("    def ")]


@pytest.mark.third
@pytest.mark.parametrize("name", [pytest.param(name, marks=SINCE.get(name, ())) for name in NAMES])
def test_correct_models_match(run: Run, name: str) -> None:
    config: dict[str, Any] = {"model": {"factory": f"./models.py:{name}"}, "split": {"every": "layer"}}
    trial = {"verify_reference": "never"} if name in STOPPED else {}
    report = run({**config, "data": {"batch_size": 3}, **trial}, {"models.py": MODELS})
    assert report.verdict == "pass", report.error or [(t.path, t.status) for t in report.checks[0].failures]
    assert report.warnings == ()


@pytest.mark.parametrize("loss", ["CategoricalCrossentropy", "BinaryCrossentropy"])
def test_saturated_probabilities_behind_a_cross_entropy(run: Run, loss: str) -> None:
    config: dict[str, Any] = {"model": {"factory": "./models.py:softmax"}, "split": {"every": "layer"}, "loss": loss}
    data = {"batch_size": 4, "inputs": {"normal": {"stddev": 30.0}}}
    report = run({**config, "data": data}, {"models.py": MODELS})
    assert report.checks[0].outcome == "match", report.checks[0].failures


def test_a_tied_weight_without_its_second_use_is_caught(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradcheck.problem.problem import Problem

    def only_of_layers(problem: Problem, tape: Any) -> list[Any]:
        seen = {id(v) for v in tape.watched_variables()}
        return [w.variable.value for w in problem.weights if id(w.variable.value) in seen][1:]

    monkeypatch.setattr(Problem, "used_variables", only_of_layers)
    config: dict[str, Any] = {"model": {"factory": "./models.py:embedding_tied_by_an_operation"}, "split": {"parts": 2}}
    assert run(config, {"models.py": MODELS}).verdict == "fail"


def test_one_config_leaves_no_settings_to_the_next(run: Run) -> None:
    import keras
    import tensorflow as tf

    meddling = """
        import keras
        import tensorflow as tf

        def build():
            keras.config.set_image_data_format("channels_first")
            keras.config.set_epsilon(0.5)
            tf.config.run_functions_eagerly(True)
            x = keras.Input((4,))
            return keras.Model(x, keras.layers.Dense(2)(keras.layers.Dense(3)(x)))
    """
    assert (
        run({"model": {"factory": "./own.py:build"}, "split": {"every": "layer"}}, {"own.py": meddling}).verdict
        == "pass"
    )
    assert keras.config.image_data_format() == "channels_last"
    assert keras.config.epsilon() == pytest.approx(1e-7)
    assert not tf.config.functions_run_eagerly()


@pytest.mark.parametrize("shared", ["Dropout: {rate: 0.5, name: shared", "BatchNormalization: {name: shared"])
def test_a_cut_against_the_order_of_the_calls_of_one_layer(run: Run, shared: str) -> None:
    """The second call alone before the first would draw the first one's mask, and move statistics in another order."""
    config = f"""
        model:
          input: {{a: {{shape: [4]}}, b: {{shape: [4]}}}}
          layers:
            - {shared}, inputs: [a]}}
            - Dense: {{units: 4, activation: tanh, name: of_a}}
            - call: {{layer: shared, inputs: [b], name: again}}
            - Dense: {{units: 4, activation: tanh, name: of_b}}
            - Add: {{name: joined, inputs: [of_a, of_b]}}
            - Dense: 2
        split: {{after: [of_a, of_b]}}
        data: {{batch_size: 5}}
        methods: [vjp, recompute, jacobian]
    """
    report = run(config)
    assert [check.outcome for check in report.checks] == ["match"] * 3
    assert any("takes shared" in note and "stay in order" in note for note in report.notes), report.notes
