"""Diagnoses from the figures of wrong gradients alone, without a replay."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradcheck.comparing.reference import GRADIENT_KINDS
from gradcheck.diagnose.evidence.patterns import FITS, constant_factor, groups, permutation, transposed
from gradcheck.diagnose.tracing.not_finite import not_finite
from gradcheck.diagnose.wording import are, named
from gradcheck.phrases import and_more, listed, some
from gradcheck.results.report import PROVEN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.results.report import Diagnosis


def by_figures(observed: Observed) -> list[Diagnosis]:
    """Return diagnoses of gradients that are not finite, or are the reference's in another place, order or size."""
    broken = not_finite(observed.problem, list(observed.failing.values()), None, beside=", and the reference is")
    return _patterns(observed) if broken is None else [broken]


def _patterns(observed: Observed) -> list[Diagnosis]:
    """Return diagnoses of gradients that are the reference's in another place, another order or another size."""
    # After a wrong forward pass every gradient differs: a pattern in them would be chance.
    if observed.wrong_values & {"output"}:
        return []
    exchanged = permutation(observed)
    if exchanged:
        first, second = next(iter(exchanged.items()))
        exchange = listed([f"{first.path} has the gradient of {second.path}", *and_more(len(exchanged) - 1)])
        return [named("GC402", f"{exchange}: each equals the reference's to 1e-04", layer=first.path)]
    turned = [key.path for key in transposed(observed)]
    if turned and len(turned) == len(observed.wrong_gradients):
        return [named("GC406", f"{some(turned)}: the reference's gradient, transposed", layer=turned[0])]
    factor = constant_factor(observed)
    return [] if factor is None else list(_by_factor(observed, factor))


def _by_factor(observed: Observed, factor: float) -> Iterator[Diagnosis]:
    """Yield what explains that every gradient is one multiple of the reference's; nothing if some are right."""
    if any(row.kind in GRADIENT_KINDS and row.status in PROVEN for row in observed.rows):
        return
    evidence, counted = f"every gradient is {factor:.6g} times the reference's", _counted(observed, factor)
    power, batch = _power_of_two(factor), observed.problem.batch.size
    # Counts come before powers of two: batch sizes are often powers of two themselves.
    if abs(factor + 1) < FITS:
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


#: How far from a whole number a factor may be, as a share of it, to be taken for one.
CLOSE = 1e-3


def _counted(observed: Observed, factor: float) -> str:
    """Return what there are `factor` of in the batch or the outputs, in words; "" for nothing."""
    size = abs(factor) if abs(factor) > 1 else 1 / abs(factor)
    outputs = [tensor for key, tensor in observed.reference.tensors.items() if key.kind == "output"]
    counts = {observed.problem.batch.size: "examples in the batch"}
    counts |= {math.prod(output.shape): "elements of an output" for output in outputs}
    found = next((count for count in counts if count > 1 and abs(size - count) < CLOSE * count), None)
    by = "" if found is None or abs(factor) > 1 else ", one over the number of"
    return "" if found is None else f"{by or ', the number of'} {counts[found]}"


def _power_of_two(factor: float) -> int | None:
    exponent = 0
    while factor > 1.5:  # noqa: PLR2004 - halfway to the next power
        factor, exponent = factor / 2, exponent + 1
    return exponent if exponent and abs(factor - 1) < FITS else None


def what_they_are(observed: Observed) -> Iterator[str]:
    """Yield what the wrong gradients are beside the reference's, which hints at mistakes that no replay has found."""
    found = groups(observed)
    for words, paths in found.items():
        if words:
            yield f"{'every wrong gradient is' if len(found) == 1 else are(paths)} {words}"
