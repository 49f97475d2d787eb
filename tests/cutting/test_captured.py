"""Constants that are made of weights while a model is built."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

HEAD = """
    from functools import partial

    import keras
    import numpy as np
    import tensorflow as tf
    from keras import layers, ops

    class Layer(layers.Layer):
        def build(self, shape):
            self.mu = self.add_weight(shape=(shape[-1], 3), name="mu")
            self.put_together()

        def put_together(self):
            pass

        def call(self, x):
            return x @ self.kernel

    class Tied(layers.Layer):
        def __init__(self, table, **kwargs):
            super().__init__(**kwargs)
            self.table = [table]  # in a list, so that its weights stay those of the other layer

        def build(self, shape):
            self.matrix = ops.transpose(self.table[0].embeddings)

        def call(self, x):
            return x @ self.matrix

    def words(finish):
        x = keras.Input([5], dtype="int32")
        table = layers.Embedding(7, 4, name="table")
        hidden = layers.Dense(4, name="hidden")(table(x))
        return keras.Model(x, finish(table, hidden))

    def numbers(layer):
        x = keras.Input([4])
        y = layer(layers.Dense(4, name="before")(x))
        return keras.Model(x, layers.Dense(2, name="after")(y))
"""


@pytest.fixture
def built(tmp_path: Path) -> Callable[..., Any]:
    """The problem of a model that the function `build` makes; `then` is called with it inside its session."""

    def prepared(
        code: str, then: Callable[[Any], Any] = lambda problem: dict(problem.captured_in), **config: Any
    ) -> Any:
        from gradcheck.config.schema import Config
        from gradcheck.problem.prepare import prepare, session

        (tmp_path / "model.py").write_text(dedent(HEAD) + dedent(code), encoding="utf-8")
        loaded = Config.model_validate({"model": {"factory": "./model.py:build"}, "data": {"batch_size": 2}, **config})
        with session(loaded):
            return then(prepare(loaded, tmp_path))

    return prepared


@pytest.mark.parametrize(
    ("finish", "holder"),
    [
        ("ops.matmul(hidden, ops.transpose(table.embeddings))", "operation matmul"),
        ("ops.matmul(hidden, tf.transpose(table.embeddings))", "operation matmul"),
        ("ops.matmul(hidden, 0.5 * ops.transpose(table.embeddings))", "operation matmul"),
        ("hidden * table.embeddings[0]", "operation multiply"),
        ("hidden + ops.mean(table.embeddings, axis=0)", "operation add"),
        ("ops.einsum('bte,ve->btv', hidden, ops.copy(table.embeddings))", "operation einsum"),
        ("ops.where(hidden > 0, hidden, tf.identity(table.embeddings.value)[1])", "operation where"),
        ("Tied(table, name='tied')(hidden)", "layer tied (matrix)"),
        ("closing_over(table)(hidden)", "layer mine (function)"),
        ("layers.Lambda(partial(times, b=turned(table)), name='mine')(hidden)", "layer mine (function)"),
        ("layers.Lambda(times, arguments={'b': turned(table)}, name='mine')(hidden)", "layer mine (arguments)"),
        ("layers.Dense(4, activation=closing_over(table).function, name='mine')(hidden)", "layer mine (activation)"),
    ],
)  # fmt: skip
def test_a_table_that_is_used_outside_a_call(built: Callable[..., Any], finish: str, holder: str) -> None:
    code = f"""
    def closing_over(table):
        matrix = ops.transpose(table.embeddings)
        return layers.Lambda(lambda x: x @ matrix, output_shape=(5, 7), name="mine")

    def times(a, b):
        return a @ b

    def turned(table):
        return ops.transpose(table.embeddings)

    def build():
        return words(lambda table, hidden: {finish})
    """
    assert built(code) == {"table/embeddings": (holder,)}


@pytest.mark.parametrize(
    "finish",
    [
        "ops.matmul(hidden, table.embeddings)",
        "hidden",
        "layers.Lambda(lambda x: x @ tf.transpose(table.embeddings), output_shape=(5, 7))(hidden)",
        "hidden + np.ones(4, 'float32')",
        "hidden * ops.convert_to_tensor([1.0, 2.0, 3.0, 4.0])",
        "hidden * float(table.embeddings.shape[0])",
        "hidden * ops.cast(ops.shape(table.embeddings)[0], 'float32')",
        "hidden + ops.stop_gradient(table.embeddings)[0]",
    ],
)
def test_what_captures_nothing(built: Callable[..., Any], finish: str) -> None:
    finish = finish.replace(
        "ops.matmul(hidden, table.embeddings)", "ops.matmul(ops.transpose(hidden, (0, 2, 1)), hidden)"
    )
    assert built(f"def build():\n    return words(lambda table, hidden: {finish})\n") == {}


@pytest.mark.parametrize(
    ("put_together", "attribute"),
    [
        ("self.kernel = self.mu + 0.0", "kernel"),
        ("self.kernel = tf.nn.l2_normalize(self.mu, 0)", "kernel"),
        ("self.kernel = self.mu * self.add_weight(shape=(), initializer='ones', name='scale')", "kernel"),
        ("self.kept = {'kernel': [ops.square(self.mu)]}; self.kernel = 1.0 * self.kept['kernel'][0]", "kept"),
    ],
)
def test_a_kernel_that_is_put_together_in_build(built: Callable[..., Any], put_together: str, attribute: str) -> None:
    code = f"""
    class Own(Layer):
        def put_together(self):
            {put_together}

    def build():
        return numbers(Own(name="own"))
    """
    found = built(code)
    assert f"layer own ({attribute})" in found["own/mu"]
    assert set(found) <= {"own/mu", "own/scale"}


def test_a_weight_with_another_gradient_is_found_too(built: Callable[..., Any]) -> None:
    code = """
    class Own(layers.Layer):
        def build(self, shape):
            self.mu = self.add_weight(shape=(4, 3), name="mu", regularizer="l2")
            self.kernel = self.mu * 2.0

        def call(self, x):
            return x @ self.kernel

    def build():
        return numbers(Own(name="own"))
    """
    assert built(code) == {"own/mu": ("layer own (kernel)",)}


def test_frozen_weights_do_not_count(built: Callable[..., Any]) -> None:
    code = """
    class Own(Layer):
        def put_together(self):
            self.kernel = self.mu * 2.0

    def build():
        return numbers(Own(name="own", trainable=False))
    """
    assert built(code) == {}


def test_weights_loaded_afterwards_make_no_difference(built: Callable[..., Any]) -> None:
    code = """
    def build():
        model = words(lambda table, hidden: ops.matmul(hidden, ops.transpose(table.embeddings)))
        model.set_weights([w + 1.0 for w in model.get_weights()])
        return model
    """
    assert built(code) == {"table/embeddings": ("operation matmul",)}


TRAINED = """
    def build():
        model = words(lambda table, hidden: ops.matmul(hidden, ops.transpose(table.embeddings)))
        x, y = np.zeros((8, 5), "int32"), np.zeros((8, 5, 7), "float32")
        TRAIN
        return model
