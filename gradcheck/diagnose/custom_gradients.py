"""Diagnosis of functions under `tf.custom_gradient`, and of gradients that are not finite by the tape."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gradcheck.comparing.exempt import exempt_layers
from gradcheck.comparing.tensorwise import first_wrong
from gradcheck.custom_gradients import check_custom_gradients, custom_gradients_of
from gradcheck.custom_gradients.call_checks import findings_in, not_its_own
from gradcheck.diagnose.tracing.alone import wrong_alone
from gradcheck.diagnose.tracing.not_finite import not_finite_derivatives
from gradcheck.diagnose.wording import named
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.custom_gradients import Watch
    from gradcheck.custom_gradients.seen_calls import DecoratedCall
    from gradcheck.diagnose.effort import Effort
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.results.report import Diagnosis, TensorReport


def blamed(
    calls: Sequence[DecoratedCall], nearest: TensorReport | None, *, seed: int, meant: Sequence[DecoratedCall] = ()
) -> tuple[Diagnosis, ...]:
    """Return the mistakes in the custom gradients that a candidate called, each mistake of a function once.

    If the checks of a function find none, and the reference does not call it, a gradient that differs from
    TensorFlow's own gradient of the function is reported as likely.

    Args:
        calls: the calls that the candidate made.
        nearest: the first wrong tensor in the order of the backward pass.
        seed: seeds the cotangents of the checks.
        meant: the calls that the reference made. A mistake in one of them is on both sides and explains no difference.
    """
    places = {call.place for call in meant}
    shared = {(call.place, finding.kind) for call in meant for finding in findings_in(call, seed=seed)}
    found: dict[tuple[str, str], Diagnosis] = {}
    for call in calls:
        # A function that the reference calls too has the same gradient on both sides.
        own = [] if call.place in places else not_its_own(call, seed=seed)
        mistakes = [f for f in findings_in(call, seed=seed) if (call.place, f.kind) not in shared]
        for finding in mistakes or own:
            said = named(
                finding.code,
                finding.evidence,
                where=call.place,
                segment=None if nearest is None else nearest.segment,
                layer=None if nearest is None else nearest.layer,
                confidence="likely" if finding.kind == "own" else "exact",
            )
            found.setdefault((call.place, finding.kind), said)
    return tuple(found.values())


def wrong_derivatives(
    observed: Observed, watch: Watch, effort: Effort, *, first_order: bool = True
) -> tuple[Diagnosis, ...]:
    """Return the diagnoses of a tape whose gradients differ from finite differences.

    Gradients that are not finite come first, with the layer that makes them; then the mistakes that the calls of
    custom gradients show; then GC601, which names the custom gradients that may be responsible for the rest.

    Args:
        observed: the tape beside the finite differences that it disagrees with.
        watch: the `Watch` under which the model's code was loaded.
        effort: collects the steps that fail.
        first_order: whether the derivatives are those of the loss: then each call is also tried by itself.
    """
    problem, broken = observed.problem, not_finite_derivatives(observed, effort)
    wrong = [row for row in observed.rows if row.failed and row.status != "nonfinite"]
    nearest = first_wrong(wrong)
    if nearest is None:
        return broken
    calls = effort.attempt("the custom gradients", partial(custom_gradients_of, problem, watch)) or ()
    places = list(dict.fromkeys(call.place for call in calls))
    seen = f"custom gradients here: {some(places)}"
    if not places:
        seen = "no custom gradient was seen: look for a stopped gradient, a rounding or a cast"
    where = ""
    if nearest.kind == "weight":
        where = f" nearest to the loss is {nearest.path}: the mistake is in {nearest.layer} or right after it;"
    about = f"finite differences disagree with the tape about {some([row.path for row in wrong])};{where}"
    blamed = named(
        "GC601",
        f"{about} {seen}",
        segment=nearest.segment,
        layer=nearest.layer,
        confidence="likely" if len(places) == 1 else "possible",
    )
    checked = effort.attempt("the checks of the custom gradients", partial(check_custom_gradients, problem, watch))
    alone = _one_by_one(observed, about, seen, effort) if first_order else ()
    return (*broken, *(checked or ()), *(alone or (blamed,)))


def _one_by_one(observed: Observed, about: str, seen: str, effort: Effort) -> tuple[Diagnosis, ...]:
    """Return GC601 for each call of the graph that finite differences contradict by itself, but for exempt ones."""
    problem = observed.problem
    if len(problem.graph.calls) == 1:
        return ()
    found = effort.attempt("the calls one by one", partial(wrong_alone, problem)) or ()
    exempt = exempt_layers(problem)
    owner = {problem.graph.calls[call].name: s.plan.index for s in problem.segments for call in s.plan.calls}
    return tuple(
        named(
            "GC601",
            f"{about} {call.says}; {seen}",
            where=call.name,
            segment=owner.get(call.name),
            layer=call.name,
            confidence="exact",
        )
        for call in found
        if call.name not in exempt
    )
