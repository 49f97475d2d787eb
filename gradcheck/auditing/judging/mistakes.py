"""The mistakes by name: each rule looks at one judgement, and says what was done, where, and how that shows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.auditing.judging.cotangents import near, wrong_cotangent
from gradcheck.auditing.judging.weights import is_scale
from gradcheck.auditing.judging.wrong_slices import wrong_slices
from gradcheck.diagnose.wording import named

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.auditing.judging.case import Case, Found
    from gradcheck.auditing.observing.script_step import GradientCall, Reentry
    from gradcheck.auditing.trial import Trial
    from gradcheck.user_calls.lines import ScriptLine


def explained(case: Case) -> Found:
    """Return what explains a wrong variable, the most specific first, each with its line."""
    for rule in RULES:
        found = rule(case)
        if found:
            return found
    update = case.j.question.update
    times = _times(case)
    what = "something else" if math.isnan(times) else f"{times:.4g} times its gradient"
    text = f"{case.path} was handed {what}, and no known mistake gives it"
    return [(named("GC900", text, confidence="possible"), update.line)]


def _another_variable(case: Case) -> Found:
    q = case.j.question
    sources = {}
    for node in q.nodes:
        call = next((c for c in q.calls if c.number == node.call), None) or case.trial.serving.calls.get(node.call)
        if call is not None:
            sources[call.ids[node.source]] = call
    if not sources or q.trained.key in sources or case.j.change.by_hand:
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
    return [
        (
            named("GC504", f"{case.path} was changed in the direction opposite to its gradient"),
            case.j.question.update.line,
        )
    ]


def _seeds_missing(case: Case) -> Found:
    for call in _chain(case):
        if call.unseeded:
            asked = next((o for o in call.step.calls if set(o.ids) & {t._id for t in call.targets}), None)  # noqa: SLF001
            known = f"; the cotangent was computed at {asked.line}" if asked else ""
            text = f"the gradient at {call.line} has no output_gradients, so TensorFlow seeds it with ones{known}"
            return [(named("GC101", text), call.line)]
    return []


def _chain(case: Case) -> list[GradientCall]:
    """Return the gradient calls at boundaries, and those that their seeds come from."""
    serving, flow = case.trial.serving, case.trial.flow
    waiting, found = list(case.seeded), []
    while waiting:
        call = waiting.pop(0)
        if call not in found:
            found.append(call)
            waiting += serving.made_of({n: s for seed in call.seeds or () for n, s in flow.shares(seed).items()})
    return found


def _boundary(case: Case) -> Found:
    """Compare the seeds that were handed to a gradient call with the cotangents of its targets."""
    pairs = [
        (c, s) for c, s, compared in case.j.boundaries if compared is None or compared.status in ("mismatch", "missing")
    ]
    call = next((c for c in case.seeded if c.seeds is not None), None)
    if call is None or not pairs:
        return []
    line = _changed_at(case, call)
    everything = [(c, s) for c, s, _ in case.j.boundaries]
    now = case.j.question.update.number
    earlier = [b[0] for j in case.trial.judgements if j.question.update.number < now for b in j.boundaries]
    for c, s in pairs:
        if s is not None:
            others = [
                *(other for other, own in everything if own is not s),
                *(o for o in case.j.others if o is not None),
            ]
            examples = max(case.j.counts, default=1)
            found = wrong_cotangent(c, s, line, others=others, earlier=earlier, examples=examples)
            if found is not None:
                return [(found, line)]
    return []


def _changed_at(case: Case, call: GradientCall) -> ScriptLine:
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
            return [
                (named("GC104", f"the activation that comes back at {link.back} was rounded to {link.lossy}"), line)
            ]
    return []


def _links(case: Case) -> list[Reentry]:
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


def _scaled(case: Case) -> Found:
    j, line = case.j, case.j.question.update.line
    if j.expected is None:
        return []
    if j.scale != 1 and case.is_(j.expected * j.scale):
        text = f"the loss was multiplied by {j.scale:g}, and the gradient of {case.path} never divided"
        return [(named("GC503", text), line)]
    times = _times(case)
    if is_scale(times, max(j.counts, default=1)) or is_scale(
        1 / times if times else math.nan, max(j.counts, default=1)
    ):
        return [(named("GC503", f"{case.path} was handed {times:.4g} times its gradient"), line)]
    return []


def _times(case: Case) -> float:
    """Return the multiple of what was expected that was handed over; NaN if it is none."""
    c, e = case.j.candidate, case.j.expected
    if c is None or e is None or c.shape != e.shape or not e.any():
        return math.nan
    factor = float(np.vdot(c, e)) / float(np.vdot(e, e))
    return factor if near(c, factor * e) else math.nan


def _penalties(case: Case) -> Found:
    j = case.j
    if not j.penalties or j.candidate is None or j.expected is None:
        return []
    line = max(j.question.calls, key=lambda call: call.number).line if j.question.calls else j.question.update.line
    lacking = [gradient for gradient, weight in j.penalties if weight == 0]
    if lacking and case.is_(j.expected - sum(lacking[1:], lacking[0])):
        text = f"a penalty that model.losses has for {case.path} is in no loss that is differentiated"
        return [(named("GC501", text), line)]
    for gradient, weight in j.penalties:
        if weight and near(j.candidate - j.expected, (weight - 1) * gradient):
            return [(named("GC502", f"the penalty of {case.path} is in the losses {weight:.3g} times"), line)]
    return []


def _one_use(case: Case) -> Found:
    """A tied weight that was handed one use's gradient: another call has the rest."""
    j, q = case.j, case.j.question
    steps = {call.step for call in q.calls}
    for call in case.trial.serving.calls.values():
        if call in q.calls or q.trained.key not in call.ids or call.step not in steps or j.candidate is None:
            continue
        rest = call.results[call.ids.index(q.trained.key)]
        if hasattr(rest, "numpy") or isinstance(rest, tf.IndexedSlices):
            whole = j.candidate + np.asarray(tf.convert_to_tensor(rest), np.float64)
            if near(whole, j.expected):
                text = f"{case.path} is used twice; the gradient of one use, at {call.line}, was left out"
                return [(named("GC401", text), max(call, *q.calls, key=lambda c: c.number).line)]
    return []


