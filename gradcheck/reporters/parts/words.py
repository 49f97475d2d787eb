"""The sentences about results that every format shares: plain text, safe on one line."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Literal

from gradcheck.phrases import plural
from gradcheck.reporters.parts.at_points import at_points
from gradcheck.reporters.parts.errors import error_line
from gradcheck.reporters.parts.exempt import excused, exemptions, unexpected, unneeded
from gradcheck.reporters.parts.selection import is_control
from gradcheck.reporters.parts.text import index, inline, multiline, named, number, pair, plain_number
from gradcheck.reporters.parts.training import first_wrong
from gradcheck.reporters.parts.worst import open_reasons, undecided, worst_words
from gradcheck.results.report import FAILING, PROVEN

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck.results.mutation import MutationReport
    from gradcheck.results.report import (
        CheckReport,
        Diagnosis,
        Kind,
        Report,
        RunReport,
        SegmentReport,
        Sides,
        TensorReport,
    )

Tone = Literal["good", "bad", "warn", "neutral", "unknown"]
#: The style of each tone on a terminal, as rich names it.
STYLES: dict[Tone, str] = {"good": "green", "bad": "bold red", "warn": "yellow", "neutral": "cyan", "unknown": "dim"}

_KINDS: dict[Kind, tuple[str, str]] = {
    "weight": ("trainable variable", "trainable variables"),
    "boundary": ("boundary", "boundaries"),
    "jacobian": ("Jacobian", "Jacobians"),
    "input": ("input", "inputs"),
    "output": ("output", "outputs"),
    "loss": ("loss", "losses"),
    "state": ("state", "states"),
    "optimizer": ("optimizer variable", "optimizer variables"),
}
_VERDICTS: dict[str, tuple[str, Tone]] = {
    "pass": ("PASS", "good"),
    "fail": ("FAIL", "bad"),
    "error": ("ERROR", "bad"),
    "vacuous": ("VACUOUS", "warn"),
}
#: Diagnoses of the hand-off between segments: their place is the boundary after `segment`.
_AT_BOUNDARY = frozenset({"GC101", "GC102", "GC103", "GC104", "GC105", "GC106", "GC107"})
_UNPROVEN = {
    "dead": "dead (zero on both sides)",
    "absent": "absent (no gradient on either side)",
    "inconclusive": "inconclusive (the error bar does not decide)",
}


def verdict(run: RunReport | MutationReport) -> tuple[str, Tone]:
    """Return the verdict of a run as a word, and its tone."""
    return _VERDICTS[run.verdict]


_UNDECIDED: dict[str, tuple[str, Tone]] = {"error": ("ERROR", "bad"), "inconclusive": ("inconclusive", "warn")}


def outcome(check: CheckReport) -> tuple[str, Tone]:
    """Return the outcome of a check in words that also say whether it was expected, and its tone."""
    if check.outcome in _UNDECIDED:
        return _UNDECIDED[check.outcome]
    if check.expect == "mismatch":
        return ("mismatch, as expected", "neutral") if is_control(check) else ("MATCH, a mismatch was expected", "bad")
    if check.outcome == "match" and check.unneeded:
        return f"MATCH, a mismatch of {unneeded(check)} was expected", "bad"
    if check.points and check.points.same and check.outcome == "match":
        return "the same mistake", "bad"
    if proves_nothing(check):
        return "nothing proven", "warn"
    return ("match", "good") if check.outcome == "match" else ("MISMATCH", "bad")


def proves_nothing(check: CheckReport) -> bool:
    """Whether no tensor differs, but no gradient is proven equal either: equal outputs, loss and state are no proof.

    Equal weights after a training step are a proof only without gradients to compare: zero gradients keep them equal
    too.
    """
    if check.points:
        return check.outcome == "match" and not check.points.match
    rows = check.of_kind("weight", "input", "boundary")
    gradients = [tensor for tensor in rows if tensor.quantity != "value"]
    return check.outcome == "match" and not any(tensor.status in PROVEN for tensor in gradients or rows)


def status_tone(tensor: TensorReport, check: CheckReport) -> Tone:
    """Return the tone of one row: neutral for an expected difference."""
    if tensor.differs:
        return "neutral" if is_control(check) or excused(tensor) else "bad"
    return "good" if tensor.status in PROVEN else "warn"


def conclusion(check: CheckReport, trainable: int) -> str:
    """Return one or two sentences: what the check proves, or which tensors do not match.

    `trainable` is the number of trainable variables of the model; variables without a row count as not proven.
    """
    method = inline(check.method)
    if check.outcome == "error":
        return f"{method}: {error_line(check.error)}" if check.error else f"{method}: error"
    if check.points:
        return f"{method}: {at_points(check.points)}."
    if is_control(check):
        differ = f"{_shares(check, check.failures, trainable)} differ{worst_words(check.failures)}"
        where = f", {first_wrong(check)}" if first_wrong(check) else ""
        return f"{method}: does not match, as expected (a control){where}: {differ}."
    if check.outcome == "mismatch":
        where = f"{first_wrong(check)}. " if first_wrong(check) else ""
        counts = f" {_counts(check)}." if check.tensors else ""
        return f"{method}: {where}{_failure(check, trainable)}{counts}{exemptions(check)}"
    if check.outcome == "inconclusive":
        open_ = undecided(check)
        why = f"{_shares(check, open_, trainable)} undecided" if open_ or not check.notes else "nothing is decided"
        reasons = [f"{code}: {said}" for code, said in open_reasons(check).items()]
        why += f" ({'; '.join(reasons)})" if reasons else ""
        return f"{method}: inconclusive: {why}. {_counts(check)}.{exemptions(check)}"
    proof = f"{_proof(check, trainable)} {_counts(check)}.{_unproven(check)}"
    return f"{method}: {unexpected(check)}{proof}{exemptions(check)}"


def norm(run: RunReport) -> str:
    """Return the norm of the reference's gradients; of a function without weights there is none."""
    if run.reference is None or (run.coverage.trainable == 0 and run.reference.gradient_norm == 0):
        return "no trainable variables"
    return f"gradient norm {plain_number(run.reference.gradient_norm)}"


