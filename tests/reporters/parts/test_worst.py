from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

import pytest

from gradcheck.reporters import REPORTERS, RenderOptions
from gradcheck.reporters.parts import words
from gradcheck.reporters.parts.exempt import status_label
from gradcheck.reporters.parts.worst import largest_error, open_reasons, worst_tensor, worst_words
from tests.reporters.conftest import check, close, report, run, tensor, unproven, wrong

if TYPE_CHECKING:
    from gradcheck.results.report import Report, TensorReport


def rounding(path: str = "conv/bias", **changes: object) -> TensorReport:
    """A bias before batch norm: zero but for rounding."""
    figures = {"allclose": False, "max_rel_error": 3.1e3, "noise_floor": 1e-8, "max_abs_reference": 4e-12}
    return close(path, **{**figures, **changes})


def test_what_only_rounding_moves_is_not_the_worst() -> None:
    rows = (rounding(), close("conv/kernel", max_rel_error=3e-8), tensor("dense/kernel"))
    assert worst_tensor(rows) is rows[1]
    assert worst_words(rows) == " (worst: conv/kernel, max rel 3e-08; within rounding: conv/bias)"
    assert [status_label(row) for row in rows] == ["close, rounding", "close", "exact"]


def test_where_only_rounding_differs_it_is_said() -> None:
    match = check(tensors=(rounding(), tensor("dense/kernel")))
    assert "match the reference within rounding." in words.conclusion(match, 2)
    assert largest_error(match) == "rounding"
    concise = REPORTERS["concise"](report(run(checks=(match,))), RenderOptions())
    assert concise.endswith("2/6 weights match, within rounding")
    table = REPORTERS["table"](report(run(checks=(match,))), RenderOptions())
    assert "close, rounding: within 4 noise floors" in table
    assert "3.1e+03" not in table.partition("\nPASS")[2]


def test_an_error_bar_excuses_a_large_relative_error_only_of_zero() -> None:
    assert rounding(noise_floor=None).within_rounding
    assert not rounding(noise_floor=None, max_rel_error=1e-9).within_rounding
    assert not close("conv/bias", noise_floor=1e-8).within_rounding  # within the tolerance too
    assert not wrong("conv/bias", noise_floor=1e-8).within_rounding


def test_a_failing_tensor_is_worse_than_any_other() -> None:
    rows = (wrong("dense/kernel", max_rel_error=1e-3), close("a/b", max_rel_error=0.5), unproven("c/d", "missing"))
    assert worst_tensor(rows) is rows[0]
    assert worst_tensor(rows[1:]) is None  # what fails has no figure


def test_a_reference_below_its_noise_is_the_last_choice() -> None:
    noise = wrong("bias_velocity", max_rel_error=1e13, max_abs_reference=1e-17, noise_floor=1e-16)
    real = wrong("kernel", max_rel_error=0.5, max_abs_reference=1.0, noise_floor=1e-8)
    zero = wrong("dead", max_rel_error=math.inf, max_abs_reference=0.0, noise_floor=0.0)
    assert worst_tensor((noise, real)) is real
    assert worst_tensor((noise,)) is noise
    assert worst_tensor((real, zero)) is zero
    small = close("b", max_rel_error=9.0, max_abs_reference=1e-9, atol=1e-6)
    assert worst_tensor((small, close("k"))) != small


def test_what_is_undecided_is_not_the_worst() -> None:
    rows = (tensor("a/k", status="inconclusive", max_rel_error=math.inf), tensor("b/k", status="dead"))
    assert worst_tensor(rows) is None


@pytest.mark.parametrize(
    ("notes", "reasons"),
    [
        (["GC802: at a kink (3 of 6), slopes 0 and 1 on the two sides", "GC802: at a kink"], {"GC802": "at a kink"}),
        (
            ["GC805: the loss jumps here; GC801: known only to within 2.1e-05 (1 of 2)"],
            {"GC801": "known only to within 2.1e-05", "GC805": "the loss jumps here"},
        ),
        (["the optimizer amplifies rounding"], {}),
    ],
)
def test_an_inconclusive_check_says_why(notes: list[str], reasons: dict[str, str]) -> None:
    rows = tuple(tensor(f"a/{i}", status="inconclusive", note=note) for i, note in enumerate(notes))
    numeric = check("numeric[zeros]", outcome="inconclusive", tensors=rows)
    assert open_reasons(numeric) == reasons
    said = words.conclusion(numeric, len(rows))
    assert all(f"{code}: {why}" in said for code, why in reasons.items())
    page = REPORTERS["table"](report(run(checks=(numeric,))), RenderOptions(show="failed"))
    assert page.rstrip().endswith(" ".join(reasons) or "·")
    assert open_reasons(dataclasses.replace(numeric, outcome="match")) == {}


def test_an_assertion_error_is_short_and_starts_with_the_diagnosis(failing: Report) -> None:
    broken = failing.runs[0].checks[1]
    rows = tuple(wrong(f"adam/slot_{i}") for i in range(25))
    many = dataclasses.replace(broken, tensors=rows)
    whole = report(dataclasses.replace(failing.runs[0], verdict="fail", exit_code=1, checks=(many,)))
    with pytest.raises(AssertionError) as raised:
        whole.raise_for_mismatch()
    lines = str(raised.value).split("\n")
    assert "diagnosis candidate GC101" in lines[1]
    assert sum("adam/slot_" in line and "max_abs=" in line for line in lines) == 10
    assert any(line.endswith("FAIL candidate and 15 more failing tensors") for line in lines)
    assert str(whole).count("max_abs=") == 25


def test_mismatches_beside_an_error_are_counted() -> None:
    bad = check("vjp", outcome="mismatch", as_expected=False)
    broken = report(run(verdict="error", checks=(bad, check("naive", outcome="error", as_expected=False), bad)))
    assert words.summary_line(broken) == "1 config: 1 error (2 methods do not match)"
    assert words.beside_errors(report(run(verdict="fail", checks=(bad,)))) == ""


def test_the_table_says_what_a_layer_was_called_with() -> None:
    text = REPORTERS["table"](report(run(inputs=("x (2, 4, 3)",))), RenderOptions(show="summary"))
    assert "seed 0, called with x (2, 4, 3)" in text
