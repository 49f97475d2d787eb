"""The mistakes by name: each rule looks at one judgement, and says what was done, where, and how that shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.auditing.cotangents import near, wrong_cotangent
from gradcheck.auditing.loss_weights import is_scale
from gradcheck.diagnose.wording import named
from gradcheck.phrases import plural

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.auditing.judging import Array, Judgement
    from gradcheck.auditing.lines import Line
    from gradcheck.auditing.step import Call, Link
    from gradcheck.auditing.updates import Trial
    from gradcheck.results.report import Diagnosis

_NEAR = 1e-3


@dataclass(frozen=True, eq=False)
class Case:
    """One wrong variable, and everything that may explain it."""

    j: Judgement
    trial: Trial

    @property
    def path(self) -> str:
        """The path of the variable."""
        return self.j.question.trained.path

    @property
    def seeded(self) -> list[Call]:
        """The gradient calls at boundaries."""
        return [call for call in self.j.question.calls if call.seeds is not None or call.unseeded]

    def is_(self, other: Array | None) -> bool:
        """Whether the candidate is this, up to rounding."""
        return near(self.j.candidate, other)


def explained(case: Case) -> list[tuple[Diagnosis, Line]]:
    """Return what explains a wrong variable, the most specific first, each with its line."""
    for rule in RULES:
        found = rule(case)
        if found:
            return found
    update = case.j.question.update
    return [(named("GC900", f"{case.path} was handed something else, and no known mistake gives it"), update.line)]


Found = list[tuple["Diagnosis", "Line"]]


def _another_variable(case: Case) -> Found:
    q = case.j.question
    sources = {}
    for node in q.nodes:
        call = next((c for c in q.calls if c.number == node.call), None) or case.trial.calls.get(node.call)
        if call is not None:
            sources[call.ids[node.source]] = call
    if not sources or q.trained.key in sources:
        return []
    other = case.trial.variables.get(next(iter(sources)))
    name = other.path if other else "another tensor"
    return [(named("GC402", f"{case.path} was handed the gradient of {name}"), q.update.line)]


def _transposed(case: Case) -> Found:
    expected = case.j.expected
    if expected is None or expected.ndim != 2 or not case.is_(expected.T):  # noqa: PLR2004 - a matrix
        return []
    return [(named("GC406", f"{case.path} was handed its gradient transposed"), case.j.question.update.line)]


def _sign(case: Case) -> Found:
    if case.j.expected is None or not case.is_(-case.j.expected):
        return []
    return [(named("GC504", f"{case.path} was changed in the direction opposite to its gradient"), case.j.question.update.line)]


def _seeds_missing(case: Case) -> Found:
    for call in case.seeded:
        if call.unseeded:
            asked = next((o for o in call.step.calls if set(o.ids) & {t._id for t in call.targets}), None)  # noqa: SLF001
            known = f"; the cotangent was computed at {asked.line}" if asked else ""
            text = f"the gradient at {call.line} has no output_gradients, so TensorFlow seeds it with ones{known}"
            return [(named("GC101", text, where=f"boundary at {call.line}"), call.line)]
    return []


def _boundary(case: Case) -> Found:
    """Compare the seeds that were handed to a gradient call with the cotangents of its targets."""
    pairs = [(c, s) for c, s, compared in case.j.boundaries if compared is None or compared.status in ("mismatch", "missing")]
    call = next((c for c in case.seeded if c.seeds is not None), None)
    if call is None or not pairs:
        return []
    where, line = f"boundary at {call.line}", _changed_at(case, call)
    everything = [(c, s) for c, s, _ in case.j.boundaries]
    now = case.j.question.update.number
    earlier = [b[0] for j in case.trial.judgements if j.question.update.number < now for b in j.boundaries]
    for c, s in pairs:
        if s is None:
            continue
        others = [other for other, own in everything if own is not s]
        examples = max(case.j.counts, default=1)
        found = wrong_cotangent(c, s, line, where=where, others=others, earlier=earlier, examples=examples)
        if found is not None:
            return [(found, line)]
    return []


def _changed_at(case: Case, call: Call) -> Line:
    """Return the line where the cotangents for a call were changed, or left TensorFlow; else that of the call."""
    flow = case.trial.flow
    for key in flow.before([seed._id for seed in call.seeds or ()]):  # noqa: SLF001
        op = flow.op(key)
        if op is not None and op.line is not None and op.type in ("Mean", "Sum", "Cast", "Neg", "Mul", "RealDiv"):
            return op.line
    results = [r._id for c in call.step.calls for r in c.results if hasattr(r, "_id")]  # noqa: SLF001
    left = [flow.left[key] for key in results if key in flow.left]
    return left[-1] if left and not flow.shares((call.seeds or (None,))[0]) else call.line


def _lossy(case: Case) -> Found:
    for link in _links(case):
        if link.lossy:
            line = link.left or link.back
            return [(named("GC104", f"the activation that comes back at {link.back} was rounded to {link.lossy}"), line)]
    return []


def _links(case: Case) -> list[Link]:
    """Return the ways by which activations left TensorFlow and came back, that the losses pass."""
    steps = dict.fromkeys(call.step for call in case.j.question.calls)
    return [link for step in steps for link in step.links]


def _earlier_step(case: Case) -> Found:
    q = case.j.question
    line = q.update.line
    if q.older and q.older == q.nodes.keys() and q.unused:
        return [(named("GC305", f"{case.path} was handed the gradient of an earlier step"), line)]
    if q.older & q.consumed:
        text = f"{case.path} was handed gradients that an earlier update contained already"
        return [(named("GC205", text), line)]
    return []


def _slices(case: Case) -> Found:
    """Name what went wrong in summing over slices of a batch."""
    j, q = case.j, case.j.question
    refs = [r for r in j.references if r is not None]
    count, line = len(refs), q.update.line
    if count < 2 or len(refs) != len(j.references) or j.candidate is None or j.expected is None:  # noqa: PLR2004
        return []
    means = [n / sum(j.counts) for n in j.counts]
    summed = sum(refs[1:], refs[0])
    of = plural(count, "micro-batch", "micro-batches")
    equal = len(set(j.counts)) == 1
    unaveraged = any(abs(w - 1) > _NEAR for w in j.weights)
    if not q.unused:
        if unaveraged and case.is_(summed):
            return [(named("GC201", f"{case.path} was handed the sum over {of} of one mean loss, {count} times the mean"), line)]
        if case.is_(j.expected / count):
            return [(named("GC202", f"{case.path} was handed 1/{count} of its gradient: the mean over {of} was taken twice"), line)]
        if not equal and case.is_(summed / count):
            return [(named("GC203", f"the {of} have {_few(j.counts)} elements and count alike"), line)]
    used = {node.call for node in q.nodes}
    dropped = [call for call in q.unused]
    if dropped and used:
        last = dropped[-1].number > max(used)
        for factor in (1.0, 1 / count, *means):
            if not last and case.is_(refs[-1] * factor):
                return [(named("GC204", f"{case.path} was handed the last of {of} alone"), dropped[-1].line)]
        if last:
            codes = [("GC206", f"the last of {of} came after the update")]
            if count == 2 and not q.consumed:  # noqa: PLR2004 - or the gradients of one step are applied in the next
                codes.append(("GC305", f"{case.path} was handed the gradient of the step before"))
            sure = "exact" if len(codes) == 1 else "possible"
            return [(named(code, text, confidence=sure), line) for code, text in codes]
    return []


def _few(counts: list[int]) -> str:
    return ", ".join(map(str, counts))


def _scaled(case: Case) -> Found:
    j, line = case.j, case.j.question.update.line
    if j.scale != 1 and j.expected is not None and case.is_(j.expected * j.scale):
        return [(named("GC503", f"the loss was multiplied by {j.scale:g}, and the gradient of {case.path} never divided"), line)]
    if j.candidate is not None and j.expected is not None:
        size = float(np.vdot(j.expected, j.expected))
        factor = float(np.vdot(j.candidate, j.expected)) / size if size else math.nan
        if is_scale(factor, max(j.counts, default=1)) and case.is_(factor * j.expected):
            return [(named("GC503", f"{case.path} was handed {factor:g} times its gradient"), line)]
    return []


def _penalties(case: Case) -> Found:
    j = case.j
    if j.penalty is None or j.penalty_weight is None or j.expected is None or j.candidate is None:
        return []
    line = max(j.question.calls, key=lambda call: call.number).line if j.question.calls else j.question.update.line
    if j.penalty_weight == 0 and case.is_(j.expected - j.penalty):
        return [(named("GC501", f"the regularizer of {case.path} is in model.losses, but in no loss that is differentiated"), line)]
    if j.penalty_weight > 1 + _NEAR and near(j.candidate - j.expected, (j.penalty_weight - 1) * j.penalty):
        return [(named("GC502", f"the regularizer of {case.path} is in the losses {j.penalty_weight:.3g} times"), line)]
    return []


def _one_use(case: Case) -> Found:
    """A tied weight that was handed one use's gradient: another call has the rest."""
    j, q = case.j, case.j.question
    others = [call for call in case.trial.calls.values() if call not in q.calls and q.trained.key in call.ids and any(call.step is c.step for c in q.calls)]
    for call in others:
        rest = call.results[call.ids.index(q.trained.key)]
        if rest is not None and j.candidate is not None and near(j.candidate + np.asarray(tf.convert_to_tensor(rest), np.float64), j.expected):
            return [(named("GC401", f"{case.path} is used twice; the gradient of the use at {call.line} was left out"), max(call, *q.calls, key=lambda c: c.number).line)]
    return []


