"""The places where gradients go wrong: planted faults are convicted at them, and what Keras has is not called wrong."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.config import load_given
from gradcheck.errors import NotApplicable
from gradcheck.methods.directional.numeric import numeric
from gradcheck.methods.directional.points import POINTS
from gradcheck.numerics import TolerancePolicy
from gradcheck.problem.prepare import prepare, session
from gradcheck.session.configs import CheckOptions
from gradcheck.session.layer import Target, check_layer, layer_config
from tests.methods.directional.test_numeric_layers import CASES, config_of, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.results.report import RunReport

HERE = Path(__file__).parent
#: Of Keras's layers so many are left out between two that are probed, unless `--probes all` asks for every one.
STRIDE = 12


@cache
def checked(
    name: str,
    shapes: tuple[tuple[int, ...], ...],
    values: tuple[Any, ...] = (),
    order: int = 1,
    kwargs: tuple[tuple[str, Any], ...] = (),
) -> RunReport:
    """`gradcheck layer` on a target, without forward mode."""
    methods = ("numeric", "hvp")[:order]
    target = Target(
        name=name,
        shapes=shapes,
        dtypes=[None] * len(shapes),
        values=list(values),
        kwargs=dict(kwargs),
        order=order,
        methods=methods,
    )
    return check_layer(target, layer_config(target), CheckOptions()).run


def convictions(report: RunReport) -> dict[str, set[str]]:
    """The codes by the check that named them."""
    return {check.method: {d.code for d in check.diagnoses} for check in report.checks if check.failures}


#: Among every third there is each code.
PLANTED = {
    "softplus_large": "GC601",
    "linear_large": "GC601",
    "sine": "GC803",
    "relu_outside": "GC804",
    "absolute_outside": "GC804",
    "cubic": "GC803",
    "root_finite": "GC805",
    "exponential": "GC803",
    "logistic": "GC803",
    "softplus_zero": "GC803",
    "softsign": "GC803",
    "hyperbolic": "GC803",
    "error_function": "GC803",
    "inverse_tangent": "GC803",
    "square": "GC803",
    "root_one": "GC803",
    "swish": "GC803",
}


@pytest.mark.third
@pytest.mark.parametrize(("name", "code"), PLANTED.items())
def test_a_gradient_that_is_wrong_at_one_point_is_convicted(name: str, code: str) -> None:
    report = checked(f"{HERE}/point_faults.py:{name}", ((3,),))
    assert report.exit_code == 1
    found = convictions(report)
    assert "numeric" not in found  # random values never meet the point
    assert all(code in codes for codes in found.values()), found


@pytest.mark.parametrize(("name", "code"), [("one_of_a_thousand", "GC803"), ("one_of_a_thousand_kinks", "GC804")])
def test_one_element_of_a_thousand_is_convicted(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcheck.session.layer.BATCH_SIZE", 1)
    report = checked(f"{HERE}/point_faults.py:{name}", ((1000,),))
    assert report.exit_code == 1
    assert convictions(report) == {"numeric[zeros]": {code}}
    (row,) = [row for check in report.checks for row in check.failures]
    assert row.shape == (1, 1000) or code == "GC803"


@pytest.mark.parametrize("name", ["sum_with_a_tie", "product_with_a_tie"])
def test_a_term_that_is_lost_at_a_tie_is_convicted(name: str) -> None:
    report = checked(f"{HERE}/point_faults.py:{name}", ((3,), (3,)))
    assert {"numeric[equal]", "numeric[same]", "numeric[ones]"} <= convictions(report).keys()
    assert {code for codes in convictions(report).values() for code in codes} == {"GC803"}


UPSTREAM = '''
import keras
import tensorflow as tf


def ldexp(x):
    return keras.ops.ldexp(x, 3)


def xlogy(t):
    return tf.math.xlogy(t, tf.constant(2, t.dtype))


def xlog1py(t):
    return tf.math.xlog1py(t, tf.constant(1, t.dtype))


def sinc(x):
    return keras.ops.sinc(x)


def logaddexp(a, b):
    return keras.ops.logaddexp(a, b)


def logaddexp2(a, b):
    return keras.ops.logaddexp2(a, b)


def norm(x):
    return tf.norm(x)


def keras_norm(x):
    return keras.ops.norm(x)


def std(x):
    return keras.ops.std(x)


def hypot(t):
    return keras.ops.hypot(t, tf.constant(3, t.dtype))


def masked_log(x):
    return tf.where(x > 0, tf.math.log(x), tf.zeros_like(x))


def relu(x):
    return tf.nn.relu(x)


def absolute(x):
    return tf.abs(x)


def largest(x):
    return tf.reduce_max(x)


def ordered(x):
    return tf.sort(x)


def middle(x):
    return tf.sort(x)[1]


def clipped(x):
    return tf.clip_by_value(x, 0.0, 1.0)


def guarded(x):
    return tf.sqrt(tf.maximum(x, 0.0) + 1e-12)


def hidden(x):
    """A small net whose ReLUs are all at zero together."""
    weights = tf.cast(tf.reshape(tf.sin(tf.range(1.0, 17.0) * 3.0), (4, 4)), x.dtype)
    return tf.linalg.matvec(tf.transpose(weights), tf.nn.relu(tf.linalg.matvec(weights, x)))
'''


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("upstream") / "functions.py"
    path.write_text(UPSTREAM, encoding="utf-8")
    return str(path)


@pytest.mark.third  # of which each code and each kind of function is one
@pytest.mark.parametrize(
    ("name", "shapes", "code", "says"),
    [
        ("xlogy", ((),), "GC803", "the tape says 0,"),
        ("ldexp", ((),), "GC803", "the tape says"),
        ("xlog1py", ((),), "GC803", "the tape says 0,"),
        ("logaddexp", ((), ()), "GC803", "wrong at this point alone"),
        ("logaddexp2", ((), ()), "GC803", "wrong at this point alone"),
        ("sinc", ((),), "GC703", ""),
        ("norm", ((3,),), "GC703", ""),
        ("keras_norm", ((3,),), "GC703", ""),
        ("std", ((4,),), "GC703", ""),
        ("masked_log", ((3,),), "GC703", ""),
    ],
)
def test_what_tensorflow_and_keras_have_wrong_at_a_point(
    upstream: str, name: str, shapes: Any, code: str, says: str
) -> None:
    report = checked(f"{upstream}:{name}", shapes)
    assert report.exit_code == 1
    assert {code} == {c for codes in convictions(report).values() for c in codes}
    notes = [row.note or "" for check in report.checks for row in check.failures]
    assert any(says in note for note in notes)


def test_the_right_value_is_shown_beside_the_tapes(upstream: str) -> None:
    for name, right in (("ldexp", 8.0), ("xlogy", 0.6931471805599453)):
        (check,) = checked(f"{upstream}:{name}", (), (0.0,)).checks
        (row,) = check.tensors
        assert row.worst is not None
        assert row.worst.candidate == pytest.approx(right, abs=1e-6)


def test_second_order_at_a_point(upstream: str) -> None:
    report = checked(f"{upstream}:hypot", ((),), order=2)
    assert convictions(report) == {"hvp[zeros]": {"GC803"}}


def test_the_identity_that_keras_makes_of_prelu_has_no_gradient_at_zero() -> None:
    report = checked("PReLU", ((4,),), kwargs=(("alpha_initializer", "ones"),))
    assert convictions(report)["numeric[zeros]"] == {"GC803"}


def test_a_point_where_a_layer_masks_is_none_of_its() -> None:
    report = checked("Masking", ((5, 3),))
    assert convictions(report) == {}
    assert any(
        "numeric[zeros] does not apply: the model masks other steps at the point `zeros`" in note
        for note in report.notes
    )
    other = checked("Masking", ((5, 3),), kwargs=(("mask_value", 1.0),))
    assert any("numeric[ones] does not apply" in note for note in other.notes)


@pytest.mark.third  # of which one kinks by itself, one at ties, one in several places at once
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("relu", (3,)),
        ("absolute", (3,)),
        ("clipped", (3,)),
        ("ordered", (4,)),
        ("largest", (4,)),
        ("middle", (3,)),
        ("hidden", (4,)),
        ("guarded", (3,)),
    ],
)
def test_a_kink_is_no_mistake(upstream: str, name: str, shape: Any) -> None:
    report = checked(f"{upstream}:{name}", (shape,))
    assert convictions(report) == {}
    assert report.exit_code == 0


def probed(config: dict[str, Any]) -> Counter[str]:
    """What became of each tensor at each point: its status, or that the point is none of the model's."""
    loaded = load_given({**config, "methods": ["numeric"]}, {})
    found: Counter[str] = Counter()
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        reference = Reference(problem)
        for point in POINTS:
            options = loaded.config.methods[0].options.model_copy(update={"points": (point,)})
            try:
                gradients = numeric(problem, options)
            except NotApplicable:
                found["skipped"] += 1
                continue
            rows = compare_all(problem, reference, gradients, TolerancePolicy(), noise=True)
            wrong = [(point, row.path, row.note) for row in rows if row.failed]
            assert wrong == []
            found.update(verdict(row.status, row.note or "") for row in rows)
    return found


