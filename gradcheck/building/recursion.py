"""A higher recursion limit: Keras walks the graph of a deep model recursively, once per layer."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def deep_recursion(*, at_least: int = 0, more: int = 0) -> Iterator[None]:
    """Allow `at_least` this many Python frames inside, or `more` than the current limit, whichever is larger."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(max(at_least, limit + more))
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
