"""The loss as a function of one tensor at a time, with everything else constant, state and random draws included."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from gradcheck.building.precision import loss_dtype
from gradcheck.building.state import Snapshot, movable_variables
from gradcheck.comparing.gradient_flow import traced
from gradcheck.comparing.keys import as_float64
from gradcheck.comparing.tape import monolithic, whole_loss
from gradcheck.handoff.execute import Execution, batch_tensors, compiled
from gradcheck.handoff.tensors import total_loss
from gradcheck.keras_private import all_layers, mask_of
from gradcheck.methods.directional.directions import points
from gradcheck.numerics import PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gradcheck.handoff.interface import Computed, Tensors
    from gradcheck.methods.directional.directions import Array
    from gradcheck.problem.problem import Problem, TensorKey

#: Two float64 values of one loss that differ by less, relatively, differ only by the order of sums.
SAME = 1e-12
#: A batch of more elements is not stacked: it uses the processor fully by itself.
SMALL_BATCH = 2**14


class Surface:
    """The loss of a problem around a point.

    Attributes:
        loss: at the point.
        gradients: the tape's, at the point, in float64; None where there is none.
        repeats: whether the loss is the same each time it is computed from the same state.
        assigned: the weights that the forward pass itself assigns, as spectral normalisation does: the tape's gradient
            is at the assigned value, while the loss depends on the value before.
        shapes: of the tensors that can be moved: the weights and inputs of a real floating dtype.
        eps: the relative rounding of the losses.
        seed: the problem's.
    """

    def __init__(self, problem: Problem, at: Mapping[TensorKey, Array] | None = None) -> None:
        """Restore the snapshot of `problem`, with the values `at` in place of weights and inputs."""
        # Once per problem: it needs a trace of the whole model, and is the same at every point.
        self.eps: float = problem.made.get("eps") or coarsest(problem)
        problem.made["eps"] = self.eps
        self.seed, self.shapes = problem.seed, {key: tuple(t.shape) for key, t in points(problem).items()}
        self._problem, self._moved = problem, at or {}
        self._variables = {weight.key: weight.variable for weight in problem.weights}
        self._inputs = {problem.input_key(i): i for i in range(len(problem.batch.x))}
        problem.state.restore()
        self._batch = moved_to(problem, self._moved)
        # Taken after the move, so that every loss starts from the weights at the point.
        self._snapshot = Snapshot(movable_variables([problem.model, *problem.segments]))
        self.loss, self.gradients = tape_at(problem, self._batch)
        changed = {id(variable) for variable in self._snapshot.changed(list(self._variables.values()))}
        self.assigned = frozenset(key for key, variable in self._variables.items() if id(variable) in changed)
        self._losses: CompiledLosses = problem.made.setdefault("losses", CompiledLosses(problem))
        self._run: Callable[[Tensors], Computed] = self._losses.whole
        self._rewind: Callable[[], None] = self._snapshot.put_back
        self.repeats = self._settled()

    def value(self, key: TensorKey) -> Array:
        """Return the tensor at the point, in float64."""
        self._rewind()
        tensor = self._batch.x[self._inputs[key]] if key in self._inputs else self._variables[key].value
        return np.asarray(tensor).astype(np.float64)

    def beside(self, rng: np.random.Generator, distance: float) -> Surface:
        """Return the surface at a point nearby, where values that were equal or zero by construction no longer are."""
        return Surface(self._problem, self._points_beside(rng, distance))

    def gradients_nearby(self, rng: np.random.Generator, distance: float) -> Mapping[TensorKey, Any]:
        """Return the tape's gradients at such a point, without a surface around it."""
        at = self._points_beside(rng, distance)
        self._rewind()
        _, gradients = tape_at(self._problem, moved_to(self._problem, at))
        self._rewind()
        return gradients

    def along(self, key: TensorKey, *, stack: bool = False) -> Callable[[Array, Array], Array]:
        """Return a function from a direction and a vector of steps to the losses at `value(key) + step · direction`.

        With `stack` the perturbed copies of a small batch are run as one, if `key` is an input and the losses are the
        same.
        """
        value = self.value(key)

        def one_by_one(direction: Array, steps: Array) -> Array:
            return np.array([self._loss_at(key, value + step * direction) for step in steps])

        if not (stack and key in self._inputs and 0 < value.size <= SMALL_BATCH):
            return one_by_one
        index = self._inputs[key]

        def all_at_once(direction: Array, steps: Array) -> Array:
            self._rewind()
            copies = value + np.multiply.outer(steps, direction)
            stacked = self._losses.stacked(index, len(steps))
            return np.asarray(stacked(self._batch, tf.constant(copies.reshape(-1, *value.shape[1:]))))

        return all_at_once if _same(all_at_once, one_by_one, value) else one_by_one

    def _settled(self) -> bool:
        """Choose the fastest way to the loss that agrees with the tape's; return whether there is one.

        It is a compiled function that starts from the same variables. Code that draws from TensorFlow's own generators,
        or needs Python, is run eagerly with every seed restarted.
        """
        try:
            if self._agrees():
                return True
        except Exception as error:  # noqa: BLE001 - the user's code cannot be compiled: it runs eagerly
            del error
        self._run, self._rewind = partial(whole_loss, self._problem), self._restart
        return self._agrees()

    def _agrees(self) -> bool:
        """Whether two runs give the tape's loss; a loss that is not finite shows in the gradients."""
        # Twice: rewinding does not restore everything, such as a generator of the user's own.
        losses = [self._loss(self._batch) for _ in range(2)]
        return not math.isfinite(self.loss) or all(abs(loss - self.loss) <= SAME * abs(self.loss) for loss in losses)

    def _restart(self) -> None:
        self._problem.state.restore()
        self._snapshot.put_back()

    def _loss_at(self, key: TensorKey, value: Array) -> float:
        if key in self._inputs:
            return self._loss(self._with_input(key, value))
        return self._loss(self._batch, lambda: self._variables[key].assign(value))

    def _loss(self, batch: Tensors, move: Callable[[], Any] | None = None) -> float:
        self._rewind()
        if move is not None:
            move()
        return float(self._run(batch).loss)

    def _with_input(self, key: TensorKey, value: Array) -> Tensors:
        return _replaced(self._batch, self._inputs[key], value)

    def _points_beside(self, rng: np.random.Generator, distance: float) -> Mapping[TensorKey, Array]:
        return {key: beside(self.value(key), rng, distance) for key in self.shapes}


