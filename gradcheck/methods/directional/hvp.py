"""`hvp`: second order. Hessian-vector products through the split beside those through the whole model.

For a direction v over all weights and inputs at once, H·v is the gradient of the inner product of the gradient and v
(Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994): a tape over the hand-off of the
split model, compared with a tape over the reference's tape. Without a split the second way is forward over reverse: the
JVP of the gradient along v.

Both ways share the registered gradients. So the whole model's second order is also compared with finite differences of
its first-order gradients (`directional.curvature`), which are reported where they deny it.
"""

from __future__ import annotations

import math
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from gradcheck.comparing.keys import as_array
from gradcheck.comparing.tape import monolithic
from gradcheck.cutting.tensor_copies import copied
from gradcheck.errors import RunError
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.interface import Gradients
from gradcheck.handoff.split import split
from gradcheck.handoff.tensors import dense, gradients_of, watch
from gradcheck.methods.directional.curvature import Curvature
from gradcheck.methods.directional.directions import (
    described,
    inner_product,
    integer_inputs,
    noise_floors,
    points,
    projections,
    random_directions,
    standing_still,
)
from gradcheck.methods.directional.numeric import in_double, restless, surface_at
from gradcheck.methods.directional.points import GIVEN
from gradcheck.methods.directional.slopes import compared

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gradcheck.config.sections.methods import HvpOptions
    from gradcheck.handoff.interface import Computed, Tensors
    from gradcheck.methods.directional.directions import Array, Measured
    from gradcheck.methods.directional.numeric import Found
    from gradcheck.methods.directional.slopes import Slopes
    from gradcheck.problem.problem import Problem, TensorKey

    #: From a batch and v by tensor to H·v by tensor; None where the tape has no second derivative.
    Product = Callable[[Problem, Tensors, Mapping[TensorKey, Any]], Mapping[TensorKey, Any]]


class Line(NamedTuple):
    """One tensor's parts of the directions v, and the vectors on which its parts of H·v are projected, both stacked.

    They differ: v·H·v would be the same for a transposed block.
    """

    directions: Array
    readings: Array


def hvp(problem: Problem, options: HvpOptions) -> Gradients:
    """Return projections of H·v, computed eagerly.

    Raises:
        RunError: GC055 if an operation's gradient has no gradient of its own.
    """
    start = time.perf_counter()
    measured = in_double(problem, partial(_curvature, options))
    _, found, warnings = measured
    say = partial(_say, options.directions)
    by_differences = compared(found, say, seconds=0.0, warnings=warnings)
    # The two ways run at the batch itself, in the problem's own precision; at other points there are differences alone.
    if options.points in (None, (GIVEN,)):
        by_differences = _beside_two_ways(_two_ways(problem, options), by_differences, found)
    return replace(by_differences, seconds=time.perf_counter() - start)


def _say(count: int, slopes: Slopes) -> str:
    del slopes
    return _text(count)


def _text(count: int) -> str:
    return f"Hessian times {described(count)}, each projected on another"


def _curvature(options: HvpOptions, problem: Problem) -> Found:
    """Measure the second order of the whole model at a point, beside differences of its gradients."""
    surface = surface_at(problem, options.points)
    lines = _lines(problem, options)
    keys = lines.keys()
    base = {key: surface.value(key) for key in keys}
    with standing_still(problem, batch_tensors(problem)) as rewind:
        curvature = Curvature(
            problem=problem,
            base=base,
            directions={key: line.directions for key, line in lines.items()},
            readings={key: line.readings for key, line in lines.items()},
            product=lambda tensors: _measured(problem, _whole, lines, tensors, keys),
            rewind=rewind,
        )
        return surface, curvature.measured(), restless(surface)


