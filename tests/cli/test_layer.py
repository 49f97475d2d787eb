"""`gradcheck layer`: what it takes for a target, what it prints, what it catches."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.cli.layer import _with_complex, _yaml
from gradcheck.cli.main import main
from gradcheck.reporters import REPORTERS
from gradcheck.results.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

    Layer = Callable[..., tuple[int, str, str]]
    Reported = Callable[..., tuple[int, RunReport]]

ROOT = Path(__file__).parents[2]
KERAS = ("Dense", "Dens", "Add")
USER = """
    import keras
    import numpy as np
    import tensorflow as tf

    def cubic(x):
        return x**3 + x**2 + x + 5.0

    def product(x, y):
        return x * x * y

    def scaled(x, *, by):
        return by * x

    def branches(x):
        y = x if x > 0 else -2.0 * x
        while y < 100:
            y = y * x
        return y

    def looped(x):
        return tf.while_loop(lambda i, y: i < 3, lambda i, y: (i + 1, y * x), (0, x))[1]

    def switched(x):
        return tf.cond(x > 0, lambda: x * x, lambda: -x)

    def matrix(x):
        return tf.linalg.det(x)

    def picked(x, index):
        return tf.gather(x, index)

    def several(x):
        return [2.0 * x, x * x]

    def corner(x):
        return tf.abs(x)

    def rounds(x):
        return tf.cast(tf.cast(x, tf.int32), x.dtype) + 0.0 * tf.stop_gradient(x)

    def through_numpy(x):
        return tf.numpy_function(np.square, [x], x.dtype)

    def through_python(x):
        return x + tf.py_function(lambda x: x.numpy() ** 2, [x], x.dtype)

    hidden = tf.Variable(2.0, name="hidden")

    def with_variable(x):
        return x * tf.cast(hidden, x.dtype)

    def single(x):
        return x * tf.constant(2.0)

    def raises(x):
        return x + undefined

    def nothing(x):
        return None

    @tf.custom_gradient
    def right(x):
        return x**2, lambda dy: 2.0 * x * dy

    @tf.custom_gradient
    def wrong(x):
        return x**2, lambda dy: 3.0 * x * dy

    @tf.custom_gradient
    def clipped(x):
        return x**2, lambda dy: tf.clip_by_value(2.0 * x * dy, -8.0, 8.0)

    def by_keyword(x):
        return right(x=x)

    class Own(keras.layers.Layer):
        def __init__(self, units=3, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, shape):
            self.w = self.add_weight(name="w", shape=(shape[-1], self.units))

        def call(self, x):
            print("called")
            return tf.tanh(x @ self.w)

    class Two(keras.layers.Layer):
        def call(self, a, b):
            return a * b[:, None]

    def make(units):
        return Own(units)

    made = Own(2)

    class Square:
        def forward(self, x):
            self.x = x
            return x * x

        def backward(self, dy):
            return 2.0 * self.x * dy

    class Cube(Square):
        def forward(self, x):
            self.x = x
            return x * x * x

    square = Square()
    number = 3
