"""The peak of memory while something runs: what it makes counts once, and what it frees counts too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.problem import peak_memory
from gradcheck.problem.peak_memory import peak_of

if TYPE_CHECKING:
    import pytest

MIB = 2**20


def tensors(count: int) -> float:
    """Holds `count` tensors of 8 MiB at a time, and then none."""
    held = [tf.fill((2 * MIB,), float(i)) for i in range(count)]
    return float(sum(t[0] for t in held))


def test_tensors_are_counted_even_if_they_were_there_before() -> None:
    tensors(4)  # what these free is used again
    peak = peak_of(lambda: tensors(4))
    assert peak is not None
    assert 32 * MIB <= peak < 48 * MIB  # once, not twice: the process itself grows by a few MiB


def test_what_is_held_before_does_not_count() -> None:
    tensors(4)
    kept = tf.zeros((4 * MIB,))
    peak = peak_of(lambda: tensors(1))
    assert kept is not None
    assert peak is not None
    assert 8 * MIB <= peak < 10 * MIB


def test_what_is_not_a_tensor_or_small_counts_too() -> None:
    peak = peak_of(lambda: [bytearray(b"x" * 32 * MIB), [tf.fill((16_000,), float(i)) for i in range(512)]])
    assert peak is not None
    assert 60 * MIB <= peak < 80 * MIB


def test_resident_memory_is_measured_where_the_allocator_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise ValueError("Cannot reset memory stats")

    monkeypatch.setattr(tf.config.experimental, "reset_memory_stats", refuse)
    called = []
    peak = peak_of(lambda: called.append(bytearray(32 * b"x" * MIB)))
    assert (len(called), peak is not None) == (1, True)
    assert peak is not None
    assert 30 * MIB <= peak < 70 * MIB

    monkeypatch.setattr(peak_memory, "_CLEAR", Path("/none/clear_refs"))
    assert peak_of(lambda: called.append(bytearray())) is None
    assert len(called) == 2
