from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from gradcheck.errors import RunError
from gradcheck.reporters import RenderOptions
from gradcheck.reporters.html import render

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


def test_drawings_have_words_for_those_who_do_not_see_them(failing: Report) -> None:
    page = Page(render(failing, RenderOptions()))
    labels = [attrs["aria-label"] for tag, attrs in page.elements if tag == "svg" and attrs.get("role") == "img"]
    assert labels == [
        "3 segments in a chain; none wrong",
        "Largest relative error of each of 11 tensors, from 1e-08 to 1e+00; worst conv_0/kernel 3e-08",
        "3 segments in a chain; wrong: 0: segment_0",
        "Largest relative error of each of 11 tensors, from 1e-05 to 1e+01; worst conv_0/kernel 1.5e+00",
    ]


def test_show(failing: Report) -> None:
    failed = render(failing, RenderOptions(show="failed"))
    assert "9 rows not shown." in failed
    assert Page(failed).count("tr", **{"class": "failing"}) == 2
    assert Page(render(failing, RenderOptions(show="summary"))).count("tr") == 0


def test_several_runs_start_with_links_to_each(several: Report) -> None:
    page = Page(render(several, RenderOptions()))
    assert [attrs["href"] for tag, attrs in page.elements if tag == "a"] == [f"#run-{n}" for n in range(1, 6)]
    assert page.count("article") == 5


def test_noise_floor_only_where_it_was_measured(passing: Report, nonfinite: Report) -> None:
    assert "noise floor" not in render(passing, RenderOptions())
    assert "noise floor" in render(nonfinite, RenderOptions())


def test_without_jinja2(monkeypatch: pytest.MonkeyPatch, passing: Report) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(RunError) as caught:
        render(passing, RenderOptions())
    assert caught.value.code == "GC058"
    assert caught.value.help == "pip install 'gradcheck[html]'"


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
