"""A traced model beside the object that it was traced from: outputs, loss, state and gradients on the batch."""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.endpoints import packed_inputs
from gradcheck.building.messages import described
from gradcheck.building.precision import compute_dtype
from gradcheck.building.state import Snapshot, movable_variables
from gradcheck.cutting.run_calls import replay
from gradcheck.cutting.segment import WholeGraph
from gradcheck.cutting.tensor_copies import copied
from gradcheck.keras_private import called_with, current_training, mask_of, replaced
from gradcheck.numerics import NOISE_FACTOR, NOISE_RUNS, PRECISIONS, TolerancePolicy, compare, is_zero, movement
from gradcheck.phrases import some
from gradcheck.problem.nudge import nudged_tensor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.batch import Batch
    from gradcheck.building.state import State
    from gradcheck.cutting.model_graph import Graph, OpenedLayer, TensorRef

_ALL = "the calls found inside do not compute what the model does"


@dataclass(frozen=True, eq=False, kw_only=True)
class Traced:
    """A model, the graph that was traced from it, and what both are run on.

    Attributes:
        model: the functional model around the objects.
        graph: its calls, of which some were traced.
        batch: the batch.
        loss: the data loss, a function of targets, outputs and sample weights.
        state: the snapshot that both start from.
        training: the flag of the calls.
        precision: of the config.
    """

    model: keras.Model
    graph: Graph
    batch: Batch
    loss: Callable[[Any, Sequence[Any], Any], Any]
    state: State
    training: bool
    precision: str

    def wrong(self) -> dict[int, str]:
        """Return the layers whose calls in the graph do not compute what the layer does, by id, and what differs.

        It is the innermost layers that are returned; all opened ones if the difference lies in none of them.
        """
        if not self.graph.opened:
            return {}
        found = self.differences(self._object, self._graph)
        if not found:
            return {}
        return self._innermost() or {id(opened.layer): f"{_ALL} ({found})" for opened in self.graph.opened}

    def differences(self, one: Callable[[], Side], other: Callable[[], Side]) -> str:
        """Return in words what differs between two ways to run the model; "" if nothing does."""
        try:
            ours = self._from_start(one)
        except Exception as error:  # noqa: BLE001 - reported where the reference runs, if it raises there too
            return f"it raises {described(error)}"
        try:
            theirs = self._from_start(other)
        except Exception as error:  # noqa: BLE001 - whatever the traced calls raise: they are not used then
            return f"the traced calls raise {described(error)}"
        unlike = [
            (what, name)
            for what, values, others in zip(Side._fields, ours, theirs, strict=True)
            for name, value in values.items()
            if not self._equal(value, others.get(name))
        ]
        unlike = self._beyond_rounding(one, unlike, ours, theirs) if unlike else []
        return f"unlike are {some([f'{what} {name}'.strip() for what, name in unlike])}" if unlike else ""

    def _from_start(self, run: Callable[[], Side], nudge: np.random.Generator | None = None) -> Side:
        """Run from the snapshot; with `nudge` from weights that are multiplied by 1±eps."""
        with self.state.preserved():
            _draw_other_numbers()
            if nudge is not None:
                eps = PRECISIONS[compute_dtype(self.precision)].eps
                for variable in self.model.trainable_variables:
                    variable.assign(nudged_tensor(variable.value, nudge, eps))
            return run()

    def _beyond_rounding(
        self, run: Callable[[], Side], unlike: Sequence[tuple[str, str]], ours: Side, theirs: Side
    ) -> list[tuple[str, str]]:
        """Return those of the unlike tensors that differ by more than rounding moves them."""
        rng = np.random.default_rng(0)
        nudged = [self._from_start(run, rng) for _ in range(NOISE_RUNS)]

        def value(side: Side, what: str, name: str) -> Any:
            return _array(getattr(side, what).get(name))

        def rounding(what: str, name: str) -> bool:
            one, other = value(ours, what, name), value(theirs, what, name)
            if one is None or other is None or one.shape != other.shape or one.dtype.kind not in "fV":
                return False
            floor = max(movement(one, value(side, what, name)) for side in nudged)
            return movement(one, other) <= NOISE_FACTOR * floor

        return [(what, name) for what, name in unlike if not rounding(what, name)]

    def _equal(self, one: Any, other: Any) -> bool:
        ours, theirs = _array(one), _array(other)
        if ours is None or theirs is None:
            return is_zero(ours) and is_zero(theirs)
        tolerance = TolerancePolicy().for_tensor("", str(ours.dtype.name), compute_dtype(self.precision))
        return compare(ours, theirs, tolerance, gradient=False).status in ("exact", "close")

    def _object(self) -> Side:
        return self._side(lambda x: self.model(packed_inputs(self.model, x), training=self.training), self.model)

    def _graph(self) -> Side:
        whole = WholeGraph(self.graph, dtype=self.model.dtype_policy)
        used = set(map(id, whole.segment.trainable_variables))
        whole.segment.penalise(v for v in self.model.trainable_variables if id(v) not in used)
        return self._side(lambda x: whole(x, training=self.training), whole.segment)

    def _side(self, run: Callable[[Sequence[Any]], Any], holder: keras.Layer) -> Side:
        """Return outputs, loss, gradients and state of one run; `holder` has the losses that layers add."""
        variables = self.model.trainable_variables
        with tf.GradientTape() as tape:
            x = [copied(tensor) for tensor in self.batch.x]
            floating = [tensor for tensor in x if _is_floating(tensor)]
            tape.watch(floating)
            outputs = keras.tree.flatten(run(x))
            loss = self.loss(self.batch.y, outputs, self.batch.sample_weight)
            for added in holder.losses:
                loss += tf.reduce_sum(tf.cast(added, loss.dtype))
        values = [*floating, *(v.value for v in variables)]
        names = [*(f"of input {i}" for i in range(len(floating))), *(f"of {v.path}" for v in variables)]
        return Side(
            outputs={str(i): output for i, output in enumerate(outputs)},
            loss={"": loss},
            gradients=_by_name(names, tape.gradient(loss, values)),
            state=self.state.read(split=False),
        )

    def _innermost(self) -> dict[int, str]:
        """Return the layers that differ by themselves, on what they are called with; none that contains another."""
        try:
            with self.state.preserved(), _calls_of(self.graph.opened) as seen:
                _draw_other_numbers()
                self.model(packed_inputs(self.model, self.batch.x), training=self.training)
        except Exception:  # noqa: BLE001 - its own error is reported where the reference runs
            return {}
        wrong: dict[int, str] = {}
        covered: list[range] = []
        for opened, call in zip(self.graph.opened, seen, strict=False):
            if opened.layer is not call.layer:
                return {id(call.layer): "it makes other calls when it is run on values"}
            if any(inner.start >= opened.calls.start and inner.stop <= opened.calls.stop for inner in covered):
                continue
            said = _Alone(self, opened, call).differences()
            if said:
                wrong[id(opened.layer)] = f"the calls found inside do not compute what it does ({said})"
                covered.append(opened.calls)
        return wrong


