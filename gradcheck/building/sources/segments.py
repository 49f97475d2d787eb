"""`segments`: the user's own parts, chained; the whole is their composition, or a reference whose weights they take."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.endpoints import input_names, output_names
from gradcheck.building.messages import described as error_described
from gradcheck.building.messages import raised, user_location
from gradcheck.building.sources.built import BuiltModel, is_functional, load_weights, no_inputs, not_a_model
from gradcheck.building.sources.matching import match_variables
from gradcheck.building.sources.single import (
    NOTHING,
    KnownBatch,
    build_any,
    build_single,
    declared_inputs,
    described,
    settle,
    stated_inputs,
)
from gradcheck.building.sources.subclassed import functional
from gradcheck.config.keyed import KeyedRunError, at
from gradcheck.errors import GradcheckError
from gradcheck.keras_private import called_with, calls_of_models
from gradcheck.phrases import listed
from gradcheck.placement.devices import on

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gradcheck.config.sections.model import SegmentsSource, SingleSource


def build(source: SegmentsSource, base: Path, given: KnownBatch = NOTHING) -> BuiltModel:
    """Build the parts in order, and the whole.

    The outputs of a part are the inputs of the next, in order, or by name if both sides have the same names. A part may
    be a functional model, a subclassed one or a layer. With `reference`, that is the whole, and the parts take its
    weights; else the whole is a functional model named `whole` that calls the parts.

    Raises:
        ConfigError: a part's source is wrong.
        RunError: GC051 if a part cannot be built, parts do not fit each other, or weights have no counterpart.
    """
    reference = None
    if source.reference is not None:
        with at("reference"):
            reference = build_single(source.reference, base, given)
    parts = _parts(source.segments, base, reference, given)
    composition = _composition(parts)
    if reference is None:
        load_weights(composition, source.weights, base)
        return BuiltModel(model=composition, parts=parts)
    _check_outputs(composition, reference)
    load_weights(reference, source.weights, base)
    _lend_weights(composition, reference)
    return BuiltModel(model=reference, parts=parts, composition=composition)


def _parts(
    sources: Sequence[SingleSource], base: Path, reference: keras.Model | None, given: KnownBatch
) -> tuple[keras.Model, ...]:
    """Build every part as a functional model with a unique name; its inputs default to the outputs before it."""
    parts: list[keras.Model] = []
    devices = given.devices if len(given.devices) == len(sources) else [""] * len(sources)
    for index, (source, device) in enumerate(zip(sources, devices, strict=True)):
        # Its weights are made where they will be: no process needs the memory for all of them.
        with at("segments", index), on(device):
            before = parts[-1].outputs if parts else getattr(reference, "inputs", None)
            with calls_of_models() as calls:
                raw = build_any(source, base)
            # A later part takes what the one before returns, whatever its factory tried it on.
            declared = declared_inputs(source, raw, calls, given) if before is None else stated_inputs(source, raw)
            with called_with(given.training):
                part = _part(raw, declared, before, {part.name for part in parts}, described(source))
            settle(source)
            load_weights(part, source.weights, base)
            parts.append(part)
    return tuple(parts)


def _part(raw: Any, declared: Any, before: Sequence[Any] | None, taken: set[str], what: str) -> keras.Model:
    """Return `raw` if it is functional and its name is free, else a functional model that calls it.

    Args:
        raw: a model or a layer.
        declared: the KerasTensors that it is called on, if it has no symbolic inputs; None for `before`.
        before: the outputs of the part before, on which it is called if it has no symbolic inputs.
        taken: the names of the parts before.
        what: its name in messages.
    """
    if not isinstance(raw, keras.layers.Layer):
        raise not_a_model(raw, what)
    if is_functional(raw) and raw.name not in taken:
        return raw
    numbered = (f"{raw.name}_{number}" for number in itertools.count(1))
    name = next(n for n in itertools.chain([raw.name], numbered) if n not in taken)
    if is_functional(raw):
        return functional(raw, _packed(raw, raw.inputs), what, name=name)
    taken = _unpacked(list(before)) if declared is None and before is not None else declared
    if taken is None:
        raise no_inputs(raw, what)
    return functional(raw, taken, what, name=name)


def _packed(layer: Any, tensors: Sequence[Any]) -> Any:
    """Return `tensors` in the structure that `layer` takes: one tensor, a list, or a mapping."""
    structure = getattr(layer, "_inputs_struct", None)
    flat = list(tensors)
    return _unpacked(flat) if structure is None else keras.tree.pack_sequence_as(structure, flat)


def _called(layer: Any, tensors: Sequence[Any], what: str) -> Any:
    """Return the symbolic outputs of `layer`, called on one tensor, or on a list if it takes several."""
    try:
        return layer(_packed(layer, tensors))
    except GradcheckError:
        raise
    except Exception as error:
        shapes = listed(str(tuple(t.shape)) for t in tensors)
        message = f"{what} cannot be called: {error_described(error)}. Received: tensors of shape {shapes}"
        raise raised(message, error, "GC051", location=user_location(error), kind=KeyedRunError) from error


def chain(earlier: keras.Model, later: keras.Model, tensors: Sequence[Any]) -> list[Any]:
    """Return `tensors`, the outputs of `earlier`, in the order in which `later` takes them.

    Raises:
        KeyedRunError: GC051 if the counts or the shapes do not agree.
    """
    given, taken = output_names(earlier), input_names(later)
    by_name = dict(zip(given, tensors, strict=True))
    ordered = [by_name[name] for name in taken] if set(given) == set(taken) else list(tensors)
    shapes = [tuple(t.shape) for t in ordered], [tuple(t.shape) for t in later.inputs]
    if len(given) != len(taken) or not all(map(_compatible, *shapes)):
        message = (
            f"the inputs of this part are not the outputs of the one before. It takes {_listed_shapes(shapes[1])}. "
            f"Received: {_listed_shapes(shapes[0])}"
        )
        raise KeyedRunError(message, code="GC051", help="outputs go to inputs in order, or by name if all names agree")
    return ordered


def _compatible(given: tuple[int | None, ...], taken: tuple[int | None, ...]) -> bool:
    return len(given) == len(taken) and all(a is None or b is None or a == b for a, b in zip(given, taken, strict=True))


def _listed_shapes(shapes: Sequence[tuple[int | None, ...]]) -> str:
    return f"{len(shapes)} of shape {listed(map(str, shapes))}"


def _composition(parts: Sequence[keras.Model]) -> keras.Model:
    """Call the parts one after the other, as a functional model named `whole`."""
    inputs = [_named_input(tensor, name) for tensor, name in zip(parts[0].inputs, input_names(parts[0]), strict=True)]
    tensors = keras.tree.flatten(_called(parts[0], inputs, "segment 0"))
    for index, (earlier, later) in enumerate(itertools.pairwise(parts), start=1):
        with at("segments", index):
            tensors = keras.tree.flatten(_called(later, chain(earlier, later, tensors), f"segment {index}"))
    return keras.Model(_unpacked(inputs), _unpacked(tensors), name="whole")


def _unpacked(tensors: list[Any]) -> Any:
    """Return a single tensor as such, not as a list of one."""
    return tensors[0] if len(tensors) == 1 else tensors


def _named_input(tensor: Any, name: str) -> Any:
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=name)


def _check_outputs(composition: keras.Model, reference: keras.Model) -> None:
    shapes = [tuple(t.shape) for t in composition.outputs], [tuple(t.shape) for t in reference.outputs]
    if len(shapes[0]) != len(shapes[1]) or not all(map(_compatible, *shapes)):
        message = (
            f"the last part does not return what the reference returns: {_listed_shapes(shapes[1])}. "
            f"Received: {_listed_shapes(shapes[0])}"
        )
        with at("reference"):
            raise KeyedRunError(message, code="GC051")


def _lend_weights(composition: keras.Model, reference: keras.Model) -> None:
    """Assign the reference's weights to the parts. Seed states, whose names Keras generates, match in order."""
    with at("segments"):
        for seeds in (False, True):
            ours = [v for v in composition.variables if _is_seed(v) == seeds]
            theirs = [v for v in reference.variables if _is_seed(v) == seeds]
            for variable, index in zip(ours, match_variables(ours, theirs), strict=True):
                variable.assign(theirs[index])


def _is_seed(variable: Any) -> bool:
    return bool(variable.name == "seed_generator_state")
