"""The reference in training: the whole model, step by step, and the noise floors of the results."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.building.naming import unique_names
from gradcheck.building.sources.live import is_live
from gradcheck.comparing.keys import as_array, places
from gradcheck.comparing.reference import Reference, nudged
from gradcheck.comparing.tape import monolithic
from gradcheck.comparing.tensorwise import is_value
from gradcheck.config.schema import SplitConfig
from gradcheck.config.sections.live import LiveOptimizer
from gradcheck.errors import RunError
from gradcheck.handoff.execute import Execution, batch_tensors
from gradcheck.handoff.tensors import dense as as_dense
from gradcheck.numerics import NOISE_RUNS, SparseRows, bytes_of, movement
from gradcheck.problem.optimizer import INITIAL_SCALE, build_optimizer, loss_scale, start
from gradcheck.problem.twin import replica
from gradcheck.training.steps import Course, Trainee, first_rows, places_in_training, slot_owners

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from gradcheck.handoff.interface import Gradients, Tensors
    from gradcheck.problem.problem import Problem, TensorKey
    from gradcheck.problem.twin import Replica
    from gradcheck.training.steps import Step


class ReferenceTraining:
    """The training run of the whole model, made at once; noise floors and the copy for methods are made when needed.

    Attributes:
        start: weights and slots before the first step.
        steps: the tensors after each step, as NumPy arrays.
        where: the place of every tensor of a step.
        owners: the weight that a slot belongs to.
        notes: remarks on a tensor for the reader.
        initial_scale: the loss scale that it started from.
        course: what changes from step to step.
    """

    def __init__(
        self,
        problem: Problem,
        reference: Reference,
        *,
        dense: bool = False,
        course: Course | None = None,
        beside: ReferenceTraining | None = None,
        inside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Take the steps of `train.steps`, in the problem's execution.

        With `dense` the optimizer gets dense gradients for sparse ones. Keras's optimizers tell them apart: of several
        rows with one index Adam squares each, and of a dense gradient their sum. `course` is what changes from step to
        step; `beside` is a run of the same model, whose copy is used. Each step is taken in a context `inside`.

        Raises:
            KeyedError: if Keras refuses the optimizer.
            RunError: GC056 if the tensors of the steps do not fit the memory budget.
        """
        self.problem, self.reference, self._dense = problem, reference, dense
        self.course, self._beside, self._inside = course or Course(), beside, inside
        self.notes: dict[TensorKey, str] = {}
        self.replayed: dict[Hashable, Mapping[TensorKey, Any]] = {}  # by mistake, an excerpt of its first step
        self.initial_scale: float = INITIAL_SCALE if beside is None else beside.initial_scale
        self._slot_paths = None if beside is None else beside.slot_paths  # until the first optimizer has named them
        trainee = self._whole()
        self._slot_paths = trainee.slot_paths
        self.where = {**places(problem), **places_in_training(trainee)}
        self.owners = slot_owners(trainee)
        with problem.state.preserved():
            self.start: Mapping[TensorKey, Any] = trainee.values()
        self._require_memory()
        self.steps: Sequence[Mapping[TensorKey, Any]] = self._recorded(trainee)

    def trainee(self, problem: Problem, variables: Sequence[Any]) -> Trainee:
        """Return `problem` with a new optimizer on `variables`, in the order of the weights."""
        optimizer = self.optimizer()
        self.build(optimizer, variables)
        paths = self._slot_paths or unique_names(slot.path for slot in optimizer.variables)
        return Trainee(problem=problem, variables=variables, optimizer=optimizer, slot_paths=paths, course=self.course)

    @property
    def slot_paths(self) -> tuple[str, ...]:
        """The names of the optimizer's variables in reports."""
        return self._slot_paths or ()

    def optimizer(self) -> Any:
        """Return a new optimizer as the config describes it, without variables."""
        problem = self.problem
        spec = problem.config.train.optimizer
        return build_optimizer(spec, precision=problem.precision, initial_scale=self.initial_scale)

    def build(self, optimizer: Any, variables: Sequence[Any]) -> None:
        """Build an optimizer on `variables`, with the values that it was handed over with."""
        optimizer.build(list(variables))
        start(optimizer, self.problem.config.train.optimizer)

    def over(
        self,
        problem: Problem,
        course: Course | None = None,
        inside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> ReferenceTraining:
        """Return the training run of another problem with the same model, such as one whose batch is sliced."""
        with inside():
            reference = Reference(problem)
        return ReferenceTraining(problem, reference, dense=self._dense, course=course, beside=self, inside=inside)

    @cached_property
    def replica(self) -> Replica:
        """The copy that methods train, one after another."""
        return replica(self.problem) if self._beside is None else self._as_here(self._beside.replica)

    def new_replica(self) -> Replica:
        """Return one more copy, which nothing else has trained; live objects are their own copy."""
        return self._as_here(replica(self.problem))

    @cached_property
    def cut(self) -> Replica:
        """The copy in which known mistakes are planted: cut after every layer, unless the config cuts it elsewhere."""
        if self._beside is not None:
            return self._as_here(self._beside.cut)
        problem = self.problem
        if problem.segments or is_live(problem.config.model):
            return self.replica
        config = problem.config.model_copy(update={"split": SplitConfig(every="layer")})
        return replica(replace(problem, config=config))

    def _as_here(self, copy: Replica) -> Replica:
        """Return a copy of the same model with the batch of this run."""
        ours = self.problem
        other = replace(copy.problem, batch=ours.batch, slices=ours.slices, execution=ours.execution)
        return replace(copy, problem=other)

    @cached_property
    def noise_floors(self) -> Sequence[Mapping[TensorKey, float]]:
        """By step, how far rounding alone moves each tensor: its largest movement over runs of nudged weights.

        An optimizer may amplify a gradient that is zero up to rounding to the size of its learning rate. All floors are
        0 if the reference does not repeat itself: a difference in one step persists in every later step.
        """
        floors = [dict.fromkeys(tensors, 0.0) for tensors in self.steps]
        for run in range(0 if self.reference.unrepeatable else NOISE_RUNS):
            with nudged(self.problem, run) as tensors:
                for floor, before, step in zip(floors, self.steps, self._taken(self._whole(), tensors), strict=True):
                    for key in floor:
                        floor[key] = max(floor[key], movement(before[key], step.tensors[key]))
        return floors

    @cached_property
    def moved_by_forward(self) -> frozenset[str]:
        """The paths of weights that a forward pass assigns, as spectral normalisation does."""
        with self.problem.state.preserved():
            self.reference.execution.run_as_it_is()
            changed = {id(v) for v in self.problem.state.changed([w.variable for w in self.problem.weights])}
        return frozenset(weight.path for weight in self.problem.weights if id(weight.variable) in changed)

    @cached_property
    def _scaled(self) -> Execution:
        """The reference, compiled to take a scale of the loss."""
        return Execution(self.problem, monolithic, split=False)

    def _whole(self) -> Trainee:
        return self.trainee(self.problem, [weight.variable for weight in self.problem.weights])

    def _recorded(self, trainee: Trainee) -> list[Mapping[TensorKey, Any]]:
        """Return the tensors after each step; restart from a lower loss scale if gradients overflow.

        Real training halves the scale and skips the step, which would leave nothing to compare. The scale is not
        lowered below 1, nor if the config sets it, or the optimizer is the user's own object.
        """
        while True:
            taken: list[Mapping[TensorKey, Any]] = []
            scale = loss_scale(trainee.optimizer)
            ours = not isinstance(self.problem.config.train.optimizer, LiveOptimizer)
            lowers = ours and scale is not None and 1 < float(scale) == self.initial_scale
            with self.problem.state.preserved():
                self.start = trainee.values()
                for step in self._taken(trainee, batch_tensors(self.problem)):
                    taken.append(step.tensors)
                    if lowers and not _finite(step.tensors):
                        break
                else:
                    return taken
            # From the start again, so that every step has gradients to compare.
            self.initial_scale /= 2
            self.notes = {
                slot: self._lowered(len(taken)) for slot in self.start if slot.path.endswith("/dynamic_scale")
            }
            trainee = self._whole()

    def _lowered(self, step: int) -> str:
        scale = self.initial_scale
        return f"the loss scale starts at {scale:g}: from {2 * scale:g} a gradient overflows in step {step}"

    def _taken(self, trainee: Trainee, tensors: Tensors) -> Iterator[Step]:
        """Yield the steps of the whole model."""
        applying = trainee.applying(partial(self.gradients, tensors), change=_all_dense if self._dense else list)
        return trainee.steps(applying, self.problem.config.train.steps)

    def gradients(self, tensors: Tensors, problem: Problem) -> Gradients:
        """Return the gradients of the step that `problem` is at, and leave its changes to the state."""
        execution = self.reference.execution if problem.loss_scale is None else self._scaled
        with self._inside():
            return execution.run_as_it_is(first_rows(tensors, problem)._replace(loss_scale=problem.loss_scale))

    def _require_memory(self) -> None:
        of_step = [*map(as_array, self.reference.tensors.values()), *self.start.values()]
        count, budget = self.problem.config.train.steps, self.problem.memory_budget
        needed = 2 * count * sum(map(bytes_of, of_step))
        if needed > budget:
            raise RunError(
                f"what {count} training steps leave behind on both sides, to be compared, comes to {needed} bytes "
                f"({needed / 2**30:.3g} GiB); the memory budget is {budget / 2**30:.3g} GiB",
                code="GC056",
                help="take fewer train.steps, make the model or data.batch_size smaller, or raise memory_budget",
            )


def _all_dense(gradients: Sequence[Any]) -> list[Any]:
    return [as_dense(gradient) for gradient in gradients]


def _finite(tensors: Mapping[TensorKey, Any]) -> bool:
    """Whether all gradients are finite."""
    arrays = [array for key, array in tensors.items() if not is_value(key) and array is not None]
    return all(np.isfinite(array.values if isinstance(array, SparseRows) else array).all() for array in arrays)
