"""The result of a source, and the requirements on every built model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building.messages import described
from gradcheck.building.sources.contents import check_weights
from gradcheck.config.keyed import KeyedError, KeyedRunError, at
from gradcheck.errors import GradcheckError

if TYPE_CHECKING:
    from pathlib import Path

FUNCTIONAL_HELP = "return a functional, Sequential or subclassed keras.Model"


@dataclass(frozen=True, eq=False, kw_only=True)
class BuiltModel:
    """A model as its source describes it.

    Attributes:
        model: the whole model, with symbolic inputs and outputs.
        parts: the user's own parts in order, for a `segments` source; else None.
        composition: the parts called one after the other, if `model` is the user's own reference instead, whose layers
            the parts do not share; else None.
    """

    model: keras.Model
    parts: tuple[keras.Model, ...] | None = None
    composition: keras.Model | None = None


def is_functional(model: Any) -> bool:
    """Whether `model` is a Keras model with symbolic inputs and outputs."""
    try:
        return isinstance(model, keras.Model) and bool(model.inputs)
    except (AttributeError, ValueError):  # a subclassed model, or a Sequential without an input shape
        return False


def not_a_model(value: Any, what: str) -> KeyedRunError:
    """Return the error for `what`, which must give a model, and gives `value`."""
    message = f"{what} must give a keras.Model. Received: {kind(value)}"
    return KeyedRunError(message, code="GC051", help=FUNCTIONAL_HELP)


def no_inputs(model: Any, what: str) -> KeyedRunError:
    """Return the error for a model of which nothing tells what it is called on."""
    why = "has no input shape yet" if isinstance(model, keras.Sequential) else "has no symbolic inputs"
    return KeyedRunError(
        f"the model that {what} gives {why}. Received: {kind(model)} {model.name!r}",
        code="GC051",
        help="write the shape of one example, as in model.input: {shape: [28, 28, 1]}, or {name: {shape: [...]}, ...} "
        "for several inputs; or call the model once in the factory",
    )


def kind(value: Any) -> str:
    """Return the class of `value` in words."""
    return "None" if value is None else f"a {type(value).__name__}"


def load_weights(model: keras.Model, weights: str | None, base: Path) -> None:
    """Load the file `weights`, relative to `base`, into `model`; do nothing for None.

    Raises:
        KeyedError: GC001 if there is no such file.
        KeyedRunError: GC051 if it does not fit the model.
    """
    if weights is None:
        return
    path = existing(weights, base, "weights")
    with at("weights"):
        try:
            check_weights(path)
            model.load_weights(path)
        except GradcheckError:
            raise
        except Exception as error:
            message = f"the weights in {weights} do not fit the model: {described(error)}"
            help_ = "save them from the same model: model.save_weights('name.weights.h5')"
            raise KeyedRunError(message, code="GC051", help=help_) from error


def existing(name: str, base: Path, key: str) -> Path:
    """Return the file `name` relative to `base`.

    Raises:
        KeyedError: GC001 at `key` if it does not exist.
    """
    path = (base / name).resolve()
    with at(key):
        if not path.is_file():
            raise KeyedError(f"no such file: {path}", code="GC001", help="paths are relative to the config file")
    return path
