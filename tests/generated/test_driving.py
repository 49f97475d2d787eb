"""What fails is shrunk, written down and told; what comes after it is still counted."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st

from gradcheck.errors import ConfigError
from tests.generated.driving import Judged, Kind, Tally, TimeIsOver, drive

if TYPE_CHECKING:
    from pathlib import Path


def judge(path: Path) -> Judged:
    text = path.read_text(encoding="utf-8")
    failure = "long" if len(text) > 20 else "capital" if text.upper() == text and "A" in text else None
    return Judged(counts=Counter([failure or "right"]), failure=failure, about="its length")


TEXTS = st.text(st.sampled_from("abcABC"), max_size=40).map(str.encode)
KIND = Kind(name="letters", texts=TEXTS, judge=judge, rerun="cat {}")


def test_each_way_to_fail_is_shrunk_once(tmp_path: Path) -> None:
    tally = Tally(kind=KIND)
    for start in range(20):
        drive(tally, examples=100, start=start, folder=tmp_path)
    smallest = {what: failure.text.lower() for what, failure in tally.failures.items()}
    assert smallest == {"long": b"a" * 21, "capital": b"a"}
    assert all(failure.path.read_bytes() == failure.text for failure in tally.failures.values())
    assert tally.counts["right"] > 0
    assert tally.counts.total() == tally.cases
    assert f"rerun: cat {tally.failures['long'].path}" in tally.told()


def test_lines_that_a_failure_does_not_need_are_left_out(tmp_path: Path) -> None:
    def missing(path: Path) -> Judged:
        if b"a:" not in path.read_bytes():
            raise ConfigError("no config at all")
        return Judged(counts=Counter(["seen"]), failure=None if b"bad: 1" not in path.read_bytes() else "bad")

    text = b"a:\n  b:\n  - c: 2\n    bad: 1\n  d:\n    e: 3\nf: 4\n"
    tally = Tally(kind=Kind(name="lines", texts=st.just(text), judge=missing, rerun="cat {}"))
    drive(tally, examples=1, start=0, folder=tmp_path)
    assert tally.failures["bad"].text == b"a:\n  - c: 2\n    bad: 1\n"


def test_the_same_seed_draws_the_same(tmp_path: Path) -> None:
    first, second = Tally(kind=KIND), Tally(kind=KIND)
    for tally in (first, second):
        drive(tally, examples=50, start=3, folder=tmp_path)
    assert (first.counts, first.cases) == (second.counts, second.cases)


def test_it_ends_where_the_time_is_over(tmp_path: Path) -> None:
    with pytest.raises(TimeIsOver):
        drive(Tally(kind=KIND), examples=50, start=0, folder=tmp_path, over=lambda: True)
