"""The recurrent layers of a model that a time split cuts, and the time steps of each chunk."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.config.keyed import KeyedError
from gradcheck.cutting.cut import ancestors
from gradcheck.cutting.model_graph import TensorRef
from gradcheck.cutting.time.chunk_layers import step_seeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.config.schema import TimeSplit
    from gradcheck.cutting.model_graph import Call, Graph

RNN = keras.layers.RNN
#: The layers for which an `RNN` over the same cell computes the same.
_KNOWN = (RNN, keras.layers.SimpleRNN, keras.layers.GRU, keras.layers.LSTM)


@dataclass(frozen=True, eq=False, kw_only=True)
class Stack:
    """A chain of recurrent calls, each on the output of the one before, and the calls that the first one needs.

    Attributes:
        calls: in order.
        before: the indices of all calls that the stack needs.
        chunks: the time steps of each chunk.
    """

    calls: tuple[Call, ...]
    before: frozenset[int]
    chunks: tuple[range, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class Arguments:
    """The arguments of a recurrent call: KerasTensors, or constants.

    `follows_mask` is whether Keras uses the mask that the sequence carries: it does if that is the only tensor.
    """

    sequence: Any
    initial_state: tuple[Any, ...] | None
    mask: Any
    follows_mask: bool

    @classmethod
    def of(cls, call: Call) -> Arguments:
        """Return the arguments of `call`, whether they were passed by position or by name."""
        given = dict(zip(("sequence", "initial_state", "mask"), call.arguments.args, strict=False))
        given |= {"sequence" if key == "sequences" else key: value for key, value in call.arguments.kwargs.items()}
        state, mask = given.get("initial_state"), keras.tree.flatten(given.get("mask"))[0]
        return cls(
            sequence=given["sequence"],
            initial_state=None if state is None else tuple(keras.tree.flatten(state)),
            mask=mask,
            follows_mask=mask is None and len(call.arguments.keras_tensors) == 1,
        )


def find_stack(graph: Graph, split: TimeSplit) -> Stack:
    """Return the one stack of recurrent calls in `graph`, and its chunks.

    Raises:
        KeyedError: GC025 if there is none, if there are several, or if one cannot be cut along time; GC004 for chunks
            that do not fit the sequence.
    """
    both_ways = [call.name for call in graph.calls if isinstance(call.operation, keras.layers.Bidirectional)]
    if both_ways:
        raise _refused(
            f"{both_ways[0]} is Bidirectional: its backward layer starts at the end of the sequence, so the first "
            "chunk needs a state that only the last chunk can give",
            help="cut the model between layers (after, every or parts), or check its forward layer alone",
        )
    calls = tuple(call for call in graph.calls if isinstance(call.operation, RNN))
    if not calls:
        raise _refused(
            "the model has no recurrent layer, so there is nothing to cut along the time axis",
            help="split.time is for SimpleRNN, GRU, LSTM and RNN; cut with after, every or parts",
        )
    for call in calls:
        _check(call)
    before = _chained(graph, calls)
    return Stack(calls=calls, before=before, chunks=_chunks(split, _steps(graph, calls[0])))


def _check(call: Call) -> None:
    """Raise if the layer cannot be resumed in the middle of a sequence."""
    layer = call.operation
    own = type(layer)
    # By method, not by class: a subclass that overrides neither runs as its base does, and can be cut.
    if not any((own.call, own.inner_loop) == (kind.call, kind.inner_loop) for kind in _KNOWN):
        raise _refused(
            f"{call.name} ({type(layer).__name__}) steps through time in a way of its own",
            help="a time split knows SimpleRNN, GRU, LSTM, and RNN over any cell",
        )
    if layer.go_backwards:
        raise _refused(
            f"{call.name} has go_backwards: it reads the sequence from its end, so the first chunk needs a state that "
            "only the last chunk can give",
            help="reverse the sequence before the layer (keras.ops.flip), without go_backwards",
        )
    drawn = step_seeds(layer)
    if drawn:
        raise _refused(
            f"the cell of {call.name} draws random numbers at every step ({drawn[0]}): chunks draw others than one "
            "pass does",
            help="use the cell's dropout and recurrent_dropout, whose masks Keras draws once a call",
        )


def _chained(graph: Graph, calls: Sequence[Call]) -> frozenset[int]:
    """Return the calls that the stack needs; raise if the recurrent calls are not one chain."""
    for earlier, later in pairwise(calls):
        if later.sources[id(Arguments.of(later).sequence)].ref != TensorRef(earlier.index, 0):
            raise _refused(
                f"the recurrent layers are not one stack: {later.name} does not take the output of {earlier.name}",
                help="a time split cuts recurrent layers that follow one another directly; cut the rest with "
                "after, every or parts",
            )
    chain = {TensorRef(call.index, 0) for call in calls}
    outside = {ref for call in calls for ref in call.inputs if ref not in chain}
    # A recurrent call among them is needed as a whole before the first chunk could run.
    before = ancestors(graph, outside)
    late = [call.name for call in calls if call.index in before]
    if late:
        raise _refused(
            f"a recurrent layer needs more of {late[0]} than its output sequence (its final state, or a mask made "
            "of it)",
            help="that is known only after the last chunk; cut with after, every or parts",
        )
    return frozenset(before)


def _steps(graph: Graph, first: Call) -> int:
    """Return the length of the sequence."""
    ref = first.sources[id(Arguments.of(first).sequence)].ref
    steps = graph.spec(ref).shape[1]
    if steps is None:
        raise _refused(
            f"the length of the sequence that {first.name} takes is not known: {graph.name(ref)} has the shape "
            f"{tuple(graph.spec(ref).shape)}",
            help="give the model's input a fixed number of time steps",
        )
    return int(steps)


def _chunks(split: TimeSplit, steps: int) -> tuple[range, ...]:
    """Return the time steps of each chunk; if a number of chunks does not divide them, the first are a step longer."""
    if split.chunks is not None and split.chunks > steps:
        raise _unfit("chunks", f"{split.chunks} chunks of a sequence of {steps} steps", f"write at most {steps}")
    if split.lengths is not None and sum(split.lengths) != steps:
        total = f"chunks of {' + '.join(map(str, split.lengths))} = {sum(split.lengths)} steps"
        raise _unfit("lengths", f"{total} of a sequence of {steps}", f"make the lengths add up to {steps}")
    lengths = split.lengths or _even(steps, split.chunks or 1)
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    return tuple(range(start, start + length) for start, length in zip(starts, lengths, strict=True))


def _even(steps: int, chunks: int) -> tuple[int, ...]:
    length, longer = divmod(steps, chunks)
    return tuple(length + (i < longer) for i in range(chunks))


def _refused(message: str, *, help: str) -> KeyedError:  # noqa: A002 - the error's name for it
    error = KeyedError(f"split.time: {message}", code="GC025", help=help)
    error.keys = ("split", "time")
    return error


def _unfit(key: str, received: str, help: str) -> KeyedError:  # noqa: A002 - the error's name for it
    error = KeyedError(f"split.time does not fit. Received: {received}", code="GC004", help=help)
    error.keys = ("split", "time", key)
    return error
