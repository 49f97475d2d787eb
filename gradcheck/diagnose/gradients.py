"""Diagnosis of wrong gradients: faults replayed on a correct split, patterns, and the first wrong tensor."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from gradcheck.comparing.tensorwise import first_wrong
from gradcheck.diagnose.compiled import compiled_differently
from gradcheck.diagnose.custom_gradients import blamed
from gradcheck.diagnose.effort import Effort
from gradcheck.diagnose.evidence.candidate_calls import as_it_ran, of_another_model
from gradcheck.diagnose.evidence.gradient_figures import by_figures, what_they_are
from gradcheck.diagnose.evidence.location import located
from gradcheck.diagnose.other_mode import in_other_mode
from gradcheck.diagnose.replaying.in_pairs import pair
from gradcheck.diagnose.replaying.permuted import with_rows
from gradcheck.diagnose.replaying.replays import Replayed, search
from gradcheck.diagnose.replaying.several import together
from gradcheck.diagnose.replaying.solved import with_factors
from gradcheck.diagnose.tracing.not_finite import not_finite, origin
from gradcheck.diagnose.tracing.parts import parts_differ
from gradcheck.diagnose.wording import named, named_at
from gradcheck.phrases import some
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.custom_gradients.seen_calls import DecoratedCall
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.diagnose.replaying.replays import Match, Search
    from gradcheck.diagnose.replaying.several import Part
    from gradcheck.handoff.interface import Gradients
    from gradcheck.results.report import Diagnosis


@dataclass(frozen=True, eq=False, kw_only=True)
class Diagnosing:
    """The arguments that the steps of one diagnosis share.

    Attributes:
        replayed: the replays of the problem, including those of earlier diagnoses.
        end: the `time.monotonic()` at which replays stop, in seconds.
        calls: the calls of custom gradients that the candidate made.
        meant: the calls of custom gradients that the reference made.
        effort: collects the steps that fail.
    """

    replayed: Replayed
    end: float
    calls: Sequence[DecoratedCall]
    meant: Sequence[DecoratedCall]
    effort: Effort


def diagnose_gradients(
    observed: Observed,
    *,
    seconds: float,
    replayed: Replayed | None = None,
    calls: Sequence[DecoratedCall] = (),
    meant: Sequence[DecoratedCall] = (),
    effort: Effort | None = None,
) -> tuple[Diagnosis, ...]:
    """Return the diagnoses that explain `observed`, the more specific ones first; GC900 if nothing does.

    Args:
        observed: a mismatch.
        seconds: about how long replays may take.
        replayed: earlier replays of the same problem.
        calls: the calls of custom gradients that the candidate made.
        meant: the calls of custom gradients that the reference made.
        effort: collects the steps that fail: the user's code may raise in a replay.
    """
    effort, problem = effort or Effort(), observed.problem
    if effort.attempt("the second run of the reference", lambda: observed.reference.unrepeatable):
        return (_unrepeatable(observed),)
    broken = _not_finite_either(observed, effort)
    if not observed.failing:
        return broken
    # Before the replays, which run eagerly: if compilation changes the reference, even a correct split looks wrong.
    compiled = effort.attempt("another compilation of the reference", partial(compiled_differently, observed))
    others = effort.attempt("the variables that gradients were taken of", partial(of_another_model, observed))
    told = [diagnosis for diagnosis in (*(compiled or ()), *(others or ())) if diagnosis.confidence == "exact"]
    if told:
        return (*broken, *told)
    replayed = replayed or Replayed(problem)
    here = Diagnosing(replayed=replayed, end=time.monotonic() + seconds, calls=calls, meant=meant, effort=effort)
    right = effort.attempt("the correct split", lambda: replayed.replays.right) if problem.segments else None
    if right is None:  # no split, or it raised: nothing to replay a mistake on
        mode = effort.attempt("the other training flag", partial(in_other_mode, observed))
        alone = mode or _by_itself(observed, here) or _unexplained(observed, None)
        return (*broken, *as_it_ran(observed, list(map(_unsure, alone) if problem.segments else alone)))
    departed = effort.attempt(
        "the comparison of the correct split", lambda: observed.departures(right, replayed.agreeing)
    )
    explained = _departed(observed, right, here) if departed else _explained(observed, here)
    return (*broken, *as_it_ran(observed, list(explained)))


def _not_finite_either(observed: Observed, effort: Effort) -> tuple[Diagnosis, ...]:
    """Return GC703 for wrong rows whose reference is not finite: no mistake of a hand-off explains these."""
    broken = observed.broken_reference
    rows = [row for row in observed.rows if row.failed and TensorKey(row.kind, row.path) in broken]
    if not rows:
        return ()
    both = any(observed.is_broken(key) for key in broken)
    made = effort.attempt("the search for what is not finite", partial(origin, observed.problem))
    found = not_finite(observed.problem, rows, made, beside=", in the reference too" if both else " in the reference")
    return () if found is None else (found,)


def _departed(observed: Observed, right: Gradients, here: Diagnosing) -> Iterator[Diagnosis]:
    """Yield what makes a correct split differ from the reference, then what the candidate adds to that difference.

    The latter is never `exact`: the fault accounts for a part of the difference alone.
    """
    split = observed.of(right)
    yield parts_differ(split, here.effort) if not observed.problem.shares_graph else _split_differs(split)
    beside = here.effort.attempt("the comparison with the correct split", lambda: observed.beside(right))
    if beside is not None and beside.failing:
        for found in _explained(beside, here):
            evidence = f"beside a correct split of the same parts: {found.evidence}"
            yield _unsure(replace(found, evidence=evidence))


def _split_differs(split: Observed) -> Diagnosis:
    """Return GC900 for a correct split of the same layers that differs from the whole model."""
    where, evidence = located(split)
    return named(
        "GC900",
        f"a correct split of the same layers differs from the whole too, so that no hand-off can be judged: {evidence}",
        segment=None if where is None else where.segment,
        layer=None if where is None or where.kind == "loss" else where.layer,
        confidence="possible",
    )


def _unsure(diagnosis: Diagnosis) -> Diagnosis:
    return replace(diagnosis, confidence="likely") if diagnosis.confidence == "exact" else diagnosis


def _explained(observed: Observed, here: Diagnosing) -> Sequence[Diagnosis]:
    """Return what explains a mismatch with a reference that a correct split agrees with."""
    found = search(observed, here.replayed, seconds=here.end - time.monotonic(), effort=here.effort)
    explained = _by_itself(observed, here, [_replayed(match, observed) for match in found.matches])
    if explained:
        return explained
    # Unknown numbers, orders and combinations get the time that single faults have left.
    for what, solve in (("mistakes with a factor", with_factors), ("orders of rows", with_rows)):
        solved = partial(solve, observed, here.replayed, end=here.end, effort=here.effort)
        match = here.effort.attempt(what, solved)
        if match is not None:
            return [_replayed(match, observed)]
    parts: Sequence[Part] = ()
    for search_for in (together, pair):
        combined = partial(search_for, observed, here.replayed, end=here.end, effort=here.effort)
        parts = parts or here.effort.attempt("several mistakes at once", combined) or ()
    return [*_unexplained(observed, found, parts), *(_part(part, observed) for part in parts)]


def _by_itself(observed: Observed, here: Diagnosing, replayed: Sequence[Diagnosis] = ()) -> Sequence[Diagnosis]:
    """Return what the candidate's custom gradients show, with `replayed`; failing both, what the figures show."""
    nearest, seed = first_wrong(list(observed.failing.values())), observed.problem.seed
    blame = partial(blamed, here.calls, nearest, seed=seed, meant=here.meant)
    custom = here.effort.attempt("the custom gradients", blame) or ()
    # A custom gradient that is merely unusual ("likely") counts only if no replay gives the observed gradients.
    explained = [*(d for d in custom if d.confidence == "exact"), *replayed] or list(custom)
    return explained or here.effort.attempt("the patterns", partial(by_figures, observed)) or ()


