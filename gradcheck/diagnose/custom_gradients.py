"""What to think of where finite differences disagree with the model's own gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.diagnose.wording import named, some
from gradcheck.gradients.compare import first_wrong
from gradcheck.gradients.custom import check_custom_gradients, custom_gradients_of
from gradcheck.gradients.custom.checks import findings_in, not_its_own

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.gradients.custom import Watch
    from gradcheck.gradients.custom.watch import Call
    from gradcheck.models.problem import Problem
    from gradcheck.report import Diagnosis, TensorReport


def blamed(
    calls: Sequence[Call], nearest: TensorReport | None, *, seed: int, meant: Sequence[Call] = ()
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


def wrong_derivatives(problem: Problem, rows: Sequence[TensorReport], watch: Watch) -> tuple[Diagnosis, ...]:
    """The custom gradients that may be to blame: what their own calls show first, then what figures alone say.

    Args:
        problem: whose tape and finite differences disagree.
        rows: every tensor as it was compared.
        watch: what saw the model's code decorate its functions.
    """
    wrong = [row.path for row in rows if row.failed]
    nearest = first_wrong(rows)
    if nearest is None:
        return ()
    places = list(dict.fromkeys(call.place for call in custom_gradients_of(problem, watch)))
    seen = f"custom gradients here: {some(places)}"
    if not places:
        seen = "no custom gradient was seen: look for a stopped gradient, a rounding or a cast"
    where = ""
    if nearest.kind == "weight":
        where = f" nearest to the loss is {nearest.path}: the mistake is in {nearest.layer} or right after it;"
    blamed = named(
        "GC601",
        f"finite differences disagree with the tape about {some(wrong)};{where} {seen}",
        segment=nearest.segment,
        layer=nearest.layer,
        confidence="likely" if len(places) == 1 else "possible",
    )
    return (*check_custom_gradients(problem, watch), blamed)
