"""Evidence from the movement of weights and optimizer in a wrong training step, compared with the reference's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gradcheck.comparing.keys import as_array
from gradcheck.diagnose.evidence.patterns import common_factor
from gradcheck.numerics import is_zero
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from gradcheck.problem.problem import TensorKey
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.side_by_side import Trained

    #: The change of each weight in one step, by its path, in float64.
    Movements = Mapping[str, NDArray[np.float64]]


#: How exactly one factor fits every movement: a weight is rounded, so that a small update keeps few digits.
FITS = 1e-2


def movement_of(training: ReferenceTraining, trained: Trained, step: int) -> str:
    """Describe a wrong step: another update count, weights that do not move, or one factor; "" for none of these.

    Args:
        training: the reference's run.
        trained: the observed run, which differs from it in `step`.
        step: counted from 1; both runs must have taken it.
    """
    return "; ".join([*_counted(training, trained, step), *_moved(training, trained, step)])


def rate_of_descent(training: ReferenceTraining, observed: Mapping[TensorKey, NDArray[np.float64]]) -> float | None:
    """Return the rate by which every weight moved against its gradient in the first step; None if there is no one rate.

    Args:
        training: the reference's run, which has the gradients.
        observed: the tensors after that step.
    """
    moved, expected = _movements([training.start, observed], 1), training.steps[0]
    gradients = {w.path: as_array(expected[w.key]) for w in training.problem.weights}
    moving = [path for path in moved if moved[path].any() or not is_zero(gradients[path])]
    factor = common_factor(((gradients[path], moved[path]) for path in moving), fits=FITS)
    return None if factor is None else -factor


def _counted(training: ReferenceTraining, trained: Trained, step: int) -> Iterator[str]:
    expected, observed = training.steps[step - 1], trained.observed[step - 1]
    for key, place in training.where.items():
        if key.kind != "optimizer" or place.name != "iteration" or key not in observed:
            continue
        right, found = int(expected[key]), int(observed[key])
        if right != found:
            yield f"the optimizer counts {found} updates after step {step}, and should count {right}"


def _moved(training: ReferenceTraining, trained: Trained, step: int) -> Iterator[str]:
    right = _movements([training.start, *training.steps], step)
    found = _movements([training.start, *trained.observed], step)
    moving = [path for path in found if right[path].any()]
    still = [path for path in moving if not found[path].any()]
    factor = common_factor(((right[path], found[path]) for path in moving), fits=FITS)
    if still and len(still) == len(moving):
        yield "no weight moved: nothing was applied to the model's own variables"
    elif still:
        yield f"{len(still)} of {len(moving)} weights did not move: {some(still)}"
    elif factor is not None and abs(factor - 1) > FITS * abs(factor):
        yield f"every weight moved {factor:.4g} times as far as it should"


def _movements(values: list[Mapping[TensorKey, NDArray[np.float64]]], step: int) -> Movements:
    """Return the change of each weight in `step`, from the values before the first step and after each."""
    before, after = values[step - 1], values[step]
    keys = [key for key in after if (key.kind, key.quantity) == ("weight", "value")]
    return {key.path: after[key].astype(np.float64) - before[key].astype(np.float64) for key in keys}
