"""`check_function`: one function of tensors, layer or model, as `gradcheck layer` checks what a name stands for."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gradcheck.building.copies import remade
from gradcheck.building.numpy_layer_code import is_numpy_class
from gradcheck.building.precision import FLOATING
from gradcheck.building.sources.live import Lent, LiveModel
from gradcheck.building.target import layer_around, model_around
from gradcheck.config.keyed import KeyedError
from gradcheck.config.sections.live import LiveData
from gradcheck.keras_private import built_by_call
from gradcheck.live.closures import Named
from gradcheck.live.given import arrays
from gradcheck.live.models import precision_of
from gradcheck.live.untouched import untouched
from gradcheck.methods.by_engine.asked_function import EngineFunction, is_of_engine, new_run
from gradcheck.numerics import real_parts
from gradcheck.session.configs import CheckOptions, envelope
from gradcheck.session.layer import GIVEN, Target, check_layer, layer_config

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from gradcheck.config.schema import Config
    from gradcheck.results.report import Report


def check_function(
    fn: Any,
    *inputs: Any,
    order: int = 1,
    methods: Sequence[str] = (),
    points: Sequence[str] = (),
    training: bool | None = None,
    surrogate: Callable[..., Any] | None = None,
    against: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    precision: str | None = None,
    seed: int = 0,
) -> Report:
    """Check the gradients of a function, a layer or a model by finite differences and forward mode.

    Variables, seeds and settings are afterwards what they were before. A layer that is not built yet is built.

    Args:
        fn: a function, which is called with exactly these tensors; or a Keras layer or model, which is called on this
            batch; or an object with NumPy `forward(x)` and `backward(dy)`.
        *inputs: the arguments of the call: numbers, arrays, tensors, and structures of them.
        order: 2 to check second derivatives too.
        methods: "numeric", "forward", "hvp"; by default all that apply.
        points: where finite differences are taken beside: "zeros", "equal", "saturated" ...; by default the inputs.
        training: the flag that a layer is called with; by default both are checked.
        surrogate: `rule(dy, *inputs)`: what the backward pass should compute instead of the derivative.
        against: another implementation of `fn`, or a list of several: they are compared with the same inputs and
            weights. "jax:./file.py:name", "torch:package.module:name" are functions of another engine's arrays;
            "jax", "torch" is `fn` itself under another engine.
        kwargs: keyword arguments of every call of a function.
        precision: a float type; by default that of the layer, or of a function's first floating input.
        seed: of the random directions.

    Returns:
        The report. It is true if every check came out as expected. An error at run time is the verdict of its run.

    Raises:
        ConfigErrors: for a method, a point, a precision or a seed that there is not.

    Examples:
        >>> assert check_function(lambda x: x**3, 2.0, order=2)
    """
    if not inputs or not (callable(fn) or is_numpy_class(fn)):
        raise KeyedError(f"a function and its inputs are needed. Received: {fn!r:.100}", code="GC031")
    structure = arrays(list(inputs))
    values = keras.tree.flatten(structure)
    live = _Live(made=fn, structure=structure, values=values, batched=isinstance(fn, keras.Layer) or is_numpy_class(fn))
    others = against if isinstance(against, (list, tuple)) else [] if against is None else [against]
    for made in (fn, *others):
        if isinstance(made, keras.Layer) and not made.built:
            with suppress(Exception):  # it is raised again, and reported, when the check calls it
                built_by_call(made, live.arguments([_spec(value) for value in values]))
    target = Target(
        name=_name(fn),
        shapes=[tuple(np.shape(value))[live.batched :] for value in values],
        dtypes=[live.dtype_of(value) for value in values],
        values=() if live.batched else values,
        kwargs=dict(kwargs or {}),
        order=order,
        seed=seed,
        precision=precision or live.precision,
        points=points or (GIVEN,),
        methods=methods,
        training=training,
        surrogate=surrogate,
        against=others,
        live=live,
    )
    named = [Named(made) for made in (fn, *others) if not isinstance(made, (keras.Layer, str))]
    with ExitStack() as stack:
        for one in named:
            stack.enter_context(one.bound_as_before())
        stack.enter_context(untouched(fn, *others, [one.values for one in named]))
        checked = check_layer(target, layer_config(target), CheckOptions())
    return envelope([checked.run], checked.environment)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Live:
    """An object and its inputs.

    Attributes:
        made: the object.
        structure: the arguments of its call.
        values: the arrays in them.
        batched: whether the first axis of each is that of the examples.
    """

    made: Any
    structure: list[Any]
    values: Sequence[Any]
    batched: bool

    @property
    def precision(self) -> str:
        """The precision in which it computes."""
        if isinstance(self.made, keras.Layer):
            return precision_of(self.made)
        return next((dtype for value in self.values if (dtype := _dtype(value)) in FLOATING), "float32")

    def dtype_of(self, value: Any) -> str | None:
        """Return the dtype of an input; None for that of the precision."""
        dtype = _dtype(value)
        return None if dtype in FLOATING and (self.batched or dtype == self.precision) else dtype

    def arguments(self, flat: Sequence[Any]) -> Any:
        """Return the arguments of the call with other tensors in them."""
        return keras.tree.pack_sequence_as(self.structure, list(flat))

    def in_config(self, config: Config, target: Target, *, masked: bool) -> Config:
        """Return `config` with the object as its model, and the values as its data."""
        values = [real_parts(np.asarray(v)) if _dtype(v).startswith("complex") else v for v in self.values]
        examples = [value if self.batched else np.asarray(value)[None] for value in values]
        x = dict(zip(target.input_names, examples, strict=True))
        data = LiveData.model_construct(
            **{**dict(config.data), "batch_size": len(examples[0]), "live": (x, None, None)},
        )
        methods = tuple(
            method.model_copy(update={"options": method.options.model_copy(update={"surrogate": target.surrogate})})
            if method.method == "numeric"
            else method
            for method in config.methods
        )
        return config.model_copy(
            update={"model": self._source(target, masked=masked), "data": data, "methods": methods}
        )

    def beside(self, other: Any, target: Target, *, masked: bool) -> tuple[str, Any]:
        """Return the name and the source of another object, which takes the same inputs."""
        name = _name(other)
        if is_of_engine(other):
            name, other = other, EngineFunction(other, Path.cwd(), target.kwargs, new_run())
            target = replace(target, kwargs={})
        return name, replace(self, made=other)._source(replace(target, name=name), masked=masked)  # noqa: SLF001 - own

    def _source(self, target: Target, *, masked: bool) -> LiveModel:
        copied = remade if isinstance(self.made, keras.Layer) else list
        lent = Lent(objects=[self.made], precision=self.precision, copied=copied)
        return LiveModel(name=target.name, make=partial(self._model, lent, target, masked=masked))

    def _model(self, lent: Lent, target: Target, *, masked: bool) -> keras.Model:
        taken = lent.take(0)
        if isinstance(taken, keras.Layer):
            model = model_around(taken, target.name, target.inputs, arguments=self.arguments, masked=masked)
            lent.settle(0)
            return model
        pack = partial(keras.tree.pack_sequence_as, self.structure)  # this object could not be sent to another engine
        made = taken if self.batched else lambda *flat, **kwargs: taken(*pack(list(flat)), **kwargs)
        layer = layer_around(made, target.name, None, target.kwargs, target.values)
        return model_around(layer, target.name, target.inputs, masked=masked)


def _spec(value: Any) -> keras.KerasTensor:
    return keras.KerasTensor((None, *np.shape(value)[1:]), _dtype(value))


def _dtype(value: Any) -> str:
    """Return the dtype of an array or a tensor; of a plain number that of Keras."""
    if hasattr(value, "dtype"):
        return str(keras.backend.standardize_dtype(value.dtype))
    return "int32" if isinstance(value, int) and not isinstance(value, bool) else "float32"


def _name(fn: Any) -> str:
    """Return a name that Keras accepts for a layer."""
    name = fn.name if isinstance(fn, keras.Layer) else getattr(fn, "__name__", type(fn).__name__)
    return name if name.isidentifier() else "function"
