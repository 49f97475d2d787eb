"""`hvp`: second order. Hessian-vector products through the split beside those through the whole model.

For a direction v over all weights and inputs at once, H·v is the gradient of the inner product of the gradient and v
(Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 6, 1994): a tape over the hand-off of the
split model, against a tape over the reference's tape. Without a split the second way is forward over reverse: the JVP
of the gradient along v.

Both ways share the registered gradients: so the second order of the whole is held against finite differences of its
first-order gradients as well (`directional.curvature`), and where those deny it, they are what is reported.
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
from gradcheck.cutting.run_calls import copied
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

    #: From a batch and v by tensor to H·v by tensor; None where the tape sees no second order.
    Product = Callable[[Problem, Tensors, Mapping[TensorKey, Any]], Mapping[TensorKey, Any]]


class Line(NamedTuple):
    """For one tensor the parts of the directions v, and what its parts of H·v are projected on, both stacked.

    They are not the same: a transposed block has the same v·H·v.
    """

    directions: Array
    readings: Array


def hvp(problem: Problem, options: HvpOptions) -> Gradients:
    """Projections of H·v, run eagerly.

    Raises:
        RunError: GC055 if an operation's gradient has no gradient of its own.
    """
    start = time.perf_counter()
    measured = in_double(problem, partial(_curvature, options))
    _, found, warnings = measured
    say = partial(_say, options.directions)
    by_differences = compared(found, say, seconds=0.0, warnings=warnings)
    if options.points in (None, (GIVEN,)):
        by_differences = _beside_two_ways(_two_ways(problem, options), by_differences, found)
    return replace(by_differences, seconds=time.perf_counter() - start)


def _say(count: int, slopes: Slopes) -> str:
    del slopes
    return f"Hessian times {described(count)}, each projected on another"


def _curvature(options: HvpOptions, problem: Problem) -> Found:
    """The second order of the whole model at a point, beside differences of its gradients."""
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
    """Random directions and readings for every tensor; the one number of a scalar function is moved as it is."""
    tensors = points(problem)
    if sum(math.prod(t.shape) for t in tensors.values()) == 1:
        return {key: Line(*(np.ones((options.directions, *t.shape)),) * 2) for key, t in tensors.items()}
    return {
        key: Line(*(random_directions(key, t.shape, count=options.directions, seed=problem.seed + i) for i in range(2)))
        for key, t in tensors.items()
    }


def _beside_two_ways(ways: Gradients, differences: Gradients, found: Mapping[TensorKey, Slopes]) -> Gradients:
    """The two ways of differentiating twice; where differences deny the second order, those in their place."""
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
    """The second order of the whole, and through the split or by forward over reverse."""
    lines = _lines(problem, options)
    products = (_whole, _split if problem.segments else _forward_over_reverse)
    measures = [partial(_measured, problem, product, lines) for product in products]
    with problem.state.preserved():
        whole, other = (measure(batch_tensors(problem), lines) for measure in measures)
    against, found = _counterparts(whole, other), _counterparts(other, whole)
    return Gradients(
        loss=None,
        outputs=(),
        tensors={**integer_inputs(problem), **found},
        against={**integer_inputs(problem), **against},
        notes=dict.fromkeys(lines, f"Hessian times {described(options.directions)}, each projected on another"),
        noise=partial(noise_floors, problem, [against, found], measures),
        state={},
        way="through the split" if problem.segments else "by forward over reverse",
        seconds=0.0,
    )


def _counterparts(ours: Measured, theirs: Measured) -> Measured:
    """`ours`, with zeros where only `theirs` have something: None says that a tape saw no way, which is zero too."""
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
    """One number per direction: the part of H·v that belongs to a tensor, projected on that tensor's reading."""
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
    """H·v by tensor, as NumPy sees it."""
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
    """Reverse over reverse, through the monolithic model."""
    return _reverse_over(monolithic, problem, [weight.variable for weight in problem.weights], tensors, along)


def _split(problem: Problem, tensors: Tensors, along: Mapping[TensorKey, Any]) -> Mapping[TensorKey, Any]:
    """Reverse over reverse, through the hand-off between the segments."""
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
        slope = inner_product(list(gradients.values()), [along[key] for key in gradients]) if gradients else None
    targets = [] if slope is None else [slope]
    return dict(zip(sources, gradients_of(tape, targets, list(sources.values())), strict=True))


def _forward_over_reverse(
    problem: Problem, tensors: Tensors, along: Mapping[TensorKey, Any]
) -> Mapping[TensorKey, Any]:
    """The JVP of the monolithic model's gradient."""
    x = [copied(tensor) for tensor in tensors.x]
    sources = _sources(problem, [weight.variable for weight in problem.weights], x, along)
    tangents = [tf.cast(along[key], source.dtype) for key, source in sources.items()]
    with tf.autodiff.ForwardAccumulator(list(sources.values()), tangents) as accumulator:
        gradients = _dense_gradients(monolithic(problem, tensors._replace(x=x)), along)
    return {key: accumulator.jvp(gradients[key]) if key in gradients else None for key in along}


def _sources(
    problem: Problem, variables: Sequence[Any], x: Sequence[Any], wanted: Collection[TensorKey]
) -> dict[TensorKey, Any]:
    """What is differentiated by, in the order of `wanted`."""
    weights = {weight.key: v.value for weight, v in zip(problem.weights, variables, strict=True)}
    every = weights | {problem.input_key(i): tensor for i, tensor in enumerate(x)}
    return {key: every[key] for key in wanted}


def _dense_gradients(computed: Computed, wanted: Collection[TensorKey]) -> dict[TensorKey, Any]:
    """The gradients that there are."""
    return {key: dense(computed.gradients[key]) for key in wanted if computed.gradients[key] is not None}
