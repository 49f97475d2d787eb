from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.reporters.parts import text

NAN = math.nan


@given(st.text())
def test_inline_is_printable_and_idempotent(value: str) -> None:
    once = text.inline(value)
    assert once.isprintable()
    assert text.inline(once) == once


def test_inline_shows_what_does_not_print() -> None:
    assert text.inline("a\nb\x1b[31m\x00\u202e\ud800 é [red]") == r"a\nb\x1b[31m\x00\u202e\ud800 é [red]"


def test_multiline_keeps_line_breaks() -> None:
    assert text.multiline("one\r\n\ttwo\x07\n") == "one\n    two\\x07"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0"), (-0.0, "0"), (3e-08, "3e-08"), (1.234e-08, "1.23e-08"), (1.5, "1.5e+00"), (9.999, "1e+01"),
        (NAN, "-"), (None, "-"), (math.inf, "inf"), (-0.0012, "-1.2e-03"), (1e-300, "1e-300"),
    ],
)  # fmt: skip
def test_number(value: float | None, written: str) -> None:
    assert text.number(value) == written


@given(st.floats(min_value=-1e300, max_value=1e300))
def test_number_has_three_significant_digits(value: float) -> None:
    assert float(text.number(value)) == pytest.approx(value, rel=5.01e-3, abs=5e-324)


@pytest.mark.parametrize(
    ("value", "written"), [(0.0, "0"), (3.0, "3"), (9999.0, "9999"), (123456.0, "1.23e+05"), (NAN, "-")]
)
def test_ulps(value: float, written: str) -> None:
    assert text.ulps(value) == written


@pytest.mark.parametrize(("value", "written"), [(1.0, "1"), (-0.25, "-0.25"), (0.9999, "0.9999"), (NAN, "-")])
def test_cosine(value: float, written: str) -> None:
    assert text.cosine(value) == written


def test_pair_tells_close_values_apart() -> None:
    assert text.pair(0.1, 0.2) == ("0.1", "0.2")
    reference, candidate = text.pair(1.0, 1.0 + 2**-52)
    assert reference != candidate


@pytest.mark.parametrize(("count", "written"), [(512, "512 B"), (1536, "1.5 KiB"), (3 * 2**40, "3 TiB")])
def test_size(count: int, written: str) -> None:
    assert text.size(count) == written


def test_words_for_names_and_shapes() -> None:
    assert text.shape((3, 10, 1)) == "(3,10,1)"
    assert text.index((0, 2)) == "[0,2]"
    assert text.named(["a\n", "b", "c"], most=2) == r"a\n, b, and 1 more"


@given(st.text(st.characters(exclude_characters=".")), st.integers(min_value=3, max_value=40))
def test_shorten_fits_and_keeps_the_ends(value: str, width: int) -> None:
    short = text.shorten(value, width)
    assert len(short) <= width
    if len(value) <= width:
        assert short == value
    else:
        head, _, tail = short.partition("...")
        assert value.startswith(head)
        assert value.endswith(tail)


def test_carets_stand_under_the_mistake() -> None:
    assert text.carets("\tlos: MSE", 2, 3) == ["    los: MSE", "    ^^^"]


def test_carets_stay_in_sight_in_a_narrow_terminal() -> None:
    line, below = text.carets("x" * 90 + "bad" + "y" * 90, 91, 3, room=20)
    assert len(line) == 20
    assert line[below.index("^") :][: below.count("^")] == "bad"


def test_carets_never_run_past_the_line() -> None:
    assert text.carets("abc", 3, 10) == ["abc", "  ^"]
