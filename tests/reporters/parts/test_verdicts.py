from __future__ import annotations

import dataclasses
import math
import re
from typing import TYPE_CHECKING

import pytest

from gradcheck.reporters.parts.legend import TERMS, add_legend, terms_of_failures
from gradcheck.reporters.parts.page import Page
from gradcheck.reporters.parts.verdicts import HEAD, add_verdicts, bars
from tests.reporters.conftest import check, close, tensor, unproven, wrong

if TYPE_CHECKING:
    from gradcheck.results.report import CheckReport, Report, TensorReport


def of(*tensors: TensorReport) -> CheckReport:
    return check("candidate", outcome="mismatch", as_expected=False, tensors=tensors)


@pytest.mark.parametrize(
    ("error", "bar"),
    [
        (1e-9, "▂"), (1e-6, "▂"), (2e-6, "▃"), (1e-5, "▃"), (9e-5, "▄"), (1e-3, "▅"), (1e-2, "▆"), (0.1, "▇"),
        (0.2, "█"), (1.0, "█"), (1e9, "█"), (math.nan, "!"), (math.inf, "!"),
    ],
)  # fmt: skip
def test_a_bar_is_as_high_as_the_error_is_large(error: float, bar: str) -> None:
    assert bars(of(wrong("a/kernel", max_rel_error=error)), 9) == bar


def test_what_does_not_differ_is_low_whatever_its_error() -> None:
    found = bars(of(close("a/k", max_rel_error=0.5), tensor("b/k"), unproven("c/k", "dead")), 9)
    assert found == "▁▁·"


def test_a_layer_shows_its_worst_tensor_in_order_of_the_layers() -> None:
    found = of(tensor("a/k"), wrong("b/k", max_rel_error=1e-3), wrong("b/b"), tensor("c/k"), wrong("a/b"))
    assert bars(found, 9) == "██▁"


def test_the_first_layer_comes_first_in_whatever_order_the_tensors_are() -> None:
    rows = [tensor("head/k", segment=1), wrong("first/k", segment=0), wrong("x", kind="input", max_rel_error=1e-3)]
    assert bars(of(*rows), 9) == "▅█▁"


def test_of_many_layers_none_is_lost() -> None:
    rows = [tensor(f"layer_{i}/kernel") for i in range(100)]
    for at in range(100):
        found = bars(of(*(wrong(row.path) if i == at else row for i, row in enumerate(rows))), 7)
        assert len(found) == 7
        assert found.count("█") == 1


def test_the_run_as_a_whole_is_no_layer() -> None:
    assert bars(of(*(wrong(kind, kind=kind) for kind in ("loss", "state", "optimizer"))), 9) == ""


@pytest.mark.parametrize("width", [40, 60, 80, 120, None])
def test_no_cell_is_cut(several: Report, width: int | None) -> None:
    page = Page(width, color=False)
    for run in several.runs:
        name = "a_candidate_with_a_name_that_is_longer_than_half_of_a_terminal"
        add_verdicts(page, dataclasses.replace(run, checks=(*run.checks, check(name))), indent=4)
    text = re.sub(r"\s", "", page.text())
    assert "..." not in text
    assert "…" not in text
    if width is None or width >= 80:
        assert all("".join(title.split()) in text for title in HEAD)


def test_the_legend_has_what_is_shown_and_no_more() -> None:
    page = Page(80, color=False)
    add_legend(page, {"max rel", "needs rtol", "kind", "tensor"})
    assert [line.strip().split(":")[0] for line in page.text().splitlines()] == ["max rel", "needs rtol"]


def test_the_legend_calls_the_reference_as_the_checks_do() -> None:
    page = Page(80, color=False)
    add_legend(page, TERMS, "tape")
    assert "given: allowed is atol + rtol * |tape|" in page.text()
    assert "reference" not in page.text()
    assert "{" not in page.text()


def test_lines_below_failing_rows_are_explained() -> None:
    assert terms_of_failures([]) == set()
    assert terms_of_failures([wrong("a/k")]) == {"needs", "given"}
    assert terms_of_failures([wrong("a/k", step=2, rtol=0.0, atol=1e-7)]) == {"needs", "given", "given rtol 0"}
    assert terms_of_failures([wrong("a/k", step=2, rtol=0.0)]) == {
        "needs",
        "given",
    }  # of an integer: no share of anything
    assert terms_of_failures([wrong("a/k")]) <= set(TERMS)
