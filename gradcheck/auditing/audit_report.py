"""The record of an audit: one check named `audit`, whose tensors are the variables that were updated."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from tensorflow.python.eager import context  # the seed of tf.random.set_seed, which has no public getter

from gradcheck.auditing.judging.across import found_across, left_in_inference
from gradcheck.errors import ExitCode
from gradcheck.numerics import largest_finite
from gradcheck.phrases import plural, some
from gradcheck.results.report import (
    FAILING,
    CheckReport,
    Coverage,
    ReferenceReport,
    RunReport,
    SegmentReport,
    TensorReport,
)
from gradcheck.session.verdict import judge, outcome_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.auditing.judging.judgement import Judgement
    from gradcheck.auditing.watch import Watch
    from gradcheck.errors import GradcheckError
    from gradcheck.results.report import Diagnosis, Outcome
    from gradcheck.results.tensor import Comparison
    from gradcheck.user_calls.lines import ScriptLine

RESTS_ON = "the registered and custom gradients, and the script's own forward pass"


def run_report(watch: Watch, *, name: str, file: str, seconds: float, error: GradcheckError | None = None) -> RunReport:
    """Return the record of what was seen.

    Args:
        watch: a watch that is over.
        name: of the run.
        file: the script.
        seconds: how long it ran.
        error: how the script failed by itself.
    """
    shown = _shown(watch.trial.judgements)
    segments = _segments(_by_reading(watch, shown))
    check = _check(watch, shown, segments, seconds)
    verdict, exit_code = judge((check,), trainable=len(shown))
    if not shown and not error:
        verdict, exit_code = "vacuous", ExitCode.VACUOUS
    mistakes = error.mistakes if error else ()
    if mistakes:
        verdict, exit_code = "error", ExitCode(mistakes[0].exit_code)
    statuses = [j.comparison.status for j in shown]
    return RunReport(
        name=name,
        config=file,
        seed=context.global_seed() or 0,
        precision=_precision(shown),
        execution="graph" if watch.exports.exports else "eager",
        verdict=verdict,
        error=mistakes[0] if mistakes else None,
        errors=mistakes,
        exit_code=exit_code,
        segments=segments,
        reference=ReferenceReport(
            method="tape over the whole step",
            loss=_loss(shown),
            seconds=math.nan,
            gradient_norm=math.hypot(*(j.norm for j in shown)),
        ),
        coverage=Coverage(
            trainable=len(shown),
            compared=len(statuses) - statuses.count("absent"),
            absent=statuses.count("absent"),
            dead=statuses.count("dead"),
        ),
        checks=(check,),
        notes=_notes(watch, shown),
    )


def _shown(judgements: Sequence[Judgement]) -> list[Judgement]:
    """Return one judgement of each variable: the last that fails, else the last."""
    found: dict[str, Judgement] = {}
    for j in judgements:
        path = j.question.trained.path
        if path not in found or fails(j) or not fails(found[path]):
            found[path] = j
    return list(found.values())


def _by_reading(watch: Watch, shown: Sequence[Judgement]) -> list[Judgement]:
    """Return judgements in the order in which the script first read their variables, as far as that is known."""
    places = watch.flow.reads
    return sorted(shown, key=lambda j: places.get(j.question.trained.key, len(places)))


def _loss(shown: Sequence[Judgement]) -> float:
    """Return the loss that the gradients of all variables belong to; NaN where that is not one, or not known."""
    found = {j.loss for j in shown if j.norm} or {j.loss for j in shown}
    return found.pop() + sum(j.added for j in shown) if len(found) == 1 else math.nan


def fails(j: Judgement) -> bool:
    """Whether a judgement is a mismatch."""
    return j.comparison.status in FAILING or bool(j.explained)


def _check(watch: Watch, shown: Sequence[Judgement], segments: Sequence[SegmentReport], seconds: float) -> CheckReport:
    explained = [pair for j in shown for pair in j.explained]
    across = found_across(watch.trial)
    diagnoses = list({(d.code, line): (d, line) for d, line in (*across, *explained)}.values())
    allowed = frozenset(watch.options.allow)
    places = {path: segment.index for segment in segments for path in segment.layers}
    tensors = tuple(
        sorted((_tensor(j, allowed, places) for j in _by_reading(watch, shown)), key=lambda t: t.segment or 0)
    )
    placed = [replace(d, line=str(line), place=str(line), file=line.file) for d, line in diagnoses]
    return check_report(tensors, placed, allowed, seconds, first=_first_wrong(watch, shown, tensors))


def _first_wrong(watch: Watch, shown: Sequence[Judgement], tensors: Sequence[TensorReport]) -> str | None:
    """Return the wrong variable that the script read last, where a backward pass begins; None if that is not known."""
    wrong = {t.path for t in tensors if t.failed}
    places = {
        path: watch.flow.reads.get(j.question.trained.key) for j in shown if (path := j.question.trained.path) in wrong
    }
    known = {path: place for path, place in places.items() if place is not None}
    return max(known, key=known.__getitem__) if known and known.keys() == wrong else None


def check_report(
    tensors: tuple[TensorReport, ...],
    diagnoses: Sequence[Diagnosis],
    allowed: frozenset[str],
    seconds: float,
    *,
    first: str | None,
) -> CheckReport:
    """Return the record of the check, without the diagnoses that are allowed; `first` is the first wrong tensor."""
    kept = sorted((d for d in diagnoses if d.code not in allowed), key=_order)
    accepted = sorted({d.code for d in diagnoses} & allowed)
    outcome: Outcome = "mismatch" if kept else outcome_of(tensors)
    return CheckReport(
        method="audit",
        expect="match",
        outcome=outcome,
        as_expected=outcome != "mismatch",
        loss=math.nan,
        loss_abs_error=math.nan,
        max_abs_error=largest_finite(t.max_abs_error for t in tensors),
        max_rel_error=largest_finite(t.max_rel_error for t in tensors),
        seconds=seconds,
        first_divergence=first,
        tensors=tensors,
        diagnoses=tuple(kept),
        notes=tuple(f"{code} was found, and is allowed" for code in accepted),
        rests_on=RESTS_ON,
    )


def _order(diagnosis: Diagnosis) -> tuple[int, int]:
    sure = ("exact", "likely", "possible").index(diagnosis.confidence)
    return (1 if diagnosis.code == "GC900" else 0, sure)


def _tensor(j: Judgement, allowed: frozenset[str], places: dict[str, int]) -> TensorReport:
    q = j.question
    exempt = bool(j.explained) and all(d.code in allowed for d, _ in j.explained)
    layer, _, name = q.trained.path.rpartition("/")
    lines = dict.fromkeys(str(line) for line in (*(call.line for call in q.calls), q.update.line))
    comparison: Comparison = j.comparison
    if comparison.status == "absent":
        comparison = replace(comparison, shape=tuple(q.trained.variable.shape), dtype=q.trained.dtype)
    when = f"update {j.at}" if fails(j) else None
    remarks = (when, comparison.note)
    return TensorReport(
        kind="weight",
        segment=places.get(q.trained.path),
        layer=layer,
        name=name,
        path=q.trained.path,
        **vars(replace(comparison, note="; ".join(filter(None, remarks)) or None)),
        exempt=exempt,
        lines=tuple(lines),
    )


def _segments(shown: Sequence[Judgement]) -> tuple[SegmentReport, ...]:
    """Return the gradient calls, in the order of the forward pass: the last call belongs to the first part."""
    calls: dict[ScriptLine, tuple[int, dict[str, int]]] = {}
    for j in shown:
        q = j.question
        own = [call for call in q.calls if q.trained.key in call.ids] or q.calls
        if own:
            last = max(own, key=lambda call: call.number)
            number, sizes = calls.get(last.line, (last.number, {}))
            sizes[q.trained.path] = math.prod(q.trained.variable.shape)
            calls[last.line] = max(number, last.number), sizes
    ordered = sorted(calls.items(), key=lambda item: -item[1][0])
    return tuple(
        SegmentReport(
            index=i, name=str(line), layers=tuple(sizes), parameters=sum(sizes.values()), inputs=(), outputs=()
        )
        for i, (line, (_, sizes)) in enumerate(ordered)
    )


def _precision(shown: Sequence[Judgement]) -> str:
    return next(
        (f"mixed_{p}" for j in shown if (p := j.question.precision)),
        shown[0].question.trained.dtype if shown else "float32",
    )


def _notes(watch: Watch, shown: Sequence[Judgement]) -> tuple[str, ...]:
    asked = dict.fromkeys(str(call.line) for call in watch.trial.serving.calls.values())
    calls = f"gradient calls at {some(list(asked))}" if asked else "no gradient call"
    notes = [f"{plural(watch.updates, 'update')} and {calls} seen, {plural(len(shown), 'variable')} judged"]
    between: dict[str, list[str]] = {}
    for j in shown:
        for text in (*j.change.recognised, *j.change.notes):
            between.setdefault(text, []).append(j.question.trained.path)
    notes += [f"between tape and update: {text} ({some(paths)})" for text, paths in between.items()]
    given = dict.fromkeys(line for j in shown for line in j.given)
    return (*notes, *left_in_inference(watch.trial), *(seeds_given(line) for line in given))


def seeds_given(line: object) -> str:
    """Return the note on a gradient call whose seeds come from no gradient call of the process."""
    return f"the seeds at {line} come from outside: taken as given, until the records of all processes are joined"
