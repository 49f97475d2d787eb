"""`accumulate`: Keras's `gradient_accumulation_steps`, over slices of the batch."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.batch.loss import RANDOM_COTANGENT
from gradcheck.batch.slices import make_slices
from gradcheck.comparing.batch_coupling import full_batch_note
from gradcheck.comparing.tape import monolithic
from gradcheck.config.keyed import KeyedError, at
from gradcheck.errors import NotApplicable
from gradcheck.handoff.execute import Execution, batch_tensors
from gradcheck.handoff.microbatches import sliced
from gradcheck.handoff.tensors import scaled
from gradcheck.problem.optimizer import innermost, loss_scale
from gradcheck.training.steps import LiveTrainee, slot_key
from gradcheck.training.ways.interface import WayRun, taken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck.batch.slices import Slice
    from gradcheck.config.sections.methods import AccumulateOptions
    from gradcheck.problem.problem import Problem, TensorKey
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Step

#: The optimizer's variables that count the calls of `apply`: an accumulating one is called for each slice.
_COUNTERS = ("iteration", "step_counter")


def accumulate(training: ReferenceTraining, options: AccumulateOptions) -> WayRun:
    """Train with an optimizer that accumulates the gradients of `steps` slices of each batch.

    The reference takes one step for all slices: so what depends on the batch, such as batch normalisation, is compared
    like with like, and a remark says how far that is from the whole batch.
    """
    count = options.slices(training.problem.batch.size)
    slices = sliced_batch(training.problem, count, key="steps" if options.steps else "")
    against = training.over(replace(training.problem, slices=slices))
    with against.replica.entered() as problem, problem.state.preserved():
        plain = against.trainee(problem, [weight.variable for weight in problem.weights])
        trainee = LiveTrainee(**vars(plain), theirs=_accumulating(against, plain.variables, len(slices)))
        executions = {part: _execution(problem, part, len(slices)) for part in slices}  # each compiled once
        steps = [_step(trainee, executions) for _ in range(problem.config.train.steps)]
    fewer = (
        (f"{count} slices of {training.problem.batch.size} examples are {len(slices)}",) if len(slices) < count else ()
    )
    return WayRun(training=against, steps=steps, remarks=(*fewer, *coupling(against)))


def sliced_batch(problem: Problem, count: int, key: str = "") -> tuple[Slice, ...]:
    """Return `count` slices of the batch. `key` is the option that asks for so many, if the config does.

    Raises:
        KeyedError: GC031 if the config asks for more slices than there are examples.
        NotApplicable: if the model or the batch cannot be sliced.
    """
    if key and count > problem.batch.size:
        with at(key):
            message = f"the batch has {problem.batch.size} examples. Received: {key}: {count}"
            raise KeyedError(message, code="GC031", help="lower it, or raise data.batch_size")
    try:
        with problem.state.preserved():
            return make_slices(count, problem.model, problem.batch, problem.loss, training=problem.training)
    except KeyedError as error:
        raise NotApplicable(str(error)) from error


def coupling(against: ReferenceTraining) -> tuple[str, ...]:
    """Return GC301 as a remark if gradients over the slices are not those over the whole batch."""
    note = full_batch_note(against.problem, against.reference)
    return (note,) if note.startswith("GC301") else ()


def _accumulating(training: ReferenceTraining, variables: Sequence[Any], count: int) -> Any:
    """Return the config's optimizer, built on `variables`, which updates them in every `count`-th call.

    Raises:
        NotApplicable: if it accumulates already, or cannot.
    """
    optimizer = training.optimizer()
    inner = innermost(optimizer)
    if hasattr(inner, "optimizers") or inner.gradient_accumulation_steps is not None:
        raise NotApplicable(f"the optimizer, {type(inner).__name__}, accumulates by itself, or cannot")
    inner.gradient_accumulation_steps = count
    training.build(optimizer, variables)
    for variable in optimizer.variables:
        if variable.name in _COUNTERS:
            variable.assign(variable.value * count)
    return optimizer


def _execution(problem: Problem, part: Slice, count: int) -> Execution:
    """Return the computation of the gradients of one of `count` slices, of its own loss."""
    # A mean over the batch is what accumulation expects: the random cotangent, a sum, stands for one.
    scales = [None if t is None else count if t.name == RANDOM_COTANGENT else 1.0 for t in problem.loss.weighed]
    size = part.stop - part.start
    own = replace(part, scales=tuple(scales), batch_size=size, start=0, stop=size)
    return Execution(replace(problem, slices=(own,)), monolithic, split=False)


def _step(trainee: LiveTrainee, executions: Mapping[Slice, Execution]) -> Step:
    """Give the optimizer the gradients of one slice after another, each of the slice's own loss."""
    problem, optimizer = trainee.problem, trainee.theirs
    start, losses = time.perf_counter(), []
    for part, run in executions.items():
        found = run.run_as_it_is(sliced(batch_tensors(problem)._replace(loss_scale=loss_scale(optimizer)), part))
        gradients = [scaled(found.tensors[weight.key], loss_scale(optimizer)) for weight in problem.weights]
        optimizer.apply(gradients, trainee.variables)
        losses.append(tf.cast(part.share, found.loss.dtype) * found.loss)
    seconds = time.perf_counter() - start
    return taken(
        _in_steps(trainee, len(executions)),
        loss=tf.add_n(losses),
        state=problem.state.read(split=False),
        seconds=seconds,
    )


def _in_steps(trainee: LiveTrainee, count: int) -> dict[TensorKey, Any]:
    """Return the values of weights and optimizer, with calls counted in steps of `count`."""
    counters = {
        slot_key(path) for path, v in zip(trainee.slot_paths, trainee.slots, strict=True) if v.name in _COUNTERS
    }
    return {key: value // count if key in counters else value for key, value in trainee.values().items()}
