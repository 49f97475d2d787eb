"""One batch for a model: from the user's data, or made to fit its inputs, outputs and losses."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.batch import factory, images, npz
from gradcheck.batch.arrays import make_array, normal
from gradcheck.batch.composite import composed, described_values, is_composite
from gradcheck.batch.fit import fit_input, fit_target, fit_weight
from gradcheck.batch.loss import specs_by_output
from gradcheck.batch.ranges import index_limit, masks_zeros, padded
from gradcheck.batch.raw import RawBatch, Request
from gradcheck.batch.targets import class_count, default_target, takes_integers, target_shape
from gradcheck.batch.vocabulary import from_vocabulary
from gradcheck.building.endpoints import input_names, output_names, output_positions, packed_inputs
from gradcheck.config.keyed import KeyedError, at, at_top
from gradcheck.config.sections.data import ArraySpec
from gradcheck.phrases import did_you_mean, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import tensorflow as tf
    from numpy.typing import NDArray

    from gradcheck.batch.composite import Values
    from gradcheck.config.sections.data import DataConfig
    from gradcheck.config.sections.loss import Losses, LossSpec

__all__ = ["ANY_LENGTH", "SOURCES", "Batch", "example_inputs", "make_batch"]

#: The length of an axis of unknown length, unless the data have another.
ANY_LENGTH = 8

#: The sources of a whole batch, by their keys in `data:`.
SOURCES: dict[str, Callable[[Request], RawBatch]] = {
    "npz": npz.load,
    "factory": factory.load,
    "images": images.load,
    "live": factory.given,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """One batch, flat.

    Attributes:
        x: one tensor per input, in the order of `model.inputs` and in their dtypes; ragged or sparse where the data
            are.
        y: one per output, in the order of `model.outputs`; None for an output without a loss.
        sample_weight: one per output, None for an output without weights; or None for no weights at all.
        output_shapes: the shape of each output for this batch.
    """

    x: tuple[tf.Tensor, ...]
    y: tuple[tf.Tensor | None, ...]
    sample_weight: tuple[tf.Tensor | None, ...] | None = None
    output_shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def size(self) -> int:
        """The number of examples."""
        return int(self.x[0].shape[0])


def example_inputs(config: DataConfig, base: Path) -> Any:
    """Return the inputs of the user's own batch, in the structure in which it gives them; None if it gives none.

    Raises:
        KeyedError, RunError: as `make_batch`, if it cannot be read.
    """
    with at_top("data"):  # the model, which is being built, needs them
        if config.factory is not None:
            return factory.called(config, base)[0]
        if config.npz is None:
            return None
        with at("npz"):
            return npz.read(str(config.npz), base).get(npz.X)


def make_batch(config: DataConfig, model: keras.Model, losses: Losses, *, seed: int, base: Path) -> Batch:
    """Make the batch that `config` describes. Call it inside `precision_scope`.

    An array that `inputs`, `targets` or `sample_weight` describes takes precedence over the one from `npz`, `factory`
    or `images`, and that over the default. The random numbers of a tensor depend on `seed` and its name alone. An axis
    of unknown length has length 8, unless the data have another. If an output's shape is only known when the model
    runs, it is run once, without training; its state is not restored.

    Raises:
        ConfigError: GC030 if data and model do not fit each other; a `KeyedError` has the key.
        RunError: GC052 if the user's own code raises, GC058 if a package is missing.
    """
    request = Request(config=config, model=model, losses=losses, seed=seed, base=base)
    with at("data"):
        _check_names(config, model)
        _check_batch_size(config, model)
        named = (load for key, load in SOURCES.items() if getattr(config, key, None) is not None)
        raw = next((load(request) for load in named), RawBatch())
        x = tuple(_input(request, raw, index, name) for index, name in enumerate(input_names(model)))
    specs = specs_by_output(losses, model)
    with at("data"):
        shapes = _output_shapes(model, x, config.batch_size)
        outputs = list(enumerate(zip(specs, shapes, strict=True)))
        y = tuple(None if spec is None else _target(request, raw, i, spec, shape) for i, (spec, shape) in outputs)
        weights = tuple(None if spec is None else _weight(request, raw, i) for i, (spec, _) in outputs)
    given = weights if any(w is not None for w in weights) else None
    return Batch(x=x, y=y, sample_weight=given, output_shapes=tuple(shapes))


def _check_names(config: DataConfig, model: keras.Model) -> None:
    outputs = output_positions(model)
    for key, known in (("inputs", input_names(model)), ("targets", outputs), ("sample_weight", outputs)):
        specs = getattr(config, key)
        if isinstance(specs, dict):
            _check_known(key, specs, known)


def _check_known(key: str, names: Collection[str], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            help_ = did_you_mean(name, known, f"known are: {listed(known)}")
            with at(key, name):
                raise KeyedError(f"{key}: the model has no {name}", code="GC030", help=help_)


def _check_batch_size(config: DataConfig, model: keras.Model) -> None:
    for name, tensor in zip(input_names(model), model.inputs, strict=True):
        if tensor.shape[0] not in (None, config.batch_size):
            message = f"input {name} has a fixed batch of {tensor.shape[0]}. Received: batch_size {config.batch_size}"
            raise KeyedError(message, code="GC030", help=f"write data: {{batch_size: {tensor.shape[0]}}}")


def _spec(specs: ArraySpec | Mapping[str, ArraySpec] | None, names: Sequence[str]) -> tuple[Any, tuple[str, ...]]:
    """Return the description (or None) of the array called one of `names`, and its keys below the section."""
    if specs is None or isinstance(specs, ArraySpec):
        return specs, ()
    return next(((specs[name], (name,)) for name in names if name in specs), (None, ()))


def _input(request: Request, raw: RawBatch, index: int, name: str) -> tf.Tensor:
    like, batch_size = request.model.inputs[index], request.config.batch_size
    shape = (batch_size, *(ANY_LENGTH if n is None else n for n in like.shape[1:]))
    spec, keys = _spec(request.config.inputs, [name])
    if spec is None:
        array = raw.inputs[name] if name in raw.inputs else _default_input(request, index, name, shape)
        return fit_input(name, array, like, batch_size)
    with at("inputs", *keys):
        high = index_limit(request.model, index) or 2
        rng = request.stream("inputs", name)
        array = make_array(spec, shape, rng=rng, base=request.base, names=[name, npz.X], high=high)
        return fit_input(name, array, like, batch_size)


def _default_input(request: Request, index: int, name: str, shape: tuple[int, ...]) -> Values:
    """Return a default of the input's kind: ragged or sparse if it is."""
    like, rng = request.model.inputs[index], request.stream("inputs", name)
    return composed(_default_array(request, index, name, shape, rng), like, rng)


