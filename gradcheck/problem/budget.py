"""The memory budget: checked before anything large is allocated."""

from __future__ import annotations

import math
import sys
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.config.keyed import KeyedRunError, at
from gradcheck.keras_private import allocations_watched
from gradcheck.placement.devices import current_worker
from gradcheck.placement.free_memory import FREE_SHARE, free_bytes
from gradcheck.placement.worker_questions import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.config.schema import Config
    from gradcheck.problem.estimate import MemoryEstimate


#: Bytes of activations in one block of a Jacobian; larger blocks are no faster, for they do not fit the cache.
JACOBIAN_BLOCK = 48 * 2**20
#: How many times its bytes a variable takes beside itself while it is made: random numbers, then these scaled.
_INITIALIZER = 2


def resolve_budget(budget: int | str) -> int:
    """Return the budget in bytes; `auto` is `FREE_SHARE` of the memory that is available to this process."""
    return int(FREE_SHARE * free_bytes()) if budget == "auto" else int(budget)


def jacobian_block(budget: int) -> int:
    """Return how many bytes of activations one block of a Jacobian may hold under `budget` (in bytes)."""
    return min(JACOBIAN_BLOCK, budget // 8)


@contextmanager
def bounded_variables(budget: int) -> Iterator[None]:
    """Raise before a variable is allocated that takes the sum of the variables made inside over `budget` bytes.

    The initial values of a variable count as well while it is made. Those that are made on a worker count there,
    against what was free there when the first of them was made.

    Raises:
        KeyedRunError: GC056, naming the variable and its shape.
    """
    held: Counter[str] = Counter()
    budgets = {"": budget}

    def count(path: str, shape: tuple[int, ...], dtype: Any) -> None:
        place = current_worker()
        if place not in budgets:
            budgets[place] = budget_of(place)
        size = math.prod(shape) * int(tf.as_dtype(dtype).size)
        held[place] += size
        needed = held[place] + _INITIALIZER * size
        if needed > budgets[place]:
            where = f" of {place}" if place else ""
            what = f"the variable {path} of shape {shape} brings the weights{where} to"
            raise _too_large(what, needed, budgets[place])

    with allocations_watched(count):
        yield


def require_memory(config: Config, costs: MemoryEstimate, budget: int) -> None:
    """Raise unless what a run of `config` costs in this process is within `budget`.

    Raises:
        KeyedRunError: GC056, at the key that makes the batch large.
    """
    with at(*_batch_key(config)):
        check_fits(costs.weights + costs.tape + _image_bytes(config), budget)
        if config.memory_budget == "auto":
            check_free(costs.run + _image_bytes(config), budget)


def _batch_key(config: Config) -> tuple[str, ...]:
    """Return the key of what makes a batch large."""
    if "data" not in config.model_fields_set:
        return ("model",)
    return ("data", "batch_size") if "batch_size" in config.data.model_fields_set else ("data",)


def _image_bytes(config: Config) -> int:
    """Return the bytes of the batch's images as they are read: float64, in up to four channels."""
    images = config.data.images
    return 0 if images is None else config.data.batch_size * math.prod(images.image_size) * 4 * 8


def check_fits(needed: int, budget: int) -> None:
    """Raise if `needed` bytes, for the weights and one batch's activations and gradients, exceed `budget`.

    Raises:
        KeyedRunError: GC056.
    """
    if needed > budget:
        raise _too_large("weights, gradients and the activations of one batch come to", needed, budget)


def check_free(needed: int, budget: int) -> None:
    """Raise if a whole run, estimated at `needed` bytes, exceeds `budget`, which is `FREE_SHARE` of the free memory.

    Raises:
        KeyedRunError: GC056.
    """
    if needed > budget:
        raise _too_large("the run would take about", needed, budget, f", {FREE_SHARE:.0%} of the memory that is free")


def budget_of(worker: str) -> int:
    """Return `FREE_SHARE` of the memory that is available to a worker; no limit for one that does not say."""
    free = ask(worker, {"ask": "free"})
    return sys.maxsize if free is None else int(FREE_SHARE * free)


def check_worker(worker: str, needed: int) -> None:
    """Raise if `needed` bytes, which a worker has to hold beside what it holds, exceed its budget.

    Raises:
        KeyedRunError: GC056.
    """
    budget = budget_of(worker)
    if needed > budget:
        raise _too_large(
            f"what {worker} has to hold comes to", needed, budget, f", {FREE_SHARE:.0%} of what is free there"
        )


def _too_large(what: str, needed: int, budget: int, of: str = "") -> KeyedRunError:
    return KeyedRunError(
        f"{what} {needed / 2**30:.3g} GiB; the memory budget is {budget / 2**30:.3g} GiB{of}",
        code="GC056",
        help="make the model or data.batch_size smaller, or raise memory_budget",
    )