def verified(run: RunReport) -> str:
    """Return the end of a sentence about the reference that says how it was verified; empty if it was not."""
    if run.reference is None or run.reference.verified is None:
        return ""
    return f", verified to {run.reference.verified:.0e} by a finite difference of the loss"


def rests_on(check: CheckReport) -> str:
    """Return `rests on: ...`, the code that the check shares with the reference; empty for a check with an error."""
    return f"rests on: {inline(check.rests_on)}" if check.rests_on and check.outcome != "error" else ""


def vacuous_advice(run: RunReport) -> str:
    """Return why a run proved nothing, and what to change."""
    coverage = run.coverage
    stopped = next((t.note for check in run.checks for t in check.tensors if t.status == "absent" and t.note), None)
    open_ = next((t.note for check in run.checks for t in undecided(check) if t.note and "GC80" in t.note), None)
    if not run.checks and run.notes:
        why = "nothing was checked, for the reasons noted"
    elif any(warning.startswith("GC701") for warning in run.warnings):
        why = "every gradient is rounding, as the warning says (GC701)"
    elif any(check.outcome == "inconclusive" and not undecided(check) and check.notes for check in run.checks):
        why = "no check was conclusive, for the reasons noted"
    elif open_ is not None:
        why = f"no check was conclusive ({open_[open_.index('GC80') :]}). Take other data, or smoother activations"
    elif any(check.outcome == "inconclusive" for check in run.checks):
        why = "no check was conclusive. Take smoother activations, other data or another seed (GC801)"
    elif coverage.trainable == 0 and any(check.method == "audit" for check in run.checks):
        why = "no update of a variable by a gradient was seen; the note says what was"
    elif coverage.absent >= coverage.trainable and stopped is not None:
        why = (
            f"no gradient arrives anywhere: {stopped}. Give it a gradient of your own (tf.custom_gradient), or check "
            "the layers before it without it (GC702)"
        )
    elif coverage.trainable == 0:
        why = "the model has no trainable variable. Set trainable=True on the layers to check (GC702)"
    elif coverage.dead + coverage.absent >= coverage.trainable:
        why = (
            "every gradient is zero or absent on both sides. Leave `loss` out (the default random_cotangent "
            "gives no zero gradients), or change `data` or `weights` (GC701)"
        )
    else:
        why = "no gradient was compared. Name other `methods`, or another `split` (GC702)"
    return f"Nothing was proven: {why}."


def unproven_lines(tensor: TensorReport) -> list[str]:
    """Return why a tensor that does not fail proves nothing either; an empty list if that is not known."""
    unproven = tensor.status in ("inconclusive", "absent", "dead")
    return [f"note: {inline(tensor.note)}"] if unproven and tensor.note else []


