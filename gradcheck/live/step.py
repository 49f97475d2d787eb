"""`check_step`: a training step as it stands in the user's file, called on the user's own models and optimizer."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.config.keyed import KeyedError
from gradcheck.config.sections.live import LiveStep
from gradcheck.config.sections.methods import MethodConfig
from gradcheck.errors import RunError
from gradcheck.live.closures import Named
from gradcheck.live.compile_arguments import compiled_loss, compiled_optimizer, train_section
from gradcheck.live.models import checked
from gradcheck.live.untouched import Remembered
from gradcheck.problem.optimizer import HandedOver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.config.schema import Config
    from gradcheck.live.given import Given
    from gradcheck.results.report import Report


def check_step(  # noqa: PLR0917 - x, y and loss as in `fit` and `compile`, then how to train
    step: Callable[..., Any],
    parts: keras.Model | Sequence[keras.Model],
    x: Any = None,
    y: Any = None,
    loss: Any = None,
    optimizer: Any = None,
    steps: int = 1,
    **options: Any,
) -> Report:
    """Call a training step, and check what it does against the whole model under one tape.

    The step is called on the live objects as `step(x, y)`, or `step(x, y, sample_weight)` if there is one, each step.
    Before, the reference takes as many steps on the same objects, from the same values, with a copy of the optimizer: a
    copy of the models would not be what the step trains. Afterwards models, optimizer, seeds and the lists and names
    that the step refers to are as before; an optimizer that the step builds stays built, at its first values, for a
    compiled step holds on to its variables.

    Args:
        step: a function of the batch, compiled or not. It updates the weights with `optimizer`; without one it returns
            the gradients: a list in the order of the parts' trainable variables, a mapping by variable or path, or a
            pair (loss, gradients).
        parts: the model that it trains, or the models in the order in which they are chained.
        x: as in `check_model`.
        y: as in `check_model`.
        loss: what the step minimises, as `compile` takes it; by default that of a compiled part.
        optimizer: by default the only one of Keras that the code of the step names, else that of a compiled part.
        steps: how many steps are taken and compared.
        **options: as in `check_model`.

    Returns:
        The report, as `check_model`.

    Raises:
        ConfigError: for an option that is wrong, or if loss or optimizer cannot be told.
        NotApplicable: GC051 if the optimizer cannot be copied.

    Examples:
        >>> report = check_step(train_step, [front, back], x, y, loss="mse", steps=3)
        >>> report.raise_for_mismatch()
    """
    models = list(parts) if isinstance(parts, (list, tuple)) else [parts]
    named = Named(step)
    used = _optimizer(optimizer, models, named)
    if loss is None and compiled_loss(models)[0] is None:
        message = "what the step minimises is not known: no part is compiled with a loss"
        raise KeyedError(message, code="GC031", help="give loss=, as `compile` takes it")
    if steps < 1:
        raise KeyedError(f"steps counts from 1. Received: {steps}", code="GC031")
    name = _name(step)
    options = {"split": None if len(models) > 1 else {"every": "layer"}, **options}

    def finish(config: Config, given: Given) -> Config:
        live = LiveStep.model_construct(
            name=name,
            call=partial(_called, step, _arguments(given), used),
            optimizer=used,
            factory=name if used is None else None,
            train_step=None if used is None else name,
        )
        update: dict[str, Any] = {"methods": (MethodConfig.model_construct(method="candidate", options=live),)}
        if used is not None:
            update["train"] = train_section(used, steps)
        return config.model_copy(update=update)

    optimizers = [*named.of_type(keras.optimizers.Optimizer), used]
    with named.bound_as_before(), _staying_built(optimizers, models):
        return checked(models, x, y, loss, options, name=name, holders=(named.values, optimizers), finish=finish)


def _called(step: Callable[..., Any], arguments: Sequence[Any], optimizer: Any) -> Any:
    returned = step(*arguments)
    if returned is None and optimizer is None:
        message = "the step returned None, and its code names no optimizer that it may have updated the weights with"
        raise RunError(message, code="GC055", help="give optimizer=, or return the gradients")
    return returned


def _arguments(given: Given) -> tuple[Any, ...]:
    """Return what the step is called with: as much of the batch as there is."""
    return tuple(given) if given.sample_weight is not None else (given.x, given.y)


def _optimizer(given: Any, models: Sequence[Any], named: Named) -> Any:
    """Return the optimizer of the step; None if there is none.

    Raises:
        KeyedError: GC031 if the step names several.
    """
    if given is not None:
        return given
    found, compiled = named.of_type(keras.optimizers.Optimizer), compiled_optimizer(models)
    if len(found) > 1 and not any(one is compiled for one in found):
        names = ", ".join(one.name for one in found)
        message = (
            f"the step names several optimizers, and which of them trains the parts is not known. Received: {names}"
        )
        raise KeyedError(message, code="GC031", help="give optimizer=; one that updates all parts is needed")
    return found[0] if len(found) == 1 else compiled


def _name(step: Any) -> str:
    function = getattr(step, "python_function", step)
    function = getattr(function, "func", function)
    return str(getattr(function, "__name__", type(function).__name__))


@dataclass(frozen=True, eq=False, kw_only=True)
class _Built:
    """An optimizer that was built, as it was right after that; `given` is what it was before."""

    optimizer: Any
    given: HandedOver
    variables: Sequence[Any]
    attributes: Remembered

    def put_back(self) -> None:
        """Restore attributes and values. A compiled step initializes the values late: a copy tells what they were."""
        self.attributes.put_back()
        fresh = self.given.copied()
        fresh.build(list(self.variables))
        for variable, first in zip(self.optimizer.variables, fresh.variables, strict=True):
            variable.assign(first)


@contextmanager
def _staying_built(optimizers: Sequence[Any], models: Sequence[Any]) -> Iterator[None]:
    """Afterwards the optimizers that are built inside have the attributes and values that building them gave them."""
    unbuilt = list({id(one): one for one in optimizers if one is not None and not one.built}.values())
    known, built = Remembered([models]), list[_Built]()
    for held in Remembered(unbuilt, values=False).seen:  # a compiled model leads to its optimizer
        known.seen.pop(held, None)
    for optimizer in unbuilt:
        vars(optimizer)["build"] = _noting(optimizer, known, built)
    try:
        yield
    finally:
        for optimizer in unbuilt:
            vars(optimizer).pop("build", None)
        for one in built:
            one.put_back()


def _noting(optimizer: Any, known: Remembered, built: list[_Built]) -> Callable[[Any], None]:
    """Return the optimizer's `build`, which also notes what the optimizer is then."""
    build, given = optimizer.build, HandedOver.of(optimizer)

    def noting(variables: Any) -> None:
        vars(optimizer).pop("build", None)
        variables = list(variables)
        build(variables)
        attributes = Remembered([optimizer], beside=known, values=False)
        built.append(_Built(optimizer=optimizer, given=given, variables=variables, attributes=attributes))

    return noting
