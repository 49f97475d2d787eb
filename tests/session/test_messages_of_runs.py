"""What is said of a config that cannot be computed, or proves nothing: the cause, its place, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.problem import budget
from gradcheck.reporters.parts.words import vacuous_advice

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

LAYERS = "model: {{input: {{shape: [4]}}, layers: [{{Dense: {{units: 3, name: a}}}}, {}]}}\n"
SPLIT = "split: {after: [a]}\nverify_reference: never\n"
DENSE = LAYERS.format("Dense: 3") + SPLIT
VOLUME = "{{input: {{shape: [3, 4, 4, 1]}}, layers: [{{Conv3D: {{filters: 2, kernel_size: 1, name: a}}}}, {}]}}"
CODE = {
    "layers.py": """
        import keras, tensorflow as tf

        class Rounded(keras.layers.Layer):
            def call(self, x):
                return tf.round(x)

        class Mine(keras.layers.Layer):
            def __init__(self, units, **kwargs):
                super().__init__(**kwargs)

        class Both(keras.layers.Layer):
            def build(self, shapes):
                self.kernel = self.add_weight(shape=(shapes[0][-1], shapes[1][-1]))

            def call(self, xs):
                return xs[0] @ self.kernel + xs[1]

        class Complex(keras.layers.Layer):
            def call(self, x):
                return tf.cast(tf.complex(x, x) ** 2, tf.float32)

        def build(width=4):
            x = keras.Input((4,))
            return keras.Model(x, keras.layers.Dense(width)(x))

        model = build()

        def physics(model, x, y):
            return tf.reduce_mean(model(x))

        def needs_x():
            return lambda x, y, output: tf.reduce_mean(output)
    """
}


@pytest.mark.parametrize(
    ("text", "code", "under", "said", "meant"),
    [
        (LAYERS.format("Dense: 1") + SPLIT + "loss: CategoricalCrossentropy\n", "GC031",
         "CategoricalCrossentropy", "(None, 1)", "BinaryCrossentropy"),
        (LAYERS.format("Dense: 1") + SPLIT + "loss: {SparseCategoricalCrossentropy: {from_logits: true}}\n", "GC031",
         None, "one unit a class", "two units"),
        (DENSE + "loss: MeanSquaredError\ndata: {npz: wide.npz}\n", "GC030", "wide.npz", "shape (2, 5)",
         "[2,5] vs. [2,3]"),
        (DENSE + "loss: BinaryCrossentropy\nexecution: graph\ndata: {npz: wide.npz}\n", "GC030", "wide.npz",
         "takes targets of shape (2, 3)", None),
        (DENSE + "data: {npz: wide.npz}\n", "GC030", "wide.npz", "random_cotangent", None),
        (f"model: {VOLUME.format('ReLU')}\n" + SPLIT
         + "loss: mse\ndata: {sample_weight: {constant: [1, 2]}}\n", "GC030", "{constant: [1, 2]}",
         "no sample weights of shape (2,)", "(2, 1, 1, 1)"),
        (f"model: {VOLUME.format('MaxPooling3D: 2')}\n" + SPLIT + "precision: float64\n", "GC053", None,
         "MaxPool3D takes no float64, only float16, bfloat16, float32", "another `precision`"),
        ("model: {input: {shape: [3, 2]}, layers: [{GRU: {units: 2, name: a}}, {Dense: 1}]}\nprecision: bfloat16\n"
         + SPLIT, "GC021", "{GRU: {units: 2, name: a}}", "Qr takes no bfloat16",
         "recurrent_initializer: glorot_uniform"),
        (LAYERS.format("'./layers.py:Mine': {unts: 3}") + SPLIT, "GC021", "unts", "no argument `unts`", "`units`"),
        (LAYERS.format("'./layers.py:Both'") + SPLIT, "GC051", None, "not subscriptable", "inputs: [name, ...]"),
        ("model: {factory: './layers.py:model'}\nsplit: {every: layer}\n", "GC051", "'./layers.py:model'",
         "must be a function", "returns `model`"),
        ("model: {factory: './layers.py:build', kwargs: {widht: 3}}\nsplit: {every: layer}\n", "GC051", "widht",
         "widht", "did you mean `width`?"),
        (DENSE + "loss: {factory: './layers.py:physics'}\n", "GC053", "'./layers.py:physics'", "'model'", "of_model"),
        (DENSE + "loss: {factory: './layers.py:needs_x'}\n", "GC053", "'./layers.py:needs_x'", "(x, y, output)",
         "of_model"),
    ],
)  # fmt: skip
def test_an_error_says_its_cause(
    text: str, code: str, under: str | None, *, said: str, meant: str | None, run: Run, tmp_path: Path
) -> None:
    np.savez(tmp_path / "wide.npz", x=np.ones((2, 4), np.float32), y=np.ones((2, 5), np.float32))
    error = run(text, CODE).error
    assert error is not None
    assert (error.code, said in error.message) == (code, True), error
    assert "{{" not in error.message + str(error.help)
    assert meant is None or meant in str(error.help)
    if under is not None:
        assert error.excerpt is not None
        assert error.excerpt[(error.column or 1) - 1 :][: error.length] == under


def test_targets_that_the_loss_broadcasts_are_right(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "thin.npz", x=np.ones((2, 4), np.float32), y=np.ones((2, 1), np.float32))
    assert run(DENSE + "loss: MeanSquaredError\ndata: {npz: thin.npz}\n").verdict == "pass"


def test_where_every_gradient_stops_is_the_advice(run: Run) -> None:
    report = run(LAYERS.format("'./layers.py:Rounded'") + SPLIT, CODE)
    assert report.verdict == "vacuous"
    assert "stops at Round, which has no gradient (layers.py:6)" in vacuous_advice(report)
    assert "trainable=True" not in vacuous_advice(report)


def test_casts_of_complex_numbers_are_one_note(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    report = run(LAYERS.format("'./layers.py:Complex'") + SPLIT, CODE)
    (note,) = (note for note in report.notes if "complex" in note)
    assert "(layers.py:21)" in note
    assert "warned" in note
    assert not [record for record in caplog.records if "casting" in record.getMessage()]


def test_auto_is_the_memory_of_the_whole_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    config: dict[str, Any] = {
        "model": {"input": {"shape": [4]}, "layers": [{"Dense": {"units": 3, "name": "a"}}, {"Dense": 1}]},
        "split": {"after": ["a"]},
        "data": {"batch_size": 1_000_000},
    }
    monkeypatch.setattr(budget, "free_bytes", lambda: 100 * 2**20)  # one pass takes 31 MiB
    error = run(config).error
    assert error is not None
    assert (error.code, error.excerpt) == ("GC056", "  batch_size: 1000000")
    assert "the run would take about 0.119 GiB" in error.message
    assert "80% of the memory that is free" in error.message
    small = run({**config, "data": {"batch_size": 100}})
    assert small.verdict == "pass"