class CompiledLosses:
    """The functions from a batch to the loss of a problem, each compiled at its first call and kept."""

    def __init__(self, problem: Problem) -> None:
        """Compile nothing yet."""
        self._problem = problem
        self.whole = compiled(partial(whole_loss, problem), "graph")
        self._stacked: dict[tuple[int, int], Callable[[Tensors, Any], Any]] = {}

    def stacked(self, index: int, copies: int) -> Callable[[Tensors, Any], Any]:
        """Return the function for the losses of this many copies of a batch that differ in input `index`."""
        if (index, copies) not in self._stacked:
            run = partial(_stacked_losses, self._problem, index)
            self._stacked[index, copies] = tf.function(run, autograph=False)
        return self._stacked[index, copies]


#: The 16-bit dtypes: in these the loss changes in steps, and looks flat or steep at a point because of rounding alone.
HALVES = {tf.float16.as_datatype_enum: "float16", tf.bfloat16.as_datatype_enum: "bfloat16"}


def coarsest(problem: Problem) -> float:
    """Return the rounding of the losses: that of their dtype, or of a 16-bit dtype in the forward pass."""
    trace = traced(problem)
    if trace.loss is None:  # it cannot be traced: by the dtypes of the layers
        layers = all_layers([problem.model])
        found = {str(layer.compute_dtype) for layer in layers} & set(HALVES.values())
    else:
        graph = trace.loss.graph.as_graph_def()
        # The bodies of loops and of compiled functions are in the library, not among the graph's nodes.
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        found = {HALVES[attr.type] for node in nodes for attr in node.attr.values() if attr.type in HALVES}
    return max(PRECISIONS[name].eps for name in (loss_dtype(), *found))


