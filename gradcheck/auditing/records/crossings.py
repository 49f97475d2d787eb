"""Activations that leave a process and come in, with their cotangents, as the watch of a script sees them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import tensorflow as tf

from gradcheck.auditing.judging.weights import scale_of
from gradcheck.auditing.observing.flow import Node
from gradcheck.auditing.observing.script_step import add
from gradcheck.auditing.records.record import HALF, Came, Left, Record, activation_of, digest
from gradcheck.comparing.keys import as_array
from gradcheck.numerics import to_array
from gradcheck.user_calls.tape_calls import identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradcheck.auditing.observing.script_step import GradientCall, ScriptStep, ServedLoss
    from gradcheck.auditing.watch import Watch
    from gradcheck.results.report import RunReport
    from gradcheck.user_calls.lines import ScriptLine


class _Exit(NamedTuple):
    """A tensor that a tape recorded, where it was read as NumPy."""

    tensor: Any
    line: ScriptLine


#: The attributes of what was seen, and its tensors.
_Seen = tuple[dict[str, Any], dict[str, Any]]


class Crossings:
    """What leaves and comes in.

    Attributes:
        wanted: whether anybody will join what is seen.
        left, came, entered: what has been seen, see `Record`.
    """

    def __init__(self, watch: Watch) -> None:
        """Nothing was seen."""
        self._watch = watch
        self.wanted = watch.options.record
        self.left: list[Left] = []
        self.came: list[Came] = []
        self.entered: dict[str, None] = {}
        self._known: set[int] = set()
        self._exits: dict[int, _Exit] = {}
        self._sent: dict[int, tuple[Any, ScriptLine]] = {}

    def record(self, name: str, run: RunReport, children: Iterable[str] = ()) -> Record:
        """Return the record of this process."""
        return Record(
            name=name,
            run=run,
            left=tuple(self.left),
            came=tuple(self.came),
            entered=tuple(self.entered),
            children=tuple(children),
        )

    def read(self, tensor: Any, value: Any, line: ScriptLine) -> None:
        """Note a tensor that the script reads as NumPy."""
        if self.wanted and tensor.shape.rank and tensor.dtype.is_floating:
            made = self._watch.flow.made.get(identity(tensor))
            if self._watch.flow.shares(tensor):
                self._sent[identity(tensor)] = np.array(value), line
            elif made is not None and made.tapes:
                self._exits[identity(tensor)] = _Exit(tensor, line)

    def use(self, inputs: Sequence[Any]) -> None:
        """Note the inputs of an operation on a tape that no operation made: they came into TensorFlow."""
        for tensor in inputs if self.wanted else ():
            key = identity(tensor)
            if tensor.dtype.is_floating and tensor.shape.rank and key not in self._known:
                self._known.add(key)
                if self._watch.flow.op(key) is None:
                    self.entered[digest(np.asarray(tensor))] = None

    def before_update(self, step: ScriptStep | None) -> None:
        """Differentiate by what came in, while the variables are as they were."""
        if self.wanted and step is not None:
            for tensor in self._entered(step).values():
                for loss in self._losses(step.calls):
                    self._watch.trial.serving.reference(loss, tensor)

    def close(self, step: ScriptStep) -> None:
        """Note what left and came in during a step that is over, or in each run of a function that was traced."""
        exits, sent = self._exits, self._sent
        self._exits, self._sent = {}, {}
        self._known.clear()
        if not self.wanted or not step.calls:
            return
        with self._watch.ours():
            left, came = list(self._leaving(step, exits)), list(self._coming(step, sent))
            tensors = [tensors for _, tensors in (*left, *came)]

            def seen(values: list[dict[str, Any]], _: int = 1) -> None:
                if not self._watch.skipped:
                    self.left += _made(Left, left, values[: len(left)], self._watch.updates)
                    self.came += _made(Came, came, values[len(left) :], self._watch.updates)

            if step.graph is None:
                seen(tensors)
            else:
                self._watch.exports.add(tensors, seen, order=next(self._watch.numbers))

    def _losses(self, calls: Iterable[GradientCall]) -> list[ServedLoss]:
        return list(dict.fromkeys(loss for call in calls for loss in self._watch.trial.serving.serves(call)))

    # What leaves

    def _leaving(self, step: ScriptStep, exits: dict[int, _Exit]) -> Iterator[_Seen]:
        flow, trained = self._watch.flow, self._watch.trial.variables.get
        common = {"precision": _half(step), "update_line": str(step.last.line) if step.last else ""}
        made_of = {key: set(map(flow.handle, flow.before([key]))) for key in exits}
        targets = set()
        for call in step.calls:
            for i, target in enumerate(call.targets if call.kind == "gradient" else ()):
                if target.shape.num_elements() != 1 and target.dtype.is_floating:
                    key = identity(target)
                    targets.add(key)
                    read = next((str(exits[other].line) for other, before in made_of.items() if key in before), "")
                    seed = call.seeds[i] if call.seeds is not None else None
                    paths = tuple(t.path for t in map(trained, call.ids) if t)
                    about = {"line": str(call.line), "read_line": read, "paths": paths, "factor": self._factor(call)}
                    yield common | about, {"value": target, "seed": seed}
        later = set(flow.before([i for key in (*targets, *exits) if (made := flow.op(key)) for i in made.inputs]))
        for key, (tensor, line) in exits.items():
            paths = tuple(t.path for t in map(trained, made_of[key]) if t and t.updates)
            if paths and not targets & made_of[key]:
                seed = None if key in later else self._reference(step.calls, tensor)
                yield common | {"asked": False, "line": str(line), "paths": paths}, {"value": tensor, "seed": seed}

    def _factor(self, call: GradientCall) -> float:
        """Return the multiple of a call's results that the updates were handed; NaN if that is not known."""
        of_call = [j for j in self._watch.trial.judgements if call in j.question.calls]
        known = {j.factor for j in of_call if not (j.question.update.free_factor or j.question.update.undoes_scale)}
        return known.pop() if len(known) == 1 else math.nan

    # What comes in

    def _entered(self, step: ScriptStep) -> dict[int, Any]:
        """Return what a tape watched or a gradient call named, and that was made of nothing of the kind."""
        flow = self._watch.flow
        known = {key: source for call in step.calls for key, source in zip(call.ids, call.sources, strict=True)}
        known |= step.watched
        found = {}
        for key, tensor in known.items():
            trained = self._watch.trial.variables.get(key)
            before = set(map(flow.handle, flow.before([key]))) - {key}
            several = tf.as_dtype(tensor.dtype).is_floating and tensor.shape.num_elements() not in (0, 1)
            if several and not (trained and trained.updates) and not before & known.keys():
                found[key] = tensor
        return found

    def _coming(self, step: ScriptStep, sent: dict[int, tuple[Any, ScriptLine]]) -> Iterator[_Seen]:
        for key, tensor in self._entered(step).items():
            calls = [call for call in step.calls if key in call.ids]
            places = [Node(call.number, call.ids.index(key)) for call in calls]
            carried = self._watch.flow.carried
            out = [pair for other, pair in sent.items() if any(place in carried.get(other, ()) for place in places)]
            value, line = out[-1] if out else (None, "")
            asking = calls or step.calls
            about = {
                "line": str(asking[-1].line),
                "sent_line": str(line),
                "scale": self._scale(step, self._losses(asking)),
                "precision": _half(step),
            }
            results = [call.results[place.source] for call, place in zip(calls, places, strict=True)]
            yield (
                about,
                {
                    "value": tf.convert_to_tensor(tensor) if hasattr(tensor, "handle") else tensor,
                    "computed": _sum(_latest(calls, results)),
                    "sent": value,
                    "reference": self._reference(asking, tensor),
                },
            )

    def _scale(self, step: ScriptStep, losses: list[ServedLoss]) -> float:
        """Return the scale of the losses, where this process undoes it for its own variables."""
        scales = {scale_of(self._watch.flow, loss) for loss in losses}
        judged = [j for j in self._watch.trial.judgements if any(call.step is step for call in j.question.calls)]
        undone = [
            j for j in judged if j.question.update.undoes_scale or any("scale" in text for text in j.change.recognised)
        ]
        return scales.pop() if len(scales) == 1 and undone else 1.0

    def _reference(self, calls: Sequence[GradientCall], tensor: Any) -> Any:
        """Return the derivative of the losses of some calls by a tensor; what is asked again counts once."""
        serving = self._watch.trial.serving
        parts = [_sum([serving.reference(loss, tensor) for loss in serving.serves(call)]) for call in calls]
        return _sum(_latest(calls, parts))


