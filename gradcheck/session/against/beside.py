"""The checks of two implementations at each point: values, gradients, and the second order, with the same inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.comparing.keys import as_array
from gradcheck.comparing.reference import GRADIENT_KINDS, Reference
from gradcheck.comparing.tensorwise import compare_all, first_wrong
from gradcheck.config.sections.methods import ENGINES, HvpOptions, MethodConfig, MethodOptions, NumericOptions
from gradcheck.diagnose import Explained
from gradcheck.diagnose.wording import named
from gradcheck.errors import GradcheckError, NotApplicable
from gradcheck.methods import METHODS
from gradcheck.methods.by_engine.asked_function import is_of_engine
from gradcheck.methods.directional.hvp import counterparts, of_the_whole
from gradcheck.methods.directional.numeric import DOUBLE
from gradcheck.methods.directional.points import GIVEN, values_at
from gradcheck.methods.directional.surface import output_masks
from gradcheck.numerics import movement
from gradcheck.phrases import plural, some
from gradcheck.problem.problem import TensorKey
from gradcheck.problem.twin import float64_twin
from gradcheck.results.report import AGREEING, Sides
from gradcheck.session.against.implementation import implementation, named_as, other_source
from gradcheck.session.compared import Compared, failed
from gradcheck.session.method_check import tolerance_policy
from gradcheck.session.verdict import outcome_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from gradcheck.config.sections.model import ModelSource
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import CheckReport, Diagnosis, TensorReport
    from gradcheck.session.against.implementation import Implementation
    from gradcheck.session.layer import Target

#: The name of the checks in reports.
AGAINST = "against"
_RESTS_ON = "the inputs, the weights and the loss; the registered gradients of operations that both sides call"
_RESTS_ON_LOSS = "the inputs and the loss: every gradient of the other side is another engine's"
_KINK = "a kink: finite differences allow the gradients of both sides"


class _Side(Reference):
    """The gradients of one side. Their noise floor is their distance from the same ones in float64, where there are.

    A floor measured at inputs multiplied by 1±eps would excuse what is wrong at the point alone: a tie, a one.
    """

    @cached_property
    def noise_floors(self) -> Mapping[TensorKey, float]:
        """The rounding of every tensor."""
        measured = _rounding(self._problem, self.tensors, lambda other: _Side(other).tensors)
        return {key: measured.get(key, 0.0) for key in self.tensors} if measured else super().noise_floors


def _rounding(
    problem: Problem, found: Mapping[TensorKey, Any], compute: Callable[[Problem], Mapping[TensorKey, Any]]
) -> Mapping[TensorKey, float]:
    """Return how far tensors are from those that `compute` gives in float64; nothing without a wider precision."""
    if problem.precision == DOUBLE:
        return {}
    try:
        with float64_twin(problem) as other:
            exact = compute(named_as(problem, other))
    except (GradcheckError, tf.errors.OpError):
        return {}
    return {key: movement(as_array(exact.get(key)), as_array(tensor)) for key, tensor in found.items()}


@dataclass(frozen=True, eq=False, kw_only=True)
class Beside:
    """Two implementations at one point.

    Attributes:
        first: the problem of the first side, whose batch is the point.
        second: that of the other side, with the same keys and batch.
        sides: their names.
        same_state: whether both have the same state variables.
        second_order: whether Hessian-vector products are compared rather than values and gradients.
        of_engine: whether the other side is another engine's function, which may have zeros where a tape has None.
    """

    first: Problem
    second: Problem
    sides: Sides
    same_state: bool
    second_order: bool = False
    of_engine: bool = False

    @cached_property
    def _references(self) -> tuple[Reference, Reference]:
        return _Side(self.first), _Side(self.second)

    def check(self, label: str) -> CheckReport:
        """Compare both sides, and say of a mismatch which one finite differences agree with.

        Raises:
            NotApplicable: if neither side's loss is finite.
            GradcheckError: if a side cannot be differentiated.
        """
        losses = [float(reference.gradients.loss) for reference in self._references]
        if not any(map(math.isfinite, losses)):
            raise NotApplicable(f"the loss is not finite on either side. Received: {losses[0]} and {losses[1]}")
        gradients = self._products() if self.second_order else self._gradients()
        rows = self._rows(self._references[0], gradients)
        said: Sequence[Mapping[TensorKey, TensorReport]] = ()
        if any(row.failed for row in rows):
            said = [self._differences(reference) for reference in self._references]
            rows = [self._excused_by_kink(row, said) for row in rows]
        compared = Compared(
            method=_named(label),
            gradients=gradients,
            tensors=tuple(rows),
            trained=None,
            outcome=outcome_of(rows),
            remarks=(),
            contributions=(),
        )
        report = compared.report(lambda: Explained(self._diagnosed(rows, said)))
        return replace(report, sides=self.sides)

    def _gradients(self) -> Gradients:
        """Return what the other side computes, under the first side's keys."""
        ours, theirs = self._references
        states = zip(ours.gradients.state, theirs.gradients.state.values(), strict=False)
        return replace(
            theirs.gradients,
            state=dict(states) if self.same_state else {},
            zero_is_none=self.of_engine,
            noise=lambda keys: {key: theirs.noise_floors.get(key, 0.0) for key in keys},
        )

    def _products(self) -> Gradients:
        """Return the other side's Hessian-vector products, to be compared with those of the first."""
        measure = partial(of_the_whole, options=HvpOptions())
        ours, theirs = (measure(side) for side in (self.first, self.second))

        def noise(keys: Collection[TensorKey]) -> Mapping[TensorKey, float]:
            pairs = ((self.first, ours), (self.second, theirs))
            floors = [_rounding(side, of.tensors, lambda p: measure(p).tensors) for side, of in pairs]
            return {key: max(found.get(key, 0.0) for found in floors) for key in keys}

        return replace(
            theirs,
            tensors=counterparts(theirs.tensors, ours.tensors),
            against=counterparts(ours.tensors, theirs.tensors),
            noise=noise,
        )

    def _differences(self, reference: Reference) -> Mapping[TensorKey, TensorReport]:
        """Return what finite differences say of one side's gradients, or of its second order; nothing if they fail."""
        problem, second = self._side(reference), self.second_order
        method, options = ("hvp", HvpOptions(points=(GIVEN,))) if second else ("numeric", NumericOptions())
        try:
            with float64_twin(problem) as other:
                found = METHODS[method](named_as(problem, other), options)
            return {TensorKey(row.kind, row.path): row for row in self._rows(reference, found)}
        except (GradcheckError, tf.errors.OpError):
            return {}

    def _side(self, reference: Reference) -> Problem:
        return self.first if reference is self._references[0] else self.second

    def _rows(self, reference: Reference, gradients: Gradients) -> list[TensorReport]:
        config = self.first.config.tolerance
        policy, noise = tolerance_policy(config), config.noise == "auto"
        return list(compare_all(self._side(reference), reference, gradients, policy, noise=noise, listed=True))

    def _excused_by_kink(self, row: TensorReport, said: Sequence[Mapping[TensorKey, TensorReport]]) -> TensorReport:
        """Return a failing gradient as undecided where finite differences leave it open on both sides."""
        found = [side.get(TensorKey(row.kind, row.path)) for side in said]
        kinks = all(one is not None and "GC802" in (one.note or "") for one in found)
        return replace(row, status="inconclusive", note=_KINK) if row.failed and kinks else row

    def _diagnosed(
        self, rows: Sequence[TensorReport], said: Sequence[Mapping[TensorKey, TensorReport]]
    ) -> tuple[Diagnosis, ...]:
        """Return GC807: where the sides differ first, and which of them finite differences agree with."""
        wrong, first = [row for row in rows if row.failed], first_wrong(rows)
        if first is None:
            return ()
        values = any(row.kind == "output" for row in wrong)
        gradients = [TensorKey(row.kind, row.path) for row in wrong if row.kind in GRADIENT_KINDS]
        a, b = self.sides[:2]
        of = "second order" if self.second_order else "gradients"
        parts = [f"{b} differs from {a} in {plural(len(wrong), 'tensor')}, first in {first.path}"]
        if not self.second_order:
            parts.append("the outputs differ: these are two functions" if values else "the outputs agree")
        parts += [_of_side(name, of, found, gradients) for name, found in zip((a, b), said, strict=True) if gradients]
        return (named("GC807", "; ".join(parts), layer=first.layer),)