def failure_lines(tensor: TensorReport, sides: Sides, *, worst: bool = True) -> list[str]:
    """Return the details of a failing row: where and how far its sides differ, and the tolerance that would pass.

    Without `worst` the worst element is left out, which the row has then.
    """
    found = []
    if tensor.mismatched_elements:
        count = f"{tensor.mismatched_elements:,} of {plural(tensor.elements, 'element')} differ"
        found.append(count if tensor.elements > 1 else "its one element differs")
    if tensor.worst and worst:
        reference, candidate = pair(tensor.worst.reference, tensor.worst.candidate)
        left, right = sides.of(tensor.kind)
        at = f" {index(tensor.worst.index)}" if tensor.worst.index else ""
        found.append(f"worst{at}: {left} {reference}, {right} {candidate}")
    written = [", ".join(found)] if found else []
    return [*written, *_required(tensor), *([f"note: {inline(tensor.note)}"] if tensor.note else [])]


def contribution_lines(check: CheckReport, segments: Iterable[SegmentReport]) -> list[str]:
    """Return one line for each weight: the 2-norm of the part of its gradient from each chunk, `none` for zero."""
    names = {segment.index: inline(segment.name) for segment in segments}
    lines_ = []
    for found in check.contributions:
        parts = zip(found.segments, found.norms, strict=True)
        shares = [f"{names.get(i, f'segment {i}')} {number(norm) if norm else 'none'}" for i, norm in parts]
        lines_.append(f"{inline(found.path)}: {', '.join(shares)}")
    return lines_


def diagnosis_heading(diagnosis: Diagnosis) -> str:
    """Return `GC101 at boundary 0 → 1`, with the confidence unless it is `exact`."""
    where = _where(diagnosis)
    sure = "" if diagnosis.confidence == "exact" else f" ({diagnosis.confidence})"
    return inline(diagnosis.code + (f" at {where}" if where else "") + sure)


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """Return the evidence (the title if there is none), and `Fix: ...`; line breaks are kept."""
    texts = [diagnosis.evidence or diagnosis.title, *([f"Fix: {diagnosis.fix}"] if diagnosis.fix else [])]
    sentences = [text if text.endswith((".", "!", "?")) else f"{text}." for text in map(str.strip, texts)]
    return multiline(" ".join(sentences))


def diagnosis_sentence(diagnosis: Diagnosis) -> str:
    """Return `GC101 at boundary 0 → 1: evidence. Fix: ...`."""
    return f"{diagnosis_heading(diagnosis)}: {diagnosis_text(diagnosis)}"


def explanations(check: CheckReport) -> list[str]:
    """Return the second opinion of float64 on a mismatch, if any, and each diagnosis."""
    return [*([check.second_opinion] if check.second_opinion else []), *map(diagnosis_sentence, check.diagnoses)]


def _where(diagnosis: Diagnosis) -> str:
    """Return the place of the diagnosis; its segment and layer if it names none."""
    if diagnosis.place is not None:
        return diagnosis.place
    places = []
    if diagnosis.segment is not None:
        start = diagnosis.segment
        places.append(f"boundary {start} → {start + 1}" if diagnosis.code in _AT_BOUNDARY else f"segment {start}")
    if diagnosis.layer is not None:
        places.append(f"layer {diagnosis.layer}")
    return ", ".join(places)


def summary_line(report: Report) -> str:
    """Return `3 configs: 1 passed, 1 failed, 1 error`, without verdicts that did not occur."""
    summary = report.summary
    counts = (
        (summary.passed, f"{summary.passed} passed"),
        (summary.failed, f"{summary.failed} failed"),
        (summary.errors, plural(summary.errors, "error")),
        (summary.vacuous, f"{summary.vacuous} vacuous (nothing proven)"),
    )
    found = ", ".join(words for count, words in counts if count)
    return f"{plural(summary.runs, 'config')}: {found or 'nothing run'}{beside_errors(report)}"


def beside_errors(report: Report) -> str:
    """Return ` (2 methods do not match)`: the mismatches in runs that count as errors; empty if there are none."""
    checks = [check for run in report.runs if run.verdict == "error" for check in run.checks]
    count = sum(check.outcome == "mismatch" and not check.as_expected for check in checks)
    return f" ({plural(count, 'method')} {'does' if count == 1 else 'do'} not match)" if count else ""


