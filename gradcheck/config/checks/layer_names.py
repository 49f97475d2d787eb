"""References in the `layers` section to names that nothing above defines, and in `split.after` to layers it lacks.

A name that Keras may have chosen for a layer is accepted: its number depends on the layers built before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gradcheck.config.findings import Finding, KeyPath
from gradcheck.config.sections.model import LayerSpec
from gradcheck.phrases import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.config.sections.base import Written


@dataclass
class _Scope:
    """The names defined above an entry: explicit names with their paths, and names that Keras may have chosen."""

    layers: dict[str, KeyPath] = field(default_factory=dict)
    tensors: set[str] = field(default_factory=set)
    automatic: set[str] = field(default_factory=set)
    complete: bool = True  # False after an invalid entry: it may have defined any name

    def knows(self, name: str) -> bool:
        """Whether `name`, or the layer of `name:1`, may be defined."""
        stem = re.sub(r":\d+$", "", name)
        return not self.complete or stem in self.layers or stem in self.tensors or self.may_be_automatic(stem)

    def may_be_automatic(self, name: str) -> bool:
        """Whether Keras may have given this name to a layer above."""
        return re.sub(r"_\d+$", "", name) in self.automatic


def undefined_names(data: dict[Any, Any]) -> Iterator[Finding]:
    """Yield a finding for each name that is not defined above its use, or is given twice, in every `layers` section."""
    model = data.get("model")
    for path, source in layer_sources(model, ("model",)):
        yield from _in_layers(source, path)


def layer_sources(model: Any, path: KeyPath) -> Iterator[tuple[KeyPath, dict[Any, Any]]]:
    """Yield every mapping that has a list of layers, with its path; also in the parts of `segments`."""
    if not isinstance(model, dict):
        return
    if isinstance(model.get("layers"), list):
        yield path, model
    if isinstance(model.get("segments"), list):
        for index, part in enumerate(model["segments"]):
            yield from layer_sources(part, (*path, "segments", index))
        yield from layer_sources(model.get("reference"), (*path, "reference"))


def _in_layers(source: dict[Any, Any], path: KeyPath) -> Iterator[Finding]:
    scope = _Scope()
    _define_inputs(scope, source.get("input"), (*path, "input"))
    later = _explicit_names(source["layers"])
    for index, entry in enumerate(source["layers"]):
        try:
            written = LayerSpec.as_written(entry)
        except ValidationError:
            scope.complete = False
            continue
        yield from _in_entry(scope, written, (*path, "layers", index), later)
    outputs = source.get("outputs")
    for position, name in _texts(outputs):
        if not scope.knows(name):
            yield _undefined(name, (*path, "outputs", *position), scope, {})


def unknown_cuts(data: dict[Any, Any]) -> Iterator[Finding]:
    """Yield a finding for each name in `split.after` that no layer of a `layers` section can have.

    A class of the user's own may choose its name itself: where one has none in the config, nothing is known.
    """
    model, split = data.get("model"), data.get("split")
    if not isinstance(model, dict) or not isinstance(split, dict) or not isinstance(model.get("layers"), list):
        return
    scope = _Scope()
    for entry in model["layers"]:
        try:
            fields = LayerSpec.as_written(entry).fields
        except ValidationError:
            return
        name, target, kind = fields.get("name"), fields.get("target"), fields.get("kind", "layer")
        if kind == "call" or not isinstance(target, str):
            continue
        if isinstance(name, str):
            scope.layers[name] = ()
        elif ":" in target:
            return
        else:
            scope.automatic.add(automatic_name(target))
    for place, name in _texts(split.get("after")):
        if not scope.knows(name.partition("/")[0]):
            known = [*scope.layers, *sorted(scope.automatic)]
            help_ = suggestion(name, known, "Layers", most=12)
            yield Finding(
                message=f"no layer is called `{name}`", path=("split", "after", *place), code="GC023", help=help_
            )


def _define_inputs(scope: _Scope, raw: Any, path: KeyPath) -> None:
    """Add the names of the inputs: the keys of a mapping; for a single input the names that Keras may give it."""
    named = isinstance(raw, dict) and all(isinstance(value, dict) for value in raw.values())
    scope.automatic |= set() if named else {"input", "inputs", "input_layer"}
    for name in raw if named else ():
        if isinstance(name, str):  # another key has a finding of its own
            scope.layers[name] = (*path, name)


def _explicit_names(layers: list[Any]) -> dict[str, int]:
    """Return the explicit names, each with the index of the first entry that has it."""
    names: dict[str, int] = {}
    for index, entry in enumerate(layers):
        try:
            name = LayerSpec.as_written(entry).fields.get("name")
        except ValidationError:
            continue
        if isinstance(name, str):
            names.setdefault(name, index)
    return names


def _in_entry(scope: _Scope, written: Written, path: KeyPath, later: dict[str, int]) -> Iterator[Finding]:
    """Check the names that one entry refers to, then add the name that it defines."""
    fields = written.fields

    def place(key: str) -> KeyPath:
        return (*path, *written.place((key,)))

    references = [((*place("inputs"), *position), name) for position, name in _texts(fields.get("inputs"))]
    target = fields.get("target")
    is_call = fields.get("kind") == "call"
    if is_call and isinstance(target, str):
        references.append(((*path, "call", "layer"), target))
    for at, name in references:
        if not scope.knows(name):
            yield _undefined(name, at, scope, later)
    name = fields.get("name")
    if isinstance(name, str):
        first = scope.layers.get(name)
        if first is not None:
            yield Finding(
                message=f"the name `{name}` is given twice",
                path=place("name"),
                code="GC022",
                help="give each layer and input a name of its own",
            )
        scope.layers.setdefault(name, place("name"))
    elif not is_call and isinstance(target, str):
        scope.automatic |= {automatic_name(target), *(("numpy_layer",) if fields.get("kind") == "numpy_layer" else ())}


def _texts(raw: Any) -> list[tuple[KeyPath, str]]:
    """Return the strings of a list, each with its index as a path, or a single string with the empty path."""
    if isinstance(raw, str):
        return [((), raw)]
    items = raw if isinstance(raw, (list, tuple)) else ()
    return [((index,), item) for index, item in enumerate(items) if isinstance(item, str)]


def _undefined(name: str, path: KeyPath, scope: _Scope, later: dict[str, int]) -> Finding:
    if name in later:
        message, advice = f"`{name}` is defined further below", "a layer can only use what stands above it; move it up"
    else:
        message, advice = f"no layer or input above is named `{name}`", suggestion(name, scope.layers, "Names above")
    return Finding(message=message, path=path, code="GC022", help=advice)


def automatic_name(target: str) -> str:
    """Return Keras's default name for a layer of this class, without the number.

    As `keras.src.utils.naming.to_snake_case`, which is not imported: configs are read without Keras.
    """
    name = re.sub(r"\W+", "", target.rpartition(":")[2].rpartition(".")[2])
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()
