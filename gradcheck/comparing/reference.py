"""The gradients of the reference, and how far rounding alone moves them."""

from __future__ import annotations

from collections import ChainMap
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import as_array, named_tensors
from gradcheck.comparing.tape import monolithic
from gradcheck.handoff.execute import Execution, batch_tensors
from gradcheck.handoff.tensors import is_differentiable
from gradcheck.numerics import NOISE_FACTOR, NOISE_RUNS, PRECISIONS, largest, median_relative_floor, movement
from gradcheck.problem.nudge import nudged_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gradcheck.handoff.interface import Gradients, Tensors
    from gradcheck.problem.problem import Problem, TensorKey

#: A tensor that changes by more than this share of its size from one run to the next does not repeat itself.
UNREPEATED = 0.01
#: The change of the loss, in eps, below which gradients may be rounding alone.
SUSPICIOUS = 1000
#: The kinds of tensors that are gradients.
GRADIENT_KINDS = frozenset({"weight", "input", "boundary"})


class Reference:
    """The gradients of the whole model under one tape; the noise floor is measured when it is first read.

    Attributes:
        notes: what is worth knowing of where it comes from.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, problem: Problem) -> None:
        """Run the reference once, in the problem's execution mode."""
        self._problem = problem
        self.execution = Execution(problem, monolithic, split=False)
        self.gradients: Gradients = self.execution()
        self.tensors: Mapping[TensorKey, Any] = named_tensors(problem, self.gradients)

    @cached_property
    def noise_floors(self) -> Mapping[TensorKey, float]:
        """The noise floor of every tensor: its largest change over runs with weights and inputs multiplied by 1±eps.

        It is 0 for a tensor that does not repeat itself: its change is not rounding, and would excuse anything.
        """
        # The maximum over several runs: with one draw of signs, errors of different inputs may cancel.
        floors = dict.fromkeys(self.tensors, 0.0)
        for run in range(NOISE_RUNS):
            floors = {key: max(floors[key], moved) for key, moved in self._movements(run).items()}
        return floors | dict.fromkeys(self.unrepeatable, 0.0)

    def _movements(self, run: int) -> Mapping[TensorKey, float]:
        """Return how far every tensor is moved by a perturbation; the moved tensors are freed."""
        moved = named_tensors(self._problem, self._perturbed(run))
        return {key: movement(as_array(tensor), as_array(moved[key])) for key, tensor in self.tensors.items()}

    @property
    def noise_measured(self) -> bool:
        """Whether the noise floor was read, here or in training, or whether the reference was run a second time."""
        # A cached property stores its value in the instance: this does not measure anything.
        return not {"noise_floors", "unrepeatable"}.isdisjoint(vars(self))

    @property
    def noise_share(self) -> float | None:
        """The median over the weights of noise floor / largest gradient; None unless the floors were measured."""
        if "noise_floors" not in vars(self):
            return None
        pairs = []
        for weight in self._problem.weights:
            gradient = as_array(self.tensors[weight.key])
            if gradient is not None:
                pairs.append((self.noise_floors[weight.key], largest(gradient)))
        return median_relative_floor(pairs)

    @cached_property
    def unrepeatable(self) -> tuple[TensorKey, ...]:
        """The keys of tensors that differ in a second run from the same snapshot, by more than multithreaded rounding.

        The model then depends on something outside the snapshot. A gradient that is zero but for rounding repeats no
        digit; its change is measured against the largest tensor of its kind.
        """
        again = named_tensors(self._problem, self.execution())
        sizes = {key: largest(as_array(tensor)) for key, tensor in self.tensors.items()}
        scales = {
            kind: max(size for key, size in sizes.items() if key.kind == kind) for kind in {key.kind for key in sizes}
        }
        # 4 eps, for bfloat16: there the order of a sum may change more than one percent of a gradient.
        share = max(UNREPEATED, 4 * PRECISIONS[compute_dtype(self._problem.precision)].eps)
        return tuple(
            key
            for key, tensor in self.tensors.items()
            if movement(as_array(tensor), as_array(again[key])) > share * max(sizes[key], 1e-3 * scales[key.kind])
        )

    @cached_property
    def only_rounding(self) -> bool:
        """Whether every gradient is rounding alone: nothing changes the loss, such as the mean of a softmax.

        The noise floor is measured only if gradients are small beside loss and weights.
        """
        sizes = {key: largest(as_array(t)) for key, t in self.tensors.items() if key.kind in GRADIENT_KINDS}
        if not any(sizes.values()) or not self._small(sizes):
            return False
        return all(size <= NOISE_FACTOR * self.noise_floors[key] for key, size in sizes.items())

    def _small(self, sizes: Mapping[TensorKey, float]) -> bool:
        """Whether moving each weight by its own size would change the loss by no more than rounding may."""
        eps = PRECISIONS[compute_dtype(self._problem.precision)].eps
        suspicious = SUSPICIOUS * eps * max(1.0, abs(float(self.gradients.loss)))
        weights = self._problem.weights
        if any(sizes[weight.key] > suspicious for weight in weights):  # weights may be on workers: they are not read
            return False
        return all(sizes[w.key] * max(1.0, largest(as_array(w.variable.value))) <= suspicious for w in weights)

    def _perturbed(self, run: int) -> Gradients:
        with nudged(self._problem, run) as tensors:
            return self.execution.run_as_it_is(tensors)


def expected_of(reference: Reference, candidate: Gradients) -> Mapping[TensorKey, Any]:
    """Return what the tensors of a method are compared with; those of a saved reference are read when they are used."""
    return ChainMap({**candidate.against}, reference.tensors)  # type: ignore[arg-type] # neither is written to


@contextmanager
def nudged(problem: Problem, run: int) -> Iterator[Tensors]:
    """Multiply weights by 1±eps of the compute dtype, with random signs, and yield the batch multiplied likewise.

    `run` seeds the signs. State and seeds start from the snapshot; everything is restored after the block.
    """
    rng = np.random.default_rng([problem.seed, run])
    eps = PRECISIONS[compute_dtype(problem.precision)].eps
    with problem.state.preserved():
        for weight in problem.weights:
            weight.variable.assign(nudged_tensor(weight.variable.value, rng, eps))
        tensors = batch_tensors(problem)
        yield tensors._replace(x=[nudged_tensor(t, rng, eps) if is_differentiable(t) else t for t in tensors.x])
