"""`scan`: recurrent layers in one `tf.while_loop` over a `TensorArray`, in a graph function.

`over: cell` steps the layer's cell through the sequence with the states as loop variables: gradients flow through them,
as through Keras's own loop. `over: layer` passes the chunks to a `stateful=True` layer, whose states stay in variables:
the states' gradient is lost, as with `stateful`, and the loop only hides it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import as_array
from gradcheck.cutting.cut import make_plan
from gradcheck.cutting.time.loops import CellLoop, LayerLoop
from gradcheck.errors import ConfigError
from gradcheck.handoff.execute import Execution
from gradcheck.handoff.split import split
from gradcheck.methods.along_time.stateful import stateful, time_cut
from gradcheck.numerics import TolerancePolicy, compare
from gradcheck.phrases import did_you_mean, listed
from gradcheck.problem.problem import make_segments

if TYPE_CHECKING:
    from gradcheck.config.sections.methods import ScanOptions
    from gradcheck.cutting.model_graph import Call
    from gradcheck.cutting.time.unrolled import TimeCut
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem

SAME = "its gradients equal those of `stateful`: what crosses a chunk in a variable hands no gradient back"


def scan(problem: Problem, options: ScanOptions) -> Gradients:
    """Return the whole model's gradients under one tape, with the recurrent layers (or the named one) in a loop.

    Raises:
        ConfigError: GC027 without a time split, or over a layer with chunks of unequal length; GC004 for a layer that
            is not among the recurrent ones.
    """
    time = time_cut(problem, "scan")
    chosen = _chosen(time, options)
    loops = {call.index: _loop(call, time, options, problem.batch.size) for call in chosen}
    calls = tuple(replace(c, operation=loops[c.index]) if c.index in loops else c for c in time.whole.calls)
    graph = replace(time.whole, calls=calls)
    # One segment, so that no hand-off helps: all gradients between chunks must flow through the loop itself.
    plan = make_plan(graph, [range(len(calls))], ["whole"])
    segments = make_segments(graph, plan, dtype=problem.model.dtype_policy)
    looped = replace(problem, graph=graph, plan=plan, segments=segments, time=None)
    # Eagerly `tf.while_loop` is a Python loop; only in a graph is it the operation that is to be differentiated.
    found = Execution(looped, split, execution="graph")()
    if options.over == "layer" and _equal(problem, found, stateful(problem, options)):
        return replace(found, remarks=(*found.remarks, SAME))
    return found


def _chosen(time: TimeCut, options: ScanOptions) -> tuple[Call, ...]:
    """Return the recurrent calls that run in a loop."""
    if options.layer is None:
        return time.stack.calls
    chosen = tuple(call for call in time.stack.calls if options.layer in {call.name, call.path})
    if not chosen:
        names = [call.name for call in time.stack.calls]
        raise ConfigError(
            f"scan: no recurrent layer is called {options.layer!r}",
            code="GC004",
            help=did_you_mean(options.layer, names, f"there are: {listed(names)}"),
        )
    return chosen


def _loop(call: Call, time: TimeCut, options: ScanOptions, batch_size: int) -> Any:
    """Return the layer that replaces a recurrent layer."""
    if options.over == "cell":
        return CellLoop(call.operation)
    lengths = {len(chunk) for chunk in time.stack.chunks}
    if len(lengths) > 1:
        raise ConfigError(
            "scan over a layer needs chunks of equal length, since one loop runs the same step again and again. "
            f"Received: {', '.join(str(len(chunk)) for chunk in time.stack.chunks)}",
            code="GC027",
            help="choose `chunks` so that it divides the sequence, or scan over: cell",
        )
    return LayerLoop(call.operation, chunks=len(time.stack.chunks), batch_size=batch_size)


def _equal(problem: Problem, first: Gradients, second: Gradients) -> bool:
    """Whether two methods computed the same gradient for every weight."""
    compute, policy = compute_dtype(problem.precision), TolerancePolicy()
    for weight in problem.weights:
        left, right = as_array(first.tensors[weight.key]), as_array(second.tensors[weight.key])
        tolerance = policy.for_tensor(weight.path, str(getattr(left, "dtype", compute)), compute)
        if not compare(left, right, tolerance, gradient=False).allclose:
            return False
    return True
