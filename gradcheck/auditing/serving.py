"""Which losses a gradient call serves, and their derivatives in the tape over the whole step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.auditing.observing.flow import Node, Share
from gradcheck.auditing.observing.script_step import GradientCall, ScriptStep, ServedLoss
from gradcheck.user_calls.tape_calls import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from gradcheck.auditing.observing.flow import Flow, Shares
    from gradcheck.auditing.observing.layers import Layers


class Serving:
    """The gradient calls of a script.

    Attributes:
        calls: by number.
        redrawn: calls whose target was computed a second time, with other values, and whether of random numbers.
    """

    def __init__(self, flow: Flow, layers: Layers, ours: Callable[[], AbstractContextManager[None]]) -> None:
        """Start without any call; `ours` is entered for computations that no tape of the script may see."""
        self._flow, self._layers, self._ours = flow, layers, ours
        self.calls: dict[int, GradientCall] = {}
        self.redrawn: list[tuple[GradientCall, bool]] = []
        self._copied: set[frozenset[int]] = set()
        self._fresh: list[GradientCall] = []
        self._aging: list[GradientCall] = []

    def refer(self, step: ScriptStep, loss: ServedLoss) -> None:
        """Differentiate a loss in the tape over the whole step, by everything that was watched, and by penalties."""
        wanted = {identity(v): v for v in step.outer.watched_variables()} | step.watched
        wanted |= {identity(tensor): tensor for tensor in self._layers.penalties_of(step)}
        with self._ours():
            loss.references |= step.derivative(loss.target, loss.seed, wanted)

    def reference(self, loss: ServedLoss, tensor: Any) -> Any:
        """Return the derivative of a loss by a tensor or variable; None if there is none, or it is too late."""
        key = identity(tensor)
        if key not in loss.references and loss.step is not None and not loss.step.over:
            with self._ours():
                loss.references |= loss.step.derivative(loss.target, loss.seed, {key: tensor})
        return loss.references.get(key)

    def serves(self, call: GradientCall) -> list[ServedLoss]:
        """Return the losses that a gradient call serves."""
        if call.losses is None:
            call.losses = []  # a cycle ends here
            found: list[ServedLoss] = []
            for i, target in enumerate(call.targets):
                found += self._served_by(call, i, target)
            call.losses = list(dict.fromkeys(found))
        return call.losses

    def _served_by(self, call: GradientCall, i: int, target: Any) -> list[ServedLoss]:
        seed = call.seeds[i] if call.seeds is not None else None
        if seed is not None:
            shares = self._flow.shares(seed)
            known = [other for other in self.made_of(shares) if other is not call]
            served = [loss for other in known for loss in self.serves(other)]
            if any(self.reference(loss, target) is not None for loss in served):
                return served
            fed = self._fed(call, target)
            if fed:
                return fed
            if known:
                again = [self._again(call, target, node) for node in shares]
                return [loss for loss in again if loss is not None] or served
        elif target.shape.num_elements() != 1 or call.kind != "gradient":
            fed = self._fed(call, target)
            if fed:
                call.unseeded = call.unseeded or call.kind == "gradient"
                return fed
        return [ServedLoss(target, seed, call.line, call.step, call.tape.number)]

    def _again(self, call: GradientCall, target: Any, node: Node) -> ServedLoss | None:
        """Return what a target serves that was computed once more, by the right cotangent of the first one.

        A recomputation: the first forward pass was recorded by no tape, or by one of an earlier step.
        """
        other = self.calls[node.call]
        entry = other.sources[node.source]
        if entry is None or hasattr(entry, "handle") or entry.shape != target.shape:
            return None
        found = (self.reference(loss, entry) for loss in self.serves(other))
        parts = [tf.convert_to_tensor(part) for part in found if part is not None]
        if not parts:
            return None
        call.step.recomputed = call
        if hasattr(entry, "numpy") and not _equal(entry, target):
            self.redrawn.append((call, self._flow.is_random(target)))
        return ServedLoss(target, tf.add_n(parts), other.line, call.step, call.tape.number)

    def _fed(self, call: GradientCall, target: Any) -> list[ServedLoss]:
        """Return the losses that a target feeds; those whose gradient by it was computed, if there are any."""
        fed = [loss for loss in call.step.losses if self.reference(loss, target) is not None]
        key = identity(target)
        asked = [other for other in call.step.calls if key in other.ids and other is not call]
        direct = [loss for loss in fed if any(loss in self.serves(other) for other in asked)]
        return direct or fed

    def settle(self, call: GradientCall) -> None:
        """Differentiate all that a call serves by its sources: its step is over."""
        for loss in self.serves(call):
            for source in call.sources:
                self.reference(loss, source)
        for loss in self.serves(call):
            loss.step = None

    def release(self, calls: Sequence[GradientCall], *, but: set[int]) -> None:
        """Give up the tensors of calls of a step that is over, and of those before, but for those still waited for."""
        self._aging += calls
        for call in self._aging:
            if call.number not in but:
                call.release()
        self._aging = [call for call in self._aging if call.number in but or call.sources != [None] * len(call.ids)]

    def made_of(self, shares: Shares) -> list[GradientCall]:
        """Return the calls whose results a tensor contains."""
        return [self.calls[node.call] for node in shares if node.call in self.calls]

    def seed_factor(self, node: Node) -> float:
        """Return what the seeds of a call, and of those that these come from, were multiplied by."""
        call = self.calls.get(node.call)
        factor = 1.0
        seen = set()
        while call is not None and call.seeds and call.number not in seen:
            seen.add(call.number)
            shares = self._flow.shares(call.seeds[0])
            if len({share.factor for share in shares.values()}) != 1:
                break
            before, share = next(iter(shares.items()))
            factor, call = factor * share.factor, self.calls.get(before.call)
        return factor

    def computed(self, call: GradientCall) -> None:
        """Note a call that a compiled function has made, until that returns."""
        self._fresh.append(call)

    def returned(self, outputs: Sequence[Any]) -> None:
        """Find the results of gradient calls among the outputs of a compiled function, by their values."""
        for call in self._fresh:
            for i, result in enumerate(call.results):
                for output in outputs if result is not None else ():
                    same = getattr(output, "shape", None) == result.shape and output.dtype == result.dtype
                    if same and _equal(output, result):
                        self._flow.carry(output, {Node(call.number, i): Share()})
        self._fresh.clear()

    def find_copies(self, call: GradientCall) -> None:
        """Note the variables that are copies of those of an earlier call at the same line: replicas of a model."""
        if not tf.executing_eagerly():
            return
        for other in call.step.calls:
            if other.line == call.line and len(other.ids) == len(call.ids):
                for key, a, b in zip(call.ids, call.sources, other.sources, strict=True):
                    both = hasattr(a, "handle") and hasattr(b, "handle") and a is not b and a.shape == b.shape
                    if both and _equal(tf.convert_to_tensor(a), tf.convert_to_tensor(b)):
                        self._copied.add(frozenset((key, identity(b))))

    def copies(self, key: int, shares: Shares) -> dict[int, Any]:
        """Return, by loss, the variables that are copies of one, as on replicas, and whose gradients are in it too."""
        copies: dict[int, Any] = {}
        for node in shares:
            call = self.calls.get(node.call)
            if call is not None and frozenset((key, call.ids[node.source])) in self._copied:
                copies |= {id(loss): call.sources[node.source] for loss in self.serves(call)}
        return copies


def _equal(a: Any, b: Any) -> bool:
    return bool(np.array_equal(np.asarray(a), np.asarray(b)))
