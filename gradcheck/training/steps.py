"""A model in training, step by step: gradients, the optimizer's updates, and all tensors kept for comparison."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import tensorflow as tf

from gradcheck.batch.slices import Slice
from gradcheck.comparing.keys import TensorPlace, as_array, named_tensors
from gradcheck.handoff.microbatches import sliced
from gradcheck.handoff.tensors import scaled
from gradcheck.problem.optimizer import innermost, loss_scale, numbered
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.handoff.interface import Gradients, Tensors
    from gradcheck.problem.problem import Problem, Weight

    #: One step from where the model is: computes gradients or, given the optimizer, does the whole update itself.
    Compute: TypeAlias = Callable[[Problem], Gradients]
    Update: TypeAlias = Callable[[Problem, Any], Gradients]


@dataclass(frozen=True, kw_only=True)
class Course:
    """What changes from one step of a run to the next; by default nothing.

    Attributes:
        sizes: how many examples of the batch each step takes, in turn.
        rates: the learning rate of each step.
    """

    sizes: tuple[int, ...] = ()
    rates: tuple[float, ...] = ()

    def at(self, problem: Problem, optimizer: Any, index: int) -> Problem:
        """Return the problem of step `index`, from 0, and give the optimizer its learning rate."""
        if self.rates:
            optimizer.learning_rate = self.rates[index]
        if not self.sizes:
            return problem
        rows = _rows(problem.batch.size, self.sizes[index % len(self.sizes)])
        return replace(problem, batch=rows.of_batch(problem.batch))


def _rows(batch_size: int, size: int) -> Slice:
    """Return the first `size` rows of a batch."""
    return Slice(start=0, stop=size, batch_size=batch_size, scales=())


def first_rows(tensors: Tensors, problem: Problem) -> Tensors:
    """Return as many rows of `tensors` as the problem's batch has."""
    size, given = problem.batch.size, int(tensors.x[0].shape[0])
    return tensors if size == given else sliced(tensors, _rows(given, size))


@dataclass(frozen=True, kw_only=True)
class Step:
    """The results of one step.

    Attributes:
        tensors: as NumPy arrays: loss, outputs and gradients of the step; weights, slots and state after it.
        gradients: the method's own result.
        unfit: the path of a weight whose gradient has another shape; no optimizer takes it, and training ends there.
    """

    tensors: Mapping[TensorKey, Any]
    gradients: Gradients
    unfit: str | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Trainee:
    """One copy of a model with an optimizer of its own.

    Attributes:
        problem: the problem whose weights are trained.
        variables: the variables that the optimizer updates, in the order of the problem's weights.
        optimizer: built on them.
        slot_paths: the names of its variables in reports.
        course: what changes from step to step.
    """

    problem: Problem
    variables: Sequence[Any]
    optimizer: Any
    slot_paths: tuple[str, ...]
    course: Course = Course()

    @property
    def slots(self) -> Sequence[Any]:
        """The optimizer's variables."""
        variables: Sequence[Any] = self.optimizer.variables
        return variables

    def values(self) -> dict[TensorKey, Any]:
        """Return the current weights and the optimizer's slots, as NumPy arrays."""
        weights = zip((value_key(weight) for weight in self.problem.weights), self.variables, strict=True)
        slots = zip(map(slot_key, self.slot_paths), self.slots, strict=True)
        return {key: as_array(tf.identity(variable.value)) for key, variable in (*weights, *slots)}

    def steps(self, update: Update, count: int) -> Iterator[Step]:
        """Take `count` steps by `update`, fewer if a gradient does not fit. Nothing is restored in between."""
        for index in range(count):
            # Each step starts from what the last one left, and a method that restores its state must not undo it.
            state = self.problem.state.retaken(flows=True)
            problem = replace(self.problem, state=state, loss_scale=loss_scale(self.optimizer))
            gradients = update(self.course.at(problem, self.optimizer, index), self.optimizer)
            found = {key: as_array(tensor) for key, tensor in named_tensors(problem, gradients).items()}
            unfit = self._unfit(gradients)
            yield Step(tensors=found if unfit else {**found, **self.values()}, gradients=gradients, unfit=unfit)
            if unfit:
                return

    def applying(
        self,
        compute: Compute,
        *,
        change: Callable[[list[Any]], list[Any]] = list,
        groups: Sequence[Sequence[int]] | None = None,
    ) -> Update:
        """Return the update that applies the optimizer to the gradients by `compute`, scaled as it expects them.

        To plant mistakes, the gradients can be changed before, or applied in groups (by index of the weight).
        """
        groups = groups or [range(len(self.variables))]

        def update(problem: Problem, _: Any) -> Gradients:
            gradients = compute(problem)
            of_weights = [scaled(gradients.tensors[weight.key], problem.loss_scale) for weight in problem.weights]
            if self._unfit(gradients) is None:
                of_weights = change(of_weights)
                for group in groups:
                    self._applied([of_weights[i] for i in group], [self.variables[i] for i in group])
            return gradients

        return update

    def _applied(self, gradients: Sequence[Any], variables: Sequence[Any]) -> None:
        """Call the optimizer once, unless all gradients are None, which Keras refuses."""
        if all(gradient is None for gradient in gradients):
            return
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Gradients do not exist")  # the report says so
            self.optimizer.apply(gradients, variables)
        self._copies_updated()

    def by_segment(self) -> list[list[int]]:
        """Return the indices of the weights by the first segment that uses them, for every segment with weights."""
        first = [min(weight.segments, default=0) for weight in self.problem.weights]
        return [[i for i, segment in enumerate(first) if segment == one] for one in sorted(set(first))]

    @property
    def global_clipnorm(self) -> float | None:
        """The norm to which the optimizer clips all gradients together; None if it does not."""
        norm: float | None = innermost(self.optimizer).global_clipnorm
        return norm

    def _unfit(self, gradients: Gradients) -> str | None:
        for weight in self.problem.weights:
            gradient = gradients.tensors.get(weight.key)
            if gradient is not None and tuple(gradient.shape) != tuple(weight.variable.shape):
                return weight.path
        return None

    def _copies_updated(self) -> None:
        """Assign the trained value to every other copy of a weight, such as a tied one, in separate parts."""
        trained = {weight.path: v for weight, v in zip(self.problem.weights, self.variables, strict=True)}
        for variable in self._copies:
            variable.assign(trained[self.problem.counterparts[id(variable.value)].path].value)

    @cached_property
    def _copies(self) -> tuple[Any, ...]:
        ours = {id(variable) for variable in self.variables}
        held = {id(v): v for segment in self.problem.segments for v in segment.trainable_variables}
        return tuple(v for i, v in held.items() if i not in ours and id(v.value) in self.problem.counterparts)


