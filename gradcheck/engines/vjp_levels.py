"""A function of the user's on an engine's arrays, and its VJPs: level k+1 is the VJP of level k."""

from __future__ import annotations

from functools import lru_cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import cloudpickle
import keras

from gradcheck.building import user_code
from gradcheck.building.imports import imported_once
from gradcheck.engines.asking import TITLES
from gradcheck.engines.differentiated import array, in_precision, tensors
from gradcheck.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gradcheck.engines.question import FunctionCall

_DOUBLE = ("float64", "complex128")


def outputs(engine: str, call: FunctionCall) -> list[Any]:
    """Return the outputs of a level as arrays; None for a gradient that there is not.

    Raises:
        KeyedError: GC028 if there is no such function.
        RunError: GC051 if it raises, or is no function of arrays.
    """
    of_engine = import_module(f"gradcheck.engines.{engine}_engine")
    double = any(str(value.dtype) in _DOUBLE for value in call.arrays)
    in_precision(of_engine, "float64" if double else "float32")
    function = _loaded(call.target, call.reference, call.base, call.run)
    with user_code.calling(f"{TITLES[engine]} function", call.reference, "GC051", call.base):
        found = _level(of_engine, function, call.target, call.kwargs, call.counts)(*tensors(call.arrays))
        return [None if tensor is None else array(tensor) for tensor in found]


@lru_cache(maxsize=16)
def _loaded(target: str, reference: str, base: Path, run: str) -> Callable[..., Any]:
    """Return the function, which is imported anew for each `run`."""
    del run
    try:
        with imported_once():
            found = user_code.load(reference, base, code="GC051")
    except RunError as error:
        if getattr(error.__cause__, "name", None) == "tensorflow":
            error.help = "the process of an engine has no TensorFlow: put the function into a file that imports none"
        raise
    if callable(found) and not isinstance(found, (type, keras.Layer)):
        return found  # type: ignore[no-any-return]  # the user's own
    message = f"{target} must be a function of arrays. Received: a {type(found).__name__}"
    raise RunError(message, code="GC051", help="write a function that takes the inputs, and returns the outputs")


@lru_cache(maxsize=64)
def _level(
    engine: Any, function: Callable[..., Any], target: str, kwargs: bytes, counts: tuple[int, ...]
) -> Callable[..., Sequence[Any]]:
    """Return a level, which may be compiled at its first call."""
    level: Callable[..., Sequence[Any]] = partial(_flat, target, partial(function, **cloudpickle.loads(kwargs)))
    for count in counts:
        level = partial(pulled_back, engine, level, count)
    found: Callable[..., Sequence[Any]] = engine.compiled(level)
    return found


def _flat(target: str, function: Callable[..., Any], *given: Any) -> list[Any]:
    """Return the outputs of the function itself."""
    found = keras.tree.flatten(function(*given))
    if not found or any(output is None for output in found):
        raise RunError(f"{target} must return an array, or several. Received: None", code="GC051")
    return [keras.ops.convert_to_tensor(output) for output in found]


def pulled_back(engine: Any, below: Callable[..., Sequence[Any]], count: int, *given: Any) -> Sequence[Any]:
    """Return the gradients of the level below by its floating arguments."""
    arguments = list(given[:count])
    moved = [i for i, tensor in enumerate(arguments) if _is_differentiable(tensor)]

    def of(*values: Any) -> list[Any]:
        replaced = dict(zip(moved, values, strict=True))
        found = below(*(replaced.get(i, tensor) for i, tensor in enumerate(arguments)))
        return [output for output in found if output is not None and _is_differentiable(output)]

    found: Sequence[Any] = engine.pulled_back(of, [arguments[i] for i in moved], given[count:])
    return found


def _is_differentiable(tensor: Any) -> bool:
    return str(keras.backend.standardize_dtype(tensor.dtype)).startswith(("float", "bfloat", "complex"))
