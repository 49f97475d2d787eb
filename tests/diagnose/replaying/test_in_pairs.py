"""Pairs of faults in the same tensors, planted as one split and made out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.diagnose import Observed, Replayed, diagnose
from gradcheck.diagnose.replaying.replays import suspected_in
from gradcheck.faults.composition import both
from gradcheck.numerics import TolerancePolicy

CONFIG = """
model:
  input: {shape: [3]}
  layers:
    - Dense: {units: 4, activation: tanh, kernel_regularizer: l2, name: stem}
    - Dense: {units: 4, activation: tanh, name: body}
    - Add: {name: total, inputs: [body, stem]}
    - Dense: {units: 2, name: out}
split: {after: [stem, body]}
loss: MeanSquaredError
data: {batch_size: 6}
"""


def diagnosed(problem: Any, *texts: str) -> Any:
    """What is said of a split with two mistakes, each given by its code and a part of its place and effect."""
    suspects = suspected_in(problem, own_slices=True)
    chosen = [
        next(i for i in suspects if i.code == text[:5] and text[6:] in f"{i.place.text}: {i.effect}") for text in texts
    ]
    together = both(*chosen)
    assert together is not None
    reference, replayed = Reference(problem), Replayed(problem)
    gradients = replace(replayed.replays.gradients(together), outputs=())
    rows = compare_all(problem, reference, gradients, TolerancePolicy(), noise=False)
    observed = Observed(problem=problem, reference=reference, gradients=gradients, rows=rows)
    return diagnose(observed, seconds=60.0)


@pytest.mark.parametrize(
    "mistakes",
    [
        ("GC105 segment_2 handed no cotangent of stem", "GC112 boundary 1 → 2: the cotangent of segment_1 was"),
        ("GC201 3 micro-batches", "GC105 segment_2 handed no cotangent of stem"),
        ("GC501 segment 0", "GC504 every gradient: every gradient was"),
        ("GC406 body/kernel", "GC202 2 micro-batches"),
        ("GC402 stem/bias and body/bias", "GC504 every gradient: every gradient was"),
    ],
    ids=" + ".join,
)
def test_two_mistakes_in_the_same_tensors(problem: Any, mistakes: tuple[str, str]) -> None:
    first, *parts = diagnosed(problem, *mistakes)
    assert first.code == "GC900"
    assert "together explain every wrong tensor" in first.evidence
    assert {part.code for part in parts} == {mistake[:5] for mistake in mistakes}
    assert {part.confidence for part in parts} == {"likely"}
