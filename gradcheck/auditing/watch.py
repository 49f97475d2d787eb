"""Watching a script: TensorFlow and Keras tell of tapes, gradient calls, operations, updates and compiled functions."""

from __future__ import annotations

import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.eager import tape  # the stack of tapes of a thread
from tensorflow.python.eager.polymorphic_function import concrete_function  # where compiled functions are called
from tensorflow.python.framework import (  # where values enter, where operations are told of, where tracing begins
    constant_op,
    func_graph,
    op_callbacks,
    ops,
)

from gradcheck.auditing.flow import CUTS, ENTRANCES, Flow, Node, Share
from gradcheck.auditing.lines import Line, user_line
from gradcheck.auditing.patches import Patches
from gradcheck.auditing.records.crossings import Crossings
from gradcheck.auditing.step import Call, Link, Loss, ScriptTape, Step, identity
from gradcheck.auditing.traces import Exports
from gradcheck.auditing.updates import Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.errors import GradcheckError
    from gradcheck.results.report import RunReport

_ASSIGNMENTS = frozenset({"AssignVariableOp", "AssignAddVariableOp", "AssignSubVariableOp"})
_SCATTERS = frozenset({"ResourceScatterUpdate", "ResourceScatterSub", "ResourceScatterAdd"})
#: More updates than this without an end of the step: some tape is never asked.
_MOST_UPDATES = 4


class _Here(threading.local):
    """What holds for one thread.

    Attributes:
        active: the script's tapes that record now.
        asking: how many gradient calls of the script are being served.
        ours: how many computations of our own run.
        applying: how many `apply` of optimizers run.
        outer: the step whose tape is on this thread's stack.
        told: the callback that TensorFlow calls for operations of this thread.
    """

    def __init__(self) -> None:
        """Nothing runs."""
        self.active: list[ScriptTape] = []
        self.asking = self.ours = self.applying = self.calling = 0
        self.outer: Step | None = None
        self.told: Any = None


