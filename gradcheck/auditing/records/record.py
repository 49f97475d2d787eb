"""What one process saw of the activations that left it and that came in, and of the cotangents for them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradcheck.results.report import RunReport  # noqa: TC001 - read with its types

Array = np.ndarray[Any, Any]
#: The dtypes that people round activations to on the wire.
HALF = ("float16", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class Activation:
    """The identity of an activation's values.

    Attributes:
        digest: a hash of the values, whatever their dtype and shape.
        rounded: the hash after rounding, by dtype.
        update: the number of the update it belongs to.
    """

    digest: str
    rounded: dict[str, str]
    shape: tuple[int, ...]
    dtype: str
    update: int = 0

    def lost_by(self, other: Activation) -> str | None:
        """Return the dtype that `other`, with the same values, was rounded to on the way, or ""; None if it differs."""
        if other.digest == self.digest:
            return ""
        return next((dtype for dtype, digest in self.rounded.items() if digest == other.digest), None)


def activation_of(value: Array, dtype: str, update: int) -> dict[str, Any] | None:
    """Return the attributes of an `Activation`; None for values that prove nothing by being equal."""
    flat = value.reshape(-1).astype(np.float64)
    if flat.size < 2 or not np.isfinite(flat).all() or (flat == flat[0]).all():  # noqa: PLR2004 - one number
        return None
    rounded = {half: digest(round_to(flat, half)) for half in HALF if half != dtype}
    return {"digest": digest(flat), "rounded": rounded, "shape": value.shape, "dtype": dtype, "update": update}


def round_to(array: Array, dtype: str) -> Array:
    """Return the values of `array` rounded to `float16` or `bfloat16`, to nearest, ties to even."""
    single = np.ascontiguousarray(array, np.float32)
    if dtype == "float16":
        with np.errstate(over="ignore"):
            return single.astype(np.float16).astype(np.float64)
    bits = single.view(np.uint32)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) & np.uint32(0xFFFF0000)
    return bits.view(np.float32).astype(np.float64)


def digest(values: Array) -> str:
    """Return a hash of values, whatever their dtype and shape."""
    return hashlib.sha256(values.reshape(-1).astype(np.float64).tobytes()).hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Left(Activation):
    """An activation that a tape recorded, and that may have gone to another process.

    Attributes:
        asked: whether it was the target of a gradient call; else it was read as NumPy, and `seed` is the derivative of
            the script's losses by it.
        seed: the cotangent that was used for it; None if there was none.
        line: of the gradient call, or where it was read.
        read_line: where it was read as NumPy; "" where it left by a way that nobody sees.
        update_line: of the last update of the step.
        paths: the variables that the cotangent serves.
        factor: the multiple of its gradients that the update was handed; NaN if that is not known.
        precision: a half precision that something was computed in.
    """

    asked: bool = True
    seed: Array | None = None
    line: str = ""
    read_line: str = ""
    update_line: str = ""
    paths: tuple[str, ...] = ()
    factor: float = float("nan")
    precision: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Came(Activation):
    """A tensor that no operation of the step made, and that a tape watched or a gradient call named.

    Attributes:
        computed: the cotangent that the script computed for it; None if it computed none.
        sent: what that cotangent was where it was read as NumPy, at `sent_line`.
        reference: the derivative of what the script differentiates by it, in the tape over the whole step.
        line: of the gradient call.
        scale: by which the loss is multiplied; 1 if the process does not undo it for its own variables.
        precision: a half precision that something was computed in.
    """

    computed: Array | None = None
    sent: Array | None = None
    reference: Array | None = None
    line: str = ""
    sent_line: str = ""
    scale: float = 1.0
    precision: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Record:
    """One process.

    Attributes:
        name: of the process.
        run: the report on its own updates; None if it never imported TensorFlow.
        entered: hashes of the arrays that came into TensorFlow, and into an operation on a tape.
        children: the records of processes that it started, as file names beside its own.
    """

    name: str
    run: RunReport | None = None
    left: tuple[Left, ...] = ()
    came: tuple[Came, ...] = ()
    entered: tuple[str, ...] = ()
    children: tuple[str, ...] = ()

    @property
    def saw_anything(self) -> bool:
        """Whether there is anything to join."""
        return bool(self.left or self.came or (self.run and any(check.tensors for check in self.run.checks)))
