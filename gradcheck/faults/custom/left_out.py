"""GC609: TensorFlow's own gradient takes the place of a custom gradient, which is another one on purpose."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.custom_gradients import watch_of_now
from gradcheck.custom_gradients.call_checks import overrides_its_own
from gradcheck.faults.interface import Fault, Injection, Place
from gradcheck.handoff.execute import Execution
from gradcheck.handoff.split import HandOff, split
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck.custom_gradients.seen_calls import DecoratedCall
    from gradcheck.cutting.segment import Segment
    from gradcheck.problem.problem import Problem


class LeftOut(Fault):
    """The values of a function under `tf.custom_gradient` by plain operations, as a forward pass written anew has."""

    code = "GC609"
    nowhere = "no custom gradient in this model differs from TensorFlow's own gradient of its function"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield the fault for each function in each segment, in the order of the backward pass, then for all."""
        found = _overriding(problem)
        places = [(index, place) for index in sorted(found, reverse=True) for place in reversed(found[index])]
        for index, place in places:
            yield self._injection(
                Place(text=f"{place} in segment {index}", segment=index, layer=found[index][place]),
                f"{problem.segments[index].plan.name} ran without the custom gradient of {place}",
                {index: [place]},
            )
        if len(places) > 1:
            functions = some(list(dict.fromkeys(place for _, place in places)))
            everywhere = Place(text="every custom gradient", everywhere=True)
            effect = f"the model ran without the custom gradients of {functions}"
            yield self._injection(everywhere, effect, {index: list(found[index]) for index in found})

    def _injection(self, place: Place, effect: str, left_out: Mapping[int, Sequence[str]]) -> Injection:
        own = "TensorFlow's own gradient took its place"
        return Injection(code=self.code, place=place, effect=f"{effect}: {own}", steps=partial(Plain, left_out))


def _overriding(problem: Problem) -> dict[int, dict[str, str | None]]:
    """Return the custom gradients that are not TensorFlow's own, by segment: the place of each, and a layer with it."""
    if not watch_of_now().used:
        return {}
    calls = Listening()
    Execution(problem, lambda problem, tensors: split(problem, tensors, calls), execution="eager")()
    found: dict[int, dict[str, str | None]] = {}
    for index, call in calls.heard:
        if call.place not in found.get(index, {}) and overrides_its_own(call, seed=problem.seed):
            found.setdefault(index, {})[call.place] = call.layer
    return found


class Listening(HandOff):
    """The correct hand-off, which collects the calls of custom gradients with the index of their segment."""

    def __init__(self) -> None:
        """Nothing was called yet."""
        self.heard: list[tuple[int, DecoratedCall]] = []

    def forward(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> list[Any]:
        """Collect the calls of one segment."""
        with watch_of_now().recording() as calls:
            outputs = super().forward(segment, inputs, training=training)
        self.heard += [(segment.plan.index, call) for call in calls]
        return outputs


class Plain(HandOff):
    """The hand-off in which some functions of some segments have TensorFlow's own gradient."""

    changes_forward = True

    def __init__(self, left_out: Mapping[int, Sequence[str]]) -> None:
        """Take the places of the functions by the index of the segment."""
        self._left_out = left_out

    def forward(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> list[Any]:
        """Run the segment without its custom gradients."""
        places = self._left_out.get(segment.plan.index)
        with watch_of_now().left_out(places) if places else nullcontext():
            return super().forward(segment, inputs, training=training)
