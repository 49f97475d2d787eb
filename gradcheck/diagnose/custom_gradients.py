"""What to think of where finite differences disagree with the model's own gradients."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from gradcheck.comparing.tensorwise import first_wrong
from gradcheck.custom_gradients import check_custom_gradients, custom_gradients_of
from gradcheck.custom_gradients.call_checks import findings_in, not_its_own
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
    """What is wrong with the custom gradients that a candidate called itself, each mistake of a function once.

    One that is not TensorFlow's own gradient of its function is to blame where the reference's gradient is another.

    Args:
        calls: those of the candidate, where it is wrong.
        nearest: the first wrong tensor in the order of the backward pass.
        seed: of the cotangents.
        meant: those of the reference: what shows in one of them too makes no difference between the two.
    """
    places = {call.place for call in meant}
    shared = {(call.place, finding.kind) for call in meant for finding in findings_in(call, seed=seed)}
    found: dict[tuple[str, str], Diagnosis] = {}
    for call in calls:
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


def wrong_derivatives(observed: Observed, watch: Watch, effort: Effort) -> tuple[Diagnosis, ...]:
    """What makes the tape's gradient another than that of finite differences.

    Where it is not finite that is said, and where it is made; of what else is wrong, the custom gradients that may be
    to blame: what their own calls show first, then what figures alone say.

    Args:
        observed: where tape and finite differences disagree.
        watch: what saw the model's code decorate its functions.
        effort: gets what could not be completed.
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
    blamed = named(
        "GC601",
        f"finite differences disagree with the tape about {some([row.path for row in wrong])};{where} {seen}",
        segment=nearest.segment,
        layer=nearest.layer,
        confidence="likely" if len(places) == 1 else "possible",
    )
    checked = effort.attempt("the checks of the custom gradients", partial(check_custom_gradients, problem, watch))
    return (*broken, *(checked or ()), blamed)
