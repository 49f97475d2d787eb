"""The fixture: every call of live objects, with the tolerances of the test, failing with the report."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import pytest

import gradcheck
from gradcheck.errors import ConfigError
from gradcheck.pytest_plugin.live_checks import LiveChecks
from gradcheck.pytest_plugin.tolerances import Tolerances

if TYPE_CHECKING:
    from tests.pytest_plugin.conftest import Project

CONFIG = {"model": {"input": {"shape": [4]}, "layers": [{"Dense": 3}, {"Dense": 1}]}, "split": {"every": "layer"}}
FOUR = frozenset({("rtol", 0.4)})
CALLS = [name for name in gradcheck.__all__ if name.startswith("check")]


def test_there_is_each_call_that_the_package_offers() -> None:
    assert [name for name in (*CALLS, "audit") if not hasattr(LiveChecks, name)] == []


class Told:
    """A call that notes its options, and passes."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}

    def __call__(self, *args: Any, **options: Any) -> Told:
        self.args, self.options = args, options
        return self

    def raise_for_mismatch(self) -> None: ...


@pytest.mark.parametrize("name", [name for name in CALLS if name not in ("check", "check_function")])
@pytest.mark.parametrize(
    ("tolerances", "given", "held"),
    [
        (Tolerances(), {}, {}),
        (Tolerances(default=FOUR), {}, {"rtol": 0.4}),
        (Tolerances(default=FOUR), {"tolerance": {"rtol": 0.1, "atol": 1.0}}, {"rtol": 0.1, "atol": 1.0}),
        (Tolerances(forced=FOUR), {"tolerance": {"rtol": 0.1, "atol": 1.0}}, {"rtol": 0.4, "atol": 1.0}),
    ],
)
def test_the_tolerances_of_the_test_reach_the_call(
    monkeypatch: pytest.MonkeyPatch, name: str, tolerances: Tolerances, given: Any, held: Any
) -> None:
    told = Told()
    monkeypatch.setitem(vars(gradcheck), name, told)  # its first value would import TensorFlow
    assert getattr(LiveChecks(tolerances), name)("model", 1, parts=2, **given) is told
    assert (told.args, told.options) == (("model", 1), {"parts": 2, "tolerance": held})


@pytest.mark.parametrize(
    ("overrides", "held"),
    [({}, {"rtol": 0.1, "atol": 0.4}), ({"tolerance": {"atol": 0.2}}, {"atol": 0.2})],
)
def test_a_config_keeps_its_own_tolerance(monkeypatch: pytest.MonkeyPatch, overrides: Any, held: Any) -> None:
    told = Told()
    monkeypatch.setitem(vars(gradcheck), "check", told)
    checks = LiveChecks(Tolerances(default=frozenset({("atol", 0.4)})))
    checks.check({**CONFIG, "tolerance": {"rtol": 0.1}}, seed=3, **overrides)
    assert told.options == {"seed": 3, "tolerance": held}


def test_an_audit_has_the_tolerances_too_and_the_file_of_its_block() -> None:
    watching = LiveChecks(Tolerances(default=FOUR, forced=frozenset({("atol", "auto")}))).audit(
        atol=2.0, allow=["GC304"]
    )
    options = watching._options
    assert (options.rtol, options.atol, options.allow) == (0.4, None, ("GC304",))
    assert watching._file == __file__


def test_a_failure_is_the_report_at_the_line_of_the_test(project: Project) -> None:
    project.pytester.makepyfile(
        """
        from gradcheck.results.report import Report

        class Wrong:
            def in_brief(self): return "wrong"
            __bool__ = lambda self: False
            raise_for_mismatch = Report.raise_for_mismatch

        def test_wrong(gradcheck, monkeypatch):
            import gradcheck as package
            monkeypatch.setitem(vars(package), "check_model", lambda *args, **options: Wrong())
            gradcheck.check_model(None)
        """
    )
    result = project.run()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [">       gradcheck.check_model(None)", "E       AssertionError: wrong", "*.py:11: AssertionError"]
    )
    assert not re.search(r"^\S+(live_checks|report)\.py:\d+", result.stdout.str(), re.MULTILINE)


def test_a_wrong_option_says_what_to_do_at_the_line_of_the_test(project: Project) -> None:
    project.pytester.makepyfile(
        """
        CONFIG = {"model": {"input": {"shape": [4]}, "layers": [{"Dense": 3}]}, "modell": 1, "methods": ["vjpp"]}

        def test_wrong(gradcheck):
            gradcheck.check(CONFIG)
        """
    )
    result = project.run("--gradcheck-rtol=1")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">       gradcheck.check(CONFIG)", "E*ConfigErrors: methods.0: unknown method `vjpp`"])
    if sys.version_info >= (3, 11):  # an exception has notes
        result.stdout.fnmatch_lines(["E*help: did you mean `vjp`?*", "E*GC003*modell*"])
    assert "load.py" not in result.stdout.str()
    with pytest.raises(ConfigError):
        LiveChecks(Tolerances()).check({})


def test_live_objects_are_checked() -> None:
    import keras
    import numpy as np
    import tensorflow as tf

    from gradcheck import check_model

    assert check_model(keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(1)]), np.ones((2, 3)), parts=2)
    x = tf.constant([[1.0, 2.0]])
    front, back = (keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(2)]) for _ in range(2))
    optimizer = keras.optimizers.SGD(0.1)

    def step(*, right: bool) -> None:
        with tf.GradientTape() as tape:
            boundary = front(x)
        with tf.GradientTape() as last:
            last.watch(boundary)
            loss = tf.reduce_mean(back(boundary) ** 2)
        variables = [*front.trainable_variables, *back.trainable_variables]
        cotangent, *later = last.gradient(loss, [boundary, *back.trainable_variables])
        seeds = cotangent if right else None
        optimizer.apply(tape.gradient(boundary, front.trainable_variables, output_gradients=seeds) + later, variables)

    with LiveChecks(Tolerances()).audit() as audit:
        step(right=True)
    assert audit.report
    with pytest.raises(AssertionError, match="GC101"), LiveChecks(Tolerances()).audit():
        step(right=False)
    with pytest.raises(AssertionError, match="FAIL numeric"):
        LiveChecks(Tolerances()).check_function(_wrong, 2.0)
    with pytest.raises(ZeroDivisionError), LiveChecks(Tolerances()).audit():
        raise ZeroDivisionError


def _wrong(x: Any) -> Any:
    import tensorflow as tf

    @tf.custom_gradient
    def cube(x: Any) -> Any:
        return x**3, lambda dy: 2.0 * dy * x

    return cube(x)