"""


@pytest.fixture
def layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Layer:
    """Runs `gradcheck layer` beside a file of user code: exit code, standard output, standard error."""
    (tmp_path / "user.py").write_text(dedent(USER), encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    def run(target: str, *arguments: str) -> tuple[int, str, str]:
        code = main(["layer", target if ":" in target or target in KERAS else f"./user.py:{target}", *arguments])
        return (code, *capfd.readouterr())

    return run


@pytest.fixture
def reported(layer: Layer) -> Reported:
    """The exit code and the run of the JSON report."""

    def run(target: str, *arguments: str) -> tuple[int, RunReport]:
        code, out, _ = layer(target, *arguments, "--format", "json")
        (found,) = Report.from_json(out).runs
        return code, found

    return run


def outcomes(run: RunReport) -> dict[str, str]:
    return {check.method: check.outcome for check in run.checks}


def codes(run: RunReport) -> list[str]:
    return [diagnosis.code for check in run.checks for diagnosis in check.diagnoses]


def rows(run: RunReport, method: str = "numeric") -> dict[str, str]:
    return {t.path: t.status for check in run.checks if check.method == method for t in check.tensors}


def test_value_and_derivatives_of_a_scalar_function(layer: Layer) -> None:
    code, out, err = layer("cubic", "--input", "3.0", "--order", "2")
    assert code == 0
    assert out.splitlines()[:2] == [
        "input  at  value  first derivative  second derivative",
        "x      3   44     34                20",
    ]
    assert [f"{method} (expect match): match" in out for method in ("numeric", "forward", "hvp")] == [True] * 3
    assert "1 config: 1 passed" in err


def test_one_derivative_for_each_number_that_goes_in(layer: Layer) -> None:
    code, out, _ = layer("product", "--input", "2", "--input", "0.1")
    assert (code, out.splitlines()[:3]) == (
        0,
        [
            "input  at   value  first derivative",
            "x0     2    0.4    0.4",
            "x1     0.1  0.4    4",
        ],
    )


def test_only_the_report_is_printed_in_other_formats(layer: Layer, tmp_path: Path) -> None:
    json.loads(layer("cubic", "--input", "3", "--format", "json")[1])
    assert layer("cubic", "--input", "3", "--output", "report.txt")[1] == ""
    assert "PASS" in (tmp_path / "report.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("target", "arguments", "compared"),
    [
        ("Dense", ["--input-shape", "4", "--kwargs", "{units: 3}"], {"x", "dense/kernel", "dense/bias"}),
        ("keras.layers:Dense", ["--input-shape", "4", "--kwargs", "{units: 3}"], {"x", "dense/kernel", "dense/bias"}),
        ("Add", ["--input-shape", "2,3", "--input-shape", "2,3"], {"x0", "x1"}),
        ("Own", ["--input-shape", "4", "--kwargs", "{units: 2, name: own}"], {"x", "own/w"}),
        ("make", ["--input-shape", "4", "--kwargs", "{units: 2}"], {"x", "own_1/w"}),
        ("made", ["--input-shape", "4"], {"x", "own/w"}),
        ("Two", ["--input-shape", "3", "--input-shape", ""], {"x0", "x1"}),
        ("Two", ["--input", "[1, 2, 3]", "--input", "0.5"], {"x0", "x1"}),
        ("matrix", ["--input-shape", "3,3"], {"x"}),
        ("scaled", ["--input", "1e-3", "--kwargs", "{by: 2.0}"], {"x"}),
        ("picked", ["--input-shape", "5", "--input-shape", "3:int32"], {"x0"}),
        ("several", ["--input", "1.5"], {"x"}),
        ("tensorflow:math.tanh", ["--input", "0.5"], {"x"}),
        ("Square", ["--input-shape", "3"], {"x"}),
        ("square", ["--input", "3"], {"x"}),
        ("right", ["--input-shape", "3"], {"x"}),
    ],
)
def test_what_a_target_may_be(reported: Reported, target: str, arguments: list[str], compared: set[str]) -> None:
    code, run = reported(target, *arguments)
    assert (code, run.verdict) == (0, "pass"), run.error
    assert {path for path, status in rows(run).items() if status in ("exact", "close")} == compared


@pytest.mark.parametrize(
    ("target", "at", "derivatives"),
    [
        ("branches", "3.0", "243    405               540"),
        ("branches", "-3.0", "486    -810              1080"),
        ("looped", "1.5", "5.0625  13.5              27"),
        ("switched", "3.0", "9      6                 2"),
        ("switched", "-3.0", "3      -1                none"),
    ],
)
def test_control_flow(layer: Layer, target: str, at: str, derivatives: str) -> None:
    code, out, _ = layer(target, "--input", at, "--order", "2")
    assert code == 0, out
    assert out.splitlines()[1].split()[2:] == derivatives.split()


def test_a_point_without_a_derivative_is_no_proof_and_no_mistake(reported: Reported) -> None:
    code, run = reported("corner", "--input", "0")
    assert (code, outcomes(run)["numeric"], rows(run)) == (4, "inconclusive", {"x": "inconclusive"})


def test_a_numpy_class_is_checked_without_forward_mode(reported: Reported) -> None:
    found = outcomes(reported("Square", "--input-shape", "3")[1])
    assert set(found.values()) == {"match"}
    points = ("zeros", "equal", "ones", "saturated", "negative")
    assert found.keys() == {"numeric", *(f"numeric[{point}]" for point in points)}


def test_a_wrong_numpy_backward_is_caught(reported: Reported) -> None:
    code, run = reported("Cube", "--input-shape", "3")
    assert (code, rows(run), set(codes(run))) == (1, {"x": "mismatch"}, {"GC601"})
    assert "Cube.backward (user.py:" in run.checks[0].diagnoses[0].evidence


def test_a_wrong_custom_gradient_is_caught_and_named(reported: Reported) -> None:
    code, run = reported("wrong", "--input-shape", "3")
    assert (code, run.verdict, set(codes(run))) == (1, "fail", {"GC601"})
    (diagnosis,) = run.checks[0].diagnoses
    assert (run.checks[0].method, diagnosis.confidence) == ("numeric", "likely")
    assert "disagree with the tape about x; custom gradients here: wrong (user.py:" in diagnosis.evidence


@pytest.mark.parametrize("format_", sorted(set(REPORTERS) - {"json"}))
def test_every_format_names_the_tape_and_the_differences(layer: Layer, format_: str) -> None:
    arguments = ("--input", "3.0", "--points", "given", "--method", "numeric", "--format", format_)
    code, out, _ = layer("wrong", *arguments)
    text = re.sub("<[^>]*>", "", out) if format_ == "html" else out
    worst = {"concise": "tape=9 finite_differences=6", "markdown": "| worst | tape | finite differences |"}
    assert (code, worst.get(format_, "worst [0]: tape 9, finite differences 6") in text) == (1, True)
    said = text.replace("reference: tape, loss", "").replace("reference tape: loss", "")  # the run's own reference
    assert re.findall(r".*\b(?:reference|candidate)\b.*", said) == []
    _, out, _ = layer("right", *arguments)
    assert "match the reference" not in out


@pytest.mark.parametrize(
    ("target", "code", "says"), [("clipped", "GC601", "not linear"), ("by_keyword", "GC602", "x by")]
)
def test_a_custom_gradient_that_only_its_own_checks_catch(
    reported: Reported, target: str, code: str, says: str
) -> None:
    exit_code, run = reported(target, "--input", "3.0")
    assert (exit_code, run.verdict) == (1, "fail")
    assert outcomes(run) == {"numeric": "match", "forward": "match", "custom_gradient": "mismatch"}
    (diagnosis,) = run.checks[-1].diagnoses
    assert (diagnosis.code, says in diagnosis.evidence) == (code, True)


@pytest.mark.parametrize(
    ("target", "exits", "says"),
    [
        ("through_numpy", 1, "the gradient stops at tf.numpy_function (user.py:"),
        ("rounds", 4, "the gradient stops at Cast, which makes int32 (user.py:"),
    ],
)
def test_a_missing_gradient_is_explained(reported: Reported, target: str, exits: int, says: str) -> None:
    code, run = reported(target, "--input", "3.0")
    assert (code, run.verdict) == (exits, "fail" if exits == 1 else "vacuous")
    assert any(says in str(tensor.note) for check in run.checks for tensor in check.tensors if tensor.path == "x")


def test_what_a_py_function_drops_is_caught(reported: Reported) -> None:
    code, run = reported("through_python", "--input", "3.0")
    assert (code, rows(run)) == (1, {"x": "mismatch"})


def test_a_variable_that_is_not_tracked_is_told(reported: Reported) -> None:
    code, run = reported("with_variable", "--input", "3.0")
    assert (code, run.warnings) == (
        0,
        ("variable hidden is not part of the layer: no gradient of it is checked, and nothing puts it back",),
    )


def test_what_the_code_prints_stays_out_of_the_report(layer: Layer) -> None:
    _, out, err = layer("Own", "--input-shape", "4", "--format", "json")
    json.loads(out)
    assert "called" in err


@pytest.mark.parametrize(
    ("target", "arguments", "code", "says"),
    [
        ("Dense", [], 2, "error[GC010]: Dense needs an input"),
        ("Dense", ["--input-shape", "3,a"], 2, "Received: '3,a'"),
        ("product", ["--input-shape", "3", "--input", "1", "--input", "1"], 2, "Received: 1 and 2"),
        ("Dense", ["--input-shape", "3", "--kwargs", "units"], 2, "--kwargs takes a mapping"),
        ("Dense", ["--input-shape", "3", "--kwargs", "{units: ["], 2, "--> --kwargs:1:"),
        ("Dense", ["--input-shape", "3", "--precision", "float8"], 2, "precision"),
        ("Dens", ["--input-shape", "3"], 2, "did you mean `Dense`?"),
        ("nope", ["--input", "1"], 2, "error[GC028]"),
        ("./missing.py:f", ["--input", "1"], 2, "error[GC028]: no such file"),
        ("Dense", ["--input-shape", "3", "--kwargs", "{units: -1}"], 2, "Received: units=-1"),
        ("made", ["--input-shape", "3", "--kwargs", "{units: 1}"], 3, "is an object already"),
        ("number", ["--input", "1"], 3, "Received: a int"),
        ("nothing", ["--input", "1"], 3, "must return a tensor, or several. Received: None"),
        ("raises", ["--input", "1"], 3, "user.py:"),
        ("single", ["--input", "1"], 3, "finite differences run in float64"),
        ("Square", ["--input", "1", "--order", "2"], 3, "no derivative of its own"),
    ],
)
def test_mistakes_are_told(layer: Layer, target: str, arguments: list[str], code: int, says: str) -> None:
    found, _, err = layer(target, *arguments)
    assert (found, says in err, "Traceback" in err) == (code, True, False), err


def test_a_traceback_where_it_is_asked_for(layer: Layer) -> None:
    assert "Traceback" in layer("raises", "--input", "1", "-v")[2]


def test_help_needs_nothing_slow() -> None:
    script = (
        "import sys; from gradcheck.cli.main import main; main(['layer', '--help']); sys.exit('numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, "TARGET" in done.stdout) == (0, True), done.stderr


def test_the_derivatives_of_the_shipped_polynomial() -> None:
    import tensorflow as tf

    from gradcheck.config import load_config
    from gradcheck.problem.prepare import prepare, session

    loaded = load_config(ROOT / "configs" / "second_order.yaml")
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        (x,) = problem.batch.x
        with tf.GradientTape() as outer, tf.GradientTape() as inner:
            _watch(x, outer, inner)
            loss = problem.loss(problem.batch.y, [problem.model(x)])
            first = inner.gradient(loss, x)
        assert (float(loss), first.numpy().tolist(), outer.gradient(first, x).numpy().tolist()) == (
            44.0,
            [34.0],
            [20.0],
        )


def _watch(x: Any, *tapes: Any) -> None:
    for tape in tapes:
        tape.watch(x)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1+2j", 1 + 2j),
        ("-1.5-.5i", -1.5 - 0.5j),
        ("2j", 2j),
        ("1e-3 + 2j", 1e-3 + 2j),
        ("[1+2j, 3]", [1 + 2j, 3]),
        ("[[3-j, -2i]]", [[3 - 1j, -2j]]),
        ("j", "j"),
        ("3.0", 3.0),
        ("juli", "juli"),
        ("[a, i1]", ["a", "i1"]),
    ],
)
def test_complex_numbers_as_values(text: str, value: object) -> None:
    assert _with_complex(_yaml("--input", text)) == value


def test_another_implementation_beside_the_first(layer: Layer) -> None:
    at = ("--input-shape", "2", "--points", "ones", "--method", "forward")
    code, out, _ = layer("right", *at, "--against", "./user.py:wrong")
    assert code == 1
    assert "against[ones] (expect match): MISMATCH" in out
    assert "finite differences contradict the gradients of wrong (x)" in out
    code, _, err = layer("right", *at, "--against", "./user.py:missing")
    assert code == 2
    assert "missing" in err
