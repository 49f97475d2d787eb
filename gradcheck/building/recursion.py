"""Room on Python's stack: Keras walks the graph of a deep model recursively, once per layer."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def deep_recursion(frames: int) -> Iterator[None]:
    """Allows so many more Python frames inside."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + frames)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)
