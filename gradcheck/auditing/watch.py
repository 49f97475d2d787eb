"""Watching a script: TensorFlow and Keras tell of tapes, gradient calls, operations, updates and compiled functions."""

from __future__ import annotations

import threading
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.eager import tape  # the stack of tapes of a thread
from tensorflow.python.framework import op_callbacks  # by which TensorFlow tells of operations

from gradcheck.auditing.observing.compiled_functions import Compiled
from gradcheck.auditing.observing.entrances import Entrances
from gradcheck.auditing.observing.exports import Exports
from gradcheck.auditing.observing.flow import Flow, Node, Share
from gradcheck.auditing.observing.optimizers import Optimizers
from gradcheck.auditing.observing.script_step import (
    GradientCall,
    ScriptStep,
    ScriptTape,
    ServedLoss,
    current_graph,
)
from gradcheck.auditing.observing.seen_operations import Operations
from gradcheck.auditing.records.crossings import Crossings
from gradcheck.auditing.trial import Trial
from gradcheck.errors import RunError
from gradcheck.user_calls.lines import user_line
from gradcheck.user_calls.patches import Patches
from gradcheck.user_calls.tape_calls import flat_results, identity, seeds_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Self

    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.errors import GradcheckError
    from gradcheck.results.report import RunReport

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
        self.outer: ScriptStep | None = None
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
        self._patches, self.here = Patches(), _Here()
        self.entrances = Entrances(self)
        self._tapes: weakref.WeakKeyDictionary[Any, ScriptTape] = weakref.WeakKeyDictionary()
        self._steps: weakref.WeakKeyDictionary[Any, ScriptStep] = weakref.WeakKeyDictionary()
        self._step: ScriptStep | None = None
        self.numbers = iter(range(1, 1 << 60))
        self._groups = 0
        self.watching = False
        self.broken: Exception | None = None

    # From the outside

    @property
    def updates(self) -> int:
        """The updates so far: groups of events, such as several `apply` of one step."""
        return self._groups + bool(self._step and self._step.updates)

    def report(self, *, name: str, file: str, seconds: float, error: GradcheckError | None = None) -> RunReport:
        """Return the record of what was seen."""
        from gradcheck.auditing.audit_report import run_report  # noqa: PLC0415 - reports import what is watched

        if self.broken is not None and error is None:
            said = f"{type(self.broken).__name__}: {self.broken}"
            error = RunError(f"the observation of the script failed, and ended: {said}", help="please report this")
        return run_report(self, name=name, file=file, seconds=seconds, error=error)

    def __enter__(self) -> Self:
        wrap = self._patches.wrap
        wrap(tf.GradientTape, "_push_tape", self._push)
        wrap(tf.GradientTape, "_pop_tape", self._pop)
        wrap(tf.GradientTape, "watch", self._watch)
        wrap(tf.GradientTape, "gradient", self._gradient)
        wrap(tf.GradientTape, "jacobian", self._jacobian)
        wrap(tf.GradientTape, "batch_jacobian", self._batch_jacobian)
        Compiled(self).patch(self._patches)
        self.entrances.patch(self._patches)
        self.trial.layers.patch(self._patches)
        Optimizers(self, self._patches)
        self.watching = True
        self.attend()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        with self.safely():
            self.exports.read()
            self._close()

    def stop(self) -> None:
        """Watch no more; what was seen of an open step is not judged."""
        self.watching = False
        if self.here.told is not None:
            op_callbacks.remove_op_callback(self.here.told)
        self._patches.undo()
        self.record_on_thread(None)

    def end_if_enough(self) -> None:
        """End the script before a forward pass, if all updates that are to be watched have been seen."""
        most = self.options.steps
        if most is not None and self._groups >= self.options.skip + most:
            self.watching = False
            self.record_on_thread(None)
            self._end()

    # Steps

    def step(self, graph: Any) -> ScriptStep | None:
        """Return the open step of a graph, or of eager code."""
        return self._step if graph is None else self._steps.get(graph)

    def _begun(self, graph: Any) -> ScriptStep:
        """Return the step that a tape which opens now belongs to."""
        now = self.step(graph)
        waiting = now is not None and any(not record.asked and record.tape() is not None for record in now.tapes)
        if now is not None and (not now.updates or (waiting and now.updates < _MOST_UPDATES)):
            return now
        if graph is None:
            self._close()
            self.end_if_enough()
            self.flow.begin()
            self._step = now = ScriptStep(next(self.numbers))
        else:
            self._steps[graph] = now = ScriptStep(next(self.numbers), graph)
        return now

    def _close(self) -> None:
        if self._step is not None:
            self.crossings.close(self._step)
            self.trial.closed(self._step)
            if self.here.outer is self._step:
                self.record_on_thread(None)
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

    def record_on_thread(self, step: ScriptStep | None) -> None:
        """Put the tape of a step on this thread's stack, in the place of another one."""
        here = self.here
        if here.outer is not step:
            if here.outer is not None:
                here.outer.off()
            if step is not None:
                step.on()
            here.outer = step

    @contextmanager
    def safely(self) -> Iterator[None]:
        """Observe without any effect on the script: an error of our own ends the observation, not the script."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it is, the script goes on
            self.broken = self.broken or error
            self.watching = False
            self.record_on_thread(None)

    def attend(self) -> None:
        """Let TensorFlow tell of the operations of this thread, if it does not yet."""
        if self.here.told is None:
            self.here.told = Operations(self).ran
            op_callbacks.add_op_callback(self.here.told)

    @contextmanager
    def ours(self) -> Iterator[None]:
        """Compute something of our own: seen by no tape, and not recorded."""
        here = self.here
        outer = here.outer
        raw = [one._tape for record in here.active if (one := record.tape()) is not None]  # noqa: SLF001
        self.record_on_thread(None)
        for recording in raw:
            tape.pop_tape(recording)
        here.ours += 1
        try:
            yield
        finally:
            here.ours -= 1
            for recording in raw:
                tape.push_tape(recording)
            self.record_on_thread(outer)

    @property
    def idle(self) -> bool:
        """Whether what happens now on this thread is not the script's own doing."""
        here = self.here
        return not self.watching or bool(here.ours or here.asking)

    def active(self, graph: Any) -> tuple[ScriptTape, ...]:
        """Return the script's tapes that record in a graph, or in eager code, on this thread."""
        return tuple(record for record in self.here.active if record.graph is graph)

    def _push(self, original: Any, recording: Any) -> None:
        original(recording)
        if self.idle or self.here.applying:
            return
        with self.safely():
            self.attend()
            graph = current_graph()
            record = self._tapes.get(recording)
            step = self._begun(graph)
            if not self.watching:  # that was enough, and the script goes on
                return
            if record is None:
                record = ScriptTape(next(self.numbers), user_line(), graph, weakref.ref(recording))
                self._tapes[recording] = record
                step.tapes.append(record)
            self.here.active.append(record)
            self.record_on_thread(step)

    def _pop(self, original: Any, recording: Any) -> None:
        original(recording)
        record = self._tapes.get(recording)
        if record is not None and record in self.here.active:
            self.here.active.remove(record)
            self.rest()

    def rest(self) -> None:
        """Stop recording where nothing belongs to the step any more, or to another graph."""
        here = self.here
        if here.active:
            outer = self.step(here.active[-1].graph)
            self.record_on_thread(outer)
        elif here.outer is not None and (here.outer.updates or here.outer.graph is not current_graph()):
            self.record_on_thread(None)

    def _watch(self, original: Any, recording: Any, tensor: Any) -> None:
        original(recording, tensor)
        step = self.step(current_graph())
        if not self.idle and recording in self._tapes and step is not None:
            with self.safely():
                original(step.outer, tensor)
                for one in tf.nest.flatten(tensor):
                    step.watched[identity(one)] = one
                    self.entrances.stopped(step, one)

    # Gradient calls

    def _gradient(self, original: Any, recording: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        return self._ask("gradient", original, recording, target, sources, *args, **kwargs)

    def _jacobian(self, original: Any, recording: Any, target: Any, sources: Any, *args: Any, **kwargs: Any) -> Any:
        return self._ask("jacobian", original, recording, target, sources, *args, **kwargs)

    def _batch_jacobian(
        self, original: Any, recording: Any, target: Any, source: Any, *args: Any, **kwargs: Any
    ) -> Any:
        return self._ask("batch_jacobian", original, recording, target, source, *args, **kwargs)

    def _ask(
        self, kind: Any, original: Any, recording: Any, target: Any, sources: Any, *args: Any, **kwargs: Any
    ) -> Any:
        record = self._tapes.get(recording)
        if self.idle or record is None:
            return original(recording, target, sources, *args, **kwargs)
        here, graph, line = self.here, current_graph(), user_line()
        self.trial.record(recording.watched_variables())
        nested = any(other is not record for other in self.active(graph))
        outer = here.outer
        if not nested:
            self.record_on_thread(None)
        here.asking += 1
        try:
            results = original(recording, target, sources, *args, **kwargs)
        finally:
            here.asking -= 1
            if not nested:
                self.record_on_thread(outer)
            record.asked = True
        step = self.step(graph)
        if step is not None:
            seeds = seeds_of(kind, args, kwargs)
            flat = tf.nest.flatten(sources)
            with self.safely():
                call = GradientCall(
                    number=next(self.numbers),
                    line=line,
                    kind=kind,
                    tape=record,
                    step=step,
                    targets=tf.nest.flatten(target),
                    seeds=None if seeds is None else tf.nest.flatten(seeds),
                    sources=flat,
                    ids=[identity(source) for source in flat],
                    results=flat_results(results, len(flat)),
                )
                self._called(step, call, nested=nested)
        self.rest()
        return results

    def _called(self, step: ScriptStep, call: GradientCall, *, nested: bool) -> None:
        step.calls.append(call)
        self.trial.called(call)
        for i, result in enumerate(call.results):
            values = result.values if isinstance(result, tf.IndexedSlices) else result
            if values is not None:
                self.flow.carry(values, {Node(call.number, i): Share()})
        plain = all(_single(target) for target in call.targets) and call.kind != "batch_jacobian"
        if plain and call.seeds is None:
            known = {id(loss.target): loss for loss in step.losses}
            call.losses = [
                known.get(id(target)) or ServedLoss(target, None, call.line, step, call.tape.number)
                for target in call.targets
            ]
            new = [loss for loss in call.losses if id(loss.target) not in known]
            step.losses += new
            if not nested:
                for loss in new:
                    self.trial.serving.refer(step, loss)


def _single(tensor: Any) -> bool:
    return bool(tensor.shape.num_elements() == 1)
