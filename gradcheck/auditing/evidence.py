"""The tensors by which one variable's update is judged: symbolic where the update is traced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.auditing.judging.weights import masses
from gradcheck.auditing.observing.script_step import add
from gradcheck.numerics import NOISE_RUNS, PRECISIONS
from gradcheck.problem.nudge import nudged_tensor
from gradcheck.user_calls.tape_calls import identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.auditing.observing.flow import Flow, Shares
    from gradcheck.auditing.observing.layers import Layers
    from gradcheck.auditing.observing.script_step import GradientCall, ServedLoss
    from gradcheck.auditing.questions import TrainedVariable
    from gradcheck.auditing.serving import Serving


class Evidence:
    """What is known of updates."""

    def __init__(self, flow: Flow, serving: Serving, layers: Layers) -> None:
        """Take evidence from what was observed."""
        self._flow, self._serving, self._layers = flow, serving, layers

    def of(
        self, trained: TrainedVariable, handed: Any, shares: Shares, groups: Sequence[Sequence[ServedLoss]]
    ) -> dict[str, Any]:
        """Return the tensors that every judgement needs.

        handed: what the update was given · value: of the variable · results: those it was made of ·
        references: one of each loss · masses: see `weights.masses`; empty if no loss was sliced or scaled ·
        losses: their values, None where unknown · penalties: what `model.losses` has for the variable, and its weight
        in the losses · boundaries, moved: see `at_boundaries`.
        """
        variable, losses = trained.variable, [loss for group in groups for loss in group]
        copies = self._serving.copies(trained.key, shares)
        made_of = self._serving.made_of(shares)
        sliced = any(len(group) > 1 for group in groups) or any(share.factor != 1 for share in shares.values())
        return {
            "handed": handed,
            "value": tf.convert_to_tensor(variable),
            "results": [call.results[node.source] for call, node in zip(made_of, shares, strict=False)],
            "references": [self._serving.reference(loss, copies.get(id(loss), variable)) for loss in losses],
            "masses": [masses(self._flow, loss) for loss in losses] if sliced else [],
            "losses": [loss.weighted for loss in losses],
            "penalties": self._layers.penalties(variable, losses, {call.tape.number for call in made_of}),
            "boundaries": [],
            "others": [],
            "moved": [],
        }

    def at_boundaries(self, trained: TrainedVariable, calls: Sequence[GradientCall]) -> dict[str, Any]:
        """Return what is known of the targets that were given seeds, or should have been.

        boundaries: of each, its cotangent and the seed, None if there was none · others: the cotangents of other
        targets in the step · moved: the variable's reference by way
        of these cotangents, the first as they are, the others moved by rounding.
        """
        seeded = [call for call in calls if call.seeds is not None or call.unseeded or call.kind != "gradient"]
        boundaries, ways = [], []
        for call in seeded:
            for i, target in enumerate(call.targets):
                found = (self._serving.reference(loss, target) for loss in self._serving.serves(call))
                parts = [tf.convert_to_tensor(part) for part in found if part is not None]
                if parts and target.shape.num_elements() != 1:
                    cotangent = tf.add_n(parts)
                    boundaries.append((cotangent, call.seeds[i] if call.seeds is not None else None))
                    ways += [(call, target, cotangent)] if not call.step.over else []
        others = [cotangent for call in seeded for cotangent in self._others(call, seeded)]
        return {"boundaries": boundaries, "others": others, "moved": _moved(trained.variable, ways)}

    def _others(self, call: GradientCall, seeded: Sequence[GradientCall]) -> Iterator[Any]:
        """Yield the cotangents of the targets of other gradient calls in the step."""
        for other in call.step.calls if call.seeds is not None else ():
            for target in other.targets if other.seeds is not None and other not in seeded else ():
                found = (self._serving.reference(loss, target) for loss in self._serving.serves(other))
                yield from (tf.convert_to_tensor(part) for part in found if part is not None)


def _moved(variable: Any, ways: Sequence[tuple[GradientCall, Any, Any]]) -> list[Any]:
    key, rng = identity(variable), np.random.default_rng(0)
    moved = []
    for run in range(NOISE_RUNS + 1) if ways else ():
        total = None
        for call, target, cotangent in ways:
            known = cotangent.dtype.name in PRECISIONS and cotangent.shape.is_fully_defined()
            eps = PRECISIONS[cotangent.dtype.name].eps if known else 0.0
            seed = nudged_tensor(cotangent, rng, eps) if run and known else cotangent
            found = call.step.derivative(target, seed, {key: variable})[key]
            total = add(total, found)
        moved.append(total)
    return moved
