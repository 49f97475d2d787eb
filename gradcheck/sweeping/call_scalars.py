"""Scalar functions of a call's tensors, and the ways of TensorFlow to differentiate them once and twice.

A call's outputs are read by fixed random weights, the readings: the inner product is a scalar f, and every way must
give its derivatives along each element of each tensor. In the second order the scalar is r·∇f, with fixed directions r,
as the tape computes it; its derivatives are those of r·H.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from gradcheck.methods.directional.directions import unit
from gradcheck.numerics import largest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.sweeping.calls import SweptCall

Array: TypeAlias = NDArray[np.float64]
Values: TypeAlias = "Sequence[Array]"
#: The derivatives along every element of each tensor; None for a tensor that TensorFlow finds no path to.
Derivatives: TypeAlias = "list[Array | None]"
#: A function of tensors: to a scalar, or None where TensorFlow finds no path.
_Of: TypeAlias = "Callable[[Sequence[Any]], Any]"
#: Two slopes that differ by less, as a share of their terms, differ by rounding.
SAME = 1e-10
#: A way to differentiate: from a scalar and values to derivatives.
Way: TypeAlias = "Callable[[Scalar, Values], Derivatives]"


@dataclass(frozen=True, eq=False)
class Scalar:
    """The scalar of a call, in one dtype.

    Attributes:
        call: the call.
        readings: the weights of its outputs.
        along: the directions of the second order, one for each tensor.
        tangents: others, along which forward mode is tried before it goes through every element.
        dtype: that of the tensors.
        compiled: functions that were compiled before, by name.
    """

    call: SweptCall
    readings: tuple[Array, ...]
    along: tuple[Array, ...]
    tangents: tuple[Array, ...]
    dtype: str = "float64"
    compiled: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def made(cls, call: SweptCall, values: Values, seed: int) -> Scalar:
        """Return the scalar of `call` in float64, with random weights for the outputs that it has at `values`."""
        rng = np.random.default_rng([seed, 1])
        outputs = call([tf.constant(value, tf.float64) for value in values])
        along, tangents = (tuple(_weights(rng, value.shape) for value in values) for _ in range(2))
        return cls(call, tuple(_weights(rng, tuple(output.shape)) for output in outputs), along, tangents)

    def of(self, tensors: Sequence[Any]) -> Any:
        """Return the scalar of tensors."""
        outputs = self.call(tensors)
        # The cast keeps the sum from adding rounding of its own.
        return tf.add_n(
            [tf.reduce_sum(tf.cast(o, tf.float64) * r) for o, r in zip(outputs, self.readings, strict=True)]
        )

    def reading(self, tensors: Sequence[Any]) -> Any:
        """Return r·∇f of tensors, by the tape; None if there is no gradient."""
        gradients = zip(_gradients(self.of, tensors), self.directions(), strict=True)
        products = [tf.reduce_sum(g * r) for g, r in gradients if g is not None]
        return tf.add_n(products) if products else None

    def slope(self, tensors: Sequence[Any]) -> Any:
        """Return what forward mode gives along r; None if there is no gradient."""
        return _jvp(self.of, tensors, self.directions())

    def value(self, values: Values, *, second: bool = False) -> float:
        """Return f; of the second order r·∇f."""
        found = (self.reading if second else self.of)(self.tensors(values))
        return 0.0 if found is None else float(found)

    def steepness(self, values: Values) -> float:
        """Return the size of f's terms over that of the tensors: what derivatives amount to where nothing cancels."""
        outputs = self.call(self.tensors(values))
        size = sum(float(np.sum(np.abs(np.asarray(o) * r))) for o, r in zip(outputs, self.readings, strict=True))
        return size / (max((largest(value) for value in values), default=0.0) or 1.0)

    def tensors(self, values: Values) -> list[Any]:
        """Return `values` as tensors."""
        return [tf.constant(value, self.dtype) for value in values]

    def directions(self) -> list[Any]:
        """Return the directions of the second order as tensors."""
        return self.tensors(self.along)


def _weights(rng: np.random.Generator, shape: Sequence[int]) -> Array:
    return np.asarray(rng.choice([-1.0, 1.0], shape) * rng.uniform(0.5, 1.5, shape))


def by_tape(scalar: Scalar, values: Values) -> Derivatives:
    """Differentiate in reverse."""
    return _reverse(scalar, values, scalar.of)


