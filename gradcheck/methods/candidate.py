"""`candidate`: the user's own code, called once per check, or once per step of training."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building import user_code
from gradcheck.building.endpoints import flat_values
from gradcheck.building.precision import kept_precision
from gradcheck.building.sources.subclassed import wraps_one
from gradcheck.config.sections.live import LiveStep
from gradcheck.handoff.interface import Gradients
from gradcheck.methods.returned import scalar, understood
from gradcheck.phrases import some
from gradcheck.user_calls.noting import noting
from gradcheck.user_calls.tape_calls import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from gradcheck.config.sections.methods import CandidateOptions
    from gradcheck.cutting.segment import Segment
    from gradcheck.problem.problem import Problem


@dataclass(frozen=True, eq=False, kw_only=True)
class CandidateInput:
    """The one argument of a candidate.

    Attributes:
        model: the whole model, the user's own object if it is subclassed.
        segments: the parts in order, each callable as a Keras model, with `input_names`, `output_names`,
            `trainable_variables` and `losses`.
        x: the batch in the model's structure: a tensor, a list or a mapping.
        y: the targets: one tensor, or a list in the order of the outputs.
        loss: called as `loss(y, outputs)`, returns the data loss as a scalar; for a part of the batch, that part of
            `sample_weight` is the third argument. A loss `of_model` is called as `loss(model, x, y)`, where `model` is
            anything that can be called as the model is, and may have `sample_weight` too.
        sample_weight: one tensor, or a list in the order of the outputs; None if the config has none.
        variables: the trainable variables in the reference's order, the same objects as in the segments.
        training: the flag that every layer is called with.
        optimizer: for `train_step`, one object for all steps; else None.
    """

    model: keras.Model
    segments: Sequence[Segment]
    x: Any
    y: Any
    loss: Callable[..., Any]
    sample_weight: Any
    variables: Sequence[Any]
    training: bool
    optimizer: Any = None


def candidate(problem: Problem, options: CandidateOptions) -> Gradients:
    """Return the gradients from the user's function, by the reference's variables.

    Raises:
        ConfigError: if the function is not found.
        RunError: GC054 if it raises, GC055 if its result is unusable.
    """
    return UserFunction(problem, options).gradients(problem)


class UserFunction:
    """The user's function that `options` name, loaded once however often it is called.

    Attributes:
        trains: whether it performs a whole training step, rather than returning gradients.
    """

    def __init__(self, problem: Problem, options: CandidateOptions) -> None:
        """Load the function.

        Raises:
            ConfigError: if it is not found.
            RunError: GC054 if its file raises.
        """
        self.trains = options.train_step is not None
        self._reference = options.train_step or options.factory or ""
        self._kwargs = options.kwargs
        self._live = isinstance(options, LiveStep)
        self._function = (
            options.function
            if isinstance(options, LiveStep)
            else user_code.load(self._reference, problem.base, code="GC054")
        )

    def gradients(self, problem: Problem, moving: Collection[str] = ()) -> Gradients:
        """Return the function's gradients, by the reference's variables.

        Other changes that it makes are undone; weights at the paths in `moving`, which a forward pass may assign, are
        restored with the problem's state only.

        Raises:
            RunError: GC054 if it raises, GC055 if its result is unusable.
        """
        with problem.state.preserved(), kept_precision():
            with noting(_paths(problem)) as calls:
                returned, seconds, warnings = self._called(problem, None)
            loss, tensors = understood(returned, problem, self._reference, calls.sources)
            owned = zip(problem.weights, problem.owned_variables, strict=True)
            warnings += _weights_put_back(problem, [v for weight, v in owned if weight.path not in moving])
            state = problem.state.read()
        return Gradients(
            loss=loss, outputs=(), tensors=tensors, state=state, seconds=seconds, warnings=warnings, calls=calls
        )

    def train_step(self, problem: Problem, optimizer: Any) -> Gradients:
        """Let the function update the weights with `optimizer`; return its loss, if any, and no gradients.

        Raises:
            RunError: GC054 if it raises, GC055 if its result is no loss.
        """
        with kept_precision():
            returned, seconds, warnings = self._called(problem, optimizer)
        loss = scalar(returned, self._reference)
        state = problem.state.read()
        return Gradients(loss=loss, outputs=(), tensors={}, state=state, seconds=seconds, warnings=warnings)

    def _called(self, problem: Problem, optimizer: Any) -> tuple[Any, float, tuple[str, ...]]:
        """Call the function; return its result, the seconds it took, and warnings of changes that it must not make."""
        given = candidate_input(problem, optimizer)
        precision = keras.config.dtype_policy(), keras.config.floatx()
        start = time.perf_counter()
        what, base = ("step", None) if self._live else ("candidate", problem.base)
        with user_code.calling(what, self._reference, "GC054", base):
            returned = self._function(given, **self._kwargs)
        return returned, time.perf_counter() - start, _meddling(problem, precision)


def _paths(problem: Problem) -> dict[int, str]:
    """Return the weights' paths by the numbers of their variables, of parts too; "" for variables not trained."""
    of_model = [v for held in (problem.model, *problem.segments) for v in held.variables]
    of_parts = [(v, problem.counterparts[id(v.value)].path) for v in of_model if id(v.value) in problem.counterparts]
    weights = [(weight.variable, weight.path) for weight in problem.weights]
    return {identity(v): path for v, path in (*((v, "") for v in of_model), *of_parts, *weights)}


