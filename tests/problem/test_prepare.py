"""From a config of a subclassed model to its cut: what is found, what stays one call, and what is said of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

MODELS = """
    import keras
    import numpy as np
    from keras import layers, ops


    class Part(layers.Layer):
        def __init__(self, kind):
            super().__init__()
            self.kind = kind
            self.dense = layers.Dense(3, activation="tanh")
            self.norm = layers.BatchNormalization()
            self.drop = layers.Dropout(0.5)

        def call(self, x, training=None):
            h = self.norm(self.drop(self.dense(x), training=training), training=training)
            if self.kind == "frozen" and isinstance(x, keras.KerasTensor):
                h = h + 1.0
            if self.kind == "branch" and ops.max(h) > 1e9:
                h = -h
            if self.kind == "length":
                h = ops.concatenate([ops.zeros((x.shape[0], 1)), h], axis=1)[:, 1:]
            if self.kind == "quiet" and x.shape[0] is None:  # asks for the length without needing it
                h = 2.0 * h
            self.add_loss(1e-2 * ops.mean(ops.square(h)))
            return h


    class Net(keras.Model):
        def __init__(self, kind="right"):
            super().__init__(name="net")
            self.parts = [Part("right"), Part(kind)]
            self.head = layers.Dense(2)

        def call(self, x, training=None):
            for part in self.parts:
                x = part(x, training=training)
            return {"logits": self.head(x), "features": x}


    class Front(keras.Model):
        def __init__(self, name):
            super().__init__(name=name)
            self.part = Part("right")

        def call(self, x, training=None):
            return self.part(x, training=training)


    def front(name):
        return Front(name)


    def net(kind="right"):
        return Net(kind)


    def batch(length=4):
        return np.random.default_rng(0).normal(size=(length, 3)).astype("float32"), None
"""
CALLS = ["dense", "drop", "norm"]


def checked(run: Run, kind: str = "right", **config: Any) -> RunReport:
    given = {
        "model": {"factory": "./m.py:net", "kwargs": {"kind": kind}, "input": {"shape": [3]}},
        "data": {"batch_size": 4},
        "split": {"every": "layer"},
        "methods": ["vjp"],
    }
    report = run({**given, **config}, {"m.py": MODELS}, verify_reference="never")
    assert report.error is None, report.error
    return report


def cut(report: RunReport) -> list[str]:
    return [layer for segment in report.segments for layer in segment.layers]


def notes(report: RunReport) -> list[str]:
    return [note for note in report.notes if "stays one call" in note]


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_it_is_cut_inside_and_matches(run: Run, precision: str) -> None:
    report = checked(run, precision=precision)
    (check,) = report.checks
    assert (report.verdict, notes(report)) == ("pass", [])
    assert [name for name in cut(report) if name.endswith(tuple(CALLS))] == [
        f"parts/{i}/{name}" for i in range(2) for name in CALLS
    ]
    assert {tensor.status for tensor in check.of_kind("boundary")} <= {"exact", "close"}
    assert {tensor.path for tensor in check.of_kind("weight")} >= {"parts/0/dense/kernel", "head/bias"}
    assert "parts/1/norm/moving_mean" in {tensor.path for tensor in check.of_kind("state")}
    assert {tensor.path for tensor in check.of_kind("output")} == {"parts/1/norm", "head"}


def test_a_wrong_split_inside_is_still_caught(run: Run) -> None:
    report = checked(run, methods=["naive"], training=False)
    assert (report.verdict, report.checks[0].outcome) == ("fail", "mismatch")


def test_calls_that_do_not_compute_what_the_layer_does_are_not_used(run: Run) -> None:
    report = checked(run, "frozen")
    assert report.verdict == "pass"
    assert "parts/1" in cut(report)
    assert "parts/0/dense" in cut(report)
    (note,) = notes(report)
    assert note.startswith("parts/1 (Part) stays one call and is not cut inside: the calls found inside do not compute")


def test_without_a_cut_nothing_is_held_against_anything(run: Run) -> None:
    report = checked(run, "frozen", split=None, methods=["numeric"])
    assert (report.verdict, notes(report)) == ("pass", [])


def test_code_that_branches_stays_one_call_with_its_line(run: Run) -> None:
    report = checked(run, "branch")
    (note,) = notes(report)
    assert "it branches on a value (m.py:" in note
    assert '`if self.kind == "branch"' in note
    assert report.verdict == "pass"


@pytest.mark.parametrize("microbatches", [1, 2])
def test_code_that_needs_the_length_of_a_batch_is_followed_for_that_length(run: Run, microbatches: int) -> None:
    report = checked(run, "length", microbatches=microbatches)
    assert (report.verdict, notes(report)) == ("pass", [])
    assert "parts/1/concatenate" in cut(report)


def test_unequal_micro_batches_have_no_such_length(run: Run) -> None:
    data = {"batch_size": 5}
    report = checked(run, "length", microbatches=2, data=data)
    assert report.verdict == "pass"
    assert [note.partition(" (")[0] for note in notes(report)] == ["parts/1"]


def test_code_that_does_otherwise_for_an_unknown_length_is_followed_for_the_known_one(run: Run) -> None:
    report = checked(run, "quiet")
    assert (report.verdict, notes(report)) == ("pass", [])
    assert "parts/1/multiply_1" not in cut(report)
    assert "parts/1/norm" in cut(report)


def test_the_batch_tells_what_a_model_is_called_on(run: Run) -> None:
    model, data = {"factory": "./m.py:net"}, {"batch_size": 4, "factory": "./m.py:batch"}
    assert checked(run, model=model, data=data).verdict == "pass"


def test_parts_of_subclassed_models_have_their_names_before_the_paths(run: Run) -> None:
    config = {
        "model": {
            "segments": [
                {"factory": "./m.py:front", "kwargs": {"name": "front"}, "input": {"shape": [3]}},
                {"factory": "./m.py:front", "kwargs": {"name": "back"}},
            ]
        },
        "data": {"batch_size": 4},
        "methods": ["vjp"],
    }
    report = run(config, {"m.py": MODELS}, verify_reference="never")
    assert report.verdict == "pass", report.error
    paths = {tensor.path for tensor in report.checks[0].of_kind("weight")}
    assert {"front/part/dense/kernel", "back/part/dense/kernel"} <= paths


@pytest.mark.parametrize("training", [True, False])
def test_boundaries_inside_are_those_of_the_model_and_no_state_moves_for_them(run: Run, training: bool) -> None:
    report = checked(run, training=training, microbatches=2)
    (check,) = report.checks
    assert report.verdict == "pass"
    assert len(check.of_kind("boundary")) >= 6
    assert all(tensor.status in ("exact", "close") for tensor in (*check.of_kind("state"), *check.of_kind("boundary")))
