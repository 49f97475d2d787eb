"""One step of the script as it was observed, and the tape that spans all of it."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.python import pywrap_tfe  # a tape can be put on the stack of a second thread
from tensorflow.python.eager import context, tape  # the place in the sequence of random numbers

from gradcheck.user_calls.tape_calls import TapeCall, identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.user_calls.lines import ScriptLine

_gradient = tf.GradientTape.gradient  # TensorFlow's own, whatever is put in its place later


@dataclass(eq=False)
class ScriptTape:
    """A tape of the script: its number, the line that opened it, and the graph that it records in, None if eager.

    `tape` is a weak reference; `asked` says whether a gradient was asked of it.
    """

    number: int
    line: ScriptLine
    graph: Any
    tape: Callable[[], Any]
    asked: bool = False


@dataclass(eq=False)
class ServedLoss:
    """What the script differentiates: a target, weighted by a seed that comes from no gradient call.

    Attributes:
        target: any shape; without a seed its elements are summed, as TensorFlow does.
        seed: of the shape of `target`, or None.
        line: of the gradient call.
        step: the step it belongs to; None once that is over.
        tape: the number of the tape that was asked.
        references: the derivatives in the tape over the whole step, by the id of the source; None: there is none.
        masses: see `loss_weights.masses`, if they are known already.
        scale: the constant that it was multiplied by last.
        made_of: the handles of the variables, and the recorded tensors, that it was made of, once that is known.
        value: what was differentiated in a compiled function, where its target is not at hand.
    """

    target: Any
    seed: Any
    line: ScriptLine
    step: ScriptStep | None
    tape: int = 0
    references: dict[int, Any] = field(default_factory=dict)
    masses: list[tuple[Any, int]] | None = None
    scale: float = 1.0
    made_of: tuple[set[int], set[int]] | None = None
    value: Any = None

    @property
    def weighted(self) -> Any:
        """The target times its seed, to be summed; None where that is not known, or is no loss."""
        if self.target is None or self.is_given:
            return self.value
        return self.target if self.seed is None else self.target * self.seed

    @property
    def is_given(self) -> bool:
        """Whether it is an activation with seeds that come from no gradient call."""
        return self.seed is not None and self.target is not None and self.target.shape.num_elements() != 1

    def release(self, keep: set[int]) -> None:
        """Give up the tensors, but for the derivatives by some."""
        self.target = self.seed = self.step = None
        self.references = {key: value for key, value in self.references.items() if key in keep}


@dataclass(eq=False, kw_only=True)
class GradientCall(TapeCall):
    """One gradient call of the script.

    Attributes:
        number: in the order of all calls.
        step: the step it was made in.
        ids: of the sources; for a variable that of its handle.
        losses: what it serves, once that is known.
        released: whether tensors were given up.
        unseeded: whether seeds are missing: the target feeds losses, and was differentiated as if it were one.
    """

    number: int
    tape: ScriptTape
    step: ScriptStep
    ids: Sequence[int]
    losses: list[ServedLoss] | None = None
    unseeded: bool = False
    released: bool = False

    def release(self) -> None:
        """Give up the tensors, those at boundaries one step later; what was asked where, and of what, is kept."""
        kept = {} if self.released else {i: s for i, s in enumerate(self.sources) if not hasattr(s, "handle")}
        self.targets, self.seeds = (), self.seeds and ()
        self.sources = [kept.get(i) for i in range(len(self.ids))]
        self.results = [result if i in kept else None for i, result in enumerate(self.results)]
        for loss in self.losses or ():
            loss.release(keep={identity(tensor) for tensor in kept.values()})
        self.released = True


@dataclass(frozen=True, eq=False)
class Reentry:
    """An activation that left TensorFlow and came back: `entry` has the values of `origin`.

    Attributes:
        entry: the tensor, or the variable, as which it came back.
        lossy: the dtype that it was rounded to on the way, or "".
        left, back: the lines; `left` is None where it left by a way that nobody sees.
    """

    entry: Any
    origin: Any
    lossy: str
    left: ScriptLine | None
    back: ScriptLine


@dataclass(eq=False)
class ScriptStep:
    """All that happened from the first tape to the last update before the next forward pass.

    Attributes:
        graph: the graph that it is traced in, None if eager.
        outer: the tape over the whole step.
        losses: those that the script has differentiated so far.
        updates: the number of events that changed a variable by a gradient.
        last: the last of these events.
        assigned: the lines where trained variables were assigned values that contain no result of a gradient call, by
            the ids of their handles.
        moves: how often each variable was assigned that is not trained, by the id of its handle.
        recomputed: a call for whose target a forward pass was run again.
        precisions: half precisions that something was computed in.
        exits: id, shape and line of each tensor that was read as NumPy; entrances: of each array that came in.
        moved_by_backward: handles and dtypes of variables that the script's own backward pass changed, as a
            recomputation does.
    """

    number: int
    graph: Any = None
    outer: tf.GradientTape = field(default_factory=lambda: tf.GradientTape(persistent=True))
    tapes: list[ScriptTape] = field(default_factory=list)
    calls: list[GradientCall] = field(default_factory=list)
    links: list[Reentry] = field(default_factory=list)
    losses: list[ServedLoss] = field(default_factory=list)
    watched: dict[int, Any] = field(default_factory=dict)
    updates: int = 0
    last: Any = None
    assigned: dict[int, ScriptLine] = field(default_factory=dict)
    moved_by_backward: dict[int, tuple[Any, tf.DType]] = field(default_factory=dict)
    moves: dict[int, int] = field(default_factory=dict)
    recomputed: GradientCall | None = None
    precisions: set[str] = field(default_factory=set)
    exits: list[tuple[int, tuple[int, ...], ScriptLine]] = field(default_factory=list)
    entrances: list[tuple[tuple[int, ...], ScriptLine]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Create the tape: it is on no thread's stack until `record` puts it there."""
        self.outer._tape = tape.push_new_tape(persistent=True, watch_accessed_variables=True)  # noqa: SLF001
        self.raw = self.outer._tape._tape  # noqa: SLF001
        pywrap_tfe.TFE_Py_TapeSetRemove(self.raw)
        self._threads, self.over = 0, False

    def release(self) -> None:
        """Give up everything that was recorded."""
        self.calls, self.links, self.losses, self.watched = [], [], [], {}
        self.exits, self.moved_by_backward = [], {}
        self.over = True
        self._drop()

    def _drop(self) -> None:
        """Free the recording, once no thread's stack has it."""
        if self.over and not self._threads:
            self.outer._tape = self.raw = None  # noqa: SLF001

    def on(self) -> None:
        """Record on this thread."""
        self._threads += 1
        pywrap_tfe.TFE_Py_TapeSetAdd(self.raw)

    def off(self) -> None:
        """Stop recording on this thread."""
        pywrap_tfe.TFE_Py_TapeSetRemove(self.raw)
        self._threads -= 1
        self._drop()

    def watch(self, tensor: Any) -> None:
        """Watch a tensor, or the handle of a variable, also where TensorFlow records nothing for the moment."""
        stopped = pywrap_tfe.TFE_Py_TapeSetIsStopped()
        if stopped:
            pywrap_tfe.TFE_Py_TapeSetRestartOnThread()
        tape.watch(self.outer._tape, tensor)  # noqa: SLF001
        if stopped:
            pywrap_tfe.TFE_Py_TapeSetStopOnThread()

    def derivative(self, target: Any, seed: Any, wanted: dict[int, Any]) -> dict[int, Any]:
        """Differentiate in the tape over the whole step, and through what left TensorFlow and came back.

        Args:
            target: a tensor, or a list of them.
            seed: of the same structure, or None.
            wanted: tensors and variables by id.

        Returns:
            The derivative of each of `wanted` by id; None where there is none.
        """
        entries = {identity(link.entry): link.entry for link in self.links}
        with self._kept():
            found = self._once(target, seed, {**entries, **wanted})
            for link in reversed(self.links):
                cotangent = found.get(identity(link.entry))
                if cotangent is not None:
                    cotangent = tf.cast(tf.reshape(cotangent, tf.shape(link.origin)), link.origin.dtype)
                    found = _added(found, self._once(link.origin, cotangent, {**entries, **wanted}))
        return {key: found[key] for key in wanted}

    def _once(self, target: Any, seed: Any, wanted: dict[int, Any]) -> dict[int, Any]:
        return dict(zip(wanted, _gradient(self.outer, target, list(wanted.values()), seed), strict=True))

    @contextmanager
    def _kept(self) -> Iterator[None]:
        """Put back what a backward pass changes that draws or assigns, such as a recomputation."""
        rng = getattr(context.context(), "_rng", None)
        drawn = rng.getstate() if rng is not None else None
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - the global one is meant
        values = [(h, tf.raw_ops.ReadVariableOp(resource=h, dtype=d)) for h, d in self.moved_by_backward.values()]
        try:
            yield
        finally:
            for handle, value in values:
                tf.raw_ops.AssignVariableOp(resource=handle, value=value)
            if rng is not None and rng.getstate() != drawn:
                rng.setstate(drawn)
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002 - as above


def _added(found: dict[int, Any], more: dict[int, Any]) -> dict[int, Any]:
    return {key: add(found[key], more[key]) for key in found}


def add(a: Any, b: Any) -> Any:
    """Return the sum of two gradients, either of which may be None or sparse rows."""
    if a is None or b is None:
        return b if a is None else a
    return tf.convert_to_tensor(a) + tf.convert_to_tensor(b)


def current_graph() -> Any:
    """Return the graph that is being traced, None in eager code."""
    return None if tf.executing_eagerly() else tf.compat.v1.get_default_graph()
