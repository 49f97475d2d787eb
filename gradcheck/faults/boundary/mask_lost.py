"""GC107: a Keras mask does not cross a boundary, and padding is used as data."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.faults.interface import EVERYWHERE, Fault, Injection, Place
from gradcheck.faults.links import links
from gradcheck.handoff.split import HandOff
from gradcheck.keras_private import mask_of, set_mask

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from gradcheck.cutting.model_graph import TensorRef
    from gradcheck.cutting.segment import Segment
    from gradcheck.problem.problem import Problem


class MaskLost(Fault):
    """A copy of a tensor, such as by `tf.identity`, which loses the Keras mask."""

    code = "GC107"
    nowhere = "no Keras mask crosses a boundary"

    def injections(self, problem: Problem) -> Iterator[Injection]:
        """Yield each segment with a masked input, all of them, and the model's outputs if the loss uses their mask.

        An output's mask is lost at a boundary only if it crosses one; otherwise the loss forgot it, which is GC507.
        """
        makers = {
            s.plan.index: {li.maker for li in links(problem) if li.taker == s.plan.index} for s in problem.segments
        }
        masked = [s for s in reversed(problem.segments) if any(_is_masked(problem, ref) for ref in s.plan.inputs)]
        for segment in masked:
            index = segment.plan.index
            text = f"boundary {', '.join(map(str, sorted(makers[index])))} → {index}"
            yield Injection(
                code=self.code,
                place=Place(text=text, segment=max(makers[index], default=None)),
                effect=f"{segment.plan.name} got what it takes without its mask",
                steps=partial(Unmasked, {index}),
            )
        if len(masked) > 1:
            effect = "every segment got what it takes without its mask"
            steps = partial(Unmasked, {segment.plan.index for segment in masked})
            yield Injection(code=self.code, place=EVERYWHERE, effect=effect, steps=steps)
        if any(_carries_mask(problem, ref) and _came_masked(problem, ref) for ref in problem.graph.outputs):
            place = Place(text="the model's outputs", segment=len(problem.segments) - 1)
            effect = "the loss got the outputs without their mask"
            yield Injection(code=self.code, place=place, effect=effect, steps=partial(UnmaskedOutputs, problem))


def _is_masked(problem: Problem, ref: TensorRef) -> bool:
    """Whether `ref` carries a mask, or is itself a boolean mask."""
    return not ref.is_input and (problem.graph.spec(ref).dtype == "bool" or _carries_mask(problem, ref))


def _came_masked(problem: Problem, output: TensorRef) -> bool:
    """Whether the segment that makes `output` has no other source of a mask than those on what it takes."""
    makers = [segment for segment in problem.segments if output in segment.plan.outputs]
    return all(_carries_mask(problem, ref) for segment in makers for ref in segment.plan.inputs)


def _carries_mask(problem: Problem, ref: TensorRef) -> bool:
    return mask_of(problem.graph.spec(ref)) is not None


class Unmasked(HandOff):
    """The hand-off in which inputs have no mask, and a mask that crosses as a tensor marks nothing as padding."""

    changes_forward = True

    def __init__(self, at: Collection[int]) -> None:
        """Drop the masks of inputs of the segments with the indices `at`."""
        self._at = at

    def cross(self, segment: Segment, ref: TensorRef, tensor: Any) -> Any:
        """Return the tensor without its mask."""
        crossed = super().cross(segment, ref, tensor)
        if segment.plan.index not in self._at or ref.is_input:
            return crossed
        return tf.ones_like(crossed) if crossed.dtype == tf.bool else _unmasked(crossed)


class UnmaskedOutputs(HandOff):
    """The hand-off in which outputs for the loss alone have no mask."""

    changes_forward = True

    def __init__(self, problem: Problem) -> None:
        """Find the outputs of the model that no segment takes."""
        taken = {ref for segment in problem.segments for ref in segment.plan.inputs}
        self._refs = set(problem.graph.outputs) - taken

    def forward(self, segment: Segment, inputs: Sequence[Any], *, training: bool) -> list[Any]:
        """Return the same tensor objects without masks: a copy would hide them from the segment's own use of them."""
        outputs = super().forward(segment, inputs, training=training)
        pairs = zip(segment.plan.outputs, outputs, strict=True)
        return [_unmasked(output) if ref in self._refs else output for ref, output in pairs]


def _unmasked(tensor: Any) -> Any:
    if mask_of(tensor) is not None:
        set_mask(tensor, None)
    return tensor
