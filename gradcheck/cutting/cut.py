"""From names, indices or a number of parts to a plan of segments."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import keras

from gradcheck.building.state_variables import state_variables
from gradcheck.cutting.balance import balanced
from gradcheck.cutting.model_graph import MODEL_INPUT, TensorRef
from gradcheck.errors import ConfigError
from gradcheck.phrases import some, suggestion

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from gradcheck.cutting.model_graph import Graph


class CutError(ConfigError):
    """A cut that cannot be made; `position` is its index in `split.after`, if it has one."""

    def __init__(self, message: str, *, code: str, help: str, position: int | None = None) -> None:  # noqa: A002 - the base class's name for it
        super().__init__(message, code=code, help=help)
        self.keys: tuple[str | int, ...] = ("split",) if position is None else ("split", "after", position)


@dataclass(frozen=True, kw_only=True)
class SegmentPlan:
    """The calls of one segment, its input tensors, and its outputs, which later segments or the loss use.

    `reused` are the outputs that calls inside the segment take as well.
    """

    index: int
    name: str
    calls: tuple[int, ...]
    inputs: tuple[TensorRef, ...]
    outputs: tuple[TensorRef, ...]
    reused: frozenset[TensorRef]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The segments in order; `boundaries` maps each tensor that crosses a cut to the index of its segment."""

    segments: tuple[SegmentPlan, ...]
    boundaries: dict[TensorRef, int]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def cut_after(graph: Graph, names: Sequence[str | int], segment_names: Sequence[str] | None = None) -> Plan:
    """Cut after each named call: a segment holds the calls that its cut needs and no earlier segment has.

    Calls that move the same state stay in order: a dropout that is called twice draws a mask in each call.

    Raises:
        CutError: GC023 for a name that the model lacks, GC024 for a cut that adds nothing.
    """
    groups: list[set[int]] = []
    taken: set[int] = set()
    before, notes = _before(graph), []
    for position, name in enumerate(names):
        refs = resolve(graph, name, position)
        closure = _with_whole_layers(graph, ancestors(graph, refs, before), before) - taken
        if not closure:
            raise CutError(
                f"the cut after {name!r} adds nothing: all that it needs lies before an earlier cut",
                code="GC024",
                help="list the cuts in the order in which the data flow through the model",
                position=position,
            )
        kept = sorted(closure - _with_whole_layers(graph, ancestors(graph, refs), {}))
        if kept:
            calls = some([graph.calls[index].name for index in kept])
            notes.append(f"the cut after {name!r} takes {calls} along: calls that move the same state stay in order")
        groups.append(closure)
        taken |= closure
    rest = set(range(len(graph.calls))) - taken
    if not rest:
        raise CutError(
            f"the cut after {names[-1]!r} adds nothing: no call follows it",
            code="GC024",
            help="cut before the end of the model",
            position=len(names) - 1,
        )
    return replace(make_plan(graph, [*groups, rest], segment_names), notes=tuple(notes))


def _before(graph: Graph) -> dict[int, list[int]]:
    """Return for each call of a layer the last earlier calls that move the same state: seeds, statistics."""
    last: dict[int, int] = {}
    before = {}
    for call in graph.calls:
        if isinstance(call.operation, keras.Layer):
            moved = [id(state.variable) for state in state_variables([call.operation])]
            before[call.index] = [last[variable] for variable in moved if variable in last]
            last.update(dict.fromkeys(moved, call.index))
    return before


def _with_whole_layers(graph: Graph, calls: set[int], before: Mapping[int, Sequence[int]]) -> set[int]:
    """Return `calls` with all calls inside the layers that they complete, such as those that only add a loss."""
    whole = set(calls)
    for opened in graph.opened:
        made = {source.ref.call for source in opened.outputs if source is not None and not source.ref.is_input}
        if made and made <= whole:
            whole |= ancestors(graph, [TensorRef(call, 0) for call in opened.calls], before)
    return whole


def cut_every(graph: Graph) -> Plan:
    """Return a plan with one segment for each call, in topological order."""
    return make_plan(graph, [{call.index} for call in graph.calls])


def cut_parts(graph: Graph, parts: int) -> Plan:
    """Cut the graph into at most `parts` contiguous segments, balanced by cost, then with the fewest crossing bytes."""
    plan = make_plan(graph, balanced(graph, min(parts, len(graph.calls))))
    if len(plan.segments) == parts:
        return plan
    warning = f"the model has {len(graph.calls)} calls, fewer than parts: {parts}; it is cut into {len(plan.segments)}"
    return Plan(segments=plan.segments, boundaries=plan.boundaries, warnings=(warning,))


