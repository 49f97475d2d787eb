"""TensorFlow's warnings about complex numbers that are cast to real ones, as one note.

TensorFlow logs a line at every call, of which a check makes hundreds.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gradcheck.phrases import listed, plural
from gradcheck.user_calls.lines import user_line

if TYPE_CHECKING:
    from collections.abc import Iterator

_WARNING = "You are casting an input of type complex"


class Casts(logging.Filter):
    """Keeps back those warnings, and counts them by the user's line."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Counter[str] = Counter()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be shown."""
        if not record.getMessage().startswith(_WARNING):
            return True
        line = user_line()
        self._lines[str(line) if line.number else ""] += 1
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """One note on all of them; none if there was no such cast."""
        if not self._lines:
            return ()
        places = listed(sorted(filter(None, self._lines)), "")
        note = (
            f"a complex number is cast to a real one{places and f' ({places})'}: its imaginary part is discarded, as "
            f"TensorFlow warned {plural(self._lines.total(), 'time')}; `tf.math.real` says that it is meant"
        )
        return (note,)


@contextmanager
def casts_counted() -> Iterator[Casts]:
    """Count the casts that are warned of inside."""
    logger, casts = logging.getLogger("tensorflow"), Casts()
    logger.addFilter(casts)
    try:
        yield casts
    finally:
        logger.removeFilter(casts)
