"""Separate parts beside the whole model, call by call: their first difference, in the forward or backward pass."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import as_array
from gradcheck.cutting.segment import Segment
from gradcheck.handoff.tensors import added
from gradcheck.keras_private import own_losses
from gradcheck.numerics import TolerancePolicy, compare, is_zero
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.diagnose.tracing.walk import Seen, Walk
    from gradcheck.problem.problem import Problem

#: How far penalties may differ by rounding.
_PENALTIES = 1e-4
#: Arguments of layers that change no forward pass of given weights.
_OF_WEIGHTS = ("name", "_initializer", "_regularizer", "_constraint", "trainable")


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The first difference between parts and whole.

    Attributes:
        how: the difference in words.
        layer: the path of the layer in the whole model, if the difference is at a layer.
        segment: the index of the part.
        alone: whether the layer itself computes another function, or another gradient of the same function.
        code: of the catalogue.
        calls: the call of the part that differs, and that of the whole; None if no single call does.
    """

    how: str
    layer: str | None = None
    segment: int | None = None
    alone: bool = False
    code: str = "GC900"
    calls: tuple[Seen, Seen] | None = None


@dataclass(frozen=True, eq=False)
class PartsBesideWhole:
    """The recorded calls of the whole model and of the parts, in pairs."""

    problem: Problem
    whole: Walk
    parts: Walk

    def forward(self) -> Difference | None:
        """Return the first call of the parts that takes or returns other values than its counterpart."""
        for ours, theirs in self.pairs:
            how = f"The forward passes differ first at {self._layer(ours, theirs)}"
            if not self._agree(ours.given, theirs.given):
                return self._near(ours, theirs, f"{how}, which is given other values", code="GC113")
            if not self._agree(ours.made, theirs.made):
                how += ": what goes in agrees, and what comes out does not"
                how += self._other_weights(ours) + _other_arguments(ours.operation, theirs.operation)
                return self._at(ours, theirs, how, code="GC113")
        if self._agree(self.parts.outputs, self.whole.outputs):
            return None
        return Difference(how=f"The forward passes differ at the outputs{self._lone}", code="GC113")

    def added(self) -> Difference | None:
        """Return a difference in the loss, or in what layers and weight penalties add to it."""
        if not self._agree([self.parts.data_loss], [self.whole.data_loss]):
            return Difference(how="The forward passes agree, and the loss of their outputs does not")
        extras = [self.parts.extra], [self.whole.extra]
        if self._agree(*extras):
            return None
        ours, theirs = (0.0 if extra is None else float(extra) for (extra,) in extras)
        how = f"The outputs agree, and what layers and weight penalties add to the loss does not: {ours:.6g} in the "
        how = f"{how}parts, {theirs:.6g} in the whole"
        lacking = next((pair for pair in reversed(self.pairs) if _adds_less(*pair)), None)
        if lacking is None:
            return self._left_out(how)
        return self._at(*lacking, f"{how}; the part lacks what {self._layer(*lacking)} adds", code="GC501")

    def _left_out(self, how: str) -> Difference:
        """Return the first layer of the whole that adds to the loss and that no part has; `how` if there is none."""
        lone = next((call for call in self._unpaired(1) if _adds(call)), None)
        if lone is None:
            return Difference(how=how)
        before = [ours for ours, theirs in self.pairs if theirs.ended < lone.ended]
        index = self._segment(before[-1]) if before else 0
        how = f"{how}; {self.problem.segments[index].name} has no {self._name(self.whole, lone)}, which adds to it"
        return Difference(how=how, layer=self.whole.path(lone), segment=index, code="GC501")

    def backward(self) -> Difference | None:
        """Return the innermost call, the first in backward order, that turns equal gradients into different ones."""
        making = [pair for pair in self.pairs if self._makes(*pair)]
        inner = [pair for pair in making if not any(pair[0].is_around(other) for other, _ in making)]
        agree = "The forward passes agree"
        if inner:
            ours, theirs = inner[-1]
            part = self.problem.segments[self._segment(ours)].name
            how = f"{agree}, and {part}'s own gradient differs, at {self._layer(ours, theirs)}: what comes back to it "
            return self._at(ours, theirs, f"{how}agrees, and what it makes of that does not")
        # `_makes` leaves out a weight of several calls: its gradient is a sum, which no single call shows.
        shared = self._shared()
        if shared is not None:
            ours, theirs = shared
            how = f"{agree}, and the gradient of a weight differs that the calls of {self._layer(ours, theirs)} share: "
            return self._at(ours, theirs, f"{how}what comes back to each of them agrees")
        for ours, theirs in reversed(self.pairs):
            if not self._alike(ours.made, theirs.made):
                how = f"{agree}, and another gradient comes back to {self._layer(ours, theirs)}"
                return self._near(ours, theirs, how)
        return None

    def agree_but_for(self, layer: Any = None) -> bool:
        """Whether losses and gradients agree, and all state but that of `layer`, a replaced layer of the whole."""
        if self.forward() is not None or self.added() is not None:
            return False
        of_parts = {id(v.value): v for segment in self.problem.segments for v in segment.trainable_variables}
        for weight in self.problem.weights:
            ours = [v for i, v in of_parts.items() if self.problem.counterparts.get(i) is weight]
            # A call of the whole in the place of one of the parts has the weights of the whole.
            (expected,) = self.whole.cotangents([weight.variable.value])
            total = None
            for found in self.parts.cotangents([*(v.value for v in ours), weight.variable.value]):
                total = added(total, found)
            if not self._equal(total, expected):
                return False
        own = {id(v) for v in getattr(layer, "variables", ())}
        states = [state.path for state in self.problem.state.variables if id(state.variable) not in own]
        return all(self._equal(self.parts.state[path], self.whole.state[path]) for path in states)

    def _makes(self, ours: Seen, theirs: Seen) -> bool:
        """Whether both calls receive equal gradients and return different ones, also for a weight of their own.

        Their inputs are equal: otherwise the forward passes would differ.
        """
        if not self._alike(ours.made, theirs.made):
            return False
        own = [v for v in self.parts.own_variables(ours) if id(v.value) in self.problem.counterparts]
        of_whole = [self._counterpart(v).value for v in own]
        return not self._alike([*ours.given, *(v.value for v in own)], [*theirs.given, *of_whole])

    def _shared(self) -> tuple[Seen, Seen] | None:
        """Return the last call of a layer that gives a shared weight another gradient from equal incoming ones."""
        of_whole = {id(ours): theirs for ours, theirs in self.pairs}
        for variable, calls in reversed(self.parts.users):
            paired = [(call, of_whole[id(call)]) for call in calls if id(call) in of_whole]
            same_layer = len({id(call.operation) for call in calls}) == 1
            known = same_layer and len(paired) == len(calls) and id(variable.value) in self.problem.counterparts
            if not known or self._alike([variable.value], [self._counterpart(variable).value]):
                continue
            if all(self._alike(ours.made, theirs.made) for ours, theirs in paired):
                return paired[-1]
        return None

    def _alike(self, ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
        """Whether tensors of the two sides receive equal gradients."""
        return self._agree(self.parts.cotangents(ours), self.whole.cotangents(theirs))

    def _agree(self, ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
        """Whether two lists of tensors are equal up to rounding; None equals zero."""
        return len(ours) == len(theirs) and all(map(self._equal, ours, theirs))

    def _equal(self, ours: Any, theirs: Any) -> bool:
        one, other = as_array(theirs), as_array(ours)
        if one is None or other is None:
            return is_zero(one) and is_zero(other)
        # The default tolerance: a config's own may be wide enough to hide where the difference begins.
        tolerance = TolerancePolicy().for_tensor("", str(one.dtype.name), compute_dtype(self.problem.precision))
        return compare(one, other, tolerance, gradient=False).status in ("exact", "close")

    def _counterpart(self, variable: Any) -> Any:
        return self.problem.counterparts[id(variable.value)].variable

    @cached_property
    def pairs(self) -> list[tuple[Seen, Seen]]:
        """The calls of the parts with their counterparts in the whole, in the order in which the former ended.

        Calls are matched by their weights, then by name, then by name without Keras's number. Of several with one key,
        those with equal values are paired first and the rest in order: parts may make their calls in another order.
        """
        ours, theirs = list(_layers(self.parts)), list(_layers(self.whole))
        found: list[tuple[Seen, Seen]] = []
        # Weights identify a call for certain; a name may differ by the number that Keras appends.
        for key, key_of_whole in ((self._by_weights, _by_own_weights), (_by_name, _by_name), (_by_family, _by_family)):
            new = list(self._paired([(key(c), c) for c in ours], [(key_of_whole(c), c) for c in theirs]))
            found += new
            ours = [call for call in ours if all(call is not one for one, _ in new)]
            theirs = [call for call in theirs if all(call is not other for _, other in new)]
        return sorted(found, key=lambda pair: pair[0].ended)

    def _paired(
        self, ours: Sequence[tuple[Any, Seen]], theirs: Sequence[tuple[Any, Seen]]
    ) -> Iterator[tuple[Seen, Seen]]:
        """Yield pairs of calls whose keys occur equally often on both sides, and whose outputs have the same shapes."""
        for key in dict.fromkeys(key for key, _ in ours if key is not None):
            left, right = ([call for k, call in side if k == key] for side in (ours, theirs))
            # Of unequal numbers it is unknown which calls correspond.
            if len(left) != len(right):
                continue
            rest = []
            for call in left:
                same = next((c for c in right if self._same(call, c)), None)
                if same is None:
                    rest.append(call)
                else:
                    right.remove(same)
                    yield call, same
            yield from (pair for pair in zip(rest, right, strict=True) if _shapes(pair[0]) == _shapes(pair[1]))

    def _same(self, ours: Seen, theirs: Seen) -> bool:
        return self._agree(ours.made, theirs.made) and self._agree(ours.given, theirs.given)

    def _by_weights(self, call: Seen) -> tuple[int, ...] | None:
        known = [v for v in call.variables if id(v.value) in self.problem.counterparts]
        return tuple(id(self._counterpart(v)) for v in known) or None

    @property
    def _lone(self) -> str:
        """The calls of either side that have no counterpart, in words."""
        ours, theirs = (
            [self._name(walked, c) for c in self._unpaired(side)] for side, walked in enumerate(self._walks)
        )
        said = [f"only the parts have {some(ours)}"] if ours else []
        said += [f"only the whole has {some(theirs)}"] if theirs else []
        return f"; {' and '.join(said)}" if said else ""

    @property
    def _walks(self) -> tuple[Walk, Walk]:
        return self.parts, self.whole

    def _unpaired(self, side: int) -> list[Seen]:
        paired = {id(pair[side]) for pair in self.pairs}
        lone = [call for call in _layers(self._walks[side]) if id(call) not in paired]
        # A layer around others is left out: the layers inside it are named instead.
        return [call for call in lone if not any(call.is_around(other) for other in self._walks[side].calls)]

    def _name(self, walked: Walk, call: Seen) -> str:
        return f"{walked.path(call)} ({type(call.operation).__name__})"

    def _at(self, ours: Seen, theirs: Seen, how: str, code: str = "GC900") -> Difference:
        kinds = [type(call.operation).__name__ for call in (ours, theirs)]
        also = "" if kinds[0] == kinds[1] else f"; it is a {kinds[0]} in the part, a {kinds[1]} in the whole"
        return Difference(
            how=how + also,
            layer=self.whole.path(theirs),
            segment=self._segment(ours),
            alone=True,
            code=code,
            calls=(ours, theirs),
        )

    def _other_weights(self, call: Seen) -> str:
        """Return a phrase that names weights whose values differ from those in the whole, if there are any."""
        weights = [v for v in call.variables if id(v.value) in self.problem.counterparts]
        others = [v.path for v in weights if not self._equal(v.value, self._counterpart(v).value)]
        return f"; {some(others)} in the parts has other values than in the whole" if others else ""

    def _near(self, ours: Seen, theirs: Seen, how: str, code: str = "GC900") -> Difference:
        layer, segment = self.whole.path(theirs), self._segment(ours)
        return Difference(how=how + self._lone, layer=layer, segment=segment, code=code)

    def _layer(self, ours: Seen, theirs: Seen) -> str:
        """Return the name of the layer on both sides."""
        one, other = self.parts.path(ours), self.whole.path(theirs)
        return other if one == other else f"{other} ({one} of the parts)"

    def _segment(self, call: Seen) -> int:
        """Return the index of the part that made a call."""
        return next(int(one.plan.index) for one in call.stack if isinstance(one, Segment))


def _adds(call: Seen) -> float:
    """Return what the layer of a call itself adds to the loss, by its last call and the penalties of its weights."""
    if not isinstance(call.operation, keras.Layer):
        return 0.0
    penalties = [v.regularizer(v) for v in vars(call.operation)["_trainable_variables"] if v.regularizer is not None]
    return sum(map(float, [*own_losses(call.operation), *penalties]))


def _adds_less(ours: Seen, theirs: Seen) -> bool:
    one, other = _adds(ours), _adds(theirs)
    return one < other and not math.isclose(one, other, rel_tol=_PENALTIES)


def _other_arguments(ours: Any, theirs: Any) -> str:
    """Return a phrase with the arguments that differ between two layers of Keras, but for those of their weights."""
    of_keras = [isinstance(one, keras.Layer) and type(one).__module__.startswith("keras.") for one in (ours, theirs)]
    if not all(of_keras):
        return ""
    one, other = ours.get_config(), theirs.get_config()
    names = [name for name in one if name in other and not name.endswith(_OF_WEIGHTS) and one[name] != other[name]]
    said = [f"{name} is {_value(one[name])} in the part, {_value(other[name])} in the whole" for name in names]
    return f"; {some(said)}" if said else ""


def _value(argument: Any) -> str:
    if isinstance(argument, dict):  # a serialised object, such as a dtype policy
        return str(argument.get("registered_name") or argument.get("class_name") or "another")
    return str(argument)


def _layers(walked: Walk) -> Iterator[Seen]:
    """Yield the calls of layers, without those of models and segments, which only contain others."""
    held = {id(call.stack[0]) for call in walked.calls}
    functionals = () if walked.graph is None else walked.graph.functionals
    held |= {id(functional) for functional in functionals}
    return (call for call in walked.calls if id(call.operation) not in held)


def _by_own_weights(call: Seen) -> tuple[int, ...] | None:
    return tuple(map(id, call.variables)) or None


def _by_name(call: Seen) -> str:
    return str(call.operation.name)


def _by_family(call: Seen) -> str:
    """Return the name without the number that Keras appends to make it unique."""
    return re.sub(r"_\d+$", "", str(call.operation.name))


def _shapes(call: Seen) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in call.made]