class Side(NamedTuple):
    """The results of one run by name: tensors, or None for no gradient."""

    outputs: Mapping[str, Any]
    loss: Mapping[str, Any]
    gradients: Mapping[str, Any]
    state: Mapping[str, Any]


class _LayerCall(NamedTuple):
    """One call of a layer on values, and the `training` that was in effect around it."""

    layer: keras.Layer
    args: Any
    kwargs: Any
    training: bool | None


@dataclass(frozen=True, eq=False)
class _Alone:
    """One opened layer by itself, on the values of one call."""

    traced: Traced
    opened: OpenedLayer
    called: _LayerCall

    def differences(self) -> str:
        """Return in words what differs between the layer and its calls in the graph; "" if nothing does."""
        return self.traced.differences(lambda: self._side(self._layer), lambda: self._side(self._calls))

    def _layer(self, values: list[Any]) -> list[Any]:
        args, kwargs = keras.tree.pack_sequence_as((self.called.args, self.called.kwargs), values)
        return list(keras.tree.flatten(self.opened.layer(*args, **kwargs)))

    def _calls(self, values: list[Any]) -> list[Any]:
        given = _filled(self.opened, values)
        calls = [self.traced.graph.calls[index] for index in self.opened.calls]
        replay(calls, given, training=self.traced.training)
        return [None if source is None else given[source.ref] for source in self.opened.outputs]

    def _side(self, run: Callable[[list[Any]], list[Any]]) -> Side:
        layer, snapshot = self.opened.layer, Snapshot(movable_variables([self.opened.layer]))
        flag = self.traced.training if self.called.training is None else self.called.training
        with tf.GradientTape() as tape, called_with(flag):
            values = [copied(v) if isinstance(v, tf.Tensor) else v for v in _flat(self.called)]
            floating = [value for value in values if _is_floating(value)]
            tape.watch(floating)
            outputs = run(values)
            target = tf.add_n([weighted_sum(output) for output in outputs if _is_floating(output)])
        variables = layer.trainable_variables
        names = [*(f"of argument {i}" for i in range(len(floating))), *(f"of {v.path}" for v in variables)]
        gradients = tape.gradient(target, [*floating, *(v.value for v in variables)])
        moved = {v.path: tf.identity(v.value) for v in snapshot.variables}
        return Side(
            outputs={str(i): output for i, output in enumerate(outputs) if isinstance(output, tf.Tensor)},
            loss={},
            gradients=_by_name(names, gradients),
            state=moved,
        )


