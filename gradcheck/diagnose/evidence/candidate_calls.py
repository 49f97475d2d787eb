"""Diagnoses from what a candidate asked of its tapes: of which variables, and with which cotangents."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import tensorflow as tf

from gradcheck.comparing.tensorwise import first_wrong
from gradcheck.diagnose.compiled import under_xla
from gradcheck.diagnose.wording import named
from gradcheck.phrases import some
from gradcheck.user_calls.noting import Noted, note

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.problem.problem import Weight
    from gradcheck.results.report import Diagnosis
    from gradcheck.user_calls.lines import ScriptLine
    from gradcheck.user_calls.noting import UserCalls


def of_another_model(observed: Observed) -> list[Diagnosis]:
    """Return GC407 if wrong gradients are those of variables that are none of the model's.

    These have other values, or the loss does not depend on them. It is `exact` if the very gradients were returned, if
    no gradient was taken of any of the model's variables, or if what is missing is what was asked for in vain.
    """
    calls = observed.gradients.calls
    stand_ins = {} if calls is None else _Others(observed, calls).stand_ins
    wrong = [row for row in observed.failing.values() if row.kind == "weight" and row.path in stand_ins]
    nearest = first_wrong(wrong)
    if nearest is None:
        return []
    others = [stand_ins[row.path] for row in wrong]
    names = list(dict.fromkeys(other.name for other in others))
    lines = list(dict.fromkeys(str(other.line) for other in others))
    lost = all(other.result is None for other in others)
    why = "the loss does not depend on them, so that these are None" if lost else "they have other values"
    evidence = (
        f"the gradients of {some([row.path for row in wrong])} are those of {some(names)} (taken at {some(lines)}), "
        f"variables of another model: {why}, and `check.variables` has none of them"
    )
    sure = all(other.certain for other in others)
    return [
        named(
            "GC407",
            evidence,
            segment=nearest.segment,
            layer=nearest.layer,
            confidence="exact" if sure else "likely",
        )
    ]


def as_it_ran(observed: Observed, found: Sequence[Diagnosis]) -> Sequence[Diagnosis]:
    """Return the diagnoses of a candidate with what was noted while it ran.

    A missing cotangent (GC101) gets the lines where None went in. A custom gradient that is called with keywords
    (GC602) is not left out as well (GC609). Where no mistake was found, the variables of another model and compilation
    by XLA come first.
    """
    calls = observed.gradients.calls
    if calls is None:
        return found
    said = _none_went_in(calls)
    if said:
        found = [replace(d, evidence=f"{d.evidence}. {said}") if d.code == "GC101" else d for d in found]
    if any(d.code == "GC602" for d in found):
        found = [d for d in found if d.code != "GC609"]
    unexplained = all(diagnosis.code == "GC900" for diagnosis in found)
    return under_xla(observed, [*(of_another_model(observed) if unexplained else ()), *found])


class _Other(NamedTuple):
    """A variable of another model, and the gradient that was taken of it at a line; None if there was none.

    `certain` is whether that gradient is known to be the returned one.
    """

    source: Noted
    result: Noted | None
    line: ScriptLine
    certain: bool = False

    @property
    def name(self) -> str:
        """The name of the variable."""
        return str(getattr(self.source.variable, "path", None) or self.source.variable.name)


@dataclass(frozen=True, eq=False)
class _Others:
    """The variables of another model among the sources of a candidate's gradient calls."""

    observed: Observed
    calls: UserCalls

    @cached_property
    def stand_ins(self) -> Mapping[str, _Other]:
        """By path of a weight, the variable of another model whose gradient was returned."""
        if any(tf.is_symbolic_tensor(one.source.variable.handle) for one in self._asked):
            return {}  # variables that a compiled function takes as arguments: which ones they are is unknown
        return {**self._with_other_values, **self._in_vain}

    @property
    def _with_other_values(self) -> Mapping[str, _Other]:
        """Those that have a gradient, if some values differ: gradients of equal ones are right."""
        taken = [one for one in self._asked if one.result is not None]
        own = {self.calls.paths[one.source.number] for one in taken if one.source.number in self.calls.paths}
        others = {one.source.number: one for one in taken if one.source.number not in self.calls.paths}
        by_result = {one.result.number: one for one in others.values() if one.result is not None}
        weights = self.observed.problem.weights
        returned = {w.path: self.observed.gradients.tensors.get(w.key) for w in weights}
        numbers = {path: note(gradient).number for path, gradient in returned.items() if gradient is not None}
        found = {path: by_result[n]._replace(certain=True) for path, n in numbers.items() if n in by_result}
        left = [one for one in others.values() if all(one.source is not known.source for known in found.values())]
        # Gradients that were computed with since, as those of micro-batches are, are told by their shapes alone.
        alike = not own and [one.source.shape for one in others.values()] == [tuple(w.variable.shape) for w in weights]
        for weight in weights:
            fitting = (one for one in left if one.source.shape == tuple(weight.variable.shape))
            one = next(fitting, None) if weight.path in numbers and weight.path not in {*own, *found} else None
            if one is not None:
                left.remove(one)
                found[weight.path] = one._replace(certain=alike)
        return found if any(_differ(w, found[w.path]) for w in weights if w.path in found) else {}

    @property
    def _in_vain(self) -> Mapping[str, _Other]:
        """Those without a gradient, if they have the shapes of the weights that were not asked for, and got none."""
        asked = {self.calls.paths.get(one.source.number) for one in self._asked}
        tensors = self.observed.gradients.tensors
        weights = [w for w in self.observed.problem.weights if w.path not in asked and tensors.get(w.key) is None]
        known = {one.source.number for one in self._asked if one.result is not None} | self.calls.paths.keys()
        others = {one.source.number: one for one in self._asked if one.source.number not in known}
        if [one.source.shape for one in others.values()] != [tuple(w.variable.shape) for w in weights]:
            return {}
        return {w.path: one._replace(certain=True) for w, one in zip(weights, others.values(), strict=True)}

    @cached_property
    def _asked(self) -> Sequence[_Other]:
        """Every variable that a gradient was asked of, the model's own too."""
        return [
            _Other(source, result, call.line)
            for call in self.calls.gradients
            for source, result in zip(call.sources, call.results, strict=False)
            if source is not None and source.variable is not None
        ]


def _differ(weight: Weight, other: _Other) -> bool:
    """Whether the other variable has other values than the weight."""
    ours, theirs = (np.asarray(tf.convert_to_tensor(v)) for v in (weight.variable, other.source.variable))
    return not np.array_equal(ours, theirs)


def _none_went_in(calls: UserCalls) -> str:
    """Return where None went in as `output_gradients`, and why it came back; "" if that did not happen."""
    lost: dict[int, ScriptLine] = {}  # by number, the tensors whose gradient was None, and where
    lines: dict[str, ScriptLine | None] = {}
    for call in calls.gradients:
        missing = [t for t, seed in zip(call.targets, call.seeds or (), strict=False) if seed is None and t is not None]
        for target in missing:
            # A copy of the boundary has another number.
            lines[str(call.line)] = lost.get(target.number, next(reversed(lost.values()), None))
        pairs = zip(call.sources, call.results, strict=False)
        lost |= {s.number: call.line for s, result in pairs if result is None and s is not None and s.variable is None}
    if not lines:
        return ""
    said = f"None went in as output_gradients at {some(list(lines))}, which TensorFlow takes for ones"
    asked = list(dict.fromkeys(str(line) for line in lines.values() if line is not None))
    where = f"its gradient, asked for at {some(asked)}, was None"
    return f"{said}: the boundary was never watched, {where}" if asked else said