def _of_side(name: str, of: str, found: Mapping[TensorKey, TensorReport], keys: Sequence[TensorKey]) -> str:
    """Say what finite differences make of one side's tensors."""
    rows = [found[key] for key in keys if key in found]
    denied = [row.path for row in rows if row.failed]
    if denied:
        return f"finite differences contradict the {of} of {name} ({some(denied)})"
    if len(rows) == len(keys) and all(row.status in AGREEING for row in rows):
        return f"finite differences agree with the {of} of {name}"
    return f"finite differences do not decide the {of} of {name}"


def checks_against(first: Problem, target: Target, *, masked: bool) -> tuple[tuple[CheckReport, ...], tuple[str, ...]]:
    """Return the checks of `target`, whose problem is `first`, against each other implementation, and notes.

    `masked` is whether the inputs of `first` carry a mask.
    """
    checks: list[CheckReport] = []
    notes: list[str] = []
    for given in target.against:
        if given in ENGINES:  # a method of the config
            continue
        name, source = other_source(first, given, target, masked=masked)
        sides = _sides(target.name, name)
        of_engine = is_of_engine(given)
        rests_on = _RESTS_ON_LOSS if of_engine else _RESTS_ON
        for found in _checks(first, source, sides, target, of_engine=of_engine):
            if isinstance(found, str):
                notes.append(found)
            else:
                checks.append(replace(found, rests_on=rests_on))
    return tuple(checks), tuple(notes)