def _lines(problem: Problem, options: HvpOptions) -> dict[TensorKey, Line]:
    """Return random directions and readings for every tensor; ones for a function of a single number."""
    tensors = points(problem)
    if sum(math.prod(t.shape) for t in tensors.values()) == 1:
        # So that a report shows the second derivative itself.
        return {key: Line(*(np.ones((options.directions, *t.shape)),) * 2) for key, t in tensors.items()}
    return {
        key: Line(*(random_directions(key, t.shape, count=options.directions, seed=problem.seed + i) for i in range(2)))
        for key, t in tensors.items()
    }


def _beside_two_ways(ways: Gradients, differences: Gradients, found: Mapping[TensorKey, Slopes]) -> Gradients:
    """Return the gradients of both ways; where differences deny the second order, the differences in their place."""
    wrong = differences.wrong.keys()
    undecided = {key for key in found.keys() - wrong if "GC8" in differences.notes[key]}

    def chosen(of_ways: Mapping[TensorKey, Any], of_differences: Mapping[TensorKey, Any]) -> dict[TensorKey, Any]:
        return {**of_ways, **{key: value for key, value in of_differences.items() if key in wrong}}

    return replace(
        ways,
        tensors=chosen(ways.tensors, differences.tensors),
        against=chosen(ways.against, differences.against),
        error_bars=chosen({}, differences.error_bars),
        notes={**ways.notes, **{key: differences.notes[key] for key in wrong | undecided}},
        wrong=differences.wrong,
        way=differences.way if wrong else ways.way,
        warnings=differences.warnings,
        tolerance_dtype=ways.tolerance_dtype if not wrong else differences.tolerance_dtype,
    )


def _two_ways(problem: Problem, options: HvpOptions) -> Gradients:
    """Compute the second order of the whole model, and through the split or by forward over reverse."""
    lines = _lines(problem, options)
    # Without segments a split of the same tape would only repeat it: forward mode differentiates by other rules.
    products = (_whole, _split if problem.segments else _forward_over_reverse)
    measures = [partial(_measured, problem, product, lines) for product in products]
    with problem.state.preserved():
        whole, other = (measure(batch_tensors(problem), lines) for measure in measures)
    against, found = counterparts(whole, other), counterparts(other, whole)
    return Gradients(
        loss=None,
        outputs=(),
        tensors={**integer_inputs(problem), **found},
        against={**integer_inputs(problem), **against},
        notes=dict.fromkeys(lines, _text(options.directions)),
        noise=partial(noise_floors, problem, [against, found], measures),
        state={},
        way="through the split" if problem.segments else "by forward over reverse",
        seconds=0.0,
    )


def of_the_whole(problem: Problem, options: HvpOptions) -> Gradients:
    """Return projections of H·v through the whole model alone, computed eagerly, with their noise floors.

    Raises:
        RunError: GC055 if an operation's gradient has no gradient of its own.
    """
    start, lines = time.perf_counter(), _lines(problem, options)
    measure = partial(_measured, problem, _whole, lines)
    with problem.state.preserved():
        found = measure(batch_tensors(problem), lines)
    return Gradients(
        loss=None,
        outputs=(),
        tensors={**integer_inputs(problem), **found},
        notes=dict.fromkeys(lines, _text(options.directions)),
        noise=partial(noise_floors, problem, [found], [measure]),
        state={},
        seconds=time.perf_counter() - start,
    )


def counterparts(ours: Measured, theirs: Measured) -> Measured:
    """Return `ours`, with zeros where only `theirs` has values: None means that a tape found no path, which is zero."""
    return {
        key: np.zeros_like(theirs[key]) if value is None and theirs[key] is not None else value
        for key, value in ours.items()
    }


def _measured(
    problem: Problem,
    product: Product,
    lines: Mapping[TensorKey, Line],
    tensors: Tensors,
    keys: Collection[TensorKey],
) -> Measured:
    """Return one number per direction: the tensor's part of H·v, projected on its reading."""
    found: dict[TensorKey, list[float]] = {key: [] for key in keys}
    connected = set()
    count = max((len(line.directions) for line in lines.values()), default=0)
    with standing_still(problem, tensors) as restart:
        for i in range(count):
            restart()
            products = _arrays(product, problem, tensors, {key: line.directions[i] for key, line in lines.items()})
            for key, numbers in found.items():
                array = products[key]
                numbers.append(0.0 if array is None else float(projections(array, lines[key].readings[i : i + 1])[0]))
                connected |= set() if array is None else {key}
    return {key: np.array(numbers) if key in connected else None for key, numbers in found.items()}


