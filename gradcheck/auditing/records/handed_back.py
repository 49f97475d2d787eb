"""The cotangents that a process was handed back for its activations, against those of their receivers."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.auditing.judging.cotangents import near, wrong_cotangent
from gradcheck.auditing.judging.weights import is_scale
from gradcheck.auditing.records.record import HALF, digest, round_to
from gradcheck.diagnose.wording import named
from gradcheck.numerics import TolerancePolicy, compare
from gradcheck.phrases import some
from gradcheck.results.report import FAILING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.auditing.records.pairs import Crossing
    from gradcheck.auditing.records.record import Array, Came, Left
    from gradcheck.results.report import Diagnosis
    from gradcheck.results.tensor import Comparison


@dataclass(frozen=True, eq=False)
class HandedBack:
    """One gradient call of the sender of an activation.

    Attributes:
        cotangent: what its seed should be.
        seed: what it was; ones where there was none.
        undone: the loss scale that the receiver undid on the way; 1 if none.
    """

    crossing: Crossing
    left: Left
    cotangent: Array
    seed: Array | None
    undone: float
    comparison: Comparison

    @property
    def came(self) -> Came:
        """The tensor that the activation came in as, the last if there are several."""
        return self.crossing.came[-1][1]

    @property
    def receiver(self) -> str:
        """The name of its process."""
        return self.crossing.came[-1][0].name

    @property
    def wrong(self) -> bool:
        """Whether the seed is not the cotangent."""
        return self.comparison.status in FAILING


def handed_back(crossing: Crossing, options: AuditOptions) -> list[HandedBack]:
    """Compare the seeds of each gradient call for an activation with the sum of its receivers' cotangents.

    Empty where the receivers' losses do not depend on it, or where nobody can tell what was used for it: an activation
    that no gradient call names, of a process that its cotangent came into all the same.
    """
    parts = [came.reference.reshape(-1) for _, came in crossing.came if came.reference is not None]
    if not parts:
        return []
    found = []
    for left in crossing.left:
        c = sum(parts[1:], parts[0]).reshape(left.shape)
        s = np.ones_like(c) if left.seed is None and left.asked else left.seed
        scales = {came.scale for _, came in crossing.came}
        scale = scales.pop() if len(scales) == 1 else 1.0
        undone = scale if is_scale(scale, 1) and s is not None and near(s, c / scale) else 1.0
        half = left.precision or next((came.precision for _, came in crossing.came if came.precision), None)
        tolerance = TolerancePolicy(rtol=options.rtol, atol=options.atol).for_tensor(
            crossing.place, left.dtype, half or left.dtype
        )
        compared = compare(c / undone, None if s is None else s.reshape(c.shape).astype(c.dtype), tolerance)
        one = HandedBack(crossing, left, c / undone, s, undone, compared)
        if left.asked or not one.wrong or (s is not None and _ones(s)) or not _received(one):
            found.append(one)
    return found


def _received(one: HandedBack) -> bool:
    """Whether the cotangent came into the process that should use it, whatever happened to it there."""
    known = [one.cotangent, *(value for _, came in one.crossing.came for value in (came.computed, came.sent))]
    entered = set(one.crossing.sender.entered)
    forms = [
        form for value in known if value is not None for form in (value, *(round_to(value, half) for half in HALF))
    ]
    return any(digest(form) in entered for form in forms)


def explained(one: HandedBack, everything: Sequence[HandedBack]) -> list[Diagnosis]:
    """Return what is wrong at a crossing, each with its line; nothing if all is right."""
    left, crossing = one.left, one.crossing
    where = f"boundary {crossing.place}"
    found = []
    if crossing.lossy and left.precision != crossing.lossy:
        line = left.read_line or left.line
        text = f"the activation that leaves at {line} came in at {one.came.line} rounded to {crossing.lossy}"
        found.append(replace(named("GC104", text, where=where), line=line))
    if one.wrong:
        found.append(_wrong(one, everything, where))
    elif is_scale(one.came.scale, 1) and one.undone == 1 and math.isclose(left.factor, 1, rel_tol=1e-3):
        text = (
            f"the loss of {one.receiver} is multiplied by {one.came.scale:g}, and the gradients of {some(left.paths)} "
            "never divided"
        )
        found.append(replace(named("GC503", text, where=where), line=left.update_line))
    return found


def _wrong(one: HandedBack, everything: Sequence[HandedBack], where: str) -> Diagnosis:
    left, came, c, s = one.left, one.came, one.cotangent, one.seed
    computed = f"computed at {came.line} in {one.receiver}" if came.computed is not None else f"due from {one.receiver}"
    if s is None:
        text = f"the cotangent of the activation that leaves at {left.line}, {computed}, is never handed back"
        return replace(named("GC105", text, where=where), line=left.line)
    if left.seed is None:
        text = (
            f"the gradient at {left.line} has no output_gradients, so TensorFlow seeds it with ones; the cotangent is "
        )
        return replace(named("GC101", text + computed, where=where), line=left.line)
    if _ones(s):
        text = f"the gradient at {left.line} is seeded with ones, not with the cotangent {computed}"
        return replace(named("GC101", text, where=where), line=left.line)
    line = _changed_at(one)
    beside = [o for o in everything if o.crossing.sender is one.crossing.sender and o.crossing is not one.crossing]
    now = [o.cotangent for o in beside if o.left.update == left.update]
    found = wrong_cotangent(c, s, line, where=where, others=now, earlier=_earlier(one))
    if found is None and any(part is not None and near(s, part.reshape(s.shape)) for part in _parts(one)):
        found = named("GC105", f"the cotangents of some receivers alone are handed over at {line}", where=where)
    if found is None:
        text = f"the cotangent handed over at {line} is not the one {computed}"
        found = named("GC900" if left.asked else "GC105", text, where=where)
    return replace(found, line=line)


def _changed_at(one: HandedBack) -> str:
    """Return the first line at which the cotangent was already what the sender used."""
    came, s = one.came, one.seed
    if len(one.crossing.came) == 1 and s is not None:
        for value, line in ((came.computed, came.line), (came.sent, came.sent_line)):
            if value is not None and value.size == s.size and np.allclose(value.reshape(s.shape), s, rtol=1e-6, atol=0):
                return line
    return one.left.line


def _parts(one: HandedBack) -> list[Array | None]:
    return [came.reference for _, came in one.crossing.came] if len(one.crossing.came) > 1 else []


def _earlier(one: HandedBack) -> list[Array]:
    """Return the cotangents of the same size that a receiver had in earlier updates."""
    shape, size = one.cotangent.shape, one.cotangent.size
    return [
        other.reference.reshape(shape)
        for receiver, came in one.crossing.came
        for other in receiver.came
        if other.update < came.update and other.reference is not None and other.reference.size == size
    ]


def _ones(s: Array) -> bool:
    return bool((s == 1).all())