@dataclass(frozen=True, eq=False, kw_only=True)
class LiveTrainee(Trainee):
    """A model that is trained with the user's own optimizer, `theirs`; `optimizer` is as that one was at the start."""

    theirs: Any

    @property
    def slots(self) -> Sequence[Any]:
        """The variables of the user's optimizer; where it has made none yet, those of the start."""
        return slots_like(self.optimizer, self.theirs)


def slots_like(optimizer: Any, other: Any) -> list[Any]:
    """Return the variables of `other` in the order of those of `optimizer`, which stand for what `other` lacks.

    They are found by name. Keras numbers the name of some, such as Nadam's product, anew in each optimizer: these are
    the next ones left of their shape.
    """
    wanted, found = numbered(optimizer.variables), dict(numbered(other.variables))
    slots = [found.pop(key, None) for key, _ in wanted]
    left = list(found.values())
    for index, (_, variable) in enumerate(wanted):
        if slots[index] is None:
            alike = next((v for v in left if (v.shape, v.dtype) == (variable.shape, variable.dtype)), None)
            left = [v for v in left if v is not alike]
            slots[index] = variable if alike is None else alike
    return slots


def value_key(weight: Weight) -> TensorKey:
    """Return the key of a weight's value after a step."""
    return TensorKey("weight", weight.path, "value")


def slot_key(path: str) -> TensorKey:
    """Return the key of a variable of the optimizer."""
    return TensorKey("optimizer", path, "value")


def places_in_training(trainee: Trainee) -> dict[TensorKey, TensorPlace]:
    """Return the places of the weights' values and the optimizer's slots; a slot has that of its weight."""
    weights = trainee.problem.weights
    where = {value_key(w): TensorPlace(w.segments, w.layer, w.name, w.variable) for w in weights}
    owners = slot_owners(trainee)
    for path, slot in zip(trainee.slot_paths, trainee.optimizer.variables, strict=True):
        owner = owners.get(slot_key(path))
        segments, layer = (owner.segments, owner.layer) if owner else ((), path.rpartition("/")[0])
        where[slot_key(path)] = TensorPlace(segments, layer, slot.name, slot)
    return where


def slot_owners(trainee: Trainee) -> dict[TensorKey, Weight]:
    """Return the weight that each slot belongs to, by the slot's name; other slots are left out."""
    found = {}
    for path, slot in zip(trainee.slot_paths, trainee.optimizer.variables, strict=True):
        # Keras names a slot after the path of its variable; `dense_1` starts with `dense`, so the longest path is the
        # owner's.
        owners = [w for w in trainee.problem.weights if slot.name.startswith(w.variable.path.replace("/", "_"))]
        if owners:
            found[slot_key(path)] = max(owners, key=lambda weight: len(weight.variable.path))
    return found
