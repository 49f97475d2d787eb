"""A function as a function of the tensors that are differentiated, with everything else constant."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from gradcheck.config.sections.recipe import CallCase, ConstantTensor, Leaf
from gradcheck.errors import NotApplicable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

#: The sizes of random values of a tensor without a range.
SIZES = (0.3, 2.0)
#: The names that an expression knows beside those of its tensors.
NAMES = {"tf": tf, "keras": keras, "np": np}


@dataclass(frozen=True, eq=False)
class SweptCall:
    """One way to call a function.

    Attributes:
        function: the function.
        name: how code refers to it, such as `keras.ops.ldexp`.
        case: the arguments.
    """

    function: Callable[..., Any]
    name: str
    case: CallCase

    @cached_property
    def leaves(self) -> list[Leaf]:
        """The differentiated tensors, in their order."""
        return list(_leaves([*self.case.args, *self.case.kwargs.values()]))

    @property
    def names(self) -> list[str]:
        """What the differentiated tensors are called."""
        return ["x"] if len(self.leaves) == 1 else [f"x{i}" for i in range(len(self.leaves))]

    def __call__(self, tensors: Sequence[Any]) -> list[Any]:
        """Return the outputs that can be differentiated, real tensors all: of complex ones their parts.

        Raises:
            NotApplicable: if there is none.
        """
        if self.case.expression is not None:
            made = self._evaluated(dict(zip(self.names, tensors, strict=True)))
        else:
            rest, dtype = iter(tensors), tensors[0].dtype
            args = [_filled(argument, rest, dtype) for argument in self.case.args]
            made = self.function(*args, **{key: _filled(a, rest, dtype) for key, a in self.case.kwargs.items()})
        outputs = [tf.convert_to_tensor(output) for output in tf.nest.flatten(made) if output is not None]
        parts = [part for output in outputs for part in _real_parts(output)]
        if not parts:
            kinds = ", ".join(sorted({output.dtype.name for output in outputs})) or "nothing"
            raise NotApplicable(f"it returns {kinds}, which has no derivative")
        return parts

    def given(self, rng: np.random.Generator) -> list[NDArray[np.float64]]:
        """Return values at which the function is defined."""
        return [_values(leaf, rng) for leaf in self.leaves]

    def code(self, names: Sequence[str]) -> str:
        """Return the call as Python code, with these names for the differentiated tensors."""
        if self.case.expression is not None:
            known = {"fn": self.name, **dict(zip(self.names, names, strict=True))}
            return re.sub(r"\b\w+\b", lambda word: known.get(word[0], word[0]), self.case.expression)
        rest = iter(names)
        args = [_written(argument, rest) for argument in self.case.args]
        args += [f"{key}={_written(argument, rest)}" for key, argument in self.case.kwargs.items()]
        return f"{self.name}({', '.join(args)})"

    def _evaluated(self, tensors: Mapping[str, Any]) -> Any:
        code = compile(self.case.expression or "", f"<recipe of {self.name}>", "eval")
        return eval(code, {**NAMES, "fn": self.function, **tensors})  # noqa: S307 - written beside the function itself


def _leaves(arguments: Sequence[Any]) -> Iterator[Leaf]:
    for argument in arguments:
        if isinstance(argument, Leaf):
            yield argument
        elif isinstance(argument, (list, tuple)):
            yield from _leaves(argument)
        elif isinstance(argument, dict):
            yield from _leaves(list(argument.values()))


def _filled(argument: Any, tensors: Iterator[Any], dtype: Any) -> Any:
    """Return an argument with tensors in the places of leaves and constants."""
    if isinstance(argument, Leaf):
        return next(tensors)
    if isinstance(argument, ConstantTensor):
        return tf.constant(argument.value, argument.dtype or dtype)
    if isinstance(argument, dict):
        return {key: _filled(item, tensors, dtype) for key, item in argument.items()}
    return [_filled(item, tensors, dtype) for item in argument] if isinstance(argument, list) else argument


def _written(argument: Any, names: Iterator[str]) -> str:
    """Return an argument as Python code."""
    if isinstance(argument, Leaf):
        return next(names)
    if isinstance(argument, ConstantTensor):
        return f'tf.constant({argument.value!r}, "{argument.dtype or "float64"}")'
    if isinstance(argument, dict):
        return f"{{{', '.join(f'{key!r}: {_written(item, names)}' for key, item in argument.items())}}}"
    if isinstance(argument, list):
        return f"[{', '.join(_written(item, names) for item in argument)}]"
    return repr(argument)


def _real_parts(output: Any) -> list[Any]:
    if output.dtype.is_complex:
        return [tf.math.real(output), tf.math.imag(output)]
    return [output] if output.dtype.is_floating else []


def _values(leaf: Leaf, rng: np.random.Generator) -> NDArray[np.float64]:
    if leaf.values is not None:
        return np.broadcast_to(np.asarray(leaf.values, np.float64), leaf.x).copy()
    if leaf.range is not None:
        return np.asarray(rng.uniform(*leaf.range, leaf.x))
    # The signs are the same for all random numbers: what is wrong for one sign is so in every trial.
    signs = np.where(np.arange(math.prod(leaf.x)).reshape(leaf.x) % 2, -1.0, 1.0)
    return np.asarray(rng.uniform(*SIZES, leaf.x) * signs)