def verdict(status: str, note: str) -> str:
    if status != "inconclusive":
        return "match" if status in ("exact", "close") else status
    return "kink" if "GC802" in note or "GC805" in note else "undecided"


#: With alpha = 1 it is the identity, and at 0 Keras's `relu(x) - alpha * relu(-x)` has the gradient 0: outside of both
#: slopes for every alpha between 0 and 1.
KNOWN_WRONG = frozenset({"PReLU"})


def chosen(request: pytest.FixtureRequest, cases: Sequence[Any]) -> Sequence[Any]:
    return cases if request.config.getoption("--probes") == "all" else cases[::STRIDE]


def test_no_layer_of_keras_is_called_wrong_at_a_point(
    request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    figures: Counter[str] = Counter()
    wrong: dict[str, str] = {}
    cases = list(zip(names(CASES), CASES, strict=True))
    for label, (name, kwargs, shapes) in chosen(request, cases):
        try:
            figures.update(probed(config_of(name, kwargs, shapes)))
        except AssertionError as error:
            wrong[label] = str(error).partition("\n")[0]
    with capsys.disabled():
        print(f" {dict(figures)}", end="")  # noqa: T201 - the counts are what is asked for
    assert wrong.keys() <= KNOWN_WRONG, wrong
    assert figures["match"] > 10 * figures["undecided"]
