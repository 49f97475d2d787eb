"""Comparison of a method's tensors with those of the reference: a record of each, and the first that is wrong."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import as_array, named_tensors, places
from gradcheck.comparing.reference import expected_of
from gradcheck.comparing.without_effect import zero_as_none
from gradcheck.handoff.arrivals import Agreeing
from gradcheck.numerics import compare, decide, excuse, is_zero, largest, with_spread
from gradcheck.placement.devices import is_remote
from gradcheck.placement.worker_questions import compared_there
from gradcheck.results.report import TensorReport

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from gradcheck.comparing.keys import TensorPlace
    from gradcheck.comparing.reference import Reference
    from gradcheck.handoff.interface import Gradients
    from gradcheck.numerics import Tolerance, TolerancePolicy
    from gradcheck.problem.problem import Problem, TensorKey
    from gradcheck.results.tensor import Comparison

#: Kinds of tensors that are no gradients: zero on both sides proves as much as any other value.
VALUES = frozenset({"output", "loss", "state", "optimizer"})


def compare_all(
    problem: Problem,
    reference: Reference,
    candidate: Gradients,
    policy: TolerancePolicy,
    *,
    noise: bool,
    known: Mapping[TensorKey, TensorPlace] | None = None,
    listed: bool = False,
    brief: bool = False,
) -> tuple[TensorReport, ...]:
    """Compare every tensor that the candidate has, and return the records in report order.

    Args:
        problem: the problem that the gradients belong to.
        reference: the gradients of the whole model.
        candidate: the gradients to compare, with their error bars if they are finite differences.
        policy: the tolerances.
        noise: whether the noise floor may excuse a difference. It is measured only if some tensor fails without it.
        known: the places of the problem's tensors, if the caller has them already.
        listed: whether a report lists the records: those of failing tensors then have the spread of their errors.
        brief: whether nobody reads them one by one: those of tensors that differ then lack ULPs, angle and norms.
    """
    found, where = named_tensors(problem, candidate), {**(known or places(problem)), **candidate.places}
    expected = expected_of(reference, candidate)
    if candidate.zero_is_none:
        found = {key: None if _is_none(key, expected, tensor) else tensor for key, tensor in found.items()}
    scale = _scale(candidate)
    tolerance = partial(tolerance_of, problem, policy, compute=candidate.tolerance_dtype)
    compared = compared_tensors(where, expected, found, tolerance, brief=brief)
    compared = zero_as_none(problem, compared, expected, found, apart=candidate.against)
    for key, bars in candidate.error_bars.items():
        if key in compared:
            compared[key] = decide(compared[key], as_array(expected[key]), as_array(found[key]), bars, scale)
    failing = failing_keys(compared)
    if noise and failing:
        compared = excused(compared, _noise_floors(reference, candidate, failing))
        left = [key for key in failing_keys(compared) if key not in candidate.against]
        replaced = candidate.against.keys() - candidate.places.keys()  # the others are tensors of the method alone
        if left and candidate.noise and not replaced:  # a method may round more often than the reference
            compared = excused(compared, candidate.noise(left))
    if listed:
        compared = spread_out(compared, expected, found)
    return tuple(record(key, where[key], c, note=candidate.notes.get(key)) for key, c in compared.items())


def tolerance_of(
    problem: Problem, policy: TolerancePolicy, key: TensorKey, dtype: str, *, compute: str | None = None
) -> Tolerance:
    """Return the tolerance of a tensor of this dtype, "" for none.

    `compute` is the dtype that it was computed in, None for the problem's.
    """
    compute = compute or compute_dtype(problem.precision)
    return policy.for_tensor(key.path, dtype or compute, compute)


def _is_none(key: TensorKey, expected: Mapping[TensorKey, Any], found: Any) -> bool:
    """Whether a zero stands for no gradient, which the other side has: behind integers, such as an embedding's."""
    return key in expected and expected[key] is None and found is not None and is_zero(as_array(found))


def compared_tensors(
    where: Mapping[TensorKey, TensorPlace],
    expected: Mapping[TensorKey, Any],
    found: Mapping[TensorKey, Any],
    tolerance: Callable[[TensorKey, str], Tolerance],
    *,
    brief: bool = False,
) -> dict[TensorKey, Comparison]:
    """Compare the tensors that both sides have, in report order; `brief` as in `compare`.

    `tolerance` is called with the key and the dtype of a tensor; the dtype is "" if both sides are None.
    """

    def one(key: TensorKey) -> Comparison:
        gradient = not is_value(key)
        return compared_tensor(expected[key], found[key], partial(tolerance, key), gradient=gradient, brief=brief)

    return {key: one(key) for key in _in_order(where, expected, found)}


def compared_tensor(
    left: Any, right: Any, tolerance: Callable[[str], Tolerance], *, gradient: bool, brief: bool = False
) -> Comparison:
    """Compare two tensors where they are, if a worker can, else here; `tolerance` is called with their dtype."""
    if isinstance(right, Agreeing):
        return right.comparison
    if left is not None and right is not None and (is_remote(left) or is_remote(right)):
        there = compared_there(left, right, tolerance(tf.as_dtype(left.dtype).name), gradient=gradient)
        if there is not None:
            return there
    left, right = as_array(left), as_array(right)
    dtype = str(getattr(left if left is not None else right, "dtype", ""))
    return compare(left, right, tolerance(dtype), gradient=gradient, brief=brief)


def is_value(key: TensorKey) -> bool:
    """Whether the tensor is a value, not a gradient."""
    return key.kind in VALUES or key.quantity == "value"