def _arrays(
    product: Product, problem: Problem, tensors: Tensors, along: Mapping[TensorKey, Array]
) -> Mapping[TensorKey, Any]:
    """Return H·v by tensor, as NumPy arrays."""
    try:
        found = product(problem, tensors, {key: tf.constant(direction) for key, direction in along.items()})
    except LookupError as error:
        raise RunError(
            f"the model cannot be differentiated twice. Received: {error}",
            code="GC055",
            help="an operation's gradient has no gradient of its own: leave hvp out, or use another operation",
        ) from error
    return {key: as_array(tensor) for key, tensor in found.items()}


def _whole(problem: Problem, tensors: Tensors, along: Mapping[TensorKey, Any]) -> Mapping[TensorKey, Any]:
    """Return H·v by reverse over reverse, through the monolithic model."""
    return _reverse_over(monolithic, problem, [weight.variable for weight in problem.weights], tensors, along)


def _split(problem: Problem, tensors: Tensors, along: Mapping[TensorKey, Any]) -> Mapping[TensorKey, Any]:
    """Return H·v by reverse over reverse, through the hand-off between the segments."""
    return _reverse_over(split, problem, problem.owned_variables, tensors, along)


def _reverse_over(
    body: Callable[[Problem, Tensors], Computed],
    problem: Problem,
    variables: Sequence[Any],
    tensors: Tensors,
    along: Mapping[TensorKey, Any],
) -> Mapping[TensorKey, Any]:
    x = [copied(tensor) for tensor in tensors.x]
    sources = _sources(problem, variables, x, along)
    with tf.GradientTape() as tape:
        watch(tape, x)
        gradients = _dense_gradients(body(problem, tensors._replace(x=x)), along)
        # Inside the tape, which differentiates the inner product; the direction is a constant to it.
        slope = inner_product(list(gradients.values()), [along[key] for key in gradients]) if gradients else None
    targets = [] if slope is None else [slope]
    return dict(zip(sources, gradients_of(tape, targets, list(sources.values())), strict=True))


def _forward_over_reverse(
    problem: Problem, tensors: Tensors, along: Mapping[TensorKey, Any]
) -> Mapping[TensorKey, Any]:
    """Return H·v as the JVP of the monolithic model's gradient."""
    x = [copied(tensor) for tensor in tensors.x]
    sources = _sources(problem, [weight.variable for weight in problem.weights], x, along)
    tangents = [tf.cast(along[key], source.dtype) for key, source in sources.items()]
    with tf.autodiff.ForwardAccumulator(list(sources.values()), tangents) as accumulator:
        gradients = _dense_gradients(monolithic(problem, tensors._replace(x=x)), along)
    return {key: accumulator.jvp(gradients[key]) if key in gradients else None for key in along}


def _sources(
    problem: Problem, variables: Sequence[Any], x: Sequence[Any], wanted: Collection[TensorKey]
) -> dict[TensorKey, Any]:
    """Return the tensors to differentiate with respect to, in the order of `wanted`."""
    # Tapes and accumulators know the TensorFlow variables, not Keras's.
    weights = {weight.key: v.value for weight, v in zip(problem.weights, variables, strict=True)}
    every = weights | {problem.input_key(i): tensor for i, tensor in enumerate(x)}
    return {key: every[key] for key in wanted}


def _dense_gradients(computed: Computed, wanted: Collection[TensorKey]) -> dict[TensorKey, Any]:
    """Return the gradients that are not None."""
    return {key: dense(computed.gradients[key]) for key in wanted if computed.gradients[key] is not None}
