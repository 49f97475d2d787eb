"""Balanced parts beside every way to cut, tried one by one."""

from __future__ import annotations

from itertools import combinations, pairwise
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from gradcheck.cutting.balance import _fewest_bytes, _smallest_limit

if TYPE_CHECKING:
    from collections.abc import Iterator


@st.composite
def chains(draw: st.DrawFn) -> tuple[list[int], list[int], int]:
    """Costs of calls, bytes across a cut before each call and after the last, and a number of parts."""
    costs = draw(st.lists(st.integers(0, 6), min_size=1, max_size=8))
    crossing = draw(st.lists(st.integers(0, 50), min_size=len(costs) + 1, max_size=len(costs) + 1))
    return costs, [0, *crossing[1:-1], 0] if len(crossing) > 1 else crossing, draw(st.integers(1, len(costs)))


def every_cut(count: int, parts: int) -> Iterator[list[range]]:
    for cuts in combinations(range(1, count), parts - 1):
        yield [range(start, end) for start, end in pairwise((0, *cuts, count))]


def largest(costs: list[int], groups: list[range]) -> int:
    return max(sum(costs[i] for i in group) for group in groups)


def across(crossing: list[int], groups: list[range]) -> int:
    return sum(crossing[group.start] for group in groups)


@given(chains())
@settings(max_examples=400, deadline=None)
def test_the_limit_is_the_smallest_that_any_cut_reaches(chain: tuple[list[int], list[int], int]) -> None:
    costs, _, parts = chain
    assert _smallest_limit(costs, parts) == min(largest(costs, groups) for groups in every_cut(len(costs), parts))


@given(chains())
@settings(max_examples=400, deadline=None)
def test_of_the_balanced_cuts_the_one_with_the_fewest_bytes(chain: tuple[list[int], list[int], int]) -> None:
    costs, crossing, parts = chain
    limit = _smallest_limit(costs, parts)
    found = _fewest_bytes(costs, crossing, parts, limit)
    assert found in list(every_cut(len(costs), parts))
    assert largest(costs, found) == limit
    allowed = [groups for groups in every_cut(len(costs), parts) if largest(costs, groups) <= limit]
    assert across(crossing, found) == min(across(crossing, groups) for groups in allowed)
