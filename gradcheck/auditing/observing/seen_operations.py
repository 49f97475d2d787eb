"""The operations that TensorFlow runs, or puts into a graph: it tells of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.auditing.observing.flow import READS, is_cut
from gradcheck.user_calls.lines import user_line

if TYPE_CHECKING:
    from gradcheck.auditing.observing.script_step import ScriptStep
    from gradcheck.auditing.watch import Watch

_ASSIGNMENTS = frozenset(
    {"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"}
    | {"ResourceScatterUpdate", "ResourceScatterSub", "ResourceScatterAdd"}
)
_DIFFERENCES = frozenset({"AssignAddVariableOp", "AssignSubVariableOp"})


class Operations:
    """What is noted of them."""

    def __init__(self, watch: Watch) -> None:
        """Note for `watch`."""
        self._watch = watch

    def ran(  # noqa: PLR0917 - called by TensorFlow
        self,
        op: str | bytes,
        inputs: Any,
        attributes: Any,  # noqa: ARG002 - TensorFlow gives it
        outputs: Any,
        op_name: Any = None,  # noqa: ARG002 - as above
        graph: Any = None,
    ) -> None:
        """Note an operation that ran, or was put into `graph`; the arguments are TensorFlow's."""
        here = self._watch.here
        if not self._watch.watching or here.ours or here.applying:
            return
        with self._watch.safely():
            self._observed(op if isinstance(op, str) else op.decode(), inputs, outputs, graph)

    def _observed(self, op: str, inputs: Any, outputs: Any, graph: Any) -> None:
        here = self._watch.here
        step = self._watch.step(graph)
        assigns = op in _ASSIGNMENTS
        if here.asking:
            if assigns and step is not None:
                step.moved_by_backward[inputs[0]._id] = (inputs[0], inputs[-1].dtype)  # noqa: SLF001
            if not self._watch.active(graph):
                return
        if graph is not None and (assigns or op in READS):
            self._find_handle(graph, inputs[0])
        if assigns:
            self._assigned(op, graph, step, inputs)
            return
        if here.active and op in READS:
            reads = self._watch.flow.reads
            reads.setdefault(self._watch.flow.handle(inputs[0]._id), len(reads))  # noqa: SLF001
        tapes = tuple(record.number for record in here.active if record.graph is graph)
        carries = self._watch.flow.carries(op, inputs)
        if step is not None and (tapes or not step.updates):
            if tapes and graph is None:
                self._watch.crossings.use(inputs)
            line = user_line() if carries or (tapes and is_cut(op, inputs, outputs)) else None
            self._watch.flow.ran(op, inputs, outputs, tapes=tapes, line=line, graph=graph is not None)
            self._watch.entrances.ran(step, op, outputs, taped=bool(tapes))
        elif carries:
            self._watch.flow.ran(op, inputs, outputs, tapes=(), line=user_line(), graph=graph is not None)

    def _find_handle(self, graph: Any, tensor: Any) -> None:
        if tensor._id not in self._watch.flow.handles:  # noqa: SLF001
            for outside, inside in graph.captures:
                outer = self._watch.flow.handle(outside._id)  # noqa: SLF001
                self._watch.flow.handles[inside._id] = outer  # noqa: SLF001

    def _assigned(self, op: str, graph: Any, step: ScriptStep | None, inputs: Any) -> None:
        handle, value = self._watch.flow.handle(inputs[0]._id), inputs[-1]  # noqa: SLF001
        trained, shares = self._watch.trial.variables.get(handle), self._watch.flow.shares(value)
        if trained is None and shares and op in _DIFFERENCES:
            trained = self._watch.trial.made_by_hand(step, handle)
        if trained is None:
            if step is not None:
                step.moves[handle] = step.moves.get(handle, 0) + 1
            if graph is None:
                self._watch.flow.assigned(op, handle, shares)
            elif shares or handle in self._watch.flow.accumulators:
                self._watch.trial.stored(op, handle, shares)
                self._watch.flow.accumulators.add(handle)
            if step is not None and graph is None and handle in self._watch.flow.new_handles:
                self._watch.entrances.created(step, inputs[0], value)
        elif shares:
            self._watch.trial.assigned(graph, trained, op, inputs, shares)
        elif step is not None and trained.pending:
            step.updates += 1  # by values that come from outside of TensorFlow
            step.assigned.setdefault(handle, user_line())
