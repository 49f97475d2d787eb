"""A problem as an engine takes it, and its answer as gradients."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.building.state import is_seed
from gradcheck.building.state_variables import state_variables
from gradcheck.comparing.keys import as_array, named_tensors
from gradcheck.comparing.reference import UNREPEATED
from gradcheck.engines.asking import asked, require
from gradcheck.engines.question import Answer, Numbers, in_double
from gradcheck.errors import CannotAsk, ConfigError, GradcheckError, NotApplicable
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.interface import Computed, Gradients
from gradcheck.handoff.microbatches import accumulated, joined, micro_batches
from gradcheck.methods.by_engine.sent_model import boundaries_of, subject_of
from gradcheck.numerics import largest, movement
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from gradcheck.config.sections.methods import EngineOptions
    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem, TensorKey

_DRAWS = "it draws random numbers, which other engines draw otherwise; `training: false` switches dropout off"
_ASSIGNED = (
    "assigned in the forward pass, and not compared: a tape's gradient is that at the assigned value, an engine's that "
    "of a function of the value before"
)
_OTHER_CALLS = "no boundary is compared: the split's calls are not those that Keras runs in another engine"


#: The precision in which an engine's own rounding shows.
DOUBLE = "float64"


def by_engine(engine: str, problem: Problem, options: EngineOptions) -> Gradients:
    """Return the gradients of the whole model by an engine, which runs over the same slices as the reference.

    Raises:
        NotApplicable: if it is not installed, and need not be.
        CannotAsk, RunError, ConfigError: as `asked`.
    """
    try:
        require(engine)
    except ConfigError as error:
        if options.required:
            raise
        raise NotApplicable(f"{error} ({error.help})") from error
    if problem.state.flows:  # a step of training, with weights of its own
        return _answered(engine, problem, options)
    if engine not in problem.made:  # a diagnosis may ask for it too
        problem.made[engine] = _answered(engine, problem, options)
    found: Gradients = problem.made[engine]
    return found


def _answered(engine: str, problem: Problem, options: EngineOptions) -> Gradients:
    asking, asked_for = _Asking(problem), list[Numbers]()
    ask = partial(asked, engine, seconds=options.timeout)
    start = time.perf_counter()
    with problem.state.preserved():
        subject, answers = subject_of(problem), list[Answer]()
        for part in micro_batches(problem, batch_tensors(problem)):
            numbers = asking.numbers(part)
            answer = ask(subject, numbers)
            if asking.drew(answer) and _differ(answer, ask(subject, asking.with_seeds_of(numbers, answer))):
                raise CannotAsk(_DRAWS)
            if problem.state.flows and any(answer.assigned):
                raise CannotAsk("a weight is assigned in the forward pass, and its gradient is then not comparable")
            asking.move(answer.states)
            answers.append(answer)
            asked_for.append(numbers)
    gradients = replace(asking.gradients(answers), seconds=time.perf_counter() - start)

    def rounding(keys: Collection[TensorKey]) -> Mapping[TensorKey, float]:
        """Return how far tensors are from the engine's own in float64; 0 for one that does not repeat itself."""
        try:
            again = asking.gradients([ask(subject, numbers) for numbers in asked_for])
            double = subject_of(problem, DOUBLE)
            exact = asking.gradients([ask(double, in_double(numbers)) for numbers in asked_for])
        except GradcheckError:  # without that there is no further excuse
            return {}
        here, same, there = (named_tensors(problem, of) for of in (gradients, again, exact))
        return {key: _rounding(*(as_array(of.get(key)) for of in (here, same, there))) for key in keys}

    return gradients if problem.precision == DOUBLE else replace(gradients, noise=rounding)


def _rounding(here: Any, again: Any, exact: Any) -> float:
    repeats = here is not None and movement(here, again) <= UNREPEATED * largest(here)
    return movement(exact, here) if repeats else 0.0


