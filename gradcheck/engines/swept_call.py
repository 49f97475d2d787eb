"""A call of a function of `keras.ops` that is swept, under this process's backend."""

from __future__ import annotations

import pickle
from functools import lru_cache, partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from keras import ops

from gradcheck.config.sections.recipe import CallCase, ConstantTensor, Leaf
from gradcheck.engines.absent import Absent
from gradcheck.engines.differentiated import array, in_precision, tensors
from gradcheck.engines.vjp_levels import pulled_back

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


class SweptQuestion(NamedTuple):
    """What is differentiated: outputs of a call, summed with weights.

    Attributes:
        name: of the function, in `keras.ops`.
        case: the arguments.
        names: what an expression calls the differentiated tensors.
        readings: the weights of the floating outputs.
    """

    name: str
    case: CallCase
    names: Sequence[str]
    readings: Sequence[Any]


def derivatives(engine: str, question: bytes, values: Sequence[Any]) -> list[Any]:
    """Return the scalar at `values`, and its derivatives, in float64; None for a tensor that it does not depend on."""
    in_precision(import_module(f"gradcheck.engines.{engine}_engine"), "float64")
    found = _derivative(engine, question, len(values))(*tensors([*values, np.ones(())]))
    return [None if tensor is None else array(tensor) for tensor in found]


@lru_cache(maxsize=1)
def _derivative(engine: str, question: bytes, count: int) -> Callable[..., Sequence[Any]]:
    """Return the function to the scalar of a call and its derivatives, which may be compiled at the first point."""
    module: Any = import_module(f"gradcheck.engines.{engine}_engine")
    scalar = partial(_scalar, pickle.loads(question))  # noqa: S301 - from the process that this one serves

    def both(*given: Any) -> list[Any]:
        return [*scalar(*given[:count]), *pulled_back(module, scalar, count, *given)]

    found: Callable[..., Sequence[Any]] = module.compiled(both)
    return found


def _scalar(question: SweptQuestion, *given: Any) -> list[Any]:
    outputs = [output for output in keras.tree.flatten(_made(question, given)) if output is not None]
    parts = [part for output in map(ops.convert_to_tensor, outputs) for part in _real_parts(output)]
    terms = zip(parts, question.readings, strict=True)
    # A tensor that requires a gradient takes no NumPy array beside it in PyTorch.
    return [sum(ops.sum(ops.cast(p, "float64") * ops.convert_to_tensor(r, "float64")) for p, r in terms)]


def _made(question: SweptQuestion, given: Sequence[Any]) -> Any:
    function, case = getattr(ops, question.name), question.case
    if case.expression is not None:
        known = {"tf": Absent("tensorflow"), "keras": keras, "np": np, "fn": function}
        named = dict(zip(question.names, given, strict=True))
        return eval(case.expression, {**known, **named})  # noqa: S307 - written beside the function itself
    rest = iter(given)
    arguments = [_filled(argument, rest) for argument in case.args]
    return function(*arguments, **{key: _filled(argument, rest) for key, argument in case.kwargs.items()})


def _filled(argument: Any, given: Iterator[Any]) -> Any:
    """Return an argument with tensors in the places of leaves and constants."""
    if isinstance(argument, Leaf):
        return next(given)
    if isinstance(argument, ConstantTensor):
        return ops.convert_to_tensor(argument.value, argument.dtype or "float64")
    if isinstance(argument, dict):
        return {key: _filled(item, given) for key, item in argument.items()}
    return [_filled(item, given) for item in argument] if isinstance(argument, list) else argument


def _real_parts(output: Any) -> list[Any]:
    dtype = str(keras.backend.standardize_dtype(output.dtype))
    if dtype.startswith("complex"):
        return [ops.real(output), ops.imag(output)]
    return [output] if "float" in dtype else []
