"""Subclassed models as people publish them: cut inside at every layer they match; what cannot be traced has a note."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.zoo.subclassed.cases import CASES

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport
    from tests.zoo.subclassed.cases import Case

    Run = Callable[..., RunReport]

pytestmark = pytest.mark.zoo
CONTROL = {"naive": {"expect": "mismatch"}}
third = pytest.mark.third(option="--subclassed")
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
with_twin = pytest.mark.parametrize("case", [case for case in CASES if case.twin], ids=lambda case: case.name)
STAYS = re.compile(r"^(.*) \(\w+\) stays one call and is not cut inside: ")


def kept_whole(report: RunReport) -> list[str]:
    """The layers that stay one call, by the notes."""
    return [found.group(1) for note in report.notes if (found := STAYS.match(note))]


def rows(report: RunReport) -> list[str]:
    """Every figure of the tensors of `vjp`, as text, in which NaN equals itself.

    An input has the name that the model gives it, and the calls of a functional model have an order of their own: of a
    layer that is called twice another call may be the first.
    """
    called_again = {tensor.layer for tensor in report.checks[0].of_kind("boundary") if ":" in tensor.path}
    ordered = [t for t in report.checks[0].tensors if t.kind in ("boundary", "state") and t.layer in called_again]
    tensors = [tensor for tensor in report.checks[0].tensors if tensor not in ordered]
    anonymous = [replace(t, path="", name="", layer="") if t.kind == "input" else t for t in tensors]
    return sorted(repr(replace(tensor, segment=None, segments=None)) for tensor in anonymous)


@third
@each
def test_it_is_cut_inside_and_matches(run: Run, case: Case) -> None:
    methods = ["vjp", CONTROL] if case.cut != "none" else ["vjp"]
    report = run(case.config({"every": "layer"}, methods), verify_reference="never")
    check = report.checks[0]
    failing = [(t.kind, t.path, t.status, t.max_rel_error) for t in check.failures]
    assert report.error is None
    assert not failing
    assert kept_whole(report) == {"all": [], "partly": [case.stays], "none": ["the model"]}[case.cut]
    if case.cut == "none":
        assert [list(segment.layers) for segment in report.segments] == [[report.segments[0].layers[0]]]
        assert check.outcome == "inconclusive"
    else:
        assert report.verdict == "pass"
        assert len(report.segments) > 2
        assert any(tensor.status in ("exact", "close") for tensor in check.of_kind("boundary"))
        uncut = {tensor.path for tensor in check.of_kind("weight") if tensor.segment is None}
        assert not uncut


@third
@with_twin
def test_a_twin_gives_the_same_report_bit_for_bit(case: Case) -> None:
    import keras

    from gradcheck import check_model

    assert case.twin is not None
    keras.utils.clear_session()  # Keras numbers seeds from there on
    model, (x, _) = case.build(), case.batch()
    model(x)
    keras.utils.clear_session()
    twin = case.twin()
    for layer in twin.layers:
        if not isinstance(layer, keras.layers.InputLayer):
            for theirs, ours in zip(layer.variables, getattr(model, layer.name).variables, strict=True):
                theirs.assign(ours)  # seeds too
    options = {"every": "layer", "methods": ["vjp", CONTROL], "verify_reference": "never"}
    subclassed, functional = (check_model(either, x, **options).runs[0] for either in (model, twin))
    assert rows(subclassed) == rows(functional)
    assert subclassed.reference is not None
    assert functional.reference is not None
    assert subclassed.reference.loss == functional.reference.loss
    calls = [{layer for segment in report.segments for layer in segment.layers} for report in (subclassed, functional)]
    assert calls[0] == calls[1]