class _Asking:
    """The variables of a model in the order in which an engine is told their values."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._variables = list(problem.model.variables)
        index = {id(variable): i for i, variable in enumerate(self._variables)}
        self._weights = [index[id(weight.variable)] for weight in problem.weights]
        self._states = [state.variable for state in state_variables([problem.model])]
        self._boundaries = boundaries_of(problem)
        self._paths = {id(s.variable): s.path for s in problem.state.variables}

    def numbers(self, part: MicroBatch) -> Numbers:
        """Return the current values, with a slice of the batch."""
        tensors, size = part.tensors, self._problem.batch.size
        if tensors.x and getattr(tensors.x[0], "shape", None):
            size = tensors.x[0].shape[0]
        return Numbers(
            variables=[_sent(variable.value) for variable in self._variables],
            weights=self._weights,
            states=[_sent(variable.value) for variable in self._states],
            x=[_sent(tensor) for tensor in tensors.x],
            y=[_sent(tensor) for tensor in tensors.y],
            sample_weight=None if tensors.sample_weight is None else [_sent(t) for t in tensors.sample_weight],
            zeros=[_zeros(boundary.spec, size) for boundary in self._boundaries],
            scales=part.scales,
            share=1.0 if part.share is None else part.share,
            loss_scale=1.0 if tensors.loss_scale is None else float(tensors.loss_scale),
        )

    def gradients(self, answers: Sequence[Answer]) -> Gradients:
        """Return the answers for the slices of a batch as one method's result."""
        weights: dict[TensorKey, Any] = {}
        for answer in answers:
            kept = zip(self._problem.weights, answer.weights, answer.assigned, strict=True)
            accumulated(weights, ((w.key, _tensor(gradient)) for w, gradient, assigned in kept if not assigned))
        computed = joined(list(map(self._computed, answers)), weights, self._problem.loss_scale)
        states = zip(self._states, answers[-1].states, strict=True)
        return Gradients(
            loss=computed.loss,
            outputs=computed.outputs,
            tensors=computed.gradients,
            state={self._paths[id(v)]: value for v, value in states if not is_seed(v)},
            seconds=0.0,
            remarks=tuple(dict.fromkeys(said for answer in answers for said in self._remarks(answer))),
            zero_is_none=True,
        )

    def _computed(self, answer: Answer) -> Computed:
        """Return an answer with the keys of inputs and boundaries."""
        crossing = {self._problem.input_key(i): _tensor(gradient) for i, gradient in enumerate(answer.inputs)}
        if answer.boundaries is not None and self._boundaries:
            keys = (boundary.key for boundary in self._boundaries)
            crossing |= dict(zip(keys, map(_tensor, answer.boundaries), strict=True))
        return Computed(_tensor(answer.loss), list(map(_tensor, answer.outputs)), crossing)

    def _remarks(self, answer: Answer) -> Iterator[str]:
        """Yield what is left out of the comparison, and why."""
        if self._problem.whole_boundaries and (answer.boundaries is None or not self._boundaries):
            yield _OTHER_CALLS
        kept = zip(self._problem.weights, answer.assigned, strict=True)
        paths = [weight.path for weight, assigned in kept if assigned]
        if paths:
            yield f"{some(paths)}: {_ASSIGNED}"

    def drew(self, answer: Answer) -> bool:
        """Whether the state of a random generator has moved."""
        moved = zip(self._states, answer.states, strict=True)
        return answer.drew or any(is_seed(v) and not np.array_equal(value, np.asarray(v.value)) for v, value in moved)

    def with_seeds_of(self, numbers: Numbers, answer: Answer) -> Numbers:
        """Return `numbers` with the random generators as they are after a forward pass."""
        sides = zip(self._states, numbers.states, answer.states, strict=True)
        return replace(numbers, states=[after if is_seed(v) else before for v, before, after in sides])

    def move(self, states: Sequence[Any]) -> None:
        """Give the state, but for random generators, its values after the forward pass."""
        for variable, value in zip(self._states, states, strict=True):
            if not is_seed(variable):
                variable.assign(value)


def _differ(one: Answer, other: Answer) -> bool:
    """Whether two forward passes give other values: a generator may be asked for numbers that nothing uses."""
    pairs = zip([one.loss, *one.outputs], [other.loss, *other.outputs], strict=True)
    return not all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)


def _zeros(spec: Any, size: int) -> Any:
    """Return zeros of a boundary's shape; of length 0 if an axis beside the batch has no fixed length."""
    return np.zeros([size if axis is None else axis for axis in spec.shape], tf.as_dtype(spec.dtype).as_numpy_dtype)


def _tensor(array: Any) -> Any:
    return None if array is None else tf.convert_to_tensor(array)


def _sent(tensor: Any) -> Any:
    """Return a tensor as an array.

    Raises:
        CannotAsk: if another engine has no such tensors.
    """
    if tensor is None:
        return None
    if isinstance(tensor, (tf.RaggedTensor, tf.SparseTensor)):
        raise CannotAsk(f"its batch has a {type(tensor).__name__}, which only TensorFlow has")
    if tensor.dtype == tf.string or tensor.dtype.is_complex:
        raise CannotAsk(
            f"its batch or a variable is of dtype {tensor.dtype.name}, which is not compared across engines"
        )
    return as_array(tensor)
