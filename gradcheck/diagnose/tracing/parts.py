"""Parts that are not the whole model: where a correct split of them differs from it, forward or backward."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import as_array
from gradcheck.cutting.segment import Segment
from gradcheck.diagnose.evidence.location import located
from gradcheck.diagnose.evidence.observed import Observed
from gradcheck.diagnose.tracing import walk
from gradcheck.diagnose.wording import named
from gradcheck.faults.injection import Replays
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.microbatches import micro_batches
from gradcheck.numerics import TolerancePolicy, compare, is_zero
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.comparing.reference import Reference
    from gradcheck.diagnose.effort import Effort
    from gradcheck.diagnose.tracing.walk import Seen, Walk
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis

FIX = (
    "Make the part compute what the whole model computes there: the same class with the same arguments, gradients and "
    "weights. Or leave `model.reference` out, and the whole is the composition of the parts."
)


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Where parts and whole part.

    Attributes:
        how: in words.
        layer: the path of the layer in the whole model, where it is one.
        segment: the index of the part.
        alone: whether the layer itself was seen to compute another function, or another gradient of it.
    """

    how: str
    layer: str | None = None
    segment: int | None = None
    alone: bool = False


def parts_apart(problem: Problem, reference: Reference, effort: Effort) -> tuple[Diagnosis, ...]:
    """GC900 where the parts are another model than the whole, whose gradients are others; else nothing."""
    if problem.shares_graph or not problem.segments:
        return ()

    def split() -> Observed:
        right = Replays(problem).right
        return Observed(problem=problem, reference=reference, gradients=right, rows=()).of(right)

    right = effort.attempt("the correct split", split)
    return () if right is None or not right.failing else (parts_differ(right, effort),)


def parts_differ(right: Observed, effort: Effort) -> Diagnosis:
    """GC900 for parts that are another model than the whole.

    Args:
        right: a correct split of the parts, as it is observed beside the whole.
        effort: of the diagnosis.
    """
    found = effort.attempt("the comparison of the parts with the whole", lambda: difference(right.problem))
    found = found or _by_rows(right)
    wrong = [row.path for row in right.rows if row.failed]
    evidence = f"the parts are not the whole model: a correct split of them gives other values too ({some(wrong)}). "
    where = None if found.layer is None else f"layer {found.layer}"
    return named(
        "GC900",
        evidence + found.how,
        where=where,
        segment=found.segment,
        layer=found.layer,
        confidence="exact" if found.alone else "likely",
        fix=FIX,
    )


def _by_rows(right: Observed) -> Difference:
    """What the compared tensors alone say."""
    row, how = located(right)
    layer = None if row is None or row.kind == "loss" else row.layer
    return Difference(how=f"{how[0].upper()}{how[1:]}", layer=layer, segment=None if row is None else row.segment)


def difference(problem: Problem) -> Difference | None:
    """Where the parts first differ from the whole; None where no layer shows it."""
    for part in micro_batches(problem, batch_tensors(problem)):
        sides = _Sides(problem, walk.whole(problem, part), walk.parts(problem, part))
        found = sides.forward() or sides.added() or sides.backward()
        if found is not None:
            return found
    return None


