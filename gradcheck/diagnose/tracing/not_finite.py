"""Search for the origin of NaN or infinity: the innermost layer, in which pass, and the operation in it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow.python import pywrap_tfe  # where TensorFlow registers the function that differentiates an operation
from tensorflow.python.eager import backprop

from gradcheck.comparing.reference import GRADIENT_KINDS
from gradcheck.comparing.tensorwise import first_wrong
from gradcheck.diagnose.tracing import walk
from gradcheck.diagnose.wording import named
from gradcheck.handoff.execute import batch_tensors
from gradcheck.handoff.microbatches import micro_batches
from gradcheck.handoff.tensors import is_differentiable
from gradcheck.problem.problem import TensorKey
from gradcheck.problem.twin import float64_twin

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradcheck.diagnose.effort import Effort
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.diagnose.tracing.walk import Seen, Walk
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis, TensorReport


@dataclass(frozen=True, kw_only=True)
class Origin:
    """The origin of the first value that is not finite.

    Attributes:
        how: the computation that makes it, in words.
        layer: the path of the layer that makes it; None if no layer does.
    """

    how: str
    layer: str | None = None


def not_finite(
    problem: Problem, rows: Sequence[TensorReport], origin: Origin | None, *, beside: str
) -> Diagnosis | None:
    """Return GC703 for the tensors of `rows` that are not finite; None if all are finite.

    Args:
        problem: the problem that the rows belong to.
        rows: the report of every compared tensor.
        origin: where the first such value is made, if that is known.
        beside: the end of the sentence, about the other side of the comparison: `, in the reference too`.
    """
    broken = [row for row in rows if row.status == "nonfinite"]
    first = first_wrong(broken)
    if first is None:
        return None
    evidence = f"{first.path} is not finite{beside}"
    if origin is None and first.kind in GRADIENT_KINDS:
        evidence += "; it is the first such gradient in the order of the backward pass"
        if not {"output", "loss"} & {row.kind for row in broken}:
            evidence += ", and outputs and loss are finite: the backward pass makes it"
    return _made_at(problem, first, origin, evidence)


def not_finite_derivatives(observed: Observed, effort: Effort) -> tuple[Diagnosis, ...]:
    """Return GC703 if one of two ways of differentiating is not finite, with the layer that makes it.

    The search runs in float64; in the problem's own precision if that finds nothing, or cannot run. Gradients that are
    not finite by the tape come first: their backward pass can be followed call by call.
    """
    problem = observed.problem
    rows = {TensorKey(row.kind, row.path): row for row in observed.rows if row.status == "nonfinite"}
    by_tape = [row for key, row in rows.items() if key in observed.broken_reference]
    first = first_wrong(by_tape or list(rows.values()))
    if first is None:
        return ()
    step, searches = "the search for what is not finite", (_origin_in_float64, origin)
    tried = (effort.attempt(step, partial(search, problem, dropped=not by_tape)) for search in searches)
    evidence = f"{first.path} is not finite {_by(observed, TensorKey(first.kind, first.path))}"
    return (_made_at(problem, first, next(filter(None, tried), None), evidence),)


def _by(observed: Observed, key: TensorKey) -> str:
    """Return which way of differentiating gives NaN or infinity."""
    way = observed.gradients.way
    if key not in observed.broken_reference:
        return f"{way}, and is by the tape"
    return f"by the tape and {way}" if observed.is_broken(key) else f"by the tape, and is {way}"


def _made_at(problem: Problem, row: TensorReport, made: Origin | None, evidence: str) -> Diagnosis:
    """Return GC703 of `row`, at the layer that makes it if that is known."""
    if made is None:
        return named("GC703", evidence, segment=row.segment, layer=row.layer)
    layer = made.layer
    segment = row.segment if layer is None else _segment(problem, layer)
    where = None if layer is None else f"layer {layer}"
    return named("GC703", f"{evidence}: {made.how}", where=where, segment=segment, layer=layer)


def _origin_in_float64(problem: Problem, *, dropped: bool) -> Origin | None:
    with float64_twin(problem) as twin:
        return origin(twin, dropped=dropped)


def origin(problem: Problem, *, dropped: bool = False) -> Origin | None:
    """Return where the whole model makes the first value that is not finite; None if all are finite.

    With `dropped` an operation counts whose gradient is not finite and reaches no weight and no input.
    """
    # Slice by slice, as the reference runs: a layer may fail on one slice alone.
    for part in micro_batches(problem, batch_tensors(problem)):
        with _differentiated() as operations:
            seen = walk.whole(problem, part)
        first = operations[0] if operations else None
        found = _given(problem, seen) or _forward(seen)
        if found is None and dropped and first is not None:
            found = Origin(how=f"{first.words}, and the tape drops what comes of it further back")
        found = found or _backward(problem, seen, first)
        if found is not None:
            return found
    return None


def _given(problem: Problem, seen: Walk) -> Origin | None:
    """Return an input or a weight that is not finite before anything is computed."""
    for name, tensor in zip(problem.input_names, seen.inputs, strict=True):
        if not _finite([tensor]):
            return Origin(how=f"the input {name} is not finite itself")
    for weight in problem.weights:
        if not _finite([weight.variable.value]):
            return Origin(how=f"the weight {weight.path} is not finite itself", layer=weight.layer)
    return None


def _forward(seen: Walk) -> Origin | None:
    """Return the first call, inner before outer, that makes such a value from finite tensors; otherwise the loss."""
    for call in seen.calls:
        if _finite(call.given) and not _finite(call.made):
            layer = seen.path(call)
            return Origin(how=f"{layer} makes it of finite inputs and weights in the forward pass", layer=layer)
    if _finite(seen.outputs) and not _finite([seen.data_loss]):
        return Origin(how="the loss makes it: the outputs of the model are finite")
    if _finite(seen.outputs) and not _finite([seen.extra]):
        return Origin(how="what layers and weight penalties add to the loss is not finite, and the outputs are")
    return None


def _backward(problem: Problem, seen: Walk, operation: _Operation | None) -> Origin | None:
    """Return the innermost call, the first in backward order, that makes such a gradient from finite ones."""
    by = "" if operation is None else f": {operation.words}"
    if not _finite(seen.cotangents([*seen.outputs, *walk.hidden_logits(seen.outputs)])):
        return Origin(how=f"the loss is finite, and its gradient for the outputs is not{by}")
    making = [call for call in seen.calls if _makes(seen, call)]
    inner = [call for call in making if not any(call.is_around(other) for other in making)]
    if inner:
        # Calls are listed in the order in which they ended: the backward pass comes to the last one first.
        layer = seen.path(inner[-1])
        passes = "what it takes and returns and the gradient that comes back to it are finite, and what it hands back"
        return Origin(how=f"the backward pass of {layer} makes it ({passes} is not){by}", layer=layer)
    for weight in problem.weights:
        penalised = weight.variable.regularizer is not None
        if penalised and not _finite(seen.cotangents([weight.variable.value])):
            how = f"the weight penalty of {weight.path} makes it in the backward pass{by}"
            return Origin(how=how, layer=weight.layer)
    return None


def _makes(seen: Walk, call: Seen) -> bool:
    """Whether `call` receives finite gradients and returns ones that are not, for its inputs or a weight of its own.

    A weight's gradient from several calls, or from its penalty, is not attributed to a call.
    """
    # Hidden logits too: their gradient arrives in place of the output's.
    if not _finite([*call.made, *seen.cotangents([*call.made, *call.hidden])]):
        return False
    alone = [v.value for v in seen.own_variables(call) if v.regularizer is None]
    return not _finite(seen.cotangents([*call.given, *alone]))


def _finite(tensors: Iterable[Any]) -> bool:
    """Whether every element of `tensors` is finite; None, integers and symbolic tensors count as finite."""
    # Ragged tensors and `IndexedSlices` hold their numbers in one dense tensor.
    dense = (getattr(t, "flat_values", getattr(t, "values", t)) for t in tensors if t is not None)
    known = (t for t in dense if hasattr(t, "numpy") and is_differentiable(t))
    return all(bool(np.isfinite(np.asarray(t)).all()) for t in known)


def _segment(problem: Problem, layer: str) -> int | None:
    """Return the last segment that calls the layer at this path, or a layer around it."""
    for segment in reversed(problem.segments):
        paths = [problem.graph.calls[index].path for index in segment.plan.calls]
        if any(layer == path or layer.startswith(f"{path}/") for path in paths):
            return int(segment.plan.index)
    return None


@dataclass(frozen=True, kw_only=True)
class _Operation:
    """An operation whose gradient is not finite though it receives finite ones; `at` are its values there."""

    name: str
    at: tuple[float, ...]

    @property
    def words(self) -> str:
        """The operation in words, such as `Sqrt has no finite slope at 0 (the root in a norm, …)`."""
        # Roots and divisions have infinite slopes at zero: the value nearest to it tells most.
        values = sorted({*self.at}, key=abs)
        at = "" if not values else f" at {values[0]:.3g}" if len(values) == 1 else f" at values such as {values[0]:.3g}"
        return f"{self.name} has no finite slope{at}{_HINTS.get(self.name, '')}"


_HINTS = {
    "Sqrt": " (the root in a norm, a distance or a standard deviation)",
    "Rsqrt": " (one over the root, as in a normalisation)",
    "RealDiv": " (a division)",
    "Reciprocal": " (a division)",
    "Pow": " (a power or a root)",
}


@contextmanager
def _differentiated() -> Iterator[list[_Operation]]:
    """Collect the first operation of the backward pass whose gradient is not finite though it receives finite ones."""
    found: list[_Operation] = []
    original = backprop._gradient_function  # noqa: SLF001 - TensorFlow's own, put back below

    def run(name: str, attributes: Any, count: int, *operands: Any) -> Any:
        result = original(name, attributes, count, *operands)
        inputs, outputs, gradients = operands[:3]
        made = result if isinstance(result, (list, tuple)) else [result]
        if not found and _finite(gradients) and not _finite(made):
            found.append(_Operation(name=name, at=_values_at(inputs, outputs, made)))
        return result

    # An eager tape calls the registered function once for each operation: there is no public hook.
    pywrap_tfe.TFE_Py_RegisterGradientFunction(run)
    try:
        yield found
    finally:
        pywrap_tfe.TFE_Py_RegisterGradientFunction(original)


def _values_at(inputs: Any, outputs: Any, made: Sequence[Any]) -> tuple[float, ...]:
    """Return the operation's values where its gradient is not finite; () if the tape did not keep them."""
    # A tape keeps what the gradient function reads: for Sqrt that is the output, not the input.
    for gradient, value in zip(made, inputs or outputs or (), strict=False):
        if not _finite([gradient]) and hasattr(value, "numpy") and gradient.shape == value.shape:
            bad = np.asarray(value)[~np.isfinite(np.asarray(gradient))]
            return tuple(float(v) for v in np.unique(bad.real))
    return ()