"""


@pytest.mark.parametrize(
    "train",
    [
        "model.compile('sgd', 'mse'); model.fit(x, y, epochs=2, verbose=0); model.predict(x, verbose=0)",
        "model.compile('sgd', 'mse', run_eagerly=True); model.fit(x, y, epochs=2, verbose=0)",
        "tf.function(lambda: tf.reduce_sum(model(x)))()",
    ],
)
def test_training_while_building_makes_no_difference(built: Callable[..., Any], train: str) -> None:
    assert built(TRAINED.replace("TRAIN", train)) == {"table/embeddings": ("operation matmul",)}


def test_nothing_of_what_runs_while_building_is_kept() -> None:
    import keras
    import tensorflow as tf

    from gradcheck.cutting.captured import reads_recorded

    def run(model: Any) -> Any:
        model(tf.ones((2, 4)))
        function = tf.function(lambda: tf.reduce_sum(model(tf.ones((2, 4)))))
        function()
        return function

    x = keras.Input([4])
    model = keras.Model(x, keras.layers.Dense(3)(keras.layers.Dense(3, activation="tanh")(x)))
    with tf.GradientTape(persistent=True) as plain:
        function = run(model)
    before = keras.layers.Layer.__call__, type(function).__call__
    with reads_recorded() as tape:
        run(model)
    assert (len(plain.watched_variables()), len(tape.watched_variables())) == (4, 0)
    assert (keras.layers.Layer.__call__, type(function).__call__) == before


def test_a_model_that_is_built_by_its_first_values(built: Callable[..., Any]) -> None:
    code = """
    class Own(Layer):
        def put_together(self):
            self.kernel = self.mu * 2.0

    def build():
        own = Own(name="own")
        own(np.ones((2, 4), "float32"))
        return numbers(own)
    """
    assert built(code) == {"own/mu": ("layer own (kernel)",)}


def test_parts_of_a_model(built: Callable[..., Any]) -> None:
    code = """
    class Own(Layer):
        def put_together(self):
            self.kernel = self.mu * 2.0

    def front():
        x = keras.Input([4])
        return keras.Model(x, Own(name="own")(x), name="front")

    def back():
        x = keras.Input([3])
        return keras.Model(x, layers.Dense(2, name="last")(x), name="back")

    def whole():
        x = keras.Input([4])
        return keras.Model(x, layers.Dense(2, name="last")(Own(name="own")(x)))
    """
    parts: dict[str, Any] = {"segments": [{"factory": "./model.py:front"}, {"factory": "./model.py:back"}]}
    assert list(built(code, model=parts)) == ["own/mu"]
    assert built(code, model={**parts, "reference": {"factory": "./model.py:whole"}}) == {
        "own/mu": ("layer own (kernel)",)
    }


def test_it_is_a_warning_of_the_run(run: Run) -> None:
    code = (
        HEAD
        + """
    class Own(Layer):
        def put_together(self):
            self.sigma = self.add_weight(shape=(4, 3), name="sigma")
            self.kernel = self.mu + self.sigma

    def build():
        return numbers(Own(name="own"))

    def tied():
        return words(lambda table, hidden: ops.matmul(hidden, ops.transpose(table.embeddings)))
    """
    )
    config = {"model": {"factory": "./model.py:build"}, "split": {"after": ["before"]}}
    report = run(config, {"model.py": code})
    assert (report.verdict, report.exit_code) == ("pass", 0)
    (warning,) = report.warnings
    assert warning == (
        "captured as a constant while the model was built: own/mu, own/sigma (layer own (kernel)). No gradient passes "
        "through it, and training does not change it; compute it in `call`"
    )
    notes = {t.path: t.note for t in report.checks[0].of_kind("weight") if t.status == "absent"}
    said = (
        "the forward pass never reads it: it was captured as a constant while the model was built (layer own (kernel))"
    )
    assert notes == {"own/mu": said, "own/sigma": said}
    required = run({**config, "require": "all"}, {"model.py": code})
    assert (required.verdict, [found.path for found in required.unproven]) == ("fail", ["own/mu", "own/sigma"])
    tied = run({**config, "model": {"factory": "./model.py:tied"}, "split": {"after": ["hidden"]}}, {"model.py": code})
    assert (tied.verdict, tied.unproven) == ("pass", ())
    assert tied.warnings[0].startswith("captured as a constant while the model was built: table/embeddings (operation ")
    assert {t.status for t in tied.checks[0].of_kind("weight")} <= {"exact", "close"}  # by its other use alone
