"""GC108: a segment runs with the wrong training flag."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.building.state_variables import state_variables
from gradcheck.faults.interface import Fault
from gradcheck.faults.places import at_segments
from gradcheck.handoff.split import HandOff
from gradcheck.keras_private import all_layers

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gradcheck.cutting.segment import Segment
    from gradcheck.faults.interface import Injection
    from gradcheck.problem.problem import Problem


class TrainingFlagLost(Fault):
    """`segment(x)` in place of `segment(x, training=True)`."""

    code = "GC108"
    nowhere = "no layer takes the training flag"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each segment that may behave differently in the other mode, and all of these."""
        where = [segment.plan.index for segment in reversed(problem.segments) if _may_differ(segment)]
        effect = f"{{}} ran with training={not problem.training}"
        return at_segments(problem, self.code, OtherMode, effect, where)


def _may_differ(segment: Segment) -> bool:
    """Whether a layer has state that training moves, or is not Keras's own: few others of Keras's use the flag."""
    layers = all_layers(segment.used_layers)
    own = any(not type(layer).__module__.startswith(("keras.", "gradcheck.")) for layer in layers)
    return own or bool(state_variables([segment]))


class OtherMode(HandOff):
    """The hand-off in which some segments get the opposite flag."""

    changes_forward = True

    def __init__(self, at: Collection[int]) -> None:
        """Invert the flag of the segments with the indices `at`."""
        self._at = at

    def forward(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> list[Any]:
        """Return the outputs in the other mode."""
        return super().forward(segment, inputs, training=training != (segment.plan.index in self._at))