def _replaced(batch: Tensors, index: int, value: Array) -> Tensors:
    """Return `batch` with `value` as input `index`."""
    x = list(batch.x)
    x[index] = tf.constant(value, x[index].dtype)
    return batch._replace(x=x)


def moved_to(problem: Problem, at: Mapping[TensorKey, Array]) -> Tensors:
    """Assign the weights in `at`, and return the problem's batch with the inputs in it."""
    batch = batch_tensors(problem)
    inputs = {problem.input_key(i): i for i in range(len(problem.batch.x))}
    variables = {weight.key: weight.variable for weight in problem.weights}
    for key, value in at.items():
        if key in inputs:
            batch = _replaced(batch, inputs[key], value)
        else:
            variables[key].assign(value)
    return batch


def output_masks(problem: Problem, at: Mapping[TensorKey, Array]) -> list[Any]:
    """Return the Keras masks of the outputs, as lists, with the inputs `at` in place of the batch's."""
    if not any(mask_of(problem.graph.spec(ref)) is not None for ref in problem.graph.outputs):
        return []
    with problem.state.preserved():
        x = problem.model_inputs([tf.identity(tensor) for tensor in moved_to(problem, at).x])
        outputs = keras.tree.flatten(problem.model(x, training=problem.training))
    return [None if (mask := mask_of(output)) is None else np.asarray(mask).tolist() for output in outputs]


def tape_at(problem: Problem, batch: Tensors) -> tuple[float, dict[TensorKey, Any]]:
    """Return the loss and the tape's gradients in float64, at the current weights and state; state is changed."""
    found = Execution(problem, monolithic, execution="eager").run_as_it_is(batch)
    return float(found.loss), {key: as_float64(tensor) for key, tensor in found.tensors.items()}


def beside(value: Array, rng: np.random.Generator, distance: float) -> Array:
    """Move every element by a random share of itself, up to `distance`; zeros by that much of one."""
    moved: Array = value + np.where(value == 0, 1.0, value) * rng.uniform(-distance, distance, value.shape)
    return moved


def _stacked_losses(problem: Problem, index: int, batch: Tensors, joined: Any) -> Any:
    """Return the losses of the copies of the batch whose input `index` is `joined` along the first axis."""
    copies = joined.shape[0] // batch.x[index].shape[0]
    x = [tf.tile(tensor, [copies, *([1] * (tensor.shape.rank - 1))]) for tensor in batch.x]
    x[index] = tf.cast(joined, x[index].dtype)
    outputs = keras.tree.flatten(problem.model(problem.model_inputs(x), training=problem.training))
    apart = zip(*(tf.split(output, copies) for output in outputs), strict=True)
    losses = [problem.loss(batch.y, list(copy), batch.sample_weight) for copy in apart]
    return tf.stack([total_loss(loss, problem.model.losses) for loss in losses])


def _same(
    all_at_once: Callable[[Array, Array], Array], one_by_one: Callable[[Array, Array], Array], value: Array
) -> bool:
    """Whether copies that are run together do not affect each other, as in batch norm or dropout."""
    direction = np.random.default_rng(0).normal(size=value.shape)
    steps = np.array([0.0, 0.1, -0.2])
    try:
        together, apart = all_at_once(direction, steps), one_by_one(direction, steps)
    except Exception:  # noqa: BLE001 - a model that is not made for other batch sizes: one by one then
        return False
    return bool(np.all(np.abs(together - apart) <= SAME * np.abs(apart)))
