"""What a mismatch of gradients comes from: faults replayed on a correct split, patterns, and where it begins."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.diagnose.compiled import compiled_differently
from gradcheck.diagnose.custom_gradients import blamed
from gradcheck.diagnose.location import located
from gradcheck.diagnose.patterns import constant_factor, groups, permutation, transposed
from gradcheck.diagnose.replays import Replayed, search
from gradcheck.diagnose.several import together
from gradcheck.diagnose.wording import are, named, named_at, some
from gradcheck.gradients.compare import first_wrong
from gradcheck.gradients.reference import GRADIENT_KINDS
from gradcheck.models.problem import TensorKey
from gradcheck.numerics import to_array
from gradcheck.report import PROVEN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.diagnose.observed import Observed
    from gradcheck.diagnose.replays import Match, Search
    from gradcheck.diagnose.several import Part
    from gradcheck.gradients.custom.watch import Call
    from gradcheck.report import Diagnosis


def diagnose_gradients(
    observed: Observed,
    *,
    seconds: float,
    replayed: Replayed | None = None,
    calls: Sequence[Call] = (),
    meant: Sequence[Call] = (),
) -> tuple[Diagnosis, ...]:
    """What explains `observed`, the more specific before the general; GC900 where nothing does.

    Args:
        observed: a mismatch.
        seconds: about how long replays may take.
        replayed: earlier replays of the same problem.
        calls: those of custom gradients that the candidate made.
        meant: those of custom gradients that the reference makes.
    """
    if observed.reference.unrepeatable:
        return (_unrepeatable(observed),)
    compiled = compiled_differently(observed)
    if compiled:
        return tuple(compiled)
    custom = blamed(calls, first_wrong(observed.rows), seed=observed.problem.seed, meant=meant)
    if not observed.problem.segments:  # nothing that could be handed on wrongly
        return tuple(custom or _by_figures(observed) or _unexplained(observed, None))
    replayed, end = replayed or Replayed(observed.problem), time.monotonic() + seconds
    found = search(observed, replayed, seconds=seconds)
    certain = [d for d in custom if d.confidence == "exact"]
    explained = [*certain, *(_replayed(match, observed) for match in found.matches)]
    explained = explained or list(custom) or _by_figures(observed)
    if explained:
        return tuple(explained)
    parts = together(observed, replayed, seconds=end - time.monotonic())
    return (*_unexplained(observed, found, parts), *(_part(part, observed) for part in parts))


def _replayed(match: Match, observed: Observed) -> Diagnosis:
    injection, agreement = match
    count = len(observed.failing)
    evidence = (
        f"{injection.effect}. The observed {'gradients equal' if observed.wrong_gradients else 'values equal'} that "
        f"mistake to {agreement.furthest:.0e} in {agreement.wrong} of {count} wrong tensors"
    )
    if not agreement.furthest:
        evidence = evidence.replace(f"to {agreement.furthest:.0e} in", "bit for bit in")
    return named_at(injection, evidence)


def _part(part: Part, observed: Observed) -> Diagnosis:
    """One of several mistakes at once."""
    injection, explains, _ = part
    paths = some([key.path for key in observed.failing if key in explains])
    evidence = f"{injection.effect}. That alone gives {len(explains)} of {len(observed.failing)} wrong tensors: {paths}"
    return named_at(injection, evidence, confidence="likely")


def _by_figures(observed: Observed) -> list[Diagnosis]:
    """What the figures alone show, without a replay."""
    return _not_finite(observed) or _patterns(observed)


def _patterns(observed: Observed) -> list[Diagnosis]:
    """Gradients that are the reference's in another place, another order or another size."""
    if observed.wrong_values & {"output"}:
        return []
    exchanged = permutation(observed)
    if exchanged:
        first, second = next(iter(exchanged.items()))
        others = f", and {len(exchanged) - 1} more" if len(exchanged) > 1 else ""
        evidence = f"{first.path} has the gradient of {second.path}{others}: each equals the reference's to 1e-04"
        return [named("GC402", evidence, layer=first.path)]
    turned = [key.path for key in transposed(observed)]
    if turned and len(turned) == len(observed.wrong_gradients):
        return [named("GC406", f"{some(turned)}: the reference's gradient, transposed", layer=turned[0])]
    factor = constant_factor(observed)
    return [] if factor is None else list(_by_factor(observed, factor))