def _unasked_use(case: Case) -> Found:
    """A tied weight whose use before a boundary no gradient call asks for."""
    j, q, trial = case.j, case.j.question, case.trial
    steps = list(dict.fromkeys(call.step for call in q.calls))
    for call in q.calls if j.candidate is not None else ():
        for key, tape in crossings(trial, call):
            asking = [c for step in steps for c in step.calls for t in c.targets if t._id == key]  # noqa: SLF001
            uses = q.trained.key in map(trial.flow.handle, trial.flow.before([key]))
            if uses and asking and not any(q.trained.key in c.ids for c in asking):
                text = (
                    f"{case.path} is used by the tape opened at {tape.line} too, and not asked for at {asking[0].line}"
                )
                return [(named("GC401", text), asking[0].line)]
    return []


def _detached(case: Case) -> Found:
    """An activation that a tape takes for a constant."""
    q, trial = case.j.question, case.trial
    losses = {id(loss) for call in q.calls for loss in call.losses or ()}
    steps = list(dict.fromkeys(call.step for call in q.calls))
    differentiating = [
        c
        for step in steps
        for c in step.calls
        if any(id(loss) in losses and loss.target is t for loss in c.losses or () for t in c.targets)
    ]
    repeated = len(differentiating) > 1 and len({c.line for c in differentiating}) == 1
    for link in _links(case):
        line = link.left or link.back
        text = (
            f"an activation leaves TensorFlow at {link.left} and" if link.left else "an activation that left TensorFlow"
        )
        text += f" comes back at {link.back}"
        code = "GC304" if repeated or _recurrent(case, steps) else "GC102"
        return [(named(code, f"{text}: the tape sees a constant"), line)]
    asked = {t._id for step in steps for c in step.calls for t in c.targets}  # noqa: SLF001
    for call in differentiating:
        crossing = crossings(trial, call)
        left = [tape for key, tape in crossing if key not in asked]
        if left:
            at = left[0].line
            if repeated or any(tape.line == call.tape.line for tape in left):
                found = named("GC304", f"the state comes from the tape before, opened at {at}, which ends there")
            elif len(left) < len(crossing):
                text = (
                    f"a tensor of the tape opened at {at} is used at {call.line}, and its cotangent never handed back"
                )
                found = named("GC105", text)
            else:
                found = named("GC102", f"a tensor of the tape opened at {at} is a constant for this tape")
            return [(found, q.calls[0].line)]
    return []


def _recurrent(case: Case, steps: list[Any]) -> bool:
    """Whether the variable is used before several activations that left: the state of a sequence."""
    flow, key = case.trial.flow, case.j.question.trained.key
    links = [link for step in steps for link in step.links]
    return sum(key in map(flow.handle, flow.before([link.origin._id])) for link in links) > 1  # noqa: SLF001


def _rows(case: Case) -> Found:
    """Rows of a sparse gradient that occur twice."""
    q = case.j.question
    if not q.update.overwrites:
        return []
    return [
        (
            named("GC404", f"{case.path}: rows that occur twice in the sparse gradient were written, not added"),
            q.update.line,
        )
    ]


def crossings(trial: Trial, call: GradientCall) -> list[tuple[int, Any]]:
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
    """Return what cuts a variable off the losses that it should serve, where no gradient reaches it.

    Nothing is wrong behind `stop_gradient`, or where the losses do not need the variable.
    """
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
    wrong_slices,
    _scaled,
    _sign,
    _one_use,
    _unasked_use,
    _detached,
)
