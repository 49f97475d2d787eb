"""Parts that differ from their whole, drawn at random from the models of the zoo: one layer of them is changed."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building.sources.segments import _lend_weights
from gradcheck.cutting.cut import cut_after, resolve
from gradcheck.cutting.model_graph import flatten
from gradcheck.problem.problem import make_segments
from tests.diagnose.generated import problem_of
from tests.zoo.models.cases import CASES

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    import numpy as np

    from gradcheck.problem.prepare import Outline
    from gradcheck.problem.problem import Problem

    Random = np.random.Generator
    #: Changes one layer in place, and returns whether it applies to it.
    Change = Callable[[keras.Layer, Random], bool]


@dataclass(frozen=True, kw_only=True)
class Changed:
    """What was done to which layer; `layer` is its path in the whole."""

    kind: str
    layer: str

    def is_named(self, layer: str | None) -> bool:
        """Whether `layer` is the changed one, or inside it."""
        return layer is not None and f"{layer}/".startswith(f"{self.layer}/")


def parts_of(model: str, rng: Random) -> tuple[AbstractContextManager[Problem], list[Changed]]:
    """A problem whose parts are a second building of the model, cut alike, with one layer changed; and which.

    The change is known once the problem is made. A twin of the problem is changed alike.
    """
    made: list[Changed] = []
    case = next(case for case in CASES if case.name == model)
    file, _, function = case.model.partition(":")
    build = getattr(import_module(f"tests.zoo.models.{file.removesuffix('.py')}"), function)

    def apart(outline: Outline) -> Outline:
        other = build()
        graph = flatten(other)
        cuts = [resolve(outline.graph, name)[0].call for name in case.after]
        plan = cut_after(graph, cuts, [f"part_{i}" for i in range(len(cuts) + 1)])
        segments = make_segments(graph, plan, dtype=other.dtype_policy)
        _lend_weights(other, outline.model)
        made.append(_changed(outline.graph, graph, deepcopy(rng)))
        return replace(outline, graph=graph, plan=plan, segments=segments, shares_graph=False)

    return problem_of(model, apart), made


def _changed(whole: Any, graph: Any, rng: Random) -> Changed:
    """Changes one layer of `graph`."""
    layers = [i for i, call in enumerate(graph.calls) if isinstance(call.operation, keras.Layer)]
    while True:
        kind, index = str(rng.choice([*CHANGES])), int(rng.choice(layers))
        if CHANGES[kind](graph.calls[index].operation, rng):
            return Changed(kind=kind, layer=whole.calls[index].path)


def another_activation(layer: Any, rng: Random) -> bool:
    able = callable(getattr(layer, "activation", None)) and hasattr(layer, "kernel")
    if able:
        layer.activation = [tf.nn.softplus, tf.sin, tf.nn.elu][rng.integers(3)]
    return able


def around(change: Callable[[Any], Any]) -> Change:
    """Changes the one floating tensor that a layer returns."""

    def apply(layer: Any, _: Random) -> bool:
        call = layer.call

        def changed(*args: Any, **kwargs: Any) -> Any:
            made = call(*args, **kwargs)
            return change(made) if isinstance(made, tf.Tensor) and made.dtype.is_floating else made

        vars(layer)["call"] = changed
        return True

    return apply


def attribute(name: str, value: float) -> Change:
    def apply(layer: Any, _: Random) -> bool:
        able = isinstance(getattr(layer, name, None), float)
        if able:
            setattr(layer, name, value)
        return able

    return apply


def other_mode(layer: Any, _: Random) -> bool:
    able, call = isinstance(layer, (keras.layers.Dropout, keras.layers.BatchNormalization)), layer.call
    if able:
        vars(layer)["call"] = lambda *args, **kwargs: call(*args, **{**kwargs, "training": not kwargs.get("training")})
    return able


def another_weight(layer: Any, _: Random) -> bool:
    weights = [v for v in layer.trainable_variables if len(v.shape) > 1]
    for weight in weights[:1]:
        weight.assign(weight * 1.1)
    return bool(weights)


#: By name, what is done to one layer of the parts.
CHANGES: dict[str, Change] = {
    "another activation": another_activation,
    "the output stopped": around(tf.stop_gradient),
    "half of the output stopped": around(lambda t: 0.5 * t + tf.stop_gradient(0.5 * t)),
    "the output times 1.1": around(lambda t: 1.1 * t),
    "the output squashed": around(tf.nn.softsign),
    "the gradient reversed": around(lambda t: 2 * tf.stop_gradient(t) - t),
    "another epsilon": attribute("epsilon", 0.3),
    "another rate": attribute("rate", 0.7),
    "the other mode": other_mode,
    "another weight": another_weight,
}