def _latest(calls: Sequence[GradientCall], values: Sequence[Any]) -> list[Any]:
    """Return one value for each target that was differentiated: the last."""
    return list({tuple(map(id, call.targets)): value for call, value in zip(calls, values, strict=True)}.values())


def _sum(parts: Iterable[Any]) -> Any:
    total = None
    for part in parts:
        total = add(total, part)
    return total


def _half(step: ScriptStep) -> str | None:
    return next((name for name in HALF if name in step.precisions), None)


def _made(kind: Any, about: Sequence[_Seen], values: Sequence[dict[str, Any]], update: int) -> Iterator[Any]:
    """Yield the entries of a kind, without those whose values prove nothing."""
    for (attributes, _), tensors in zip(about, values, strict=True):
        arrays = {name: as_array(tensor) for name, tensor in tensors.items()}
        value = np.asarray(arrays.pop("value"))
        known = activation_of(value, str(value.dtype), update)
        if known is not None:
            yield kind(**attributes, **known, **{name: _storable(array) for name, array in arrays.items()})


def _storable(array: Any) -> Any:
    """Return a dense array in a dtype that files can hold, or None."""
    dense = None if array is None else to_array(array)
    return dense if dense is None or dense.dtype in (np.float32, np.float64) else dense.astype(np.float32)