def candidate_input(problem: Problem, optimizer: Any = None) -> CandidateInput:
    """Return the argument for the user's function."""
    y = list(problem.batch.y)
    weight = problem.batch.sample_weight
    owned = problem.owned_variables

    def of_model(model: Any, x: Any, y: Any, sample_weight: Any = None) -> Any:
        targets = flat_values(y, problem.loss.positions, len(problem.loss.terms))
        given = weight if sample_weight is None else tf.nest.flatten(sample_weight)
        _require_weights_that_fit(y, given)
        return problem.loss.by_model(model, x, targets, given, training=problem.training)

    def loss(y: Any, outputs: Any, sample_weight: Any = None) -> Any:
        given = weight if sample_weight is None else tf.nest.flatten(sample_weight)
        _require_weights_that_fit(y, given)
        return problem.loss(y, outputs, given)

    return CandidateInput(
        model=wraps_one(problem.model) or problem.model,
        segments=problem.segments,
        x=problem.model_inputs(problem.batch.x),
        y=y[0] if len(y) == 1 else y,
        loss=loss if problem.loss.of_model is None else of_model,
        sample_weight=weight[0] if weight and len(weight) == 1 else weight,
        variables=list(owned),
        training=problem.training,
        optimizer=optimizer,
    )


def _require_weights_that_fit(y: Any, weights: Sequence[Any] | None) -> None:
    """Raise for the weights of the whole batch on a part of it: they would be broadcast, or raise far from here."""
    for target, weight in zip(tf.nest.flatten(y), weights or (), strict=False):
        examples, weighted = (tuple(getattr(tensor, "shape", ()))[:1] for tensor in (target, weight))
        if examples and weighted and None not in (*examples, *weighted) and examples != weighted:
            raise ValueError(
                f"loss got {examples[0]} targets, and the sample weights of {weighted[0]} examples: for a part of the "
                "batch, give it that part of `sample_weight` too: loss(y, outputs, sample_weight=...)"
            )


def _meddling(problem: Problem, precision: tuple[Any, str]) -> tuple[str, ...]:
    """Return warnings of settings that the candidate changed. All are restored, the precision by the caller."""
    warnings = []
    if problem.state.frozen_or_thawed:
        problem.state.put_back_trainable()
        warnings.append("the candidate changed what is trainable; it was put back")
    if (keras.config.dtype_policy(), keras.config.floatx()) != precision:
        warnings.append("the candidate changed Keras's dtype policy; it was put back")
    return tuple(warnings)


def _weights_put_back(problem: Problem, variables: Sequence[Any]) -> tuple[str, ...]:
    """Restore those of `variables` that a function changed instead of only returning gradients, with a warning."""
    changed = problem.state.changed(variables)
    problem.state.put_back(changed)
    if not changed:
        return ()
    names = some([variable.path for variable in changed])
    return (f"the candidate changed {len(changed)} weights ({names}); they were put back",)