def _by_factor(observed: Observed, factor: float) -> Iterator[Diagnosis]:
    """What makes every gradient the same multiple of the right one; nothing where some are right."""
    if any(row.kind in GRADIENT_KINDS and row.status in PROVEN for row in observed.rows):
        return
    evidence, counted = f"every gradient is {factor:.6g} times the reference's", _counted(observed, factor)
    power, batch = _power_of_two(factor), int(observed.problem.batch.x[0].shape[0])
    if abs(factor + 1) < CLOSE:
        yield named("GC504", evidence)
    elif counted:
        more, code = f"{evidence}{counted}: a sum where the loss takes a mean, or the other way round", "GC201"
        yield named(code if factor > 1 else "GC202", more, confidence="likely")
    elif power is not None and factor > batch:
        yield named("GC503", f"{evidence}, 2 to the {power}: above the batch size of {batch}, so no count of examples")
    elif factor > 1 and abs(factor - round(factor)) < CLOSE * factor:
        yield named("GC201", f"{evidence}, a whole number, as that of micro-batches is", confidence="likely")
    elif 0 < factor < 1 and abs(1 / factor - round(1 / factor)) < CLOSE / factor:
        yield named("GC202", f"{evidence}, one over {round(1 / factor)}", confidence="likely")


#: How near to a whole number a factor is, as a share of it.
CLOSE = 1e-3


def _counted(observed: Observed, factor: float) -> str:
    """What of the batch or the outputs there are as many of, in words; "" for nothing."""
    size = abs(factor) if abs(factor) > 1 else 1 / abs(factor)
    outputs = [tensor for key, tensor in observed.reference.tensors.items() if key.kind == "output"]
    counts = {int(observed.problem.batch.x[0].shape[0]): "examples in the batch"}
    counts |= {math.prod(output.shape): "elements of an output" for output in outputs}
    found = next((count for count in counts if count > 1 and abs(size - count) < CLOSE * count), None)
    by = "" if found is None or abs(factor) > 1 else ", one over the number of"
    return "" if found is None else f"{by or ', the number of'} {counts[found]}"


def _power_of_two(factor: float) -> int | None:
    exponent = 0
    while factor > 1.5:  # noqa: PLR2004 - halfway to the next power
        factor, exponent = factor / 2, exponent + 1
    return exponent if exponent and abs(factor - 1) < 1e-3 else None  # noqa: PLR2004 - but for rounding


def _unexplained(observed: Observed, found: Search | None, parts: Sequence[Part] = ()) -> list[Diagnosis]:
    """GC900: where the first wrong gradient is, what was ruled out, and which mistakes explain it between them."""
    where, evidence = located(observed)
    ruled_out = ""
    if found is not None:
        ruled_out = f". {found.tried} replays of known mistakes gave other gradients"
        ruled_out += f"; {found.left} more were left out for lack of time" if found.left else ""
    evidence += "".join(f"; {said}" for said in _what_they_are(observed))
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


def _what_they_are(observed: Observed) -> Iterator[str]:
    """What the wrong gradients are beside the reference's: a person may know two mistakes by it."""
    found = groups(observed)
    for words, paths in found.items():
        if words:
            yield f"{'every wrong gradient is' if len(found) == 1 else are(paths)} {words}"


def _not_finite(observed: Observed) -> list[Diagnosis]:
    """GC703 where something is NaN or infinite: where that begins, and on which side."""
    rows = [row for row in observed.failing.values() if row.status == "nonfinite"]
    first = first_wrong(rows)
    if first is None:
        return []
    expected = observed.expected[TensorKey(first.kind, first.path)]
    both = expected is not None and not np.isfinite(to_array(expected)).all()
    evidence = f"{first.path} is not finite{', in the reference too' if both else ', and the reference is'}"
    if first.kind in GRADIENT_KINDS:
        evidence += "; it is the first such gradient in the order of the backward pass"
    if first.kind in GRADIENT_KINDS and not {"output", "loss"} & {row.kind for row in rows}:
        evidence += ", and outputs and loss are finite: the backward pass makes it"
    return [named("GC703", evidence, segment=first.segment, layer=first.layer)]


def _unrepeatable(observed: Observed) -> Diagnosis:
    moved = [key.path for key in observed.reference.unrepeatable]
    return named("GC704", f"a second run of the reference differs in {some(moved)}, so nothing can be compared")
