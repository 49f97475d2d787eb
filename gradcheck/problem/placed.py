"""The devices of a config, and what they cost from shapes alone: memory on each, bytes that cross between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.building.sources.live import is_live
from gradcheck.building.state_variables import state_variables
from gradcheck.config.keyed import KeyedError, at
from gradcheck.cutting.cost import tensor_bytes
from gradcheck.placement.devices import full_name, is_remote, task_of
from gradcheck.placement.membership import device_names
from gradcheck.problem.budget import check_worker
from gradcheck.problem.estimate import bytes_of, made_by, variable_bytes
from gradcheck.results.plan import PlannedDevice, Traffic

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.config.schema import Config, Placement
    from gradcheck.cutting.cut import Plan
    from gradcheck.cutting.model_graph import Graph, TensorRef
    from gradcheck.cutting.segment import Segment


def devices_of(config: Config) -> tuple[str, ...]:
    """Return the full names of the devices of the segments; none without a placement.

    Raises:
        KeyedError: GC034, for one that does not exist, or for an object of the user's, which stays where it is.
    """
    if config.placement is None:
        return ()
    if is_live(config.model):
        with at("placement"):
            message = "the model is an object of this process, and its weights stay here"
            raise KeyedError(message, code="GC034", help="check it by a config, with a factory that builds it")
    return device_names(config.placement)


def require_one_each(devices: Sequence[str], plan: Plan) -> None:
    """Raise unless there is a device for each segment.

    Raises:
        KeyedError: GC034.
    """
    if len(devices) != len(plan.segments):
        with at("placement", "devices"):
            raise KeyedError(
                f"there are {len(plan.segments)} segments, and each needs a device. Received: {len(devices)} devices",
                code="GC034",
                help="name one for each, in order; a device may be named more than once",
            )


class Placed:
    """The segments of `graph` on the devices of `placement`, one for each, with batches of `batch_size`."""

    def __init__(self, graph: Graph, segments: Sequence[Segment], placement: Placement, batch_size: int) -> None:
        self._graph, self._segments, self._batch_size = graph, segments, batch_size
        self._cluster = placement.cluster
        self._names = [full_name(name) for name in placement.devices]

    def devices(self) -> tuple[PlannedDevice, ...]:
        """Return each device with its segments, the first used first."""
        owned = self._owned()
        return tuple(self._device(name, owned) for name in dict.fromkeys(self._names))

    def _owned(self) -> list[list[Any]]:
        """Return the variables of each segment that no earlier one has."""
        seen: set[int] = set()
        owned = []
        for segment in self._segments:
            own = [*segment.variables, *(state.variable for state in state_variables([segment]))]
            owned.append([v for v in {id(v): v for v in own}.values() if id(v) not in seen])
            seen |= {id(v) for v in own}
        return owned

    def _device(self, name: str, owned: Sequence[Sequence[Any]]) -> PlannedDevice:
        task = task_of(name)
        here = [segment for segment, place in zip(self._segments, self._names, strict=True) if place == name]
        held = [variable for segment in here for variable in owned[segment.plan.index]]
        weights = variable_bytes(held)
        # As `vjp` holds them: the gradients of one segment, for they are compared when they are complete and not kept;
        # the reference's arrive one by one. All activations, the boundaries that arrive, and what comes back for the
        # widest of those that leave.
        trained = [[v for v in owned[segment.plan.index] if v.trainable] for segment in here]
        gradients = max(map(variable_bytes, trained))
        largest = max((variable_bytes([v]) for of_one in trained for v in of_one), default=0)
        made = sum(self._bytes(made_by(self._graph, segment.plan.calls)) for segment in here)
        arrived = sum(self._bytes(segment.plan.inputs) for segment in here)
        back = max(self._bytes(segment.plan.outputs) for segment in here)
        return PlannedDevice(
            device=name,
            address=self._cluster[task] if task is not None and task < len(self._cluster) else None,
            segments=tuple(segment.plan.index for segment in here),
            weights=weights,
            memory=weights + gradients + largest + made + arrived + back,
        )

    def _bytes(self, refs: Any) -> int:
        return bytes_of(self._graph, refs, self._batch_size)

    def require_memory(self) -> None:
        """Raise if a worker has less memory than its segments need beside the weights that it has already.

        Raises:
            KeyedRunError: GC056.
        """
        there = [v for of_one in self._owned() for v in of_one if is_remote(v.value)]
        for device in self.devices():
            if task_of(device.device) is not None:
                held = variable_bytes([v for v in there if v.value.device == device.device])
                with at("placement"):
                    check_worker(device.device, device.memory - held)

    def traffic(self, plan: Plan) -> Traffic:
        """Return the bytes of one step: a tensor goes once to every other device that takes it."""
        leaving = {ref: self._copies(ref, home=self._names[owner]) for ref, owner in plan.boundaries.items()}
        taken = {ref for segment in self._segments for ref in segment.plan.inputs if ref.is_input}
        inputs = {ref: self._copies(ref, home=full_name("")) for ref in taken}
        cotangents = {ref: n for ref, n in leaving.items() if tf.as_dtype(self._graph.spec(ref).dtype).is_floating}
        return Traffic(boundaries=self._sent(leaving), cotangents=self._sent(cotangents), inputs=self._sent(inputs))

    def _copies(self, ref: TensorRef, *, home: str) -> int:
        """Return how many devices other than `home` take a tensor."""
        takers = {self._names[segment.plan.index] for segment in self._segments if ref in segment.plan.inputs}
        return len(takers - {home})

    def _sent(self, copies: dict[TensorRef, int]) -> int:
        return sum(n * tensor_bytes(self._graph.spec(ref), self._batch_size) for ref, n in copies.items())
