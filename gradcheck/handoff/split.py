"""The split model's gradients: one tape per segment, the chain rule carried between them by hand.

For segments f_1 … f_n with boundaries b_k = f_k(b_{k-1}; w_k) and loss L(b_n), the backward pass goes from the last
segment to the first with the cotangent c_k = dL/db_k:

    dL/dw_k = c_k · ∂f_k/∂w_k        c_{k-1} = c_k · ∂f_k/∂b_{k-1}

each a vector-Jacobian product that `tape.gradient` computes for the seed `output_gradients=c_k`. Where a skip
connection crosses a cut the boundary is several tensors, and a tensor with several consumers sums what each of them
sends back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

from gradcheck.cutting.model_graph import MODEL_INPUT, TensorRef
from gradcheck.cutting.run_calls import entered
from gradcheck.cutting.tensor_copies import copied
from gradcheck.handoff.arrivals import Arrivals, kept
from gradcheck.handoff.hand_off import Direction, HandOff, Pass
from gradcheck.handoff.interface import Computed
from gradcheck.handoff.microbatches import joined, micro_batches
from gradcheck.handoff.split_model import split_by_model
from gradcheck.handoff.tensors import added, dense, gradients_of, scaled, total_loss, watch
from gradcheck.keras_private import logits_of, mask_of, set_logits, set_mask

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from gradcheck.cutting.segment import Segment
    from gradcheck.handoff.interface import Tensors
    from gradcheck.handoff.microbatches import MicroBatch
    from gradcheck.problem.problem import Problem, TensorKey


__all__ = ["Direction", "HandOff", "LossGradients", "MicroBatchPasses", "Pass", "loss_gradients", "split"]


def split(problem: Problem, tensors: Tensors, steps: HandOff | None = None) -> Computed:
    """Return loss, outputs and every gradient of the split model."""
    steps = steps or HandOff()
    if problem.loss.of_model is not None:
        return split_by_model(problem, tensors, steps)
    weights: dict[TensorKey, Any] = {weight.key: None for weight in problem.weights}
    parts = steps.sliced(micro_batches(problem, tensors))
    arrivals = None
    if problem.on_arrival is not None and tf.executing_eagerly():  # while a function is traced they have no values
        arrivals = Arrivals(problem, weights, problem.on_arrival, microbatches=len(parts))
    all_passes = [MicroBatchPasses(problem, part, steps, weights, arrivals) for part in parts]
    steps.drive(problem, all_passes)
    return joined([passes.result for passes in all_passes], weights, tensors.loss_scale)


class MicroBatchPasses:
    """The forward passes of one micro-batch (or the whole batch) through the segments, and its backward passes."""

    def __init__(
        self,
        problem: Problem,
        part: MicroBatch,
        steps: HandOff,
        weights: dict[TensorKey, Any],
        arrivals: Arrivals | None = None,
    ) -> None:
        """`weights` is where the gradients of the weights are summed up, for all micro-batches together.

        `arrivals` is told of each backward pass.
        """
        self._problem, self.part, self._steps, self._weights = problem, part, steps, weights
        self._arrivals = arrivals
        self._values = {TensorRef(MODEL_INPUT, i): tensor for i, tensor in enumerate(part.tensors.x)}
        self._passes: dict[int, Pass] = {}  # by index of the segment
        self._found_at_loss: LossGradients | None = None  # before `steps` change it
        self._at_loss: LossGradients | None = None
        self._cotangents: dict[TensorRef, Any] = {}

    def forward(self, segment: Segment) -> None:
        """Run the forward pass of `segment`; after the last segment compute the loss."""
        inputs = [self._steps.cross(segment, ref, self._values[ref]) for ref in segment.plan.inputs]
        masked = [
            (ref, given) for ref, given in zip(segment.plan.inputs, inputs, strict=True) if mask_of(given) is not None
        ]
        done = self._steps.run(segment, inputs, training=self._problem.training)
        for ref, given in masked:
            if mask_of(given) is None:  # attention takes it off what it is given: later layers do not see it either
                set_mask(self._values[ref], None)
        self._passes[segment.plan.index] = done
        self._values.update(zip(segment.plan.outputs, done.outputs, strict=True))
        if segment is self._problem.segments[-1]:
            # The boundaries are not needed any more: each segment's pass holds its own inputs until its backward pass.
            self._values = {ref: self._values[ref] for ref in self._problem.graph.outputs}
            self._differentiate_loss()

    def _differentiate_loss(self) -> None:
        """Compute the loss and its gradient for each of the model's outputs: the first cotangents."""
        outputs = self._problem.graph.outputs
        if self._found_at_loss is None:
            made = [self._values[ref] for ref in outputs]
            self._found_at_loss = loss_gradients(self._problem, self.part, made, self._steps)
        at_loss = self._steps.loss_cotangents(self._found_at_loss)
        extras = [
            scaled(done.added_loss, self._share(done)) for done in self._passes.values() if done.added_loss is not None
        ]
        self._at_loss = at_loss._replace(loss=total_loss(at_loss.loss, extras))
        for ref, seed in zip(outputs, at_loss.seeds, strict=True):
            self._cotangents[ref] = added(self._cotangents.get(ref), seed)

    def sharing_tapes(
        self, part: MicroBatch, steps: HandOff, weights: dict[TensorKey, Any], *, so_far: SoFar | None = None
    ) -> MicroBatchPasses:
        """Share the recorded forward passes, so that `steps` can run another backward pass on their tapes.

        The tapes must be persistent, and no backward pass may have run yet. Those that have run in `so_far` do not
        run again.
        """
        passes = MicroBatchPasses(self._problem, part, steps, weights)
        passes._passes, passes._values = dict(self._passes), self._values
        if part is self.part and type(steps).loss is HandOff.loss:  # nobody computes another loss
            passes._found_at_loss = self._found_at_loss
        passes._differentiate_loss()
        if so_far is not None:
            passes._cotangents = dict(so_far.cotangents)
            passes._passes = {index: done for index, done in self._passes.items() if index in so_far.left}
        return passes

    @property
    def recorded(self) -> Collection[Pass]:
        """The forward passes whose backward passes have not run."""
        return self._passes.values()

    @property
    def so_far(self) -> SoFar:
        """The state of the backward passes."""
        return SoFar(frozenset(self._passes), dict(self._cotangents))

    def factor_of(self, part: MicroBatch) -> float | None:
        """Return the factor of the whole loss of `part`, the same examples, to that of this one; None for several."""
        if part.tensors is not self.part.tensors or not part.scales or not self.part.scales:
            return None
        pairs = [*zip(part.scales, self.part.scales, strict=True)]
        if any(done.added_loss is not None for done in self._passes.values()):
            pairs.append((part.share, self.part.share))
        factors = {new / old for new, old in pairs if new is not None and old}
        return factors.pop() if len(factors) == 1 else None

    def backward(self, segment: Segment) -> None:
        """Apply the chain rule to one segment: add to the gradients of its weights and the cotangents of its inputs.

        Its tape and its activations are freed.
        """
        plan, cotangents, steps = segment.plan, self._cotangents, self._steps
        if plan.index not in self._passes:
            return  # it is shared, and so is what it gives
        done = self._passes.pop(plan.index)
        known = [*(cotangents.get(ref) for ref in plan.outputs), *map(self._loss_gradients.hidden.get, plan.outputs)]
        done = steps.forward_record(done, [cotangent for cotangent in known if cotangent is not None])
        targets, seeds = self._seeded(done)
        variables = self._problem.used_variables(done.tape)
        reused = done.reused
        sources = [*done.inputs, *reused.values(), *variables]
        gradients = iter(steps.pull_back(done, targets, seeds, sources))
        # A tensor that several segments take, such as that of a skip connection, has a cotangent which is the sum of
        # their parts. It is complete when the segment that makes it runs its backward pass: all takers come later.
        for ref in plan.inputs:
            cotangents[ref] = added(cotangents.get(ref), steps.input_cotangent(segment, ref, dense(next(gradients))))
        for ref in reused:  # what came back from later segments, and what calls of this segment add to it
            cotangents[ref] = dense(next(gradients))
        for variable, gradient in zip(variables, gradients, strict=True):
            # A shared weight is summed over the segments that use it, and over the micro-batches.
            key = self._problem.counterparts[id(variable)].key
            self._weights[key] = added(kept(self._weights[key]), steps.contribution(segment, key, gradient))
        if self._arrivals is not None:
            self._arrivals.after(segment)

    def _seeded(self, done: Pass) -> tuple[list[Any], list[Any]]:
        """Return the targets of the segment's VJP (its outputs, the loss that it adds), and the cotangent of each."""
        pairs = []
        for ref, output in zip(done.segment.plan.outputs, done.outputs, strict=True):
            pairs.append((output, self._steps.cotangent(done.segment, ref, output, self._cotangents.get(ref))))
            pairs.append((logits_of(output), self._loss_gradients.hidden.get(ref)))
        if done.added_loss is not None:
            seed = scaled(tf.ones_like(done.added_loss), self._share(done))
            pairs.append((done.added_loss, scaled(seed, self.part.tensors.loss_scale)))
        # A None among several seeds can abort the process, and None for all of them would seed ones.
        pairs = [(target, seed) for target, seed in pairs if seed is not None]
        return [target for target, _ in pairs], [seed for _, seed in pairs]

    def _share(self, done: Pass) -> float:
        return self._steps.share_of_added_loss(done.segment, 1.0 if self.part.share is None else self.part.share)

    @property
    def _loss_gradients(self) -> LossGradients:
        if self._at_loss is None:
            raise AssertionError("a backward pass before the last forward pass")
        return self._at_loss

    @property
    def cotangents(self) -> Mapping[TensorRef, Any]:
        """What has come back so far for each tensor."""
        return self._cotangents

    @property
    def result(self) -> Computed:
        """Loss and outputs, and the gradients of inputs and boundaries."""
        return Computed(
            self._loss_gradients.loss, self._loss_gradients.outputs, self._problem.crossing(self._cotangents)
        )


