"""Builders of diagnoses, and phrases that their evidence shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.catalogue import CATALOGUE
from gradcheck.phrases import some
from gradcheck.results.report import Diagnosis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.faults.interface import Injection
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
    place = injection.place
    return named(
        injection.code,
        evidence,
        where=place.text,
        segment=place.segment,
        layer=place.layer,
        confidence=confidence,
        fix=injection.advice(),
    )


def are(names: Sequence[str]) -> str:
    """Return `some(names)` followed by "is" or "are"."""
    return f"{some(names)} {'is' if len(names) == 1 else 'are'}"
