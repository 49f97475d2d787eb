"""What a config asks for, held against the memory budget before it is allocated."""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.errors import RunError
from gradcheck.keras_private import allocations_watched
from gradcheck.problem.free_memory import free_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


#: `memory_budget: auto` is this share of the memory that this process can still have.
FREE_SHARE = 0.8
#: Bytes of activations that one block of a Jacobian may hold; larger ones are no faster, for they leave the cache.
JACOBIAN_BLOCK = 48 * 2**20


def resolve_budget(budget: int | str) -> int:
    """The budget in bytes; `auto` is `FREE_SHARE` of what this process can still have."""
    return int(FREE_SHARE * free_bytes()) if budget == "auto" else int(budget)


def jacobian_block(budget: int) -> int:
    """Bytes of activations that one block of a Jacobian may hold under `budget`."""
    return min(JACOBIAN_BLOCK, budget // 8)


@contextmanager
def bounded_variables(budget: int) -> Iterator[None]:
    """Refuses a variable that would take the sum of those made in the body over `budget`, before it is allocated.

    Raises:
        RunError: GC056, naming the variable and its shape.
    """
    held = 0

    def count(path: str, shape: tuple[int, ...], dtype: Any) -> None:
        nonlocal held
        held += math.prod(shape) * int(tf.as_dtype(dtype).size)
        if held > budget:
            raise _too_large(f"the variable {path} of shape {shape} brings the weights to", held, budget)

    with allocations_watched(count):
        yield


def check_fits(needed: int, budget: int) -> None:
    """Refuses a batch whose activations and gradients, `needed` bytes with the weights, would not fit.

    Raises:
        RunError: GC056.
    """
    if needed > budget:
        raise _too_large("weights, gradients and the activations of one batch come to", needed, budget)


def _too_large(what: str, needed: int, budget: int) -> RunError:
    return RunError(
        f"{what} {needed / 2**30:.3g} GiB; the memory budget is {budget / 2**30:.3g} GiB",
        code="GC056",
        help="make the model or data.batch_size smaller, or raise memory_budget",
    )