class SoFar(NamedTuple):
    """Which segments' backward passes have not run, and what has come back from those that have."""

    left: frozenset[int]
    cotangents: Mapping[TensorRef, Any]


class LossGradients(NamedTuple):
    """The data loss, the model's outputs, and the loss's gradient for each tensor that they are made of.

    `hidden` are the cotangents of the logits that Keras hides on an output, and that the loss took in its place.
    """

    loss: Any
    outputs: list[Any]
    seeds: list[Any]
    hidden: dict[TensorRef, Any]


def loss_gradients(problem: Problem, part: MicroBatch, outputs: Sequence[Any], steps: HandOff) -> LossGradients:
    """Compute the loss under a tape of its own, and differentiate it with respect to the model's outputs."""
    graph = problem.graph
    with steps.tape() as tape:
        given = [copied(output) for output in outputs]
        hidden = {ref: _own_logits(t) for ref, t in zip(graph.outputs, given, strict=True) if logits_of(t) is not None}
        watch(tape, [*given, *hidden.values()])
        final = [entered(source, tensor) for source, tensor in zip(graph.output_sources, given, strict=True)]
        loss = steps.loss(problem, part, final)
        target = scaled(loss, part.tensors.loss_scale)
    gradients = [dense(gradient) for gradient in gradients_of(tape, [target], [*given, *hidden.values()])]
    seeds, of_hidden = gradients[: len(given)], gradients[len(given) :]
    return LossGradients(loss, final, seeds, dict(zip(hidden, of_hidden, strict=True)))


def _own_logits(output: Any) -> Any:
    """Give `output` a copy of the logits hidden on it, which a tape can tell from their origin."""
    logits = copied(logits_of(output))
    set_logits(output, logits)
    return logits
