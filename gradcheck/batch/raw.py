"""Arrays from a source, by the names of the model's inputs and outputs, not fitted to them yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gradcheck.batch.composite import as_values
from gradcheck.building.endpoints import flat_values, input_names, output_names, output_positions
from gradcheck.config.keyed import KeyedError
from gradcheck.phrases import did_you_mean, listed

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.batch.composite import Values
    from gradcheck.config.sections.data import DataConfig
    from gradcheck.config.sections.loss import Losses


@dataclass(frozen=True, eq=False, kw_only=True)
class Request:
    """The arguments of every data source.

    Attributes:
        config: the `data:` section.
        model: the model whose inputs and outputs the batch is for.
        losses: the `loss:` section, which determines the targets.
        seed: the config's seed.
        base: the folder that files are relative to.
    """

    config: DataConfig
    model: keras.Model
    losses: Losses
    seed: int
    base: Path

    def stream(self, *names: str) -> np.random.Generator:
        """Return a random generator for one tensor, which depends on the seed and its name, not on other draws."""
        return np.random.default_rng([self.seed, *"/".join(names).encode()])


@dataclass(frozen=True, eq=False, kw_only=True)
class RawBatch:
    """The arrays of a source by name; defaults are made for those that are left out."""

    inputs: Mapping[str, Values] = field(default_factory=dict)
    targets: Mapping[str, Values] = field(default_factory=dict)
    weights: Mapping[str, Values] = field(default_factory=dict)


def inputs_by_name(values: Any, model: keras.Model) -> dict[str, Values]:
    """Return `values`, one array or tensor, a sequence of one per input, or a mapping, by the names of the inputs.

    Raises:
        KeyedError: GC030 if the number or the names do not fit, or rows of unequal length are no ragged tensor.
    """
    names = input_names(model)
    if isinstance(values, (Mapping, list, tuple)) and _is_like(values, getattr(model, "_inputs_struct", None)):
        values = dict(zip(names, keras.tree.flatten(values), strict=True))
    return _by_name(values, names, {name: index for index, name in enumerate(names)}, "input")


def _is_like(values: Any, structure: Any) -> bool:
    """Whether `values` are a structure of the same form, with an array for each tensor."""
    try:
        keras.tree.assert_same_structure(structure, values)
    except (TypeError, ValueError):
        return False
    return True


def outputs_by_name(values: Any, model: keras.Model) -> dict[str, Values]:
    """Return `values` by the names of the outputs, as `inputs_by_name`; outputs whose value is None are left out."""
    return _by_name(values, output_names(model), output_positions(model), "output")


def _by_name(values: Any, names: tuple[str, ...], positions: Mapping[str, int], what: str) -> dict[str, Values]:
    # A list for a single input is that input's rows, not one array per input.
    is_single = len(names) == 1 and not isinstance(values, Mapping) and values is not None
    wrapped = [as_values(f"{what} {names[0]}", values)] if is_single else values
    try:
        flat = flat_values(wrapped, positions, len(names))
    except ValueError as error:
        received = f"{len(wrapped)} arrays" if isinstance(wrapped, (list, tuple)) else "one array"
        message = f"the model has {len(names)} {what}s ({listed(names)}). Received: {received}"
        raise KeyedError(message, code="GC030", help="give one array each, in order, or a mapping by name") from error
    except KeyError as error:
        (name,) = error.args
        help_ = did_you_mean(str(name), positions, f"the {what}s are: {listed(names)}")
        raise KeyedError(f"the model has no {what} called {name}", code="GC030", help=help_) from error
    given = ((name, value) for name, value in zip(names, flat, strict=True) if value is not None)
    return {name: as_values(f"{what} {name}", value) for name, value in given}
