"""Reasons why a gradient is None: the traced forward pass is followed from the variable to where it stops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.comparing.gradient_flow import Stop, traced
from gradcheck.config.keyed import listed
from gradcheck.keras_private import all_layers, global_seed, own_weights

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gradcheck.comparing.gradient_flow import Trace
    from gradcheck.problem.problem import Problem, TensorKey

#: The names that operations have in users' code.
_CALLED = {
    "PyFunc": "tf.numpy_function",
    "PyFuncStateless": "tf.numpy_function",
    "EagerPyFunc": "tf.py_function",
    "StopGradient": "tf.stop_gradient",
    "PartitionedCall": "a tf.function",
    "StatefulPartitionedCall": "a tf.function",
}
_MOST = 2  # the most places that one note names


def why_none(problem: Problem, absent: Iterable[TensorKey], zero: Iterable[TensorKey] = ()) -> dict[TensorKey, str]:
    """Return, for each weight and input in `absent` and `zero`, a note on what stops its gradient.

    The forward pass is traced once as a graph and not run; state is unchanged.

    Args:
        problem: the problem of the reference.
        absent: the tensors whose reference gradient is None.
        zero: the tensors whose reference gradient is zero everywhere; most zeros are no mistake, so that they have a
            note only if something stops the gradient.
    """
    absent = set(absent)
    wanted = absent | set(zero)
    # A graph captures the handle of a variable, not the variable.
    sources = {w.key: w.variable.value.handle for w in problem.weights if w.key in wanted}
    positions = {problem.input_key(i): i for i in range(len(problem.batch.x))}
    inputs = {key: position for key, position in positions.items() if key in wanted}
    if not sources and not inputs:
        return {}
    trace = traced(problem)
    if trace.error is not None:
        return dict.fromkeys(wanted, f"the forward pass leaves TensorFlow: {trace.error}")
    starts = {key: trace.inputs[position] for key, position in inputs.items()}
    starts |= {key: trace.captured.get(id(handle)) for key, handle in sources.items()}
    stopped = {key: _where_it_stops(trace, tensor) for key, tensor in starts.items() if tensor is not None}
    return {
        key: stopped.get(key) or (_never_read(problem, key) if tensor is None else _lost(trace, tensor))
        for key, tensor in starts.items()
        if key in absent or stopped.get(key)
    }


def untracked_variables(problem: Problem) -> tuple[str, ...]:
    """Return the names of variables that the forward pass uses and the model does not track.

    They have no row in the report, no optimizer trains them, and they are not restored between methods.
    """
    trace = traced(problem)
    model_variables = [*problem.model.variables, *(s.variable for s in problem.state.variables)]
    # Keras's global seed generator belongs to no model, and is restored with the state.
    known = {id(v.value.handle) for v in (*model_variables, global_seed())}
    return tuple(str(v.name).removesuffix(":0") for v in trace.variables if id(v.handle) not in known)


def _never_read(problem: Problem, key: TensorKey) -> str:
    """Return a note on a variable that the forward pass does not use, and on tensors computed from it earlier."""
    if key.path in problem.captured_in:
        holders = listed(problem.captured_in[key.path])
        return f"the forward pass never reads it: it was captured as a constant while the model was built ({holders})"
    variable = next(weight.variable for weight in problem.weights if weight.key == key)
    layers = all_layers([problem.model])
    owner = next((layer for layer in layers if any(v is variable for v in own_weights(layer))), None)
    attributes = {} if owner is None else vars(owner)
    kept = [name for name, value in attributes.items() if isinstance(value, tf.Tensor)]
    also = f"; its layer keeps tensors that were computed before ({listed(kept)}): no gradient passes" if kept else ""
    return f"the forward pass never reads it{also}"


def _where_it_stops(trace: Trace, source: Any) -> str:
    """Return what stops the gradient between `source` and the loss; empty if nothing does."""
    if not _can_have_one(source):
        return ""
    stops = trace.follow(source).stops
    said = list(dict.fromkeys(f"{_stop(trace, stop)}{stop.place}" for stop in stops))
    more = f", and {len(said) - _MOST} more" if len(said) > _MOST else ""
    return f"{_assigned(trace, source)}the gradient stops at {'; '.join(said[:_MOST])}{more}" if said else ""


def _lost(trace: Trace, source: Any) -> str:
    """Return why there is no gradient although nothing on the way to the loss stops it."""
    if not _can_have_one(source):
        return f"{source.dtype.name} has no gradient"
    if trace.follow(source).arrives:
        return f"{_assigned(trace, source)}it has one in a graph: only what runs eagerly (`.numpy()`) can lose it"
    return f"{_assigned(trace, source)}its value does not reach the loss"


def _can_have_one(source: Any) -> bool:
    return bool(source.dtype.is_floating or source.dtype.is_complex or source.dtype == tf.resource)


def _assigned(trace: Trace, source: Any) -> str:
    return "the forward pass assigns to it; " if trace.is_assigned(source) else ""


def _stop(trace: Trace, stop: Stop) -> str:
    """Return a phrase for an operation that a gradient does not pass."""
    operation = stop.operation
    if "Assign" in operation.type:
        return f"the assignment to variable {trace.name(operation.inputs[0])}: its value is state, not a function of it"
    if operation.type in _CALLED:
        return _CALLED[operation.type]
    # In a graph tf.custom_gradient leaves this attribute on an IdentityN, and nothing else of its name.
    if any(attribute == "_gradient_op_type" for attribute in operation.node_def.attr):
        return "a tf.custom_gradient that returns None for it"
    made = {output.dtype for output in operation.outputs}
    if all(not dtype.is_floating and not dtype.is_complex for dtype in made):
        return f"{operation.type}, which makes {listed(sorted(dtype.name for dtype in made))}"
    return f"{operation.type}, which has no gradient"