def _flat(called: _LayerCall) -> list[Any]:
    return list(keras.tree.flatten((called.args, called.kwargs)))


def _filled(opened: OpenedLayer, values: Sequence[Any]) -> dict[TensorRef, Any]:
    """Return the values of the tensors among a call's arguments, and of their masks, by their place in the graph."""
    tensors = [value for value in values if isinstance(value, tf.Tensor)]
    given = [*zip(opened.arguments, tensors, strict=True), *zip(opened.masks, map(mask_of, tensors), strict=True)]
    return {source.ref: value for source, value in given if source is not None}


def _by_name(names: Sequence[str], gradients: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(names, gradients, strict=True))


def _array(tensor: Any) -> np.ndarray[Any, Any] | None:
    return None if tensor is None else np.asarray(tf.convert_to_tensor(tensor))


def _is_floating(value: Any) -> bool:
    return isinstance(value, tf.Tensor) and value.dtype.is_floating


def weighted_sum(output: Any) -> Any:
    """Return the sum of a tensor's elements in float64, each with another weight between 1/2 and 3/2."""
    flat = tf.cast(tf.reshape(output, [-1]), tf.float64)
    return tf.reduce_sum(flat * (1 + tf.cos(tf.range(tf.size(flat), dtype=tf.float64)) / 2))


def any_loss(y: Any, outputs: Sequence[Any], sample_weight: Any) -> Any:  # noqa: ARG001 - as a data loss
    """Return a loss over all outputs, for a model whose own loss is no function of them."""
    return tf.add_n([weighted_sum(output) for output in outputs if _is_floating(output)])


@contextmanager
def _calls_of(opened: Sequence[OpenedLayer]) -> Iterator[list[_LayerCall]]:
    """Yield a list that collects the calls of opened layers in the block, in the order in which they end."""
    layers, seen = {id(one.layer) for one in opened}, list[_LayerCall]()
    call = keras.layers.Layer.__call__

    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        if id(self) not in layers:
            return call(self, *args, **kwargs)
        training = current_training()
        outputs = call(self, *args, **kwargs)
        seen.append(_LayerCall(self, args, kwargs, training))
        return outputs

    with replaced(keras.layers.Layer, __call__=called):
        yield seen


def _draw_other_numbers() -> None:
    """Draw other numbers from here on than while the model was traced: one that became a constant then shows."""
    drawn = 1 + random.randrange(2**31)  # noqa: S311 - no secret; the same for both sides, which start from one state
    random.seed(drawn)
    np.random.seed(drawn % 2**32)  # noqa: NPY002 - the global one is meant
    tf.random.set_seed(drawn)
