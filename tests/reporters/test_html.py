from __future__ import annotations

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from gradcheck.catalogue import CATALOGUE
from gradcheck.errors import RunError
from gradcheck.reporters import RenderOptions
from gradcheck.reporters.html import render
from gradcheck.results.by_step import StepReport
from gradcheck.results.tensor import Spread

if TYPE_CHECKING:
    from gradcheck.results.report import Report

VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """Reads a page: its elements with their attributes, its text, and whether the elements are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def count(self, tag: str, **attributes: str) -> int:
        return sum(t == tag and attributes.items() <= found.items() for t, found in self.elements)


def test_nothing_from_outside(sample: Report) -> None:
    text = render(sample, RenderOptions())
    page = Page(text)
    links = [value for _, attrs in page.elements for name, value in attrs.items() if name in ("href", "src", "srcset")]
    assert [link for link in links if link is None or not link.startswith("#")] == []
    assert all(target.startswith("#tip-") for target in re.findall(r"url\(([^)]*)\)", text))
    assert not {tag for tag, _ in page.elements} & {"link", "img", "iframe", "object", "embed", "base", "use", "image"}
    assert "@import" not in text
    assert re.search(r"https?:|//[a-z]", text) is None


def test_hostile_text_makes_no_element(hostile: Report) -> None:
    text = render(hostile, RenderOptions())
    page = Page(text)
    assert page.count("script") == 1
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    assert any('<script>alert("1")</script> \\x1b[31mANSI' in words for words in page.text)


def test_what_a_check_rests_on(passing: Report) -> None:
    page = Page(render(passing, RenderOptions()))
    assert page.text.count("rests on: the model's forward code, shared with the reference") == 1


def test_every_row_with_its_status_in_words(failing: Report) -> None:
    page = Page(render(failing, RenderOptions()))
    assert page.count("tr", **{"class": "failing"}) == 2
    assert page.count("tr", **{"class": "fine"}) == 20
    words = "".join(page.text)
    assert words.count("exact") > 20
    for expected in (
        "MISMATCH",
        "missing",
        "24 of 24 elements differ",
        "GC101 at boundary 0 → 1, layer conv_0:",
        "Fix: pass ",
        "float64 sides with the reference",
    ):
        assert expected in words


def test_a_control_has_no_failing_rows(control: Report) -> None:
    page = Page(render(control, RenderOptions()))
    assert page.count("tr", **{"class": "failing"}) == 0
    assert page.count("span", **{"class": "badge bad"}) == 0
    assert page.count("span", **{"class": "badge neutral"}) > 0


def with_spread(report: Report) -> Report:
    """The failing sample as a run gives it: with the errors of its first failing tensor in brief."""
    run = report.runs[0]
    errors = Spread(edges=(1.0, 2.0), counts=(24,), equal=0, nonfinite=0, reference=(1.0, 2.0), candidate=(2.0, 4.0))
    rows = tuple(replace(t, spread=errors) if t.status == "mismatch" else t for t in run.checks[1].tensors)
    checks = (run.checks[0], replace(run.checks[1], tensors=rows))
    return replace(report, runs=(replace(run, checks=checks),))


def test_drawings_have_words_for_those_who_do_not_see_them(failing: Report) -> None:
    page = Page(render(with_spread(failing), RenderOptions()))
    labels = [attrs["aria-label"] for tag, attrs in page.elements if tag == "svg" and attrs.get("role") == "img"]
    assert labels == [
        "3 segments from input to loss; 1 wrong: segment_0",
        "Histogram of the errors: 24 elements differ, 0 do not",
        "candidate against reference: 2 elements, from 1e+00 to 4e+00; both are equal on the line",
        "3 segments from input to loss; none wrong",
    ]
    # Bars in tables have their figures in words beside them.
    assert (
        page.count("span", **{"class": "track"}) == page.count("span", **{"class": "track", "aria-hidden": "true"}) > 0
    )


def test_show(failing: Report) -> None:
    failed = render(failing, RenderOptions(show="failed"))
    assert "9 rows not shown." in failed
    assert Page(failed).count("tr", **{"class": "failing"}) == 2
    assert Page(render(failing, RenderOptions(show="summary"))).count("tr") == 0


def test_several_runs_start_with_links_to_each(several: Report) -> None:
    page = Page(render(several, RenderOptions()))
    links = [attrs["href"] or "" for tag, attrs in page.elements if tag == "a"]
    overview = links[: next(n for n, link in enumerate(links) if link == "#run-5-check-2") + 1]
    assert [link for link in overview if re.fullmatch(r"#run-\d", link)] == [
        "#run-3",
        "#run-2",
        "#run-4",
        "#run-1",
        "#run-5",
    ]
    assert [link for link in overview if "check" in link] == [
        "#run-2-check-1", "#run-2-check-2", "#run-4-check-1", "#run-1-check-1", "#run-5-check-1", "#run-5-check-2",
    ]  # fmt: skip
    articles = [attrs["id"] for tag, attrs in page.elements if tag == "article"]
    assert articles == ["run-3", "run-2", "run-4", "run-1", "run-5"]  # the most serious first


def test_every_link_has_a_target(sample: Report) -> None:
    page = Page(render(sample, RenderOptions()))
    ids = [attrs["id"] for _, attrs in page.elements if attrs.get("id")]
    links = {(attrs["href"] or "")[1:] for tag, attrs in page.elements if tag == "a"}
    assert links <= set(ids)
    assert len(ids) == len(set(ids))


def test_codes_link_to_their_explanation(failing: Report) -> None:
    page = Page(render(failing, RenderOptions()))
    assert page.count("a", href="#GC101") > 0
    assert [attrs["id"] for tag, attrs in page.elements if tag == "details" and "GC" in (attrs.get("id") or "")] == [
        "GC101"
    ]
    assert CATALOGUE["GC101"].causes[1].partition("`")[0] in "".join(page.text)


def test_backticks_are_code_and_unknown_codes_are_text(passing: Report) -> None:
    note = "set `units=4`, not `a\nb`; GC999 and GC1010 are no codes, GC301 is"
    text = render(replace(passing, runs=(replace(passing.runs[0], notes=(note,)),)), RenderOptions())
    assert 'set <code>units=4</code>, not `a\nb`; GC999 and GC1010 are no codes, <a href="#GC301">GC301</a> is' in text


def test_right_checks_are_folded_wrong_ones_are_not(failing: Report) -> None:
    page = Page(render(failing, RenderOptions()))
    checks = [(tag, attrs["id"]) for tag, attrs in page.elements if attrs.get("class") == "check"]
    assert checks == [("section", "run-1-check-2"), ("details", "run-1-check-1")]


def test_one_verdict_above_all(sample: Report) -> None:
    page = Page(render(sample, RenderOptions()))
    assert page.count("h1") == 1
    assert page.count("header") == 1
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch(r"h[1-6]", tag)]
    assert [b for a, b in pairwise(levels) if b > a + 1] == []  # no level is left out


def test_nothing_is_drawn_that_would_be_empty(nonfinite: Report, broken: Report, vacuous: Report) -> None:
    for report in (nonfinite, broken, vacuous):
        page = Page(render(report, RenderOptions()))
        assert page.count("svg", role="img") == (1 if report is vacuous else 0)  # its segments
        assert page.count("span", **{"class": "fill"}) == 0
    assert (
        "NaN"
        not in render(nonfinite, RenderOptions())
        .partition("<main>")[2]
        .replace("NaN or inf", "")
        .partition("<script>")[0]
    )


def test_training_has_lines_over_its_steps(training: Report) -> None:
    assert "Over the steps" not in render(training, RenderOptions())
    steps = tuple(StepReport(step=n, compared=6, failing=n % 2, weights=10.0**-n) for n in range(1, 6))
    check = replace(training.runs[0].checks[0], by_step=steps)
    text = render(replace(training, runs=(replace(training.runs[0], checks=(check,)),)), RenderOptions())
    assert "Over the steps" in text
    assert "Largest relative errors over 5 steps: weights up to 1e-01" in text
    assert '<td class="figure" data-label="failing">1 of 6</td>' in text


def test_noise_floor_only_where_it_was_measured(passing: Report, nonfinite: Report) -> None:
    assert "noise floor" not in render(passing, RenderOptions())
    assert "noise floor" in render(nonfinite, RenderOptions())


def test_without_jinja2(monkeypatch: pytest.MonkeyPatch, passing: Report) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(RunError) as caught:
        render(passing, RenderOptions())
    assert caught.value.code == "GC058"
    assert caught.value.help == "pip install jinja2"


def test_training_steps(training: Report, passing: Report) -> None:
    text = render(training, RenderOptions())
    page = Page(text)
    words = "".join(page.text)
    assert words.count("2 gradient") == words.count("5 value") - 1 == 2  # the optimizer's iteration is a value too
    assert "first wrong in step 2 of 5" in words
    assert any(attrs.get("colspan") == "11" for tag, attrs in page.elements if tag == "th")
    assert '<th scope="col">step</th>' in text
    assert '<th scope="col">step</th>' not in render(passing, RenderOptions())


@pytest.mark.parametrize("name", ["passing", "training", "nonfinite"])
def test_headings_span_the_whole_table(name: str, request: pytest.FixtureRequest) -> None:
    text = render(request.getfixturevalue(name), RenderOptions())
    for table in re.findall(r'<table class="tensors">.*?</table>', text, re.DOTALL):
        columns = table.partition("</thead>")[0].count('scope="col"')
        assert set(re.findall(r'colspan="(\d+)"', table)) == {str(columns)}
        rows = re.findall(r'<tr class="(?:fine|failing)">.*?</tr>', table, re.DOTALL)
        assert {row.count("<td") + row.count("<th") for row in rows} == {columns}


def test_schedule_and_notes(scheduled: Report) -> None:
    page = Page(render(scheduled, RenderOptions()))
    words = "".join(page.text)
    assert "1f1b, 30 micro-batches (F forward, B backward)" in words
    assert "stage 2 segment_2: F0 B0 F1 B1; at most 1 live" in words
    assert "note: GC301: batch statistics are taken for each micro-batch" in words