class Watch:
    """What a script does with gradients, from entering to leaving, and the judgement of its updates.

    Args:
        options: what is to be watched.
        end: called before the first forward pass after the last update that is to be watched.
        tell: called with a line of progress.
    """

    def __init__(
        self, options: AuditOptions, *, end: Callable[[], None] = lambda: None, tell: Callable[[str], None] = print
    ) -> None:
        """Prepare; nothing is watched yet."""
        self.options, self._end, self._tell = options, end, tell
        self.flow, self.exports = Flow(), Exports()
        self.trial = Trial(self)
        self.crossings = Crossings(self)
        self._patches, self._here = Patches(), _Here()
        self._tapes: weakref.WeakKeyDictionary[Any, ScriptTape] = weakref.WeakKeyDictionary()
        self._steps: weakref.WeakKeyDictionary[Any, Step] = weakref.WeakKeyDictionary()
        self._step: Step | None = None
        self._left: dict[int, Line] = {}
        self.numbers = iter(range(1, 1 << 60))
        self._groups = 0
        self.watching = False

    # From the outside

    @property
    def updates(self) -> int:
        """The updates so far: groups of events, such as several `apply` of one step."""
        return self._groups + bool(self._step and self._step.updates)

    def report(self, *, name: str, file: str, seconds: float, error: GradcheckError | None = None) -> RunReport:
        """Return the record of what was seen."""
        from gradcheck.auditing.report import run_report  # noqa: PLC0415 - reports import what is watched

        return run_report(self, name=name, file=file, seconds=seconds, error=error)

    def __enter__(self) -> Watch:
        put, wrap = self._patches.put, self._patches.wrap
        wrap(tf.GradientTape, "_push_tape", self._push)
        wrap(tf.GradientTape, "_pop_tape", self._pop)
        wrap(tf.GradientTape, "watch", self._watch)
        wrap(tf.GradientTape, "gradient", self._gradient)
        wrap(tf.GradientTape, "jacobian", self._jacobian)
        wrap(tf.GradientTape, "batch_jacobian", self._batch_jacobian)
        wrap(constant_op, "convert_to_eager_tensor", self._convert)
        wrap(ops._EagerTensorBase, "numpy", self._numpy)  # noqa: SLF001 - the only hook
        wrap(func_graph, "func_graph_from_py_func", self._trace)
        wrap(concrete_function.ConcreteFunction, "_call_flat", self._call)
        wrap(keras.optimizers.Optimizer.__mro__[1], "__init__", self._optimizer)
        wrap(keras.optimizers.LossScaleOptimizer, "scale_loss", self._scale_loss)
        self._patched_applies: set[type] = set()
        for kind in _subclasses(keras.optimizers.Optimizer.__mro__[1]):
            self._patch_apply(kind)
        self.trial.patch(put, wrap)
        self.watching = True
        self._attend()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.exports.read()
        self._close()

    def stop(self) -> None:
        """Watch no more; what was seen of an open step is not judged."""
        self.watching = False
        if self._here.told is not None:
            op_callbacks.remove_op_callback(self._here.told)
        self._patches.undo()
        self._record_on_thread(None)

    def _end_if_enough(self) -> None:
        most = self.options.steps
        if most is not None and self._groups >= self.options.skip + most:
            self.watching = False
            self._record_on_thread(None)
            self._end()

    # Steps

    def step(self, graph: Any) -> Step | None:
        """Return the open step of a graph, or of eager code."""
        return self._step if graph is None else self._steps.get(graph)

    def _begun(self, graph: Any) -> Step:
        """Return the step that a tape which opens now belongs to."""
        now = self.step(graph)
        waiting = now is not None and any(not record.asked and record.tape() is not None for record in now.tapes)
        if now is not None and (not now.updates or (waiting and now.updates < _MOST_UPDATES)):
            return now
        if graph is None:
            self._close()
            self._end_if_enough()
            self.flow.begin()
            self._step = now = Step(next(self.numbers))
        else:
            self._steps[graph] = now = Step(next(self.numbers), graph)
        return now

    def _close(self) -> None:
        if self._step is not None:
            self.crossings.close(self._step)
            self.trial.closed(self._step)
            if self._step.updates:
                self.counted()
        self._step = None

    def counted(self, ran: int = 1) -> None:
        """Count updates."""
        self._groups += ran
        most = self.options.steps
        self._tell(f"update {self._groups}" + (f" of {most + self.options.skip}" if most else ""))

    @property
    def skipped(self) -> bool:
        """Whether the current update comes before those that are to be judged."""
        return self._groups < self.options.skip

    # Tapes

    def _record_on_thread(self, step: Step | None) -> None:
        """Put the tape of a step on this thread's stack, in the place of another one."""
        here = self._here
        if here.outer is not step:
            if here.outer is not None:
                here.outer.off()
            if step is not None:
                step.on()
            here.outer = step

    def _attend(self) -> None:
        """Let TensorFlow tell of the operations of this thread, if it does not yet."""
        if self._here.told is None:
            self._here.told = self._ran
            op_callbacks.add_op_callback(self._here.told)

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Compute something of our own: seen by no tape, and not recorded."""
        here = self._here
        outer = here.outer
        raw = [one._tape for record in here.active if (one := record.tape()) is not None]  # noqa: SLF001
        self._record_on_thread(None)
        for recording in raw:
            tape.pop_tape(recording)
        here.ours += 1
        try:
            yield
        finally:
            here.ours -= 1
            for recording in raw:
                tape.push_tape(recording)
            self._record_on_thread(outer)

    @property
    def _idle(self) -> bool:
        """Whether what happens now on this thread is not the script's own doing."""
        here = self._here
        return not self.watching or bool(here.ours or here.asking)

    def active(self, graph: Any) -> tuple[ScriptTape, ...]:
        """Return the script's tapes that record in a graph, or in eager code, on this thread."""
        return tuple(record for record in self._here.active if record.graph is graph)

    def _push(self, original: Any, recording: Any) -> None:
        original(recording)
        if self._idle or self._here.applying:
            return
        self._attend()
        graph = _graph()
        record = self._tapes.get(recording)
        step = self._begun(graph)
        if not self.watching:  # that was enough, and the script goes on
            return
        if record is None:
            record = ScriptTape(next(self.numbers), user_line(), graph, weakref.ref(recording))
            self._tapes[recording] = record
            step.tapes.append(record)
        self._here.active.append(record)
        self._record_on_thread(step)

    def _pop(self, original: Any, recording: Any) -> None:
        original(recording)
        record = self._tapes.get(recording)
        if record is not None and record in self._here.active:
            self._here.active.remove(record)
            self._rest()

    def _rest(self) -> None:
        """Stop recording where nothing belongs to the step any more, or to another graph."""
        here = self._here
        if here.active:
            outer = self.step(here.active[-1].graph)
            self._record_on_thread(outer)
        elif here.outer is not None and (here.outer.updates or here.outer.graph is not _graph()):
            self._record_on_thread(None)

    def _watch(self, original: Any, recording: Any, tensor: Any) -> None:
        original(recording, tensor)
        step = self.step(_graph())
        if not self._idle and recording in self._tapes and step is not None:
            original(step.outer, tensor)
            for one in tf.nest.flatten(tensor):
                step.watched[identity(one)] = one
                self._link_stopped(step, one)

    def _link_stopped(self, step: Step, tensor: Any) -> None:
        """Link a tensor behind `stop_gradient` that a tape watches: its cotangent is carried on by hand."""
        made = self.flow.op(identity(tensor))
        if made is not None and made.type == "StopGradient":
            origin = self.flow.stopped.get(identity(tensor))
            recorded = None if origin is None else self.flow.op(identity(origin))
            if recorded is not None and recorded.tapes:
                step.links.append(Link(tensor, origin, "", made.line, user_line()))

    # Gradient calls

    def _gradient(self, original: Any, recording: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        return self._ask("gradient", original, recording, target, sources, *args, **kwargs)

    def _jacobian(self, original: Any, recording: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        return self._ask("jacobian", original, recording, target, sources, *args, **kwargs)

    def _batch_jacobian(self, original: Any, recording: Any, target: Any, source: Any, *args: Any, **kwargs: Any) -> Any:
        return self._ask("batch_jacobian", original, recording, target, source, *args, **kwargs)

    def _ask(self, kind: Any, original: Any, recording: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        record = self._tapes.get(recording)
        if self._idle or record is None:
            return original(recording, target, sources, *args, **kwargs)
        here, graph, line = self._here, _graph(), user_line()
        self.trial.recorded(recording.watched_variables())
        nested = any(other is not record for other in self.active(graph))
        outer = here.outer
        if not nested:
            self._record_on_thread(None)
        here.asking += 1
        try:
            results = original(recording, target, sources, *args, **kwargs)
        finally:
            here.asking -= 1
            if not nested:
                self._record_on_thread(outer)
            record.asked = True
        step = self.step(graph)
        if step is not None:
            seeds = args[0] if kind == "gradient" and args else kwargs.get("output_gradients")
            flat = [s for s in tf.nest.flatten(sources)]
            given = tf.nest.flatten(seeds) if seeds is not None else None
            targets = tf.nest.flatten(target)
            call = Call(
                number=next(self.numbers),
                line=line,
                kind=kind,
                tape=record,
                step=step,
                targets=targets,
                seeds=given,
                sources=flat,
                ids=[identity(source) for source in flat],
                results=_flat_results(results, len(flat)),
            )
            self._called(step, call, nested=nested)
        self._rest()
        return results

    def _called(self, step: Step, call: Call, *, nested: bool) -> None:
        step.calls.append(call)
        self.trial.called(call)
        for i, result in enumerate(call.results):
            values = result.values if isinstance(result, tf.IndexedSlices) else result
            if values is not None:
                self.flow.carry(values, {Node(call.number, i): Share()})
        plain = all(_single(target) for target in call.targets) and call.kind != "batch_jacobian"
        if plain and call.seeds is None:
            known = {id(loss.target): loss for loss in step.losses}
            call.losses = [known.get(id(target)) or Loss(target, None, call.line, step) for target in call.targets]
            new = [loss for loss in call.losses if id(loss.target) not in known]
            step.losses += new
            if not nested:
                for loss in new:
                    self.trial.refer(step, loss)

    # Operations

    def _ran(  # noqa: PLR0913, ARG002 - called by TensorFlow
        self, op: str, inputs: Sequence[Any], attributes: Any, outputs: Sequence[Any], op_name: Any = None, graph: Any = None
    ) -> None:
        here = self._here
        if not self.watching or here.ours or here.applying:
            return
        op = op.decode() if isinstance(op, bytes) else op
        step = self._step if graph is None else self._steps.get(graph)
        assigns = op in _ASSIGNMENTS or op in _SCATTERS
        if here.asking:
            if assigns and step is not None:
                step.moved_by_backward[inputs[0]._id] = (inputs[0], inputs[-1].dtype)  # noqa: SLF001
            if not self.active(graph):
                return
        if graph is not None and op in ("ReadVariableOp", *_ASSIGNMENTS, *_SCATTERS):
            self._find_handle(graph, inputs[0])
        if assigns:
            self._assigned(op, graph, step, inputs)
            return
        tapes = tuple(record.number for record in here.active if record.graph is graph)
        if step is None or (step.updates and not tapes):
            if any(i._id in self.flow.carried for i in inputs):  # noqa: SLF001
                self.flow.ran(op, inputs, outputs, tapes=(), graph=graph is not None)
            return
        cuts = op in CUTS and bool(tapes) and (op != "Cast" or (inputs[0].dtype.is_floating and outputs[0].dtype.is_integer))
        carries = any(tensor._id in self.flow.carried for tensor in inputs)  # noqa: SLF001
        line = user_line() if cuts or carries else None
        if tapes and graph is None:
            self.crossings.use(inputs)
        self.flow.ran(op, inputs, outputs, tapes=tapes, line=line, graph=graph is not None)
        if op == "StopGradient":
            self.flow.stopped[outputs[0]._id] = inputs[0]  # noqa: SLF001
        if tapes and outputs and outputs[0].dtype in (tf.float16, tf.bfloat16):
            step.precisions.add(outputs[0].dtype.name)
        if op in ENTRANCES and graph is None:
            for output in outputs:
                self._entered(output)

    def _find_handle(self, graph: Any, tensor: Any) -> None:
        if tensor._id not in self.flow.handles:  # noqa: SLF001
            for outside, inside in graph.captures:
                outer = self.flow.handle(outside._id)  # noqa: SLF001
                self.flow.handles[inside._id] = outer  # noqa: SLF001

    def _assigned(self, op: str, graph: Any, step: Step | None, inputs: Sequence[Any]) -> None:
        handle, value = self.flow.handle(inputs[0]._id), inputs[-1]  # noqa: SLF001
        trained = self.trial.trained(handle)
        if trained is None:
            self.flow.assigned(op, handle, value)
            if step is not None and graph is None and handle in self.flow.new_handles and (made := self.flow.made.get(value._id)):  # noqa: SLF001
                if made.tapes:
                    step.links.append(Link(inputs[0], value, "", None, user_line()))
            return
        shares = self.flow.shares(value)
        if shares:
            self.trial.assigned(graph, trained, op, inputs, shares)

    # Values that leave and come back

    def _numpy(self, original: Any, tensor: Any) -> Any:
        value = original(tensor)
        if not self._idle and self._step is not None:
            self._left[tensor._id] = line = user_line()  # noqa: SLF001
            if tensor.shape.rank and tensor._id in self.flow.made:  # noqa: SLF001
                self._step.exits.append((tensor._id, tuple(tensor.shape), line))  # noqa: SLF001
            elif tensor._id in self.flow.carried:  # noqa: SLF001
                self.flow.left[tensor._id] = line  # noqa: SLF001
            self.crossings.read(tensor, value, line)
        return value

    def _convert(self, original: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        tensor = original(value, *args, **kwargs)
        if not self._idle and self._step is not None and not isinstance(value, (int, float, bool, str, tf.Tensor)):
            self._attend()
            self._entered(tensor)
        return tensor

    def _entered(self, tensor: Any) -> None:
        """Find the tensor whose values came back as `tensor`."""
        size = tensor.shape.num_elements() if tensor.dtype.is_floating else 0
        step = self._step
        if not size or size < 2 or step is None or not self.flow.alive:  # noqa: PLR2004 - a single number proves nothing
            return
        with self.ours():
            found = _origin(self.flow, tensor, size)
        if found is None:
            step.entrances.append((tuple(tensor.shape), user_line()))
            return
        origin, lossy = found
        carried = self.flow.carried.get(origin._id)  # noqa: SLF001
        if carried is not None:
            self.flow.carry(tensor, carried)
        made = self.flow.made.get(origin._id)  # noqa: SLF001
        if made is not None and made.tapes:
            tape.watch(step.outer._tape, tensor)  # noqa: SLF001
            step.links.append(Link(tensor, origin, lossy, self._left.get(origin._id), user_line()))  # noqa: SLF001

    # Optimizers

    def _optimizer(self, original: Any, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        original(optimizer, *args, **kwargs)
        for kind in type(optimizer).__mro__:
            self._patch_apply(kind)

    def _scale_loss(self, original: Any, optimizer: Any, loss: Any) -> Any:
        scaled = original(optimizer, loss)
        if not self._idle and hasattr(scaled, "_id"):
            factor = tf.get_static_value(optimizer.dynamic_scale.value if optimizer.built else optimizer.initial_scale)
            self.flow.factors[scaled._id] = (loss._id, float("nan") if factor is None else float(factor))  # noqa: SLF001
        return scaled

    def _patch_apply(self, kind: type) -> None:
        if "apply" in vars(kind) and kind not in self._patched_applies:
            self._patched_applies.add(kind)
            self._patches.wrap(kind, "apply", self._apply)

    def _apply(
        self, original: Any, optimizer: Any, grads: Any, trainable_variables: Any = None, **kwargs: Any
    ) -> Any:
        here = self._here
        if self._idle or here.applying:
            return original(optimizer, grads, trainable_variables, **kwargs)
        grads = list(grads)
        variables = optimizer._trainable_variables if trainable_variables is None else list(trainable_variables)  # noqa: SLF001
        self.trial.applied(_graph(), optimizer, list(zip(variables, grads, strict=False)))
        here.applying += 1
        try:
            return original(optimizer, grads, trainable_variables, **kwargs)
        finally:
            here.applying -= 1
            self._rest()

    # Compiled functions

    def _trace(self, original: Any, name: str, python_func: Any, *args: Any, **kwargs: Any) -> Any:
        if self._idle or self._here.applying:
            return original(name, python_func, *args, **kwargs)

        def traced(*inner: Any, **named: Any) -> Any:
            try:
                return python_func(*inner, **named)
            finally:
                self._record_on_thread(None)
                step = self.step(_graph())
                if step is not None:
                    self.trial.traced(step)
                    self.crossings.close(step)

        outer = self._here.outer
        self._record_on_thread(None)
        try:
            return original(name, traced, *args, **kwargs)
        finally:
            self._record_on_thread(outer)

    def _call(self, original: Any, function: Any, tensor_inputs: Any, captured_inputs: Any) -> Any:
        here = self._here
        if self._idle or here.applying or not tf.executing_eagerly() or here.calling:
            return original(function, tensor_inputs, captured_inputs)
        if self._step is None or self._step.updates:
            self._end_if_enough()
        here.calling += 1
        try:
            return original(function, tensor_inputs, captured_inputs)
        finally:
            here.calling -= 1
            with self.ours():
                self.exports.read()


def _graph() -> Any:
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _single(tensor: Any) -> bool:
    return bool(tensor.shape.num_elements() == 1)


def _flat_results(results: Any, count: int) -> list[Any]:
    """Return the results in the order of the sources; sparse rows are one result."""
    if count == 1 and not isinstance(results, (list, tuple, dict)):
        return [results]
    flat: list[Any] = tf.nest.flatten(results)
    return flat


def _subclasses(kind: type) -> list[type]:
    return [kind, *(found for sub in kind.__subclasses__() for found in _subclasses(sub))]


def _origin(flow: Flow, tensor: Any, size: int) -> tuple[Any, str] | None:
    """Return the tensor with the same values, bit for bit or after rounding to a smaller dtype, and that dtype."""
    value = np.asarray(tensor).reshape(-1)
    if not np.isfinite(value.astype(np.float64)).all() or (value == value[0]).all():
        return None
    for dtype, ref in _alive(flow, tensor.dtype.name, size):
        if ref._id == tensor._id:  # noqa: SLF001
            continue
        other = np.asarray(ref).reshape(-1)
        if dtype == tensor.dtype.name:
            if other.tobytes() == value.tobytes():
                return ref, ""
        for small in ("float16", "bfloat16"):
            rounded = tf.cast(tf.constant(other), small)
            if np.array_equal(np.asarray(tf.cast(rounded, tf.float64)), value.astype(np.float64)):
                return ref, "" if dtype == small else small
    return None


def _alive(flow: Flow, dtype: str, size: int) -> Iterator[tuple[str, Any]]:
    names = dict.fromkeys((dtype, "float32", "float64"))
    for name in names:
        for ref in reversed(list(flow.alive.get((name, size), {}).values())):
            tensor = ref()
            if tensor is not None:
                yield name, tensor
