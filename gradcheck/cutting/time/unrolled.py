"""A model unrolled along time: a graph in which each chunk of the sequence is a call of its own.

    before ─ x ─┬─ x[0:3] ─ lstm@0 ──── lstm@0 ────┐
                │              │ states            ├─ lstm ─ after
                └─ x[3:6] ─ lstm@1 ──── lstm@1 ────┘

It is a graph like any other, so that everything that works on segments works on chunks: the boundary between two chunks
consists of the states, the last output where masked steps may repeat it, and the seeds of the dropout masks, if any.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.cutting.cut import make_plan
from gradcheck.cutting.model_graph import Call, Graph, Source, TensorRef
from gradcheck.cutting.time.chunk_layers import Joined, Resumed, TimeSlice
from gradcheck.cutting.time.recurrent_stack import Arguments, find_stack
from gradcheck.keras_private import SymbolicArguments, mask_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from gradcheck.config.schema import TimeSplit
    from gradcheck.cutting.cut import Plan
    from gradcheck.cutting.time.recurrent_stack import Stack


@dataclass(frozen=True, eq=False, kw_only=True)
class TimeCut:
    """A model cut along time.

    Attributes:
        whole: the graph that Keras runs.
        stack: the recurrent calls in it, and the chunks.
        graph: the unrolled graph.
        plan: the segments: the calls before the stack (if any), the chunks, and the calls after it.
        origin: for each tensor of the unrolled graph that the whole graph also has, the tensor there.
        chunk_segments: the indices of the chunks among the segments.
        layers: the recurrent layers of the chunks, by index of the call in the whole graph.
    """

    whole: Graph
    stack: Stack
    graph: Graph
    plan: Plan
    origin: Mapping[TensorRef, TensorRef]
    chunk_segments: range
    layers: Mapping[int, Resumed]


def cut_time(graph: Graph, split: TimeSplit) -> TimeCut:
    """Cut `graph` along time.

    Raises:
        KeyedError: as `find_stack` does.
    """
    return unrolled(graph, find_stack(graph, split))


def unrolled(graph: Graph, stack: Stack, *, stateful: bool = False) -> TimeCut:
    """Return `graph` with one call for each chunk of each recurrent layer in `stack`.

    With `stateful` the layers keep their states in variables, and no states cross between chunks.
    """
    building = _Building(graph)
    layers = {call.index: Resumed(call.operation, stateful=stateful) for call in stack.calls}
    recurrent = {call.index: call for call in stack.calls}
    before = [building.keep(call) for call in graph.calls if call.index in stack.before]
    chunks = _Chunks(building, stack, layers, hand_on_states=not stateful)
    # Chunk by chunk through the whole stack, not layer by layer: a segment is one chunk of all layers.
    groups = [chunks.add(number) for number in range(len(stack.chunks))]
    wanted = _wanted_outside(graph, stack)
    # Joined only if its whole output is used: an unused join would make every chunk's output a boundary.
    after = []
    for call in graph.calls:
        if call.index in recurrent:
            after += [chunks.join(call)] if call.index in wanted else []
        elif call.index not in stack.before:
            after.append(building.keep(call))
    names = [*(["before"] if before else []), *(f"chunk_{i}" for i in range(len(groups))), "after"]
    whole = building.graph()
    return TimeCut(
        whole=graph,
        stack=stack,
        graph=whole,
        plan=make_plan(whole, [*([before] if before else []), *groups, after], names),
        origin=building.origin,
        chunk_segments=range(bool(before), bool(before) + len(groups)),
        layers=layers,
    )


def _wanted_outside(graph: Graph, stack: Stack) -> set[int]:
    """Return the recurrent calls whose outputs are used outside the chain, or whose output is penalised."""
    chain = {call.index for call in stack.calls}
    taken = {ref.call for call in graph.calls if call.index not in chain for ref in call.inputs}
    # An activity penalty applies to the whole output, which only a join computes.
    penalised = {call.index for call in stack.calls if call.operation.activity_regularizer is not None}
    return chain & (taken | {ref.call for ref in graph.outputs} | penalised)


class _Given:
    """The arguments of a new call: new KerasTensors, and the source of each."""

    def __init__(self, building: _Building) -> None:
        self._building = building
        self.sources: dict[int, Source] = {}

    def __call__(self, source: Source) -> keras.KerasTensor:
        """Return a new KerasTensor that stands for `source` among the arguments."""
        like = source.entries[-1] if source.entries else self._building.spec(source.ref)
        # A new one each time: `sources` is by id, and one tensor may be two arguments.
        stand_in = keras.KerasTensor(like.shape, like.dtype)
        self.sources[id(stand_in)] = source
        return stand_in

    def all(self, refs: Iterable[TensorRef]) -> list[keras.KerasTensor]:
        """Return a new KerasTensor for each of `refs`."""
        return [self(Source(ref)) for ref in refs]


class _Building:
    """The calls of the new graph so far. `moved` maps tensors of the old graph to those of the new one."""

    def __init__(self, old: Graph) -> None:
        self.old = old
        inputs = [ref for ref in old.names if ref.is_input]
        self.moved = {ref: ref for ref in inputs}
        self.origin = {ref: ref for ref in inputs}
        self._calls: list[Call] = []
        self._names = {ref: old.names[ref] for ref in inputs}

    def spec(self, ref: TensorRef) -> Any:
        """Return the KerasTensor (shape, dtype) of a tensor of the new graph."""
        return self.old.spec(ref) if ref.is_input else self._calls[ref.call].outputs[ref.output]

    def name(self, ref: TensorRef) -> str:
        """Return the name of a tensor of the new graph."""
        return self._names[ref]

    def now(self, source: Source) -> Source:
        """Return a source of the old graph as one of the new graph."""
        return source._replace(ref=self.moved[source.ref])

    def keep(self, call: Call) -> int:
        """Add a call of the old graph unchanged."""
        sources = {key: self.now(source) for key, source in call.sources.items()}
        return self.stand_for(call, replace(call, index=len(self._calls), sources=sources), same=True)

    def stand_for(self, old: Call, new: Call, *, same: bool = False) -> int:
        """Add `new`, whose outputs replace those of `old`; `same` if the whole model has the same tensors."""
        self._calls.append(new)
        for i in range(len(new.outputs)):
            before, after = TensorRef(old.index, i), TensorRef(new.index, i)
            self.moved[before], self._names[after] = after, self.old.names[before]
            if same:
                self.origin[after] = before
        return new.index

    def add(
        self, operation: Any, given: _Given, arguments: SymbolicArguments, *, path: str, outputs: Mapping[str, Any]
    ) -> tuple[TensorRef, ...]:
        """Add a new call, with `outputs` by name; the first one names the call."""
        index = len(self._calls)
        refs = tuple(TensorRef(index, i) for i in range(len(outputs)))
        self._names |= dict(zip(refs, outputs, strict=True))
        self._calls.append(
            Call(
                index=index,
                path=path,
                name=next(iter(outputs)),
                operation=operation,
                arguments=arguments,
                sources=given.sources,
                outputs=tuple(outputs.values()),
            )
        )
        return refs

    def next_index(self) -> int:
        """Return the index of the next call."""
        return len(self._calls)

    def graph(self) -> Graph:
        """Return the new graph."""
        groups = {
            name: tuple(self.moved[ref] for ref in refs)
            for name, refs in self.old.groups.items()
            if all(ref in self.moved for ref in refs)
        }
        return replace(
            self.old,
            calls=tuple(self._calls),
            output_sources=tuple(self.now(source) for source in self.old.output_sources),
            groups=groups,
            names=self._names,
            opened=(),  # the calls have other indices
        )


@dataclass(frozen=True, kw_only=True)
class _Returned:
    """The tensors that a chunk of one recurrent layer returns."""

    output: TensorRef
    states: tuple[TensorRef, ...]
    last: TensorRef
    seeds: tuple[TensorRef, ...]


class _Chunks:
    """Adds the chunks of every layer of a stack, one chunk after the other, and then joins them."""

    def __init__(
        self, building: _Building, stack: Stack, layers: Mapping[int, Resumed], *, hand_on_states: bool
    ) -> None:
        self._building, self._stack, self._layers = building, stack, layers
        self._hand_on_states = hand_on_states
        self._arguments = {call.index: Arguments.of(call) for call in stack.calls}
        self._returned: dict[int, list[_Returned]] = {call.index: [] for call in stack.calls}
        self._slices: dict[tuple[Source, int], TensorRef] = {}  # a mask that several layers take is cut once
        self._masks_about = any(_carries_mask(t) for call in building.old.calls for t in call.outputs)

    def add(self, number: int) -> list[int]:
        """Add chunk `number` through the whole stack, and return the indices of its calls."""
        start = self._building.next_index()
        first = self._stack.calls[0]
        whole = self._building.now(first.sources[id(self._arguments[first.index].sequence)])
        ref = self._sliced(whole, number)
        for call in self._stack.calls:
            # The first layer's sequence was converted before it was sliced.
            entries = call.sources[id(self._arguments[call.index].sequence)].entries if call is not first else ()
            returned = self._chunk(call, number, Source(ref, entries))
            self._returned[call.index].append(returned)
            ref = returned.output
        return list(range(start, self._building.next_index()))

    def join(self, call: Call) -> int:
        """Add a call that stands for the whole of `call`."""
        given, returned = _Given(self._building), self._returned[call.index]
        parts = returned if call.operation.return_sequences else returned[-1:]
        states = given.all(returned[-1].states) if call.operation.return_state else None
        arguments = SymbolicArguments(given.all(part.output for part in parts), states=states)
        operation = Joined(call.operation)
        index = self._building.next_index()
        joined = replace(call, index=index, operation=operation, arguments=arguments, sources=given.sources)
        return self._building.stand_for(call, joined)

    def _sliced(self, source: Source, number: int) -> TensorRef:
        """Return the time steps of chunk `number` of a tensor of the new graph."""
        if (source, number) in self._slices:
            return self._slices[source, number]
        steps, given = self._stack.chunks[number], _Given(self._building)
        whole = given(source)
        name = f"{self._building.name(source.ref)}[{steps.start}:{steps.stop}]"
        layer = TimeSlice(steps.start, steps.stop, name=f"steps_{steps.start}_to_{steps.stop}")
        like = keras.KerasTensor((whole.shape[0], len(steps), *whole.shape[2:]), whole.dtype)
        (ref,) = self._building.add(layer, given, SymbolicArguments(whole), path=name, outputs={name: like})
        self._slices[source, number] = ref
        return ref

    def _chunk(self, call: Call, number: int, sequence: Source) -> _Returned:
        """Add chunk `number` of one layer."""
        arguments, layer, given = self._arguments[call.index], self._layers[call.index], _Given(self._building)
        keywords: dict[str, Any] = {"follow_mask": True} if arguments.follows_mask else {}
        if arguments.mask is not None:
            mask = self._building.now(call.sources[id(arguments.mask)])
            keywords["mask"] = given(Source(self._sliced(mask, number)))
        before = self._returned[call.index][-1] if number else None
        if before is None and arguments.initial_state is not None:
            keywords["initial_state"] = [
                _state(call, state, given, self._building) for state in arguments.initial_state
            ]
        if before is not None:
            keywords |= {"initial_state": given.all(before.states)} if self._hand_on_states else {}
            keywords |= {"seeds": given.all(before.seeds)} if before.seeds else {}
            # A mask that the sequence carries shows only when the model runs: any mask in the model counts.
            masked = arguments.mask is not None or (arguments.follows_mask and self._masks_about)
            # With `zero_output_for_mask` a masked step outputs zeros, whatever came before.
            carries = masked and not layer.zero_output_for_mask
            keywords |= {"last": given(Source(before.last))} if carries else {}
        taken = SymbolicArguments(given(sequence), **keywords)
        outputs = dict(_outputs(call, layer, number, taken.args[0].shape))
        refs = self._building.add(layer, given, taken, path=call.path, outputs=outputs)
        return _sorted(refs, layer)


def _outputs(call: Call, layer: Resumed, number: int, shape: Sequence[int | None]) -> Iterator[tuple[str, Any]]:
    """Yield name and KerasTensor of every output of `Resumed` for a sequence of this shape, in its order."""
    like = call.outputs[0]
    units = like.shape[-1]
    steps = (shape[1],) if layer.return_sequences else ()
    yield f"{call.name}@{number}", keras.KerasTensor((shape[0], *steps, units), like.dtype)
    for i, state in enumerate(keras.tree.flatten(layer.get_initial_state(batch_size=1))):
        yield f"{call.name}/state_{i}@{number}", keras.KerasTensor((shape[0], *state.shape[1:]), like.dtype)
    if layer.return_sequences:
        yield f"{call.name}/last_output@{number}", keras.KerasTensor((shape[0], units), like.dtype)
    for i, seed in enumerate(layer.seeds):
        yield f"{call.name}/seed_{i}@{number}", keras.KerasTensor(tuple(seed.shape), seed.dtype)


def _sorted(refs: tuple[TensorRef, ...], layer: Resumed) -> _Returned:
    """Assign `refs`, in the order in which `Resumed` returns them, to their fields."""
    output, *rest = refs
    seeds = len(layer.seeds)
    rest, drawn = rest[: len(rest) - seeds], rest[len(rest) - seeds :]
    last = rest.pop() if layer.return_sequences else output
    return _Returned(output=output, states=tuple(rest), last=last, seeds=tuple(drawn))


def _state(call: Call, state: Any, given: _Given, building: _Building) -> Any:
    """Return a given initial state: a tensor of the model, or the constant itself."""
    source = call.sources.get(id(state))
    return state if source is None else given(building.now(source))


def _carries_mask(tensor: Any) -> bool:
    return mask_of(tensor) is not None
