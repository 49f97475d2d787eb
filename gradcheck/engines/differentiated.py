"""A model that is differentiated by an engine: from arrays to arrays."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import cloudpickle
import keras
import numpy as np

from gradcheck.building.precision import variable_dtype
from gradcheck.engines.question import Answer
from gradcheck.engines.rebuilt import Fixed, Rebuilt, is_floating
from gradcheck.keras_private import compute_in_double

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.engines.question import Numbers, Subject


class Differentiated:
    """A model, and its derivative, which is traced at the first call at most."""

    def __init__(self, engine: str, subject: bytes) -> None:
        """Build the model in a Keras session of its own."""
        keras.utils.clear_session()
        self._engine: Any = import_module(f"gradcheck.engines.{engine}_engine")
        found: Subject = cloudpickle.loads(subject)
        self._precision = found.precision
        in_precision(self._engine, found.precision)
        keras.config.set_dtype_policy(found.precision)
        self._rebuilt = Rebuilt(found)
        self._derivatives: dict[str, Any] = {}

    def answer(self, numbers: Numbers) -> Answer:
        """Return loss, outputs, gradients and state at `numbers`."""
        in_precision(self._engine, self._precision)  # a function may have been asked since
        self._rebuilt.fit(numbers)
        fixed = Fixed(numbers)
        floating = [numbers.x[i] for i in fixed.inputs]
        given = [*(numbers.variables[i] for i in fixed.weights), *floating, *numbers.zeros]
        rest = {
            "variables": tensors(numbers.variables),
            "states": tensors(numbers.states),
            "x": tensors(numbers.x),
            "y": tensors(numbers.y),
            "sample_weight": None if numbers.sample_weight is None else tensors(numbers.sample_weight),
        }
        more, gradients = self._derivative(fixed)(tensors(given), rest)
        arrays = [None if gradient is None else array(gradient) for gradient in gradients]
        weights, inputs = len(fixed.weights), len(fixed.weights) + len(fixed.inputs)
        by_input = dict(zip(fixed.inputs, arrays[weights:inputs], strict=True))
        return Answer(
            loss=array(more["loss"]),
            outputs=[array(output) for output in more["outputs"]],
            weights=arrays[:weights],
            assigned=[bool(assigned) for assigned in more["assigned"]],
            inputs=[by_input.get(i) for i in range(len(numbers.x))],
            boundaries=arrays[inputs:] if bool(more["as_expected"]) else None,
            states=[array(state) for state in more["states"]],
            drew=bool(more.get("drew")),
        )

    def _derivative(self, fixed: Fixed) -> Any:
        """Return the derivative for these numbers that are no tensors, which a trace contains as constants."""
        key = repr(vars(fixed))
        if key not in self._derivatives:
            self._derivatives[key] = self._engine.derivative(lambda given, rest: self._rebuilt.loss(given, rest, fixed))
        return self._derivatives[key]


def in_precision(engine: Any, precision: str) -> None:
    """Have the module of an engine, and Keras, compute in this precision."""
    engine.set_up(precision)
    compute_in_double(wanted=precision == "float64")
    keras.config.set_floatx(variable_dtype(precision))


def tensors(arrays: Sequence[Any]) -> list[Any]:
    """Return the engine's tensors: floats in their own dtype, integers in those that it has."""
    return [
        None if a is None else keras.ops.convert_to_tensor(a, dtype=str(a.dtype) if is_floating(a) else None)
        for a in arrays
    ]


def array(tensor: Any) -> Any:
    """Return one of the engine's tensors as an array."""
    return np.asarray(keras.ops.convert_to_numpy(tensor))
