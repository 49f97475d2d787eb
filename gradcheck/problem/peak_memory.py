"""The peak of memory while something runs: of tensors, as TensorFlow's allocator counts it, or of the whole process."""

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

    The allocator of the first GPU, or of the CPU, counts tensors to the byte, and nothing else: not what NumPy holds.
    A CPU's allocator does so in builds with oneDNN, which are the usual ones; it keeps what was freed, so that the
    resident memory of the process would say nothing. In other builds that is what is measured (`resident_peak_of`).

    Call `work` once before, so that what is made once does not count.
    """
    gc.collect()
    device = "GPU:0" if tf.config.list_physical_devices("GPU") else "CPU:0"
    try:
        tf.config.experimental.reset_memory_stats(device)
    except ValueError:  # an allocator that does not count
        return resident_peak_of(work)
    before = tf.config.experimental.get_memory_info(device)["current"]
    work()
    return int(tf.config.experimental.get_memory_info(device)["peak"] - before)


def resident_peak_of(work: Callable[[], Any]) -> int | None:
    """Return how far the process's resident memory rises while `work` runs; None where Linux does not tell.

    What the C library has freed is given back first, so that it counts when it is used again.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text(_RESTART_PEAK, encoding="ascii")
        before = _bytes_of("VmRSS")
    except OSError:
        return None
    work()
    return max(0, _bytes_of("VmHWM") - before)


def _bytes_of(field: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
