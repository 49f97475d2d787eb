"""Diagnosis of a mismatch with another engine: where it begins, and with two engines which of the three differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.comparing.tensorwise import first_wrong
from gradcheck.diagnose.wording import named
from gradcheck.phrases import plural, some
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Confidence, Diagnosis

_TENSORFLOW = "TensorFlow"
_FORWARD = frozenset({"output", "loss"})


def diagnose_engine(observed: Observed, engine: str, others: Mapping[str, Gradients]) -> tuple[Diagnosis, ...]:
    """Return GC806 for a mismatch with an engine.

    Args:
        observed: the engine's tensors beside the reference's.
        engine: its name in reports.
        others: the gradients of other engines by name, as a third opinion.
    """
    first = first_wrong(observed.rows)
    if first is None:
        return ()
    key = TensorKey(first.kind, first.path)
    what = "values differ already in the forward pass" if first.kind in _FORWARD else "forward values agree"
    evidence = (
        f"{engine} differs from {_TENSORFLOW} in {plural(len(observed.failing), 'tensor')}, in the order of the "
        f"backward pass from {first.path} on: {what}"
    )
    takers = _takers(observed.problem, key)
    if takers:
        evidence += f", and so do the cotangents behind {some(takers)}"
    verdicts = [_majority(observed, engine, other, gradients, key) for other, gradients in others.items()]
    confidence: Confidence = "likely" if verdicts else "possible"
    diagnosis = named(
        "GC806",
        "; ".join([evidence, *verdicts]),
        segment=None if takers else first.segment,
        layer=takers[0] if takers else first.layer,
        confidence=confidence,
    )
    return (diagnosis,)


def _takers(problem: Problem, key: TensorKey) -> list[str]:
    """Return the calls that take a boundary: one of these has a wrong backward pass, as those behind agree."""
    graph = problem.graph
    refs = [ref for ref in (problem.plan.boundaries if problem.plan else ()) if problem.boundary_key(ref) == key]
    return [call.path for call in graph.calls if not set(refs).isdisjoint(call.inputs)]


def _majority(observed: Observed, engine: str, other: str, gradients: Gradients, key: TensorKey) -> str:
    """Return which of three differs at `key`, the first wrong tensor."""
    with_reference = key not in observed.of(gradients).failing
    with_engine = key not in observed.beside(gradients).failing
    if with_engine and not with_reference:
        return f"{_TENSORFLOW} is the one that differs: {engine} and {other} agree, two against one"
    if with_reference and not with_engine:
        return f"{engine} is the one that differs: {_TENSORFLOW} and {other} agree, two against one"
    return f"{other} settles nothing: all three differ there"
