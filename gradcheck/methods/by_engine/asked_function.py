"""A function of another engine's arrays, as one of TensorFlow's tensors: `jax:./file.py:name`."""

from __future__ import annotations

import uuid
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.building.target import layer_around, model_around
from gradcheck.config.sections.methods import ENGINES, EngineOptions
from gradcheck.engines.asking import TITLES, called
from gradcheck.engines.question import FunctionCall
from gradcheck.engines.sent import packed
from gradcheck.errors import ConfigError
from gradcheck.handoff.tensors import is_differentiable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import keras

#: How long one call may take: as long as a pass of the methods.
SECONDS = EngineOptions().timeout
#: The place of `model` in a config.
FACTORY = "gradcheck.methods.by_engine.asked_function:model"


def is_of_engine(target: Any) -> bool:
    """Whether a target is a function of another engine's arrays."""
    return isinstance(target, str) and target.partition(":")[0] in ENGINES and target not in ENGINES


def new_run() -> str:
    """Return a name for the calls for which the function's module is imported once."""
    return uuid.uuid4().hex


def model(
    target: str,
    base: str,
    inputs: Mapping[str, Any],
    kwargs: Mapping[str, Any],
    values: Sequence[Any] = (),
    *,
    masked: bool = False,
    run: str,
) -> keras.Model:
    """Build the model that consists of the function alone; see `building.target.model`.

    Raises:
        ConfigError: if the target names no function, or the engine is not installed.
        RunError: GC051 if the function raises, GC057 if it takes too long, GC060 if the engine's process ends.
    """
    function = EngineFunction(target, Path(base), kwargs, run)
    layer = layer_around(function, target, Path(base), {}, values)
    return model_around(layer, target, inputs, masked=masked)


class EngineFunction:
    """Asks the engine's process for each call.

    Its gradients are the engine's, of any order: the gradient of a call is another call, of the VJP of what was called.
    """

    def __init__(self, target: str, base: Path, kwargs: Mapping[str, Any], run: str) -> None:
        """Store where the function is, and its keyword arguments. Nothing is imported before the first call."""
        self._engine, _, self._reference = target.partition(":")
        self._target, self._base, self._run = target, base, run
        self._arguments = dict(kwargs)

    @cached_property
    def _packed(self) -> bytes:
        return packed(self._arguments)

    def __call__(self, *inputs: Any) -> Any:
        """Return the function's output, or a tuple of several.

        Raises:
            ConfigError: GC028 if the target names no function; or any error of `called`.
        """
        if ":" not in self._reference:
            title = TITLES[self._engine]
            raise ConfigError(
                f"{self._target} names no function of {title}'s arrays",
                code="GC028",
                help=f"write {self._engine}:./file.py:name or {self._engine}:package.module:name; "
                f"the same layer under {title} is `{self._engine}` alone",
            )
        tensors = [tf.convert_to_tensor(tensor) for tensor in tf.nest.flatten(inputs)]
        outputs = self._level((), tensors)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _level(self, counts: tuple[int, ...], tensors: Sequence[Any]) -> list[Any]:
        """Return the outputs of a level; see `FunctionCall`. None is a gradient that there is not."""
        found = self._computed(counts, tensors)
        outputs = [output for output in found if output is not None]
        if not outputs:
            return found
        moved = [i for i, tensor in enumerate(tensors) if is_differentiable(tensor)]

        def pulled_back(*cotangents: Any) -> list[Any]:
            gradients: list[Any] = [None] * len(tensors)
            upstream = [c for c, output in zip(cotangents, outputs, strict=True) if is_differentiable(output)]
            if moved and upstream:
                above = self._level((*counts, len(tensors)), [*tensors, *upstream])
                for i, gradient in zip(moved, above, strict=True):
                    gradients[i] = gradient
            return gradients

        @tf.custom_gradient  # type: ignore[untyped-decorator]  # TensorFlow has no types
        def differentiable(*_: Any) -> Any:
            return outputs, pulled_back

        results = iter(differentiable(*tensors))
        return [None if output is None else next(results) for output in found]

    def _computed(self, counts: tuple[int, ...], tensors: Sequence[Any]) -> list[Any]:
        """Return the outputs without their gradients. What a graph contains is told by a call on ones."""

        def compute(*arrays: Any) -> list[Any]:
            call = FunctionCall(
                target=self._target,
                reference=self._reference,
                base=self._base,
                run=self._run,
                kwargs=self._packed,
                counts=counts,
                arrays=arrays,
            )
            return called(self._engine, call, seconds=SECONDS)

        if tf.executing_eagerly():
            return [_tensor(array) for array in compute(*(tensor.numpy() for tensor in tensors))]

        def present(*arrays: Any) -> list[Any]:
            return [array for array in compute(*arrays) if array is not None]

        found = compute(*(np.ones(tensor.shape, tensor.dtype.as_numpy_dtype) for tensor in tensors))
        outputs = iter(tf.numpy_function(present, tensors, [array.dtype for array in found if array is not None]))
        return [None if array is None else tf.ensure_shape(next(outputs), array.shape) for array in found]


def _tensor(array: Any) -> Any:
    return None if array is None else tf.convert_to_tensor(array)
