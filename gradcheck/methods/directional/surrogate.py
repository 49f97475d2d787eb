"""A layer whose backward pass is not the derivative on purpose, by a rule that its author declares.

Straight-through estimators, gradient reversal and clipping return the cotangent rule(dy, inputs) for dy. Around a point
with the inputs h0, the output o0 and the cotangent dy0 the tape should then differentiate

    loss(o0, everything else) + <rule(dy0, h0), h>

in which the layer's output is constant and its inputs h move: a function that has finite differences.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building import user_code
from gradcheck.building.target import FunctionLayer
from gradcheck.comparing.tape import whole_loss
from gradcheck.errors import ConfigError, RunError
from gradcheck.methods.directional.surface import moved_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.methods.directional.directions import Array
    from gradcheck.problem.problem import Problem, TensorKey

    #: From the cotangent of the output and the inputs to the cotangents of the inputs.
    Rule = Callable[..., Any]


def layer_of(problem: Problem) -> keras.Layer:
    """Return the one layer of the user's own that the surrogate is for; the layer itself if there is just one.

    Raises:
        ConfigError: GC031 if there is none, or more than one.
    """
    layers = [inner for inner in problem.model.layers if not isinstance(inner, keras.layers.InputLayer)]
    own = [inner for inner in layers if isinstance(inner, FunctionLayer) or not _is_known(inner)]
    found = own or (layers if len(layers) == 1 else [])
    if len(found) != 1:
        names = ", ".join(inner.name for inner in found) or "none"
        raise ConfigError(
            f"a surrogate is the rule of one layer of your own, and the model has another number. Received: {names}",
            code="GC031",
            help="check the layer by itself: gradcheck layer ./layers.py:Name --surrogate ./layers.py:rule",
        )
    return found[0]


def _is_known(layer: keras.Layer) -> bool:
    return type(layer).__module__.startswith(("keras.", "gradcheck.")) and not isinstance(layer, keras.layers.Lambda)


@contextmanager
def stood_in(problem: Problem, surrogate: str | Rule, at: Mapping[TensorKey, Array]) -> Iterator[keras.Layer]:
    """Inside, hold the layer's output constant at the point `at`; its inputs add the rule's terms to the loss.

    Args:
        problem: in float64.
        surrogate: the rule, or its name as `./file.py:name`.
        at: the values of inputs and weights.

    Raises:
        ConfigError: as `layer_of`, or if there is no such rule.
        RunError: GC053 if the rule raises, or does not return one cotangent of its shape for each input.
    """
    if isinstance(surrogate, str):
        rule, reference, base = user_code.load(surrogate, problem.base, code="GC053"), surrogate, problem.base
    else:
        rule, reference, base = surrogate, getattr(surrogate, "__name__", "rule"), None
    layer = layer_of(problem)
    inputs, output, cotangent = _at_point(problem, layer, at)
    with user_code.calling("surrogate", reference, "GC053", base):
        given = tf.nest.flatten(rule(cotangent, *inputs))
    shapes = [None if g is None else tuple(g.shape) for g in given]
    if len(shapes) != len(inputs) or any(s not in (None, tuple(x.shape)) for s, x in zip(shapes, inputs, strict=True)):
        raise RunError(
            f"surrogate {reference} must give one cotangent in the shape of each input. "
            f"Received: {shapes} for inputs of shape {[tuple(x.shape) for x in inputs]}",
            code="GC053",
        )
    held = [(i, tf.stop_gradient(tf.cast(g, inputs[i].dtype))) for i, g in enumerate(given) if g is not None]

    def call(*moved: Any, **_: Any) -> Any:
        for i, part in held:
            layer.add_loss(tf.reduce_sum(part * tf.nest.flatten(moved)[i]))
        return tf.identity(output)

    with _called_as(layer, call):
        yield layer


def _at_point(problem: Problem, layer: keras.Layer, at: Mapping[TensorKey, Array]) -> tuple[Sequence[Any], Any, Any]:
    """Return the layer's inputs and output at a point, and the output's cotangent."""
    original, seen = layer.call, dict[str, Any]()

    def call(*inputs: Any, **arguments: Any) -> Any:
        output = tf.identity(original(*inputs, **arguments))
        tape.watch(output)
        seen.update(inputs=tf.nest.flatten(inputs), output=output)
        return output

    with problem.state.preserved(), _called_as(layer, call), tf.GradientTape() as tape:
        loss = whole_loss(problem, moved_to(problem, at)).loss
    cotangent = tape.gradient(loss, seen["output"], unconnected_gradients="zero")
    return seen["inputs"], seen["output"], cotangent


@contextmanager
def _called_as(layer: keras.Layer, call: Callable[..., Any]) -> Iterator[None]:
    """Replace the layer's `call`, past Keras's attribute setter, which would track it."""
    object.__setattr__(layer, "call", call)
    try:
        yield
    finally:
        object.__delattr__(layer, "call")
