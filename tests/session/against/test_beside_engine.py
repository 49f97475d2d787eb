"""A function of TensorFlow's beside one of JAX's or PyTorch's: right, and wrong in each way that can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.engines import asking
from gradcheck.session.configs import CheckOptions
from gradcheck.session.layer import Target, check_layer, layer_config

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.results.report import CheckReport, RunReport

FILES = {
    "own.py": """
        import tensorflow as tf


        def norm(x):
            return x / tf.sqrt(1.0 + tf.reduce_sum(x * x))


        def cube(x):
            return x**3


        def pair(x, y, i):
            return 2.0 * x, tf.gather(y, i) * tf.reduce_sum(y)


        def rounded(x, y):
            return x * tf.round(9.0 * y)
        """,
    "constants.py": "ONE, LATE = 1.0, 0.0\n",
    "of_jax.py": """
        import jax
        import jax.numpy as jnp
        from constants import ONE


        def norm(x):
            from constants import LATE

            return x / jnp.sqrt(ONE + jnp.sum(x * x)) + LATE


        @jax.custom_vjp
        def hasty(x):
            return norm(x)


        hasty.defvjp(lambda x: (norm(x), x), lambda x, dy: (dy / jnp.sqrt(1.0 + jnp.sum(x * x)),))


        def scaled(x, by=1.01):
            return by * norm(x)


        @jax.custom_vjp
        def cube(x):
            return x**3


        cube.defvjp(lambda x: (x**3, x), lambda x, dy: (dy * 3 * jax.lax.stop_gradient(x) ** 2,))


        def product(x):
            return x * x * x


        def rounded(x, y):
            return x * jnp.round(9.0 * y)


        def leaning(x, y):
            return x * (jnp.round(9.0 * y) + 0.01 * (y - jax.lax.stop_gradient(y)))


        def branching(x):
            return x * x * x if x.sum() > 0 else x**3


        def pair(x, y, i):
            return 2.0 * x, y[i] * jnp.sum(y)


        def raising(x):
            raise ValueError("no such thing")


        def nothing(x):
            return None


        def shorter(x):
            return x[:1]


        def whole(x):
            return x.astype("int32")


        NUMBER = 3
        """,
    "of_torch.py": """
        import torch


        class Cube(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx, dy):
                return dy * 3 * ctx.saved_tensors[0].detach() ** 2


        def cube(x):
            return Cube.apply(x)


        def product(x):
            x += 0.0
            return x * x * x


        def scaled(x):
            return 1.01 * x**3


        def pair(x, y, i):
            return 2.0 * x, y[i] * y.sum()
        """,
}


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from textwrap import dedent

    pytest.importorskip("jax")
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(dedent(text), encoding="utf-8")


def run(name: str, *against: str, **options: Any) -> RunReport:
    one = {"values": [[0.7, -1.2]], "shapes": [(2,)], "dtypes": [None]}  # an example: four ask four times as often
    given = {**one, "points": ["given"], "methods": ["forward"], "kwargs": {}, **options}
    target = Target(name=f"./own.py:{name}" if name.islower() else name, against=against, **given)
    return check_layer(target, layer_config(target), CheckOptions()).run


def of(report: RunReport) -> dict[str, CheckReport]:
    return {check.method: check for check in report.checks if check.method.startswith("against")}


def statuses(check: CheckReport) -> dict[str, str]:
    return {f"{t.kind} {t.path}": t.status for t in check.tensors}


def test_right_and_wrong_in_gradients_and_values() -> None:
    names = ("norm", "hasty", "scaled")
    report = run("norm", *(f"jax:./of_jax.py:{name}" for name in names))
    assert report.exit_code == 1, str(report.error)
    found = of(report)
    assert {label: check.outcome for label, check in found.items()} == {
        "against[jax:norm]": "match",
        "against[jax:hasty]": "mismatch",
        "against[jax:scaled]": "mismatch",
    }
    right, hasty, scaled = (found[f"against[jax:{name}]"] for name in names)
    assert set(statuses(right).values()) <= {"exact", "close"}
    assert right.rests_on == "the inputs and the loss: every gradient of the other side is another engine's"
    assert right.sides[:2] == ("norm", "jax:norm")
    assert statuses(hasty)["input x"] == "mismatch"
    assert "the outputs agree; finite differences agree with the gradients of norm" in hasty.diagnoses[0].evidence
    assert "finite differences contradict the gradients of jax:hasty (x)" in hasty.diagnoses[0].evidence
    assert "these are two functions" in scaled.diagnoses[0].evidence


def test_only_right_ones_pass() -> None:
    others = ("jax:./of_jax.py:branching", "jax:./of_jax.py:product")
    report = run("cube", *others, order=2, points=["given", "zeros"])
    assert (report.verdict, report.exit_code) == ("pass", 0)
    assert {check.outcome for check in of(report).values()} == {"match"}
    assert len(of(report)) == 8


def test_the_second_order_alone_is_wrong() -> None:
    report = run("cube", "jax:./of_jax.py:cube", order=2, precision="float64")
    first, second = of(report).values()
    assert (report.exit_code, first.outcome, second.outcome) == (1, "match", "mismatch")
    assert "finite differences contradict the second order of jax:cube (x)" in second.diagnoses[0].evidence


ENGINES = [pytest.param("jax"), pytest.param("torch", marks=pytest.mark.on_request)]


@pytest.mark.parametrize("engine", ENGINES)
def test_several_inputs_and_outputs(engine: str) -> None:
    pytest.importorskip(engine)
    given = {"shapes": [(3,), (3,), ()], "dtypes": [None, None, "int32"], "values": [[1.0, 2.0, 3.0]] * 2 + [1]}
    report = run("pair", f"{engine}:./of_{engine}.py:pair", order=2, **given)
    assert [check.outcome for check in of(report).values()] == ["match", "match"]
    found = statuses(of(report)["against"])
    assert (found["input x0"], found["input x1"], found["input x2"]) == ("exact", "exact", "absent")


def test_zeros_of_the_engine_are_none_of_tensorflow() -> None:
    given = {"shapes": [(3,), (3,)], "dtypes": [None, None], "values": [[1.0, 2.0, 3.0], [0.1, 0.2, 0.3]]}
    report = run("rounded", "jax:./of_jax.py:rounded", "jax:./of_jax.py:leaning", **given)
    outcomes = {label: check.outcome for label, check in of(report).items()}
    assert outcomes == {"against[jax:rounded]": "match", "against[jax:leaning]": "mismatch"}


def test_a_layer_without_weights_beside_a_function_of_the_engine() -> None:
    assert of(run("Softmax", "jax:jax.nn:softmax", values=[]))["against"].outcome == "match"


@pytest.mark.on_request
def test_pytorch() -> None:
    pytest.importorskip("torch")
    report = run("cube", *(f"torch:./of_torch.py:{name}" for name in ("product", "scaled", "cube")), order=2)
    outcomes = {label: check.outcome for label, check in of(report).items()}
    assert outcomes["against[torch:product]"] == outcomes["against[torch:product, second order]"] == "match"
    assert outcomes["against[torch:scaled]"] == "mismatch"
    assert (outcomes["against[torch:cube]"], outcomes["against[torch:cube, second order]"]) == ("match", "mismatch")


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("raising", "GC051", "JAX function ./of_jax.py:raising raised ValueError: no such thing"),
        ("nothing", "GC051", "jax:./of_jax.py:nothing must return an array, or several. Received: None"),
        ("NUMBER", "GC051", "jax:./of_jax.py:NUMBER must be a function of arrays. Received: a int"),
        ("shorter", "GC051", "jax:shorter has other outputs than norm"),
        ("whole", "GC051", "jax:whole has other dtypes of outputs than norm"),
        ("missing", "GC028", "./of_jax.py has no missing"),
    ],
)
def test_what_cannot_be_compared_is_one_error(name: str, code: str, said: str) -> None:
    report = run("norm", f"jax:./of_jax.py:{name}")
    assert report.error is not None
    assert (report.verdict, report.error.code) == ("error", code)
    assert said in report.error.message
    assert report.error.location is None or report.error.location.path.name == "of_jax.py"


def test_what_names_no_function_of_the_engine() -> None:
    report = run("norm", "jax:norm", "jax:./own.py:norm", "jax:./none.py:norm")
    errors = [check.error for check in report.checks if check.error]
    assert [error.code for error in errors] == ["GC028", "GC051", "GC028"]
    assert errors[0].message == "jax:norm names no function of JAX's arrays"
    assert (
        errors[1].help == "the process of an engine has no TensorFlow: put the function into a file that imports none"
    )


def test_an_engine_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "find_spec", lambda _: None)
    error = run("norm", "jax:./of_jax.py:norm").error
    assert error is not None
    assert (error.code, error.help) == ("GC032", "pip install jax")
    assert error.message == "jax:./of_jax.py:norm needs JAX, which is not installed"
