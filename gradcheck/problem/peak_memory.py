"""The peak of a process's resident memory while it does something, as Linux counts it."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESTART_PEAK = "5"


def peak_of(work: Callable[[], Any]) -> int | None:
    """Return the bytes by which resident memory rises at most while `work` runs; None if the system does not tell.

    Memory that was freed before counts as new: it is given back to the system first. Call `work` once before, so that
    what is only made once does not count. Threads count in steps of some pages: below 1 MiB the figure says little.
    """
    gc.collect()
    with suppress(AttributeError, OSError):  # another C library keeps freed memory, and the figure is too low
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text(_RESTART_PEAK, encoding="ascii")
        before = _bytes_of("VmRSS")
    except OSError:  # not Linux, or a sandbox
        return None
    work()
    return max(0, _bytes_of("VmHWM") - before)


def _bytes_of(field: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
