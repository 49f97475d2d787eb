"""`check_model` and `check_parts`: a model that is cut, and models that are chained."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building.sources.live import Lent, LiveModel
from gradcheck.config.keyed import KeyedError
from gradcheck.config.load import load_given
from gradcheck.config.sections.live import LiveData
from gradcheck.config.sections.methods import METHODS
from gradcheck.config.sections.model import SegmentsSource
from gradcheck.keras_private import all_layers, built_by_call, called_with
from gradcheck.live.compile_arguments import compiled_loss, compiled_optimizer, loss_section, train_section
from gradcheck.live.given import Given, batch_of
from gradcheck.live.untouched import untouched
from gradcheck.session.configs import CheckOptions, check_one, envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.config.load import LoadedConfig
    from gradcheck.config.schema import Config
    from gradcheck.results.report import Report

#: The note on targets that no loss takes.
_NO_LOSS = (
    "y is not used: there is no loss that takes it, for the model is not compiled and loss= is not given. The "
    "gradients are those of a random cotangent, the sum of y * output with a fixed random y"
)
#: What a config needs in place of an object, so that the rest of it can be validated.
_PLACEHOLDER = {"factory": "gradcheck.building.target:model"}
_PRECISIONS = ("float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16")


def check_model(  # noqa: PLR0917 - x, y and loss as in `fit` and `compile`, then where to cut
    model: keras.Model,
    x: Any = None,
    y: Any = None,
    loss: Any = None,
    after: Any = None,
    parts: int | None = None,
    every: str | None = None,
    methods: Sequence[Any] = ("vjp",),
    **options: Any,
) -> Report:
    """Cut a model as it stands, and check that its parts compute the gradients of the whole.

    Model, optimizer, seeds and settings are afterwards what they were before. A model that is not built yet is built.

    Args:
        model: a functional or Sequential model.
        x: the batch, all of which is used: arrays or tensors, in the structure that the model takes.
        y: the targets; random ones for the loss if left out.
        loss: as `compile` takes it; by default the one that the model was compiled with, else a random cotangent.
        after: the layers after which to cut, as `split: {after: ...}`.
        parts: how many parts of about equal cost, as `split: {parts: ...}`.
        every: "layer" for a cut after every layer, which is also the default.
        methods: the methods that are compared with the reference: a name, or a mapping of a name to its options.
        **options: any other key of a config by its name (`precision=`, `execution=`, `tolerance=`, `train=` ...), and
            `data=`, `sample_weight=` and `class_weight=` as in `fit`.

    Returns:
        The report. It is true if every check came out as expected. An error at run time is the verdict of its run.

    Raises:
        ConfigError: for an option or a name that is wrong.

    Examples:
        >>> report = check_model(model, x, y, after=["encoder"], methods=["vjp", "recompute"])
        >>> assert report, report
    """
    split = {"after": after, "parts": parts, "every": every}
    given = {key: value for key, value in split.items() if value is not None}
    if not given and any(_takes_parts(_name(method)) for method in methods):
        given = {"every": "layer"}
    return checked(
        [model], x, y, loss, {"split": given or None, "methods": list(methods), **options}, name="check_model"
    )


def check_parts(
    parts: Sequence[keras.Model],
    x: Any = None,
    y: Any = None,
    loss: Any = None,
    methods: Sequence[Any] = ("vjp",),
    **options: Any,
) -> Report:
    """Chain models as they stand, and check that they compute the gradients of their composition.

    The outputs of each are the inputs of the next, in order, or by name if the names agree. Nothing is changed.

    Args:
        parts: two models or more; they may share layers.
        x: as in `check_model`.
        y: as in `check_model`.
        loss: as in `check_model`; by default that of the last one that was compiled with one.
        methods: as in `check_model`.
        **options: as in `check_model`.

    Returns:
        The report, as `check_model`.

    Raises:
        ConfigError: for an option or a name that is wrong.
    """
    return checked(list(parts), x, y, loss, {"methods": list(methods), **options}, name="check_parts")


def checked(
    models: Sequence[Any],
    x: Any,
    y: Any,
    loss: Any,
    options: dict[str, Any],
    *,
    name: str,
    holders: Sequence[Any] = (),
    finish: Callable[[Config, Given], Config] | None = None,
) -> Report:
    """Check one model, or several in a chain, in a session of its own, and put everything back.

    Args:
        models: the objects.
        x: the inputs, or None.
        y: the targets, or None.
        loss: as `compile` takes it, or None.
        options: keys of a config, and `data`, `sample_weight` and `class_weight`.
        name: of the report.
        holders: what else is put back.
        finish: changes the config once it is validated.
    """
    given_as = {key: options.pop(key, None) for key in ("data", "sample_weight", "class_weight")}
    with untouched(models, holders):
        given = batch_of(x, y, **given_as)
        specs = specs_of(given.x)
    with called_with(options.get("training", True) is not False):  # in the user's own session
        _build(models, specs)
    with untouched(models, holders, loss):
        notes: tuple[str, ...] = ()
        if given.y is not None and loss is None and compiled_loss(models)[0] is None:
            given, notes = given._replace(y=None), (_NO_LOSS,)
        loaded = live_config(models, given, loss, options, name=name, specs=specs)
        if finish is not None:
            loaded = replace(loaded, config=finish(loaded.config, given))
        run = check_one(loaded, CheckOptions())
        return envelope([replace(run, notes=(*notes, *run.notes))])


def live_config(
    models: Sequence[Any], given: Given, loss: Any, options: Mapping[str, Any], *, name: str, specs: Any
) -> LoadedConfig:
    """Return the validated config, with the objects in their places.

    Raises:
        ConfigErrors: every mistake in `options` at once.
    """
    _require_models(models)
    chain = len(models) > 1
    source: dict[str, Any] = {"segments": [_PLACEHOLDER] * len(models)} if chain else _PLACEHOLDER
    own = precision_of(models[0])
    given_loss, weights = (loss, None) if loss is not None else compiled_loss(models)
    weights = [weights] if isinstance(weights, (int, float)) else weights
    defaults = {"precision": own, "loss_weights": weights}
    loaded = load_given({"name": name, "model": source, **defaults, **options}, {})
    lent = Lent(objects=models, precision=own)
    sources: tuple[Any, ...] = tuple(
        LiveModel(
            name=f"object {model.name!r}",
            make=partial(lent.take, i),
            settle=partial(lent.settle, i),
            specs=specs if i == 0 else None,
        )
        for i, model in enumerate(models)
    )
    whole = SegmentsSource.model_construct(segments=sources, reference=None) if chain else sources[0]
    update: dict[str, Any] = {"model": whole, "data": live_data(loaded.config, given)}
    if given_loss is not None:
        update["loss"] = loss_section(given_loss)
    train, optimizer = loaded.config.train, compiled_optimizer(models)
    if train.steps and "optimizer" not in train.model_fields_set and optimizer is not None:
        update["train"] = train_section(optimizer, train.steps)
    return replace(loaded, config=loaded.config.model_copy(update=update), path=Path(name))


def live_data(config: Config, given: Given) -> LiveData:
    """Return the `data:` section with the whole batch."""
    fields = {**dict(config.data), "batch_size": given.batch_size, "live": tuple(given)}
    return LiveData.model_construct(**fields)


def specs_of(x: Any) -> Any:
    """Return a KerasTensor for each array of x, with the batch axis None, in the structure of x."""
    return keras.tree.map_structure(_spec, x)


def _spec(value: Any) -> keras.KerasTensor:
    given = getattr(value, "dtype", None) or "float32"
    is_text = given == tf.string or getattr(given, "kind", None) in ("S", "U")
    dtype = "string" if is_text else keras.backend.standardize_dtype(given)
    return keras.KerasTensor((None, *tuple(value.shape)[1:]), dtype)


def _build(models: Sequence[Any], specs: Any) -> None:
    """Build each model that is not built, as its first call would; what it raises is raised again by the check."""
    for model in models:
        with suppress(Exception), _symbolic_attributes_removed(model):
            if not model.built:
                specs = built_by_call(model, [specs])
            else:
                outputs = getattr(model, "outputs", None) or keras.tree.flatten(model.compute_output_spec(specs))
                specs = outputs[0] if len(outputs) == 1 else outputs


@contextmanager
def _symbolic_attributes_removed(model: Any) -> Iterator[None]:
    """Remove symbolic tensors that a `call` leaves as new attributes of layers when it is run to build them."""
    known = {id(layer): set(vars(layer)) for layer in all_layers([model])}
    try:
        yield
    finally:
        for layer in all_layers([model]):
            held = vars(layer)
            for name in held.keys() - known.get(id(layer), held.keys()):
                if isinstance(held[name], tf.Tensor) and tf.is_symbolic_tensor(held[name]):
                    del held[name]


def precision_of(layer: Any) -> str:
    """Return the dtype policy of a layer or model, float32 for one that no config can name."""
    name = str(layer.dtype_policy.name)
    return name if name in _PRECISIONS else "float32"


def _takes_parts(method: str) -> bool:
    """Whether a method is of the parts of a model; a candidate may be."""
    return method == "candidate" or (method in METHODS and METHODS[method].splits)


def _name(method: Any) -> str:
    return str(next(iter(method))) if isinstance(method, dict) and method else str(method)


def _require_models(models: Sequence[Any]) -> None:
    for model in models:
        if not isinstance(model, keras.Layer):
            raise KeyedError(f"a model is needed. Received: a {type(model).__name__}", code="GC031")
    if not models:
        raise KeyedError("at least one model is needed. Received: none", code="GC031")
