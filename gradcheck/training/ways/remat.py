"""`remat`: activations that are computed again in the backward pass, by `keras.remat`.

A second forward pass must give what the first one gave, and leave no trace. Keras's own draws dropout masks once more,
and moves the statistics of batch normalisation twice.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building.messages import described
from gradcheck.building.state import is_seed
from gradcheck.comparing.keys import as_array
from gradcheck.comparing.tape import monolithic
from gradcheck.config.keyed import KeyedError, at
from gradcheck.custom_gradients import watch_of_now
from gradcheck.errors import GradcheckError, NotApplicable
from gradcheck.handoff.execute import Execution, batch_tensors
from gradcheck.handoff.split import HandOff, split
from gradcheck.keras_private import all_layers, mask_of, rematerialized, set_mask
from gradcheck.numerics import movement
from gradcheck.phrases import did_you_mean, some
from gradcheck.problem.problem import TensorKey
from gradcheck.training.ways.interface import WayRun, seen, tensorflow_quiet

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck.building.state_variables import StateVariable
    from gradcheck.config.sections.methods import RematOptions
    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.interface import Computed, Gradients, Tensors
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Step

#: A state is taken for that of two passes if it is closer to it than to that of one by this factor.
_EXPLAINED = 100


def remat(training: ReferenceTraining, options: RematOptions) -> WayRun:
    """Train with activations computed again: of each segment, of the layers named, or as the model does by itself.

    A model that has `keras.remat`, a `RematScope` or `tf.recompute_grad` of its own is held against itself without.
    """
    own = _of_its_own(training.problem)
    against = training.over(training.problem, inside=watch_of_now().without_recomputation) if own else training
    with against.replica.entered() as problem, problem.state.preserved():
        layers = _layers(problem, options, own=own)
        body = monolithic if own or layers or not problem.segments else _segment_by_segment
        execution = Execution(problem, body, split=body is not monolithic)

        def compute(now: Problem) -> Gradients:
            return execution.run_as_it_is(batch_tensors(now))

        trainee = against.trainee(problem, [weight.variable for weight in problem.weights])
        with rematerialized(layers, options.mode) if layers else nullcontext(), nullcontext() if own else _of_keras():
            steps = list(trainee.steps(trainee.applying(compute), problem.config.train.steps))
    what = "the model's own" if own else some([layer.name for layer in layers]) or "each segment"
    remark = f"computed again in the backward pass: {what}"
    return WayRun(training=against, steps=steps, remarks=(remark,), found=tuple(_seen(against, steps)))


@contextmanager
def _of_keras() -> Iterator[None]:
    """Convert what Keras's rematerialisation raises on a model that runs without it, as in mixed precision.

    It also warns of each integer that it is given, for a tape watches all of its arguments.
    """
    try:
        with tensorflow_quiet():
            yield
    except (GradcheckError, MemoryError, tf.errors.ResourceExhaustedError) as error:
        if isinstance(error.__cause__, NotImplementedError):  # in a loss that differentiates the model
            raise NotApplicable(f"Keras's rematerialisation has no second derivative: {error}") from error
        raise
    except Exception as error:
        raise NotApplicable(f"Keras's rematerialisation raises on this model: {described(error):.200}") from error


def _of_its_own(problem: Problem) -> bool:
    """Whether the model rematerialises by itself: a forward pass calls a function that is recomputed."""
    watch = watch_of_now()
    before = watch.recomputations
    with problem.state.preserved():
        problem.model(problem.model_inputs(problem.batch.x), training=problem.training)
    return watch.recomputations > before


def _layers(problem: Problem, options: RematOptions, *, own: bool) -> list[keras.Layer]:
    """Return the layers that Keras is to recompute; none if these are the segments, or what the model has itself.

    Raises:
        KeyedError: GC020 for a name that the model lacks.
    """
    inner = [layer for layer in all_layers([problem.model]) if not isinstance(layer, keras.Model)]
    if options.layers is not None:
        by_name = {layer.name: layer for layer in all_layers([problem.model])}
        for index, name in enumerate(options.layers):
            if name not in by_name:
                known = did_you_mean(name, by_name, "the layers are named in `gradcheck plan`")
                with at("layers", index):
                    raise KeyedError(f"no layer is called {name}", code="GC020", help=known)
        return [by_name[name] for name in options.layers]
    whole = options.mode == "full" and problem.segments
    return [] if own or whole else [layer for layer in inner if not isinstance(layer, keras.layers.InputLayer)]


def _segment_by_segment(problem: Problem, tensors: Tensors) -> Computed:
    """Return the split model's gradients, each segment under `keras.remat`."""
    return split(problem, tensors, _Rematerialised())


class _Rematerialised(HandOff):
    """A hand-off whose segments Keras runs again in the backward pass."""

    def forward(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> list[Any]:
        """Return the outputs of `segment`; masks cross by themselves, for a recomputed function takes them off."""
        forward, masks, masked = super().forward, [mask_of(tensor) for tensor in inputs], list[Any]()

        def run(*given: Any) -> list[Any]:
            for tensor, mask in zip(given, masks, strict=True):
                set_mask(tensor, mask)
            outputs = forward(segment, given, training=training)
            masked[:] = masked or [mask_of(output) for output in outputs]
            return outputs

        outputs = list(keras.remat(run)(*inputs))
        for output, mask in zip(outputs, masked, strict=True):
            set_mask(output, mask)
        return outputs


def _seen(training: ReferenceTraining, steps: Sequence[Step]) -> Iterator[Diagnosis]:
    """Yield GC303 and GC302 for seeds and for other state that the first step moved as two forward passes do."""
    expected, observed = training.steps[0], steps[0].tensors
    twice = _after_two_passes(training.problem)
    moved = [
        state
        for state in training.problem.state.variables
        if movement(expected[_key(state.path)], observed[_key(state.path)])
        > _EXPLAINED * movement(twice[state.path], observed[_key(state.path)])
    ]
    for code, seeds, says in (
        ("GC303", True, "was advanced twice in one step: the backward pass ran with other random numbers"),
        ("GC302", False, "moved twice in one step: the backward pass updates the state once more"),
    ):
        held = {state.path: _holder(training.problem, state) for state in moved if is_seed(state.variable) == seeds}
        paths = list(held)
        if paths:
            named = some([f"{path} of {held[path]}" for path in paths])
            yield seen(code, f"{named} {says}", layer=held[paths[0]])


def _holder(problem: Problem, state: StateVariable) -> str:
    """Return the name of the innermost layer that holds a state variable."""
    holding = [layer for layer in all_layers([problem.model]) if any(v is state.variable for v in layer.variables)]
    return min(holding, key=lambda layer: len(layer.variables)).name if holding else state.layer


def _after_two_passes(problem: Problem) -> Mapping[str, Any]:
    """Return the state after two forward passes, by path."""
    with problem.state.preserved():
        for _ in range(2):
            problem.model(problem.model_inputs(problem.batch.x), training=problem.training)
        return {path: as_array(value) for path, value in problem.state.read(split=False).items()}


def _key(path: str) -> TensorKey:
    return TensorKey("state", path)