def _sides(target: str, other: str) -> Sides:
    """Return the names of both sides, without their files where they differ all the same."""
    short = [name.rpartition(":")[2] for name in (target, other)]
    if is_of_engine(other):
        short[1] = f"{other.partition(':')[0]}:{short[1]}"
    return Sides(*(short if short[0] != short[1] else (target, other)))


def _checks(
    first: Problem, source: ModelSource, sides: Sides, target: Target, *, of_engine: bool
) -> Iterator[CheckReport | str]:
    """Yield the checks at each point, and notes."""
    try:
        other = implementation(first, source, sides)
    except GradcheckError as error:
        yield failed(_named(f"{AGAINST}[{sides.candidate}]"), error)
        return
    of = () if len(target.against) == 1 else (sides.candidate,)
    for point in target.probed:
        for second_order in (False, True)[: target.order]:
            parts = [*of, *([point] if point != GIVEN else []), *(["second order"] if second_order else [])]
            label = f"{AGAINST}[{', '.join(parts)}]" if parts else AGAINST
            try:
                here = _at(first, other, sides, point)
                yield replace(here, second_order=second_order, of_engine=of_engine).check(label)
            except NotApplicable as error:
                yield f"{label} does not apply: {error}"
            except GradcheckError as error:
                yield failed(_named(label), error)


def _named(label: str) -> MethodConfig:
    """Return a method of this name, which no config names."""
    return MethodConfig.model_construct(method=label, options=MethodOptions())


def _at(first: Problem, other: Implementation, sides: Sides, point: str) -> Beside:
    """Return both sides at a point.

    Raises:
        NotApplicable: if there is no such point, or masks differ there.
    """
    values = values_at(first, point)
    if output_masks(first, values) != output_masks(first, {}):
        raise NotApplicable(f"other steps are masked at the point `{point}`")
    x = [values.get(first.input_key(i), tensor) for i, tensor in enumerate(first.batch.x)]
    moved = tuple(tf.cast(np.asarray(v), t.dtype) if v is not t else t for v, t in zip(x, first.batch.x, strict=True))
    batch = replace(first.batch, x=moved)
    return Beside(
        first=replace(first, batch=batch),
        second=replace(other.problem, batch=batch),
        sides=sides,
        same_state=other.same_state,
    )
