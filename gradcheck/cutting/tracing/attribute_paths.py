"""The layers inside a subclassed model or layer, by the attributes that hold them: `encoder/blocks/0/dense_1`."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.keras_private import Functional, functional_of, is_keras_own, own_variables, sublayers

if TYPE_CHECKING:
    from collections.abc import Iterator


def layer_paths(root: keras.Layer) -> dict[int, str]:
    """Return the path of every layer inside `root`, by the layer's id; that of `root` is "".

    A layer that several attributes hold has the shortest path, and of these the first. Inside a functional or
    Sequential model layers have their own names; the insides of Keras's own layers are left out.
    """
    return {key: path for key, (_, path) in _found(root).items()}


def variable_paths(root: keras.Layer) -> dict[int, str]:
    """Return the path of every variable inside `root` by its id: the layer's path, and the variable's name in it.

    What was not made by the layer that holds it keeps Keras's path, as in any functional model: a seed, or the weights
    of a functional model that was built before.
    """
    paths: dict[int, str] = {}
    found = _found(root)
    models = (layer for layer, _ in found.values() if functional_of(layer) is not None)
    before = {id(inner) for model in models for inner in model.layers if not _was_made_in(root, inner)}
    for layer, path in (entry for key, entry in found.items() if key not in before):
        whole = functional_of(layer) is None and is_keras_own(layer)
        for variable in layer.variables if whole else own_variables(layer):
            name = str(variable.path)
            if name.startswith(f"{layer.path}/"):
                paths.setdefault(id(variable), f"{path}/{name.removeprefix(f'{layer.path}/')}".lstrip("/"))
    return paths


def _was_made_in(root: keras.Layer, layer: keras.Layer) -> bool:
    """Whether the weights of a layer were made while `root` was called or built."""
    return str(layer.path or "").startswith(f"{root.path}/")


def _found(root: keras.Layer) -> dict[int, tuple[keras.Layer, str]]:
    found = {id(root): (root, "")}
    waiting = deque(found.values())
    while waiting:
        layer, path = waiting.popleft()
        for name, inner in _held(layer):
            if id(inner) not in found:
                found[id(inner)] = (inner, f"{path}/{name}".lstrip("/"))
                waiting.append(found[id(inner)])
    return found


def _held(layer: keras.Layer) -> Iterator[tuple[str, keras.Layer]]:
    """Yield the layers that `layer` holds itself, with the path from it."""
    if functional_of(layer) is not None:
        yield from ((inner.name, inner) for inner in layer.layers)
    elif not is_keras_own(layer):
        for name, value in sorted(vars(layer).items(), key=lambda item: item[0].startswith("_")):
            # Keras's list of all layers, and TensorFlow's mappings of what it tracks, hold what other attributes hold.
            # So do the lists of the graph of a functional model with a `call` of its own, whose layers have names.
            doubled = name == "_layers" or name.startswith("_self_")
            if not doubled and not (isinstance(layer, Functional) and name.startswith("_")):
                yield from _inside(name, value)
        yield from ((inner.name, inner) for inner in sublayers(layer))


def _inside(name: str, value: Any) -> Iterator[tuple[str, keras.Layer]]:
    if isinstance(value, keras.Layer):
        yield name, value
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _inside(f"{name}/{index}", item)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _inside(f"{name}/{key}", item)
