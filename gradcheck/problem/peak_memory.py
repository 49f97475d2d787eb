"""The peak of memory while something runs: what TensorFlow's allocator counts, and the rest of the process."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESTART_PEAK = "5"


def peak_of(work: Callable[[], Any]) -> int | None:
    """Return the bytes by which memory rises at most while `work` runs; None if nothing tells.

    It is the sum of two peaks, and so at most too high. TensorFlow's allocator keeps what tensors have freed, so that
    the resident memory of the process does not rise for them again: it counts them itself, a GPU's every tensor, a
    CPU's those of 256 KiB and more, in builds with oneDNN, which are the usual ones. All else (smaller tensors, NumPy,
    every tensor in other builds) is resident memory, which is exact to some 100 KiB.

    Call `work` once before, so that what is made once does not count.
    """
    gc.collect()
    device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
    statistics = tf.config.experimental
    try:
        statistics.reset_memory_stats(device)
    except ValueError:  # an allocator that does not count
        return _resident_peak_of(work)
    before = statistics.get_memory_info(device)["current"]
    resident = _resident_peak_of(work)
    return int(statistics.get_memory_info(device)["peak"] - before) + (resident or 0)


def _resident_peak_of(work: Callable[[], Any]) -> int | None:
    """Return how far the process's resident memory rises while `work` runs; None where Linux does not tell.

    What the C library has freed is given back first, so that it counts when it is used again.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    before = _restarted()
    work()
    return None if before is None else max(0, _bytes_of("VmHWM") - before)


def _restarted() -> int | None:
    """Let the peak begin anew, and return the resident bytes; None where Linux does not tell."""
    try:
        _CLEAR.write_text(_RESTART_PEAK, encoding="ascii")
        return _bytes_of("VmRSS")
    except OSError:
        return None


def _bytes_of(field: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