def _replayed(match: Match, observed: Observed) -> Diagnosis:
    injection, agreement = match
    count = len(observed.failing)
    evidence = (
        f"{injection.effect}. The observed {'gradients equal' if observed.wrong_gradients else 'values equal'} that "
        f"mistake to {agreement.furthest:.0e} in {agreement.wrong} of {count} wrong tensors"
    )
    if not agreement.furthest:
        evidence = evidence.replace(f"to {agreement.furthest:.0e} in", "bit for bit in")
    return named_at(injection, evidence, confidence="exact" if agreement.close else "likely")


def _part(part: Part, observed: Observed) -> Diagnosis:
    """Return the diagnosis of one of several simultaneous mistakes."""
    injection, explains, _ = part
    paths = some([key.path for key in observed.failing if key in explains])
    alone = f"That alone gives {len(explains)} of {len(observed.failing)} wrong tensors: {paths}"
    evidence = f"{injection.effect}. {alone if explains else 'The other mistake is in the same tensors'}"
    return named_at(injection, evidence, confidence="likely")


def _unexplained(observed: Observed, found: Search | None, parts: Sequence[Part] = ()) -> list[Diagnosis]:
    """Return GC900: the first wrong gradient, what was ruled out, and the faults that explain it together."""
    where, evidence = located(observed)
    ruled_out = ""
    if found is not None:
        ruled_out = f". {found.tried} replays of known mistakes gave other gradients"
        ruled_out += f"; {found.left} more were left out for lack of time" if found.left else ""
    evidence += "".join(f"; {said}" for said in what_they_are(observed))
    if parts:
        codes = " and ".join(f"{part.injection.code} at {part.injection.place.text}" for part in parts)
        ruled_out += f", but {codes} together explain every wrong tensor"
    return [
        named(
            "GC900",
            evidence + ruled_out,
            segment=where.segment if where else None,
            layer=where.layer if where and where.kind != "loss" else None,
            confidence="possible",
        )
    ]


def _unrepeatable(observed: Observed) -> Diagnosis:
    moved = [key.path for key in observed.reference.unrepeatable]
    return named("GC704", f"a second run of the reference differs in {some(moved)}, so nothing can be compared")
