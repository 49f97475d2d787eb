"""`check_training`: the ways of training a model as it stands that must agree with the plain loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.config.keyed import KeyedError
from gradcheck.config.sections.live import LiveFit
from gradcheck.config.sections.methods import ALL, WAYS, FitOptions, MethodConfig
from gradcheck.live.compile_arguments import compiled_loss, compiled_optimizer, train_section
from gradcheck.live.models import checked
from gradcheck.phrases import suggestion

if TYPE_CHECKING:
    from collections.abc import Sequence

    import keras

    from gradcheck.config.schema import Config
    from gradcheck.live.given import Given
    from gradcheck.results.report import Report


def check_training(  # noqa: PLR0917 - x, y and loss as in `fit` and `compile`
    model: keras.Model,
    data: Any = None,
    ways: str | Sequence[Any] = ALL,
    x: Any = None,
    y: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    steps: int = 3,
    callbacks: Sequence[Any] = (),
    **options: Any,
) -> Report:
    """Train a model in several ways, and check that each gives what the plain loop gives, step by step.

    The model is trained as it stands, from the values that it has, and is afterwards what it was before.

    Args:
        model: a model; a compiled one is trained with the loss and the optimizer that it was compiled with.
        data: the batch: (x, y) or (x, y, sample_weight), or a `tf.data.Dataset` or `keras.utils.PyDataset`, of which
            the first batch is used.
        ways: "all", or names of ways of training, or mappings of a name to its options.
        x: the inputs, in place of `data`.
        y: the targets, in place of `data`.
        loss: as `compile` takes it; by default the compiled one.
        optimizer: a name or an object; by default the compiled one.
        steps: how many steps are taken and compared.
        callbacks: for `fit`.
        **options: as in `check_model`.

    Returns:
        The report, as `check_model`; a way that does not apply has a note with the reason.

    Raises:
        ConfigError: for an option that is wrong, or if there is no loss or no optimizer.

    Examples:
        >>> report = check_training(model, (x, y), ways="all")
        >>> report.raise_for_mismatch()
    """
    names = [ways] if isinstance(ways, str) else list(ways)
    for way in names:
        name = next(iter(way), "") if isinstance(way, dict) else way
        if name not in (*WAYS, ALL):
            help_ = suggestion(str(name), (*WAYS, ALL), "The ways of training")
            raise KeyedError(f"no way of training is called {name}", code="GC031", help=help_)
    used = optimizer if optimizer is not None else compiled_optimizer([model])
    if used is None or (loss is None and compiled_loss([model])[0] is None):
        missing = "optimizer" if used is None else "loss"
        raise KeyedError(f"the model is not compiled: there is no {missing}", code="GC031", help=f"give {missing}=")
    if steps < 1:
        raise KeyedError(f"steps counts from 1. Received: {steps}", code="GC031")
    if isinstance(data, (tuple, list)):
        x, y, data, options = data[0], data[1], None, {**_weighted(data), **options}
    options = {"split": {"every": "layer"}, "methods": names, "train": {"steps": steps}, "data": data, **options}

    def finish(config: Config, _: Given) -> Config:
        methods = tuple(_with_callbacks(method, callbacks) for method in config.methods)
        train = train_section(used, steps)
        if optimizer is None and loss is None:
            live = train.optimizer.model_copy(update={"as_compiled": True})
            train = train.model_copy(update={"optimizer": live})
        return config.model_copy(update={"methods": methods, "train": train})

    return checked([model], x, y, loss, options, name="check_training", holders=(used, *callbacks), finish=finish)


def _weighted(data: Sequence[Any]) -> dict[str, Any]:
    return {"sample_weight": data[2]} if len(data) > 2 else {}  # noqa: PLR2004 - (x, y, sample_weight)


def _with_callbacks(method: MethodConfig, callbacks: Sequence[Any]) -> MethodConfig:
    if not callbacks or not isinstance(method.options, FitOptions):
        return method
    live = LiveFit.model_construct(**{**dict(method.options), "made": tuple(callbacks)})
    return MethodConfig.model_construct(method="fit", options=live)
