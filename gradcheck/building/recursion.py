"""Room on Python's stack: Keras walks the graph of a deep model recursively, once per layer."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def deep_recursion(*, at_least: int = 0, more: int = 0) -> Iterator[None]:
    """Allows `at_least` so many Python frames inside, or so many `more` than now, if that is more."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(at_least, limit + more))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