@dataclass(frozen=True, eq=False)
class _Sides:
    """The whole model and the parts, call by call."""

    problem: Problem
    whole: Walk
    parts: Walk

    def forward(self) -> Difference | None:
        """The first call of the parts that is given, or makes, other values than its counterpart."""
        for ours, theirs in self.pairs:
            how = f"The forward passes differ first at {self._layer(ours, theirs)}"
            if not self._agree(ours.given, theirs.given):
                return self._near(ours, theirs, f"{how}, which is given other values")
            if not self._agree(ours.made, theirs.made):
                how += ": what goes in agrees, and what comes out does not"
                return self._at(ours, theirs, how + self._other_weights(ours))
        if self._agree(self.parts.outputs, self.whole.outputs):
            return None
        return Difference(how=f"The forward passes differ at the outputs{self._lone}")

    def added(self) -> Difference | None:
        """What layers and weight penalties add to the loss."""
        if not self._agree([self.parts.data_loss], [self.whole.data_loss]):
            return Difference(how="The forward passes agree, and the loss of their outputs does not")
        extras = [self.parts.extra], [self.whole.extra]
        if self._agree(*extras):
            return None
        ours, theirs = (0.0 if extra is None else float(extra) for (extra,) in extras)
        how = f"The outputs agree, and what layers and weight penalties add to the loss does not: {ours:.6g} in the "
        return Difference(how=f"{how}parts, {theirs:.6g} in the whole")

    def backward(self) -> Difference | None:
        """The innermost call, the first in backward order, that makes another gradient of the one that it is given."""
        making = [pair for pair in self.pairs if self._makes(*pair)]
        inner = [pair for pair in making if not any(pair[0].is_around(other) for other, _ in making)]
        agree = "The forward passes agree"
        if inner:
            ours, theirs = inner[-1]
            part = self.problem.segments[self._segment(ours)].name
            how = f"{agree}, and {part}'s own gradient differs, at {self._layer(ours, theirs)}: what comes back to it "
            return self._at(ours, theirs, f"{how}agrees, and what it makes of that does not")
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

    def _makes(self, ours: Seen, theirs: Seen) -> bool:
        """Whether equal gradients come back to both calls, and they hand back others, also to a weight of their own.

        What they are given agrees, or the forward passes would differ.
        """
        if not self._alike(ours.made, theirs.made):
            return False
        own = [v for v in self.parts.own_variables(ours) if id(v.value) in self.problem.counterparts]
        of_whole = [self._counterpart(v).value for v in own]
        return not self._alike([*ours.given, *(v.value for v in own)], [*theirs.given, *of_whole])

    def _shared(self) -> tuple[Seen, Seen] | None:
        """The last call of a layer of which a weight gets another gradient, while the same comes back to all calls."""
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
        """Whether the same gradients come back to tensors of the two sides."""
        return self._agree(self.parts.cotangents(ours), self.whole.cotangents(theirs))

    def _agree(self, ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
        """Whether two lists of tensors are equal but for rounding; None is zero."""
        return len(ours) == len(theirs) and all(map(self._equal, ours, theirs))

    def _equal(self, ours: Any, theirs: Any) -> bool:
        one, other = as_array(theirs), as_array(ours)
        if one is None or other is None:
            return is_zero(one) and is_zero(other)
        tolerance = TolerancePolicy().for_tensor("", str(one.dtype.name), compute_dtype(self.problem.precision))
        return compare(one, other, tolerance, gradient=False).status in ("exact", "close")

    def _counterpart(self, variable: Any) -> Any:
        return self.problem.counterparts[id(variable.value)].variable

    @cached_property
    def pairs(self) -> list[tuple[Seen, Seen]]:
        """The calls of the parts with their counterparts in the whole, in the order in which the former ended.

        By their weights, then by name, then by the name without Keras's number; of several the one with the same
        values, else in order: parts may make their calls in another order.
        """
        ours, theirs = list(_layers(self.parts)), list(_layers(self.whole))
        found: list[tuple[Seen, Seen]] = []
        for key, key_of_whole in ((self._by_weights, _by_own_weights), (_by_name, _by_name), (_by_family, _by_family)):
            new = list(self._paired([(key(c), c) for c in ours], [(key_of_whole(c), c) for c in theirs]))
            found += new
            ours = [call for call in ours if all(call is not one for one, _ in new)]
            theirs = [call for call in theirs if all(call is not other for _, other in new)]
        return sorted(found, key=lambda pair: pair[0].ended)

    def _paired(
        self, ours: Sequence[tuple[Any, Seen]], theirs: Sequence[tuple[Any, Seen]]
    ) -> Iterator[tuple[Seen, Seen]]:
        """Calls whose keys occur equally often on both sides, and that return tensors of the same shapes."""
        for key in dict.fromkeys(key for key, _ in ours if key is not None):
            left, right = ([call for k, call in side if k == key] for side in (ours, theirs))
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
        return [call for call in lone if not any(call.is_around(other) for other in self._walks[side].calls)]

    def _name(self, walked: Walk, call: Seen) -> str:
        return f"{walked.path(call)} ({type(call.operation).__name__})"

    def _at(self, ours: Seen, theirs: Seen, how: str) -> Difference:
        kinds = [type(call.operation).__name__ for call in (ours, theirs)]
        also = "" if kinds[0] == kinds[1] else f"; it is a {kinds[0]} in the part, a {kinds[1]} in the whole"
        return Difference(how=how + also, layer=self.whole.path(theirs), segment=self._segment(ours), alone=True)

    def _other_weights(self, call: Seen) -> str:
        """That its weights have other values, where they do: parts are lent those of the whole."""
        weights = [v for v in call.variables if id(v.value) in self.problem.counterparts]
        others = [v.path for v in weights if not self._equal(v.value, self._counterpart(v).value)]
        return f"; {some(others)} in the parts has other values than in the whole" if others else ""

    def _near(self, ours: Seen, theirs: Seen, how: str) -> Difference:
        return Difference(how=how + self._lone, layer=self.whole.path(theirs), segment=self._segment(ours))

    def _layer(self, ours: Seen, theirs: Seen) -> str:
        """What the two sides call the layer."""
        one, other = self.parts.path(ours), self.whole.path(theirs)
        return other if one == other else f"{other} ({one} of the parts)"

    def _segment(self, call: Seen) -> int:
        """The part that a call was made in."""
        return next(int(one.plan.index) for one in call.stack if isinstance(one, Segment))


def _layers(walked: Walk) -> Iterator[Seen]:
    """The calls that are not those of models or segments: these only hold others."""
    held = {id(call.stack[0]) for call in walked.calls}
    functionals = () if walked.graph is None else walked.graph.functionals
    held |= {id(functional) for functional in functionals}
    return (call for call in walked.calls if id(call.operation) not in held)


def _by_own_weights(call: Seen) -> tuple[int, ...] | None:
    return tuple(map(id, call.variables)) or None


def _by_name(call: Seen) -> str:
    return str(call.operation.name)


def _by_family(call: Seen) -> str:
    """The name without the number that Keras appends to make it unique."""
    return re.sub(r"_\d+$", "", str(call.operation.name))


def _shapes(call: Seen) -> list[tuple[int, ...]]:
    return [tuple(tensor.shape) for tensor in call.made]
