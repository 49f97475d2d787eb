"""`expect: {mismatch: [patterns]}`: those tensors may differ, and no other."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from tests.records import row

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

LAYERS = """
    import keras
    import tensorflow as tf


    @tf.custom_gradient
    def rounded(x):  # straight through: the gradient of a step function would be zero
        return tf.round(4.0 * x) / 4.0, lambda dy: dy


    @tf.custom_gradient
    def cubed(x):  # wrong: the factor is 3
        return x**3, lambda dy: 2.0 * x**2 * dy


    class Quantised(keras.layers.Dense):
        def call(self, x):
            return x @ rounded(tf.convert_to_tensor(self.kernel)) + self.bias


    class Cubed(keras.layers.Layer):
        def call(self, x):
            return cubed(x)
"""
MODEL = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, activation: tanh, name: front}
        - "./layers.py:Quantised": {units: 3, name: quant}
        - Dense: {units: 2, activation: tanh, name: back}
    data: {batch_size: 4}
"""
WRONG = MODEL.replace(
    "        - Dense: {units: 2", '        - "./layers.py:Cubed": {name: cubed}\n        - Dense: {units: 2'
)


@pytest.fixture
def exempting(run: Run, tmp_path: Path) -> Callable[..., RunReport]:
    """Runs a model with this `expect:` of its one method."""
    (tmp_path / "layers.py").write_text(dedent(LAYERS), encoding="utf-8")

    def checked(expect: str, *, model: str = MODEL, method: str = "numeric") -> RunReport:
        return run(f"{model}    methods: [{method}: {{expect: {expect}}}]\n")

    return checked


def paths(check: CheckReport, **having: Any) -> set[str]:
    return {t.path for t in check.tensors if all(getattr(t, name) == value for name, value in having.items())}


def test_what_is_exempt_may_differ_and_all_else_matches(exempting: Run) -> None:
    report = exempting("{mismatch: ['quant/*']}")
    (check,) = report.checks
    assert (report.verdict, report.exit_code, check.outcome, check.as_expected) == ("pass", 0, "match", True)
    assert (check.expect, check.exempt, check.unneeded) == ("match", ("quant/*",), ())
    assert paths(check, exempt=True) == {"quant/kernel", "quant/bias"}
    assert paths(check, status="mismatch") == {"quant/kernel"}
    assert (check.failures, check.first_divergence, check.diagnoses, check.warnings) == ((), None, (), ())
    assert check.max_rel_error < 1e-6  # of what should match


def test_another_mistake_in_the_same_model_is_seen(exempting: Run) -> None:
    report = exempting("mismatch", model=WRONG)
    assert (report.verdict, report.checks[0].outcome) == ("pass", "mismatch")  # the bare word hides it
    report = exempting("{mismatch: ['quant/*']}", model=WRONG)
    (check,) = report.checks
    assert (report.verdict, report.exit_code, check.outcome) == ("fail", 1, "mismatch")
    assert {t.path for t in check.failures} == {"front/kernel", "front/bias", "input"}
    assert check.first_divergence == "front/bias"
    assert [d.code for d in check.diagnoses] == ["GC601"]
    assert "disagree with the tape about input, front/kernel, front/bias; nearest" in check.diagnoses[0].evidence


def test_an_exemption_of_what_matches_is_not_as_expected(exempting: Run) -> None:
    report = exempting("{mismatch: ['quant/kernel', 'back/*', 'front/*']}")
    (check,) = report.checks
    assert (report.verdict, report.exit_code, check.outcome, check.as_expected) == ("fail", 1, "match", False)
    assert check.unneeded == ("back/*", "front/*")


def test_a_pattern_that_matches_nothing_is_a_warning(exempting: Run) -> None:
    report = exempting("{mismatch: ['quant/*', 'qaunt/*']}")
    assert (report.verdict, report.checks[0].unneeded) == ("pass", ())
    assert report.checks[0].warnings == ("expect.mismatch: 'qaunt/*' matches no tensor",)
    report = exempting("{mismatch: ['qaunt/*']}")
    assert (report.verdict, paths(report.checks[0], exempt=True)) == ("fail", set())


SPLIT = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, activation: tanh, name: front}
        - Dense: {units: 3, activation: tanh, name: middle}
        - Dense: {units: 2, name: back}
    split: {after: [front, middle]}
    data: {batch_size: 4}
"""
TWO_TAPES = """
    import tensorflow as tf

    def gradients(check):
        first, second, third = check.segments
        with tf.GradientTape() as tape_0:
            a = first(check.x)
        with tf.GradientTape() as tape_1:
            tape_1.watch(a)
            b = second(a)
        with tf.GradientTape() as tape_2:
            tape_2.watch(b)
            loss = check.loss(check.y, third(b))
        c_b, *of_third = tape_2.gradient(loss, [b, *third.trainable_variables])
        c_a, *of_second = tape_1.gradient(b, [a, *second.trainable_variables], output_gradients=c_b)
        of_first = tape_0.gradient(a, first.trainable_variables)  # the cotangent is missing
        of_third[0] = 3.0 * of_third[0]  # as meant
        return loss, [*of_first, *of_second, *of_third]