def by_forward_mode(scalar: Scalar, values: Values) -> Derivatives:
    """Differentiate forward."""
    return _forward(scalar, values, scalar.of, by_tape)


def compiled(name: str, *, jit: bool) -> Way:
    """Return the way that differentiates in reverse, in a function that is compiled once."""

    def by_compiled(scalar: Scalar, values: Values) -> Derivatives:
        if name not in scalar.compiled:
            scalar.compiled[name] = tf.function(
                lambda *tensors: _gradients(scalar.of, tensors), jit_compile=jit, autograph=False
            )
        return _arrays(scalar.compiled[name](*scalar.tensors(values)))

    return by_compiled


def reverse_over_reverse(scalar: Scalar, values: Values) -> Derivatives:
    """Differentiate r·∇f in reverse."""
    return _reverse(scalar, values, scalar.reading)


def reverse_over_forward(scalar: Scalar, values: Values) -> Derivatives:
    """Differentiate in reverse what forward mode gives along r."""
    return _reverse(scalar, values, scalar.slope)


def forward_over_reverse(scalar: Scalar, values: Values) -> Derivatives:
    """Differentiate r·∇f forward."""
    return _forward(scalar, values, scalar.reading, reverse_over_reverse)


def forward_over_forward(scalar: Scalar, values: Values) -> Derivatives:
    """Differentiate forward what forward mode gives along r."""
    return _forward(scalar, values, scalar.slope, reverse_over_reverse)


def _gradients(of: _Of, tensors: Sequence[Any]) -> list[Any]:
    """Return the gradients of a function of tensors, all None where it is None."""
    tensors = list(tensors)
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        value = of(tensors)
    found = [None] * len(tensors) if value is None else tape.gradient(value, tensors)
    return [None if g is None else tf.convert_to_tensor(g) for g in found]


def _jvp(of: _Of, tensors: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Return the slope of a function of tensors along tangents; None where it is None."""
    with tf.autodiff.ForwardAccumulator(list(tensors), list(tangents)) as accumulator:
        value = of(tensors)
    return None if value is None else accumulator.jvp(value)


def _reverse(scalar: Scalar, values: Values, of: _Of) -> Derivatives:
    return _arrays(_gradients(of, scalar.tensors(values)))


def _forward(scalar: Scalar, values: Values, of: _Of, reverse: Way) -> Derivatives:
    """Return the derivatives by forward mode.

    Those in reverse are returned if they give the same slope along random tangents, which costs one pass: then no
    element differs. Otherwise it goes through every element.
    """
    in_reverse = reverse(scalar, values)
    products = [d * t for d, t in zip(in_reverse, scalar.tangents, strict=True) if d is not None]
    found = _jvp(of, scalar.tensors(values), scalar.tensors(scalar.tangents))
    whole, size = sum(float(np.sum(p)) for p in products), sum(float(np.sum(np.abs(p))) for p in products)
    if abs((0.0 if found is None else float(found)) - whole) <= SAME * size:
        return in_reverse
    return _along_elements(scalar, values, of)


def _along_elements(scalar: Scalar, values: Values, of: _Of) -> Derivatives:
    """Return the slopes along every element of each tensor; None for a tensor that has none along any of them."""
    tensors, found = scalar.tensors(values), []
    for i, value in enumerate(values):
        slopes = [_jvp(of, tensors, _moved(scalar, values, i, j)) for j in range(value.size)]
        known = [0.0 if each is None else float(each) for each in slopes]
        found.append(None if all(each is None for each in slopes) else np.array(known).reshape(value.shape))
    return found


def _moved(scalar: Scalar, values: Values, which: int, element: int) -> list[Any]:
    """Return tangents that move one element of one tensor."""
    return scalar.tensors([unit(v.shape, element) if i == which else np.zeros(v.shape) for i, v in enumerate(values)])


def _arrays(tensors: Sequence[Any]) -> Derivatives:
    return [None if tensor is None else np.asarray(tensor, np.float64) for tensor in tensors]


#: The ways to differentiate once and twice, by the names of their checks.
FIRST: dict[str, Way] = {
    "numeric": by_tape,
    "forward": by_forward_mode,
    "graph": compiled("graph", jit=False),
    "xla": compiled("xla", jit=True),
}
SECOND: dict[str, Way] = {
    "second": reverse_over_reverse,
    "forward_over_reverse": forward_over_reverse,
    "reverse_over_forward": reverse_over_forward,
    "forward_over_forward": forward_over_forward,
}