def _detached(case: Case) -> Found:
    """An activation that a tape takes for a constant."""
    q, trial = case.j.question, case.trial
    losses = {id(loss) for call in q.calls for loss in call.losses or ()}
    steps = list(dict.fromkeys(call.step for call in q.calls))
    differentiating = [c for step in steps for c in step.calls if any(id(loss) in losses and loss.target is t for loss in c.losses or () for t in c.targets)]
    repeated = len(differentiating) > 1 and len({c.line for c in differentiating}) == 1
    for link in _links(case):
        if link.again:
            continue
        line = link.left or link.back
        text = f"an activation leaves TensorFlow at {line}" + (f" and comes back at {link.back}" if link.left else " and comes back")
        code = "GC304" if repeated or _recurrent(case, steps) else "GC102"
        return [(named(code, f"{text}: the tape sees a constant"), line)]
    asked = {t._id for step in steps for c in step.calls for t in c.targets}  # noqa: SLF001
    for call in differentiating:
        crossing = crossings(trial, call)
        left = [tape for key, tape in crossing if key not in asked]
        if left:
            line = next(iter(q.calls)).line
            if repeated or any(tape.line == call.tape.line for tape in left):
                return [(named("GC304", f"the state comes from the tape before, opened at {left[0].line}, which ends there"), line)]
            if len(left) < len(crossing):
                return [(named("GC105", f"a tensor of the tape opened at {left[0].line} is used at {call.line}, and its cotangent never handed back"), line)]
            return [(named("GC102", f"a tensor of the tape opened at {left[0].line} is a constant for this tape"), line)]
    return []