"""


def test_the_mistake_beside_an_exemption_is_diagnosed(exempting: Run, tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(dedent(TWO_TAPES), encoding="utf-8")
    report = exempting("{mismatch: [back/kernel]}, factory: './train.py:gradients'", model=SPLIT, method="candidate")
    (check,) = report.checks
    assert (report.exit_code, paths(check, status="mismatch")) == (1, {"front/kernel", "front/bias", "back/kernel"})
    assert check.first_divergence == "front/bias"
    assert [(d.code, d.segment, d.confidence) for d in check.diagnoses] == [("GC101", 0, "exact")]


def test_what_is_not_finite_fails_where_it_is_exempt_too(exempting: Run, tmp_path: Path) -> None:
    broken = dedent(TWO_TAPES).replace("3.0 * of_third[0]", "of_third[0] / 0.0")
    (tmp_path / "train.py").write_text(broken, encoding="utf-8")
    report = exempting(
        "{mismatch: ['back/kernel', 'front/*']}, factory: './train.py:gradients'", model=SPLIT, method="candidate"
    )
    assert [(t.path, t.status) for t in report.checks[0].failures] == [("back/kernel", "nonfinite")]
    assert report.exit_code == 1


def test_in_training_every_step_is_exempt_and_the_rest_is_diagnosed(exempting: Run, tmp_path: Path) -> None:
    right = dedent(TWO_TAPES).replace("first.trainable_variables)", "first.trainable_variables, output_gradients=c_a)")
    (tmp_path / "train.py").write_text(right, encoding="utf-8")
    expect = "{mismatch: [back/kernel]}, factory: './train.py:gradients'"
    trained = f"{SPLIT}    train: {{steps: 1}}\n"
    report = exempting(expect, model=trained, method="candidate")
    assert (report.verdict, report.checks[0].first_failing_step) == ("pass", None)
    (tmp_path / "train.py").write_text(dedent(TWO_TAPES), encoding="utf-8")
    report = exempting(expect, model=trained, method="candidate")
    (check,) = report.checks
    assert (report.exit_code, check.first_failing_step) == (1, 1)
    assert {t.path for t in check.failures} == {"front/kernel", "front/bias"}
    assert [d.code for d in check.diagnoses] == ["GC101"]


def test_all_undecided_is_no_needless_exemption() -> None:
    from dataclasses import replace

    from gradcheck.comparing.exempt import exempted, unmatched, unneeded

    rows = [row("a/kernel", "exact"), row("b/kernel", "inconclusive"), row("c/kernel", "dead")]
    assert unneeded(rows, ["a/*", "b/*", "c/*", "[ab]/*", "d/*"]) == ("a/*", "c/*")
    failing = [row(f"{status}/kernel", status) for status in ("mismatch", "missing", "nonfinite")]
    assert unneeded([*rows, *failing], ["mismatch/*", "missing/*", "non*", "*s*"]) == ()
    assert unmatched(rows, ["a/*", "d/*", "A/*"]) == ("d/*", "A/*")
    assert [r.exempt for r in exempted(rows, ["?/kernel"])] == [True] * 3
    assert exempted(rows, []) == tuple(rows)
    assert [replace(r, status="missing").failed for r in exempted(rows, ["a/*"])] == [False, True, True]


def test_what_is_excused_is_no_evidence() -> None:
    from gradcheck.comparing.exempt import judged
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import TensorKey

    excused = [row("a", "mismatch", exempt=True), row("b", "mismatch", "input", exempt=True)]
    kept = [row("a", "mismatch", "input"), row("b"), row("c", "nonfinite", exempt=True)]
    tensors = {TensorKey(t.kind, t.path): t.status for t in (*excused, *kept)}
    found = Gradients(loss=1.0, outputs=(), tensors=tensors, state={}, seconds=0.0)
    rows, gradients = judged(iter([*excused, *kept]), found)
    assert rows == tuple(kept)
    assert gradients.tensors == {TensorKey(t.kind, t.path): t.status for t in kept}
    assert gradients.loss == 1.0


def test_what_is_excused_in_one_step_may_fail_in_another() -> None:
    from gradcheck.comparing.exempt import judged
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import TensorKey

    excused = row("a", "mismatch", exempt=True, step=1, quantity="gradient")
    fails = row("a", "nonfinite", exempt=True, step=2, quantity="gradient")
    value = row("b", "mismatch", exempt=True, step=1, quantity="value")
    tensors = {TensorKey("weight", path): path for path in "ab"}
    found = Gradients(loss=1.0, outputs=(), tensors=tensors, state={}, seconds=0.0)
    rows, gradients = judged([excused, value, fails], found)
    assert rows == (fails,)
    assert gradients.tensors == {TensorKey("weight", "b"): "b"}  # of its gradient nothing is said
