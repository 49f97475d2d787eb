"""`require: all`: every trainable variable has a gradient, or the run fails."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

LAYERS = {
    "layers.py": """
        import keras
        import tensorflow as tf


        class Noisy(keras.layers.Layer):
            def build(self, shape):
                self.mu = self.add_weight(shape=(shape[-1], 3), name="mu")
                self.kernel = self.mu * 2.0  # put together once: no gradient passes

            def call(self, x):
                return x @ self.kernel


        class Stopped(keras.layers.Dense):
            def call(self, x):
                return x @ tf.stop_gradient(self.kernel) + self.bias


        class Zero(keras.layers.Dense):
            def call(self, x):
                return x @ (self.kernel * 0.0) + self.bias


        class Gated(keras.layers.Dense):  # adds nothing at first: its kernel has a gradient once the gate has moved
            def build(self, shape):
                super().build(shape)
                self.gate = self.add_weight(shape=(), initializer="zeros", name="gate")

            def call(self, x):
                return self.gate * (x @ self.kernel) + self.bias
    """
}

DEAD = dict.fromkeys(("own/kernel", "front/kernel", "front/bias"), "dead")


def model(layer: str, more: str = "", methods: str = "[vjp]") -> str:
    return f"""
        model:
          input: {{shape: [4]}}
          layers:
            - Dense: {{units: 3, activation: tanh, name: front}}
            - "./layers.py:{layer}": {{name: own{more}}}
            - Dense: {{units: 2, name: back}}
        split: {{after: [front]}}
        data: {{batch_size: 4}}
        methods: {methods}
        verify_reference: never
    """


def unproven(report: RunReport) -> dict[str, str]:
    return {found.path: found.status for found in report.unproven}


@pytest.mark.parametrize(
    ("layer", "more", "found", "note"),
    [
        ("Noisy", "", {"own/mu": "absent"}, "the forward pass never reads it"),
        ("Stopped", ", units: 3", {"own/kernel": "absent"}, "the gradient stops at tf.stop_gradient (layers.py:"),
        ("Zero", ", units: 3, bias_initializer: ones", DEAD, None),
        ("Gated", ", units: 3, bias_initializer: ones", DEAD, None),
    ],
)
def test_a_variable_without_a_gradient_fails_under_all(
    run: Run, layer: str, more: str, found: dict[str, str], note: str | None
) -> None:
    report = run(model(layer, more), LAYERS, require="all")
    assert (report.verdict, report.exit_code, unproven(report)) == ("fail", 1, found)
    own = next(entry for entry in report.unproven if entry.path.startswith("own/"))
    assert own.note is None if note is None else str(own.note).startswith(note)
    assert [(check.outcome, check.as_expected) for check in report.checks] == [("match", True)]
    statuses = {t.path: t.status for t in report.checks[0].of_kind("weight")}
    assert {path: statuses[path] for path in found} == found
    by_default = run(model(layer, more), LAYERS)
    assert (by_default.verdict, by_default.exit_code, by_default.unproven) == ("pass", 0, ())


def test_a_frozen_variable_does_not_count(run: Run) -> None:
    report = run(model("Noisy", ", trainable: false"), LAYERS, require="all")
    assert (report.verdict, report.unproven, report.coverage.trainable) == ("pass", (), 4)


def test_all_are_proven(run: Run) -> None:
    dense = model("Gated").replace('"./layers.py:Gated": {name: own}', "Dense: {units: 3, name: own}")
    report = run(dense, require="all")
    assert (report.verdict, report.exit_code, report.unproven) == ("pass", 0, ())


def test_a_gradient_that_comes_with_the_second_step_counts(run: Run) -> None:
    gated = model("Gated", ", units: 3")
    assert unproven(run(gated, LAYERS, require="all", train={"steps": 1})).keys() >= {"own/kernel"}
    report = run(gated, LAYERS, require="all", train={"steps": 2})
    assert (report.verdict, report.unproven) == ("pass", ())
    zero = run(model("Zero", ", units: 3"), LAYERS, require="all", train={"steps": 2})
    assert unproven(zero).keys() >= {"own/kernel"}


def test_what_another_check_says_of_it_changes_nothing(run: Run) -> None:
    report = run(model("Stopped", ", units: 3", "[hvp, vjp]"), LAYERS, require="all")
    assert unproven(report) == {"own/kernel": "absent"}
    assert run(model("Stopped", ", units: 3", "[hvp]"), LAYERS, require="all").exit_code == 1


def test_an_error_is_more_serious(run: Run) -> None:
    methods = "[vjp, candidate: {factory: './train.py:raises'}]"
    files = {**LAYERS, "train.py": "def raises(check):\n    raise ValueError('no')\n"}
    report = run(model("Noisy", methods=methods), files, require="all")
    assert (report.verdict, report.exit_code, unproven(report)) == ("error", 3, {"own/mu": "absent"})


def test_where_everything_is_dead_it_is_a_failure(run: Run) -> None:
    dead = model("Zero", ", units: 3")
    dead = dead.replace("Dense: {units: 2, name: back}", "ReLU: {negative_slope: 0.0, threshold: 9.0}")
    assert (run(dead, LAYERS).verdict, run(dead, LAYERS, require="all").verdict) == ("vacuous", "fail")