def _recurrent(case: Case, steps: list[Any]) -> bool:
    """Whether the variable is used before several activations that left: the state of a sequence."""
    flow, key = case.trial.flow, case.j.question.trained.key
    links = [link for step in steps for link in step.links if not link.again]
    return sum(key in map(flow.handle, flow.before([link.origin._id])) for link in links) > 1  # noqa: SLF001


def _rows(case: Case) -> Found:
    """Rows of a sparse gradient that occur twice."""
    q = case.j.question
    if not q.update.overwrites:
        return []
    return [(named("GC404", f"{case.path}: rows that occur twice in the sparse gradient were written, not added"), q.update.line)]


def crossings(trial: Trial, call: Call) -> list[tuple[int, Any]]:
    """Return the tensors of other tapes that a call's tape used, with those tapes."""
    number = call.tape.number
    start = [target._id for target in call.targets]  # noqa: SLF001
    found = []
    tapes = {tape.number: tape for tape in call.step.tapes}
    for key in trial.flow.before(start, through=lambda op: number in op.tapes):
        op = trial.flow.op(key)
        if op is not None and op.tapes and number not in op.tapes and op.tapes[-1] in tapes:
            found.append((key, tapes[op.tapes[-1]]))
    return found


def cut_off(case: Case) -> Found:
    """Return what cuts a variable off the losses that it should serve, where no gradient reaches it; nothing if all
    is as meant: by `stop_gradient`, or because the losses do not need it."""
    q, flow = case.j.question, case.trial.flow
    for call in q.calls:
        start = [target._id for target in call.targets]  # noqa: SLF001
        meant = {flow.handle(key) for key in flow.before(start, through=lambda op: op.type != "StopGradient")}
        if q.trained.key in meant:
            for key in meant:
                op = flow.op(key)
                if op is not None and op.line is not None:
                    text = f"no gradient reaches {case.path}: {op.type} has no derivative"
                    return [(named("GC102", text), op.line)]
    for step in dict.fromkeys(call.step for call in q.calls):
        for key, shape, left in step.exits:
            back = next((line for back_shape, line in step.entrances if back_shape == shape), None)
            if back is not None and q.trained.key in map(flow.handle, flow.before([key])):
                text = (
                    f"no gradient reaches {case.path}: an activation of shape {shape} leaves TensorFlow at {left}, and "
                    f"an array of this shape enters at {back}"
                )
                return [(named("GC102", text, confidence="possible"), left)]
    return []


#: The more specific first.
RULES: tuple[Callable[[Case], Found], ...] = (
    _another_variable,
    _penalties,
    _transposed,
    _rows,
    _earlier_step,
    _seeds_missing,
    _lossy,
    _boundary,
    _slices,
    _scaled,
    _sign,
    _one_use,
    _detached,
)