def make_plan(graph: Graph, groups: Iterable[Iterable[int]], names: Sequence[str] | None = None) -> Plan:
    """Return the plan with these groups of calls as segments; their inputs, outputs and boundaries are derived."""
    # Groups may be sets; in the order of their indices the calls can run.
    members = [tuple(sorted(group)) for group in groups]
    owner = {call: index for index, calls in enumerate(members) for call in calls}
    takers = _takers(graph, owner)
    # A model output leaves its segment even if no other segment takes it. Model inputs have no owner.
    wanted = set(graph.outputs) | {ref for ref, segments in takers.items() if segments - {owner.get(ref.call)}}
    plans = []
    for index, calls in enumerate(members):
        taken = dict.fromkeys(ref for call in calls for ref in graph.calls[call].inputs)
        made = [TensorRef(call, i) for call in calls for i in range(len(graph.calls[call].outputs))]
        outputs = tuple(ref for ref in made if ref in wanted)
        plans.append(
            SegmentPlan(
                index=index,
                name=names[index] if names else f"segment_{index}",
                calls=calls,
                inputs=tuple(ref for ref in taken if owner.get(ref.call) != index),
                outputs=outputs,
                reused=frozenset(outputs) & taken.keys(),
            )
        )
    # Taken by a later segment: a tensor that only the loss uses is an output, and no boundary.
    crossing = {ref for plan in plans for ref in plan.inputs if not ref.is_input}
    return Plan(segments=tuple(plans), boundaries={ref: owner[ref.call] for ref in sorted(crossing)})


def _takers(graph: Graph, owner: dict[int, int]) -> dict[TensorRef, set[int]]:
    """Return for each tensor the segments that take it."""
    takers: dict[TensorRef, set[int]] = {}
    for call in graph.calls:
        for ref in call.inputs:
            takers.setdefault(ref, set()).add(owner[call.index])
    return takers


def ancestors(graph: Graph, refs: Iterable[TensorRef], before: Mapping[int, Sequence[int]] | None = None) -> set[int]:
    """Return the calls that `refs` depend on, including the calls that make them, and those `before` any of these."""
    # A loop and no recursion: a deep model has more calls than Python allows frames.
    needed: set[int] = set()
    waiting = [ref.call for ref in refs]
    while waiting:
        call = waiting.pop()
        if call != MODEL_INPUT and call not in needed:
            needed.add(call)
            waiting.extend(ref.call for ref in graph.calls[call].inputs)
            waiting.extend((before or {}).get(call, ()))
    return needed


def resolve(graph: Graph, name: str | int, position: int | None = None) -> tuple[TensorRef, ...]:
    """Return the tensors that a name or index in `after` stands for.

    A name with several calls stands for the last one, `name:N` for the N-th, counted from 1; the path of a nested model
    stands for its outputs.
    """
    if isinstance(name, int) and 0 <= name < len(graph.calls):
        return (TensorRef(name, 0),)
    known = _named(graph)
    if isinstance(name, str) and name in known:
        return known[name]
    raise _unknown(graph, name, position)


def _named(graph: Graph) -> dict[str, tuple[TensorRef, ...]]:
    """Return every name that `after` accepts, with the tensors that it stands for."""
    named = dict(graph.groups) | {call.name: (TensorRef(call.index, 0),) for call in graph.calls}
    # The bare path is the first call's unique name, but in `after` it stands for the last call.
    for path, refs in _last_of_several(graph).items():
        named[f"{path}:1"] = named[path]
        named[path] = refs
    return named


def _last_of_several(graph: Graph) -> dict[str, tuple[TensorRef, ...]]:
    """Return for each path with more than one call (`path:2` exists) the outputs of its last call."""
    calls = {call.path: (TensorRef(call.index, 0),) for call in graph.calls if call.name != call.path}
    return calls | {_stem(name): refs for name, refs in graph.groups.items() if name != _stem(name)}


def _stem(name: str) -> str:
    """Return the path of a numbered name: `encoder` for `encoder:2`; Keras names hold no colon."""
    return name.partition(":")[0]


def accepted_names(graph: Graph) -> tuple[str, ...]:
    """Return every name that `after` accepts, calls in topological order first, then nested models."""
    named = _named(graph)
    nested = {_stem(name) for name in graph.groups}
    return tuple(sorted(named, key=lambda name: (_stem(name) in nested, min(named[name]), name)))


def _unknown(graph: Graph, name: str | int, position: int | None) -> CutError:
    if isinstance(name, int):
        message = f"split.after: {name} is no call of the model, which has {len(graph.calls)} calls"
        return CutError(message, code="GC023", help=f"use 0 to {len(graph.calls) - 1}, or a name", position=position)
    return CutError(
        f"split.after: the model has no call named {name!r}",
        code="GC023",
        help=suggestion(name, accepted_names(graph), "`gradcheck plan` without split lists every name", most=12),
        position=position,
    )