def weight_counts(check: CheckReport, trainable: int) -> tuple[int, int]:
    """Return the number of trainable variables that are proven equal, and of all."""
    weights = check.of_kind("weight")
    unproven = {t.path for t in weights if t.status not in PROVEN}
    proven = {t.path for t in weights} - unproven  # in training a path has a row for each step
    return len(proven), max(trainable, len(proven | unproven))


def kinds(tensors: Iterable[TensorReport]) -> str:
    """Return how many tensors of each kind there are: `1 boundary, 2 states`."""
    paths = [(kind, {tensor.path for tensor in tensors if tensor.kind == kind}) for kind in _KINDS]
    return ", ".join(plural(len(found), *_KINDS[kind]) for kind, found in paths if found)


def _shares(check: CheckReport, chosen: tuple[TensorReport, ...], trainable: int) -> str:
    """Return how many tensors of each kind are in `chosen`: `1 of 6 trainable variables, 1 of 2 boundaries`."""
    shares = []
    for kind, (one, many) in _KINDS.items():
        count = len({t.path for t in chosen if t.kind == kind})
        total = weight_counts(check, trainable)[1] if kind == "weight" else len({t.path for t in check.of_kind(kind)})
        if count:
            shares.append(f"{count} of {plural(total, one, many)}")
    return ", ".join(shares) or "no single tensor"


def _failure(check: CheckReport, trainable: int) -> str:
    failing = check.failures
    if not failing:
        off = "" if math.isnan(check.loss_abs_error) else f" (loss off by {number(check.loss_abs_error)})"
        return f"does NOT match{off}."
    paths = list(dict.fromkeys(t.path for t in failing))
    verb = "does" if len(paths) == 1 else "do"
    sentence = f"{_shares(check, failing, trainable)} {verb} NOT match: {named(paths)}."
    proven, total = weight_counts(check, trainable)
    return f"{sentence} All {total} of {total} trainable variables do." if proven == total > 0 else sentence


def _proof(check: CheckReport, trainable: int) -> str:
    """Return a sentence such as `all 6 of 6 trainable variables, 2 boundaries match the reference (worst: ...).`."""
    proven, total = weight_counts(check, trainable)
    if proves_nothing(check):
        return f"nothing was proven: none of {plural(total, *_KINDS['weight'])} has a gradient to compare."
    all_of = "all " if proven == total > 0 else ""
    parts = [f"{all_of}{proven} of {plural(total, *_KINDS['weight'])}"] if total else []
    for kind, words in list(_KINDS.items())[1:]:
        equal = {t.path for t in check.of_kind(kind) if t.status in PROVEN}
        if equal:
            parts.append(plural(len(equal), *words))
    subject = ", ".join(parts) or "no tensor"
    verb = "matches" if len(parts) < 2 and subject.startswith(("1 ", "no ")) else "match"  # noqa: PLR2004 - one alone
    when = f" in {'all ' if check.steps > 1 else ''}{plural(check.steps, 'step')}" if check.steps else ""
    return (
        f"{subject} {verb} {check.sides.standard}{when}{worst_words([t for t in check.tensors if t.status in PROVEN])}."
    )


def _counts(check: CheckReport) -> str:
    """Return `8 exact, 3 close, 0 dead, 0 absent`, and the other statuses if they occur."""
    counts = Counter(t.status for t in check.tensors)
    always = {"exact", "close", "dead", "absent"}
    order = ("exact", "close", "dead", "absent", "inconclusive", *sorted(FAILING))
    return ", ".join(f"{counts[s]} {s}" for s in order if s in always or counts[s])  # type: ignore[index]


def _unproven(check: CheckReport) -> str:
    """Return sentences that name the tensors without proof, so that a pass does not hide them."""
    paths = {words: [t.path for t in check.tensors if t.status == status] for status, words in _UNPROVEN.items()}
    return "".join(f" Proves nothing, {words}: {named(found)}." for words, found in paths.items() if found)


def _required(tensor: TensorReport) -> list[str]:
    given = f"given rtol {number(tensor.rtol)}, atol {number(tensor.atol)}"
    needed = [
        f"{name} {number(value)}"
        for name, value in (("rtol", tensor.required.rtol), ("atol", tensor.required.atol))
        if math.isfinite(value)
    ]
    if tensor.status == "missing":
        return []
    return [f"needs {' or '.join(needed)}; {given}" if needed else f"no tolerance would pass; {given}"]