def failing_keys(compared: Mapping[TensorKey, Comparison]) -> list[TensorKey]:
    """Return the keys of the tensors that a noise floor may excuse: those that fail by their difference alone."""
    return [key for key, comparison in compared.items() if comparison.status == "mismatch"]


def excused(compared: Mapping[TensorKey, Comparison], floors: Mapping[TensorKey, float]) -> dict[TensorKey, Comparison]:
    """Return `compared` with the noise floor of each failing tensor, which is `close` if that covers its difference."""
    covered = {key: excuse(compared[key], floors[key]) for key in failing_keys(compared) if key in floors}
    return {**compared, **covered}


def spread_out(
    compared: Mapping[TensorKey, Comparison], expected: Mapping[TensorKey, Any], found: Mapping[TensorKey, Any]
) -> dict[TensorKey, Comparison]:
    """Return `compared` with the spread of the errors of each failing tensor."""
    return {key: with_spread(c, as_array(expected[key]), as_array(found[key])) for key, c in compared.items()}


def _scale(candidate: Gradients) -> float:
    """Return the largest element of all tensors that are compared within error bars."""
    judged = [as_array(candidate.against[key]) for key in candidate.error_bars]
    return max((largest(array) for array in judged), default=0.0)


def _noise_floors(reference: Reference, candidate: Gradients, keys: Collection[TensorKey]) -> Mapping[TensorKey, float]:
    """Return the noise floors of the tensors of `keys`, each measured for the side that it was compared with."""
    own = [key for key in keys if key in candidate.against]
    floors = dict(candidate.noise(own)) if own and candidate.noise else {}
    if len(own) < len(keys):
        floors |= {key: reference.noise_floors[key] for key in keys if key not in candidate.against}
    return floors


def first_divergence(tensors: Sequence[TensorReport]) -> str | None:
    """Return the path of the `first_wrong` tensor; None if none is wrong."""
    first = first_wrong(tensors)
    return None if first is None else first.path


def first_wrong(tensors: Sequence[TensorReport]) -> TensorReport | None:
    """Return the first wrong tensor in the order of the backward pass; None if none is wrong.

    Forward values come first: wrong ones make every gradient wrong. Then come the gradients from the last segment to
    the first; in each segment the cotangents it receives come before the weights, and later layers before earlier ones.
    The results of a training step come last: the iteration count, the optimizer's slots, then the updated weights.
    """
    wrong = [(position, tensor) for position, tensor in enumerate(tensors) if tensor.failed]
    return min(wrong, key=lambda pair: _backward_rank(*pair))[1] if wrong else None


_RANK = {"output": 0, "loss": 1, "jacobian": 2, "boundary": 2, "weight": 2, "input": 3, "state": 4, "optimizer": 6}
_ITERATION_RANK, _UPDATED_RANK = 5, 7
_WITHIN_SEGMENT = {"boundary": 0, "weight": 1}


def _backward_rank(position: int, tensor: TensorReport) -> tuple[int, int, int, int]:
    rank = _RANK[tensor.kind]
    if tensor.kind == "optimizer" and tensor.name == "iteration":
        rank = _ITERATION_RANK
    elif tensor.kind == "weight" and tensor.quantity == "value":
        rank = _UPDATED_RANK
    segment = max(tensor.segments or ((-1,) if tensor.segment is None else (tensor.segment,)))
    return rank, -segment, _WITHIN_SEGMENT.get(tensor.kind, 2), -position


def _in_order(
    where: Mapping[TensorKey, TensorPlace], reference: Mapping[TensorKey, Any], candidate: Mapping[TensorKey, Any]
) -> list[TensorKey]:
    """Return the keys that both sides have, in report order.

    Outputs and loss come first, then inputs, the weights and boundaries of each segment, then state. In training the
    updated weights of a segment follow its gradients, and the optimizer's slots come last.
    """
    order = {key: i for i, key in enumerate(reference)}

    def rank(key: TensorKey) -> tuple[int, int, int, int]:
        segments = where[key].segments
        within = _UPDATED if key.kind == "weight" and key.quantity == "value" else _WITHIN.get(key.kind, 0)
        return _REPORT_RANK[key.kind], segments[0] if segments else _LAST, within, order[key]

    return sorted((key for key in reference if key in candidate), key=rank)


_REPORT_RANK = {
    "output": 0,
    "loss": 1,
    "input": 2,
    "weight": 3,
    "boundary": 3,
    "jacobian": 3,
    "state": 4,
    "optimizer": 5,
}
_WITHIN = {"weight": 0, "boundary": 1, "jacobian": 2}
_UPDATED = 3
_LAST = 1 << 30  # after every segment


def record(
    key: TensorKey, where: TensorPlace, c: Comparison, *, note: str | None = None, step: int | None = None
) -> TensorReport:
    """Return the record of one compared tensor. `step` is the training step, from 1; None outside of training."""
    if c.status == "absent":
        c = replace(c, shape=where.shape, dtype=where.dtype)
    notes = (c.note, note) if c.status == "missing" else (c.note or note,)
    return TensorReport(
        kind=key.kind,
        segment=where.segments[0] if where.segments else None,
        layer=where.layer,
        name=where.name,
        path=key.path,
        **vars(replace(c, note="; ".join(filter(None, notes)) or None)),
        segments=where.segments if len(where.segments) > 1 else None,
        step=step,
        quantity=None if step is None else "value" if is_value(key) else "gradient",
    )
