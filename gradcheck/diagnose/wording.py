"""Builders of diagnoses, and phrases that their evidence shares."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gradcheck.catalogue import CATALOGUE
from gradcheck.phrases import some
from gradcheck.results.report import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.faults.interface import Injection, Place
    from gradcheck.results.report import Confidence


def named(
    code: str,
    evidence: str,
    *,
    where: str | None = None,
    segment: int | None = None,
    layer: str | None = None,
    confidence: Confidence = "exact",
    fix: str | None = None,
) -> Diagnosis:
    """Return the diagnosis of `code` at `where`, with the catalogue's fix unless `fix` is given."""
    entry = CATALOGUE[code]
    return Diagnosis(
        code=code,
        title=entry.title,
        segment=segment,
        layer=layer,
        confidence=confidence,
        evidence=evidence,
        fix=fix or entry.fix,
        place=where,
    )


def named_at(injection: Injection, evidence: str, *, confidence: Confidence = "exact") -> Diagnosis:
    """Return the diagnosis of an injected fault at its place."""
    found = named_in(injection.code, injection.place, evidence, fix=injection.advice())
    return replace(found, confidence=confidence)


def named_in(code: str, place: Place | None, evidence: str, *, fix: str | None = None) -> Diagnosis:
    """Return the diagnosis of `code` at the place of a fault, if it has one."""
    if place is None:
        return named(code, evidence, fix=fix)
    return named(code, evidence, where=place.text, segment=place.segment, layer=place.layer, fix=fix)


def are(names: Sequence[str]) -> str:
    """Return `some(names)` followed by "is" or "are"."""
    return f"{some(names)} {'is' if len(names) == 1 else 'are'}"