def _default_array(
    request: Request, index: int, name: str, shape: tuple[int, ...], rng: np.random.Generator
) -> NDArray[Any]:
    """Return entries of a vocabulary, normal numbers, integers that every table has (some padding), or booleans."""
    dtype = str(request.model.inputs[index].dtype)
    looked_up = from_vocabulary(request.model, index, shape, rng) if dtype == "string" or "int" in dtype else None
    if looked_up is not None:
        return looked_up
    if dtype == "string" or dtype.startswith("complex"):
        message = f"there are no default data for input {name} of dtype {dtype}"
        raise KeyedError(message, code="GC030", help="give them with npz, factory or inputs: {constant: ...}")
    limit = index_limit(request.model, index)
    if limit is not None and _takes_padding(request.model, index, shape, limit):
        return padded(rng, shape, limit)
    if limit is not None or "int" in dtype:
        return rng.integers(0, limit or 2, shape)
    return rng.integers(0, 2, shape).astype(bool) if dtype == "bool" else normal(rng, shape, {})


def _takes_padding(model: keras.Model, index: int, shape: tuple[int, ...], limit: int) -> bool:
    """Whether zeros at the end of rows of input `index` are masked; a ragged input has rows of unequal length."""
    like, least = model.inputs[index], 2  # steps, and entries: nothing else could be zero
    is_dense = not like.sparse and not getattr(like, "ragged", False)
    return is_dense and len(shape) > 1 and min(shape[-1], limit) >= least and masks_zeros(model, index)


def _output_shapes(model: keras.Model, x: tuple[tf.Tensor, ...], batch_size: int) -> list[tuple[int, ...]]:
    """Return the shapes of the outputs for `x`: as the model infers them for this batch, else by running it.

    Raises:
        KeyedError: GC030 for a ragged output.
    """
    given = [keras.KerasTensor((batch_size, *tensor.shape[1:]), str(tensor.dtype.name)) for tensor in x]
    with suppress(Exception):  # inference is Keras's own; a layer may not support it
        inferred = model.compute_output_spec(packed_inputs(model, given))
        shapes = [tuple(t.shape) for t in keras.tree.flatten(inferred)]
        if all(n is not None for shape in shapes for n in shape):
            return shapes
    outputs = keras.tree.flatten(model(packed_inputs(model, x), training=False))
    for name, output in zip(output_names(model), outputs, strict=True):
        if is_composite(output):
            message = f"no loss takes output {name}. Received: {described_values(output)}"
            raise KeyedError(message, code="GC030", help="let the model end in one row of fixed length an example")
    return [tuple(output.shape) for output in outputs]


def _target(request: Request, raw: RawBatch, index: int, loss: LossSpec, shape: tuple[int, ...]) -> tf.Tensor:
    name, *aliases = _names(request.model, index)
    count, keep_integers = shape[0] if shape else None, takes_integers(loss)
    rng = request.stream("targets", name)
    spec, keys = _spec(request.config.targets, [name, *aliases])
    if spec is None:
        array = raw.targets[name] if name in raw.targets else default_target(loss, shape, rng)
        return fit_target(name, array, count, keep_integers=keep_integers)
    with at("targets", *keys):
        names, high = [name, *aliases, npz.Y], class_count(loss, shape)
        array = make_array(spec, target_shape(loss, shape), rng=rng, base=request.base, names=names, high=high)
        return fit_target(name, array, count, keep_integers=keep_integers)


def _weight(request: Request, raw: RawBatch, index: int) -> tf.Tensor | None:
    name, *aliases = _names(request.model, index)
    batch_size = request.config.batch_size
    spec, keys = _spec(request.config.sample_weight, [name, *aliases])
    if spec is None:
        return fit_weight(name, raw.weights[name], batch_size) if name in raw.weights else None
    with at("sample_weight", *keys):
        rng = request.stream("sample_weight", name)
        array = make_array(spec, (batch_size,), rng=rng, base=request.base, names=[name, npz.SAMPLE_WEIGHT], high=2)
        return fit_weight(name, array, batch_size)


def _names(model: keras.Model, index: int) -> list[str]:
    """Return the names of output `index`: that of its layer, then the key in the mapping that the model returns."""
    also = (name for name, position in output_positions(model).items() if position == index)
    return list(dict.fromkeys([output_names(model)[index], *also]))
