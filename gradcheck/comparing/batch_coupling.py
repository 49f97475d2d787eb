"""The difference between gradients over micro-batches and over the whole batch, and its causes (GC301)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import keras

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import as_array
from gradcheck.comparing.tape import monolithic
from gradcheck.handoff.execute import Execution
from gradcheck.keras_private import all_layers, draws
from gradcheck.numerics import PRECISIONS, largest, movement
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.comparing.reference import Reference
    from gradcheck.problem.problem import Problem

#: The largest difference that rounding explains, in eps of a gradient's size.
ROUNDING = 100
#: The least size that differences are measured against, as a share of the largest gradient: below, gradients may be
#: zero but for rounding.
SMALL = 1e-3


def full_batch_note(problem: Problem, reference: Reference) -> str:
    """Return a note on the slices: the reference runs over them too, which real training may not.

    The whole model runs once over the whole batch for it.
    """
    whole = Execution(replace(problem, slices=(), plan=None), monolithic, split=False)().tensors
    pairs = {w.path: (as_array(reference.tensors[w.key]), as_array(whole[w.key])) for w in problem.weights}
    sizes = {path: max(largest(sliced), largest(full)) for path, (sliced, full) in pairs.items()}
    scale = SMALL * max(sizes.values(), default=0.0)
    far = {path: movement(*pair) / max(sizes[path], scale) for path, pair in pairs.items() if sizes[path]}
    count = f"{len(problem.slices)} slices"
    worst = max(far, key=far.__getitem__, default=None)
    rounding = ROUNDING * PRECISIONS[compute_dtype(problem.precision)].eps
    if worst is None or far[worst] <= rounding:
        furthest = f"to {far[worst]:.1e} of their size" if worst else "where there are any"
        return f"the weight gradients over the {count} equal those over the whole batch {furthest}"
    apart = sum(share > rounding for share in far.values())
    return (
        f"GC301: {apart} of {len(pairs)} weight gradients over the {count} differ from those over the whole batch, by "
        f"up to {far[worst]:.2g} of their size ({worst}): {_why(problem)}. Both sides run over the same slices, so "
        "this fails nothing"
    )


def _why(problem: Problem) -> str:
    """Return what in the model or the loss couples the examples of a batch, in words."""
    otherwise = (
        "a layer or a loss sees more than one example at a time, or a loss function of your own, or one that a layer "
        "adds, is a sum: those are taken for means"
    )
    return "; ".join(_causes(problem)) or otherwise


def _causes(problem: Problem) -> Iterator[str]:
    # In inference no layer normalises by the batch or draws random numbers.
    if not problem.training:
        return
    layers = all_layers([problem.model])
    norms = [layer.name for layer in layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]
    if norms:
        yield f"{some(norms)} normalise{'s' if len(norms) == 1 else ''} each slice by its own statistics"
    random = [layer.name for layer in layers if draws(layer) and not _idle(layer)]
    if random:
        yield f"{some(random)} draw{'s' if len(random) == 1 else ''} other random numbers for each slice"


def _idle(layer: keras.Layer) -> bool:
    """Whether a layer with a seed draws nothing: recurrent cells and attention have a seed even without dropout."""
    rates = [getattr(layer, name) for name in ("rate", "dropout", "recurrent_dropout") if hasattr(layer, name)]
    return bool(rates) and not any(rates)
