"""Cuts that divide a model into segments of about the same cost."""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from gradcheck.cutting.cost import flops, tensor_bytes

if TYPE_CHECKING:
    from gradcheck.cutting.model_graph import Graph


def balanced(graph: Graph, parts: int) -> list[range]:
    """Return `parts` contiguous groups of calls with the smallest largest cost, then the fewest crossing bytes."""
    costs = [flops(call) for call in graph.calls]
    limit = _smallest_limit(costs, parts)
    return _fewest_bytes(costs, crossing_bytes(graph), parts, limit)


def crossing_bytes(graph: Graph) -> list[int]:
    """Return the bytes per row that cross a cut before call p, for p from 0 to the number of calls."""
    last_use: dict[tuple[int, int], int] = {}
    for call in graph.calls:
        # Model inputs cross no cut: every segment takes them directly.
        last_use.update({ref: call.index for ref in call.inputs if not ref.is_input})
    change = [0] * (len(graph.calls) + 2)
    for ref, last in last_use.items():
        size = tensor_bytes(graph.spec(ref), 1)  # type: ignore[arg-type]  # keys are TensorRefs
        change[ref[0] + 1] += size
        change[last + 1] -= size
    # Each tensor adds its size just behind its call and subtracts it behind its last use: one pass, however many cuts.
    return list(accumulate(change))[: len(graph.calls) + 1]


def _smallest_limit(costs: list[int], parts: int) -> int:
    """Return the smallest L for which `costs` form at most `parts` contiguous groups of at most L each (bisection)."""
    # Costs are integers, so that the bisection ends at the exact limit.
    low, high = max(costs), sum(costs)
    while low < high:
        middle = (low + high) // 2
        if _groups_needed(costs, middle) <= parts:
            high = middle
        else:
            low = middle + 1
    return low


def _groups_needed(costs: list[int], limit: int) -> int:
    # Filling each group as far as it goes gives the fewest groups that any division into contiguous groups has.
    groups, filled = 1, 0
    for cost in costs:
        if filled + cost > limit:
            groups, filled = groups + 1, 0
        filled += cost
    return groups


def _fewest_bytes(costs: list[int], crossing: list[int], parts: int, limit: int) -> list[range]:
    """Return exactly `parts` non-empty groups of at most `limit` each with the fewest crossing bytes.

    Dynamic programming over the last cut, in O(parts · calls²). There is a solution: groups of several calls can be
    divided further, which raises no cost.
    """
    count = len(costs)
    total = [0, *accumulate(costs)]
    first = [bisect_left(total, total[end] - limit) for end in range(count + 1)]  # earliest start of a group to end
    best: list[float] = [0.0] + [float("inf")] * count  # best[end]: bytes to cover calls before `end` with k groups
    starts: list[list[int]] = []
    for _ in range(parts):
        previous, best, chosen = best, [float("inf")] * (count + 1), [0] * (count + 1)
        for end in range(1, count + 1):
            start = min(range(first[end], end), key=lambda s: previous[s] + crossing[s], default=end)
            if start < end:
                best[end], chosen[end] = previous[start] + crossing[start], start
        starts.append(chosen)
    groups, end = [], count
    for chosen in reversed(starts):
        groups.append(range(chosen[end], end))
        end = chosen[end]
    return groups[::-1]
