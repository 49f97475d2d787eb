"""The table of faults: in the catalogue, in order, and saying where and what without repeating itself."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from gradcheck.catalogue import CATALOGUE
from gradcheck.faults import FAULTS
from gradcheck.faults.accumulation.slicing import SlicingFault

#: As much as fits: two segments that share a layer, masks, dropout, statistics, penalties, a skip connection, slices.
RICH = """
    microbatches: 3
    model:
      input: {shape: [4], dtype: int32}
      layers:
        - Embedding: {input_dim: 5, output_dim: 4, mask_zero: true, name: table}
        - Dense: {units: 4, activation: tanh, kernel_regularizer: l2, activity_regularizer: l2, name: shared}
        - Dropout: {rate: 0.3, name: dropout}
        - BatchNormalization: {momentum: 0.5, name: norm}
        - call: {layer: shared, inputs: [norm], name: again}
        - Add: {name: total, inputs: [again, table]}
        - Dense: {units: 2, name: out}
    split: {after: [dropout, norm]}
    loss: MeanSquaredError
    data: {batch_size: 7}
"""
CHUNKS = """
    model:
      input: {shape: [4, 2]}
      layers: [GRU: {units: 3, return_sequences: true, name: gru}, Dense: {units: 2, name: out}]
    split: {time: {chunks: 3}}
    loss: MeanSquaredError
    data: {batch_size: 2}
"""


@pytest.mark.parametrize("config", [RICH, CHUNKS], ids=["rich", "chunks"])
def test_every_injection_is_told_apart(study: Any, config: str) -> None:
    problem = study(config).problem
    texts = Counter((f.code, i.place.text, i.effect) for f in FAULTS for i in f.injections(problem))
    assert [text for text, count in texts.items() if count > 1] == []
    for fault in FAULTS:
        for injection in fault.injections(problem):
            assert injection.code == fault.code
            assert injection.place.segment in {None, *range(len(problem.segments))}
            assert injection.steps or injection.finish or injection.slices
            assert "{" not in injection.effect
            assert not injection.effect.endswith(".")


def test_a_rich_model_has_a_place_for_nearly_every_fault(study: Any) -> None:
    rich = study(RICH)
    without = {fault.code for fault in FAULTS if not list(fault.injections(rich.problem))}
    # No sample weights, no chunks, no float16, no custom gradients.
    assert without == {"GC208", "GC304", "GC503", "GC506", "GC609"}


def test_slices_can_be_asked_for(study: Any) -> None:
    rich = study(RICH)
    codes = {f.code for f in FAULTS if isinstance(f, SlicingFault) and list(f.injections_over(rich.problem, 7))}
    assert codes == {"GC201", "GC202", "GC203", "GC204", "GC206", "GC301", "GC404", "GC502", "GC606"}


def test_every_fault_is_in_the_catalogue_once() -> None:
    codes = [fault.code for fault in FAULTS]
    assert len(set(codes)) == len(codes)
    assert set(codes) <= set(CATALOGUE)


@pytest.mark.parametrize(
    ("specific", "general"),
    [
        ("GC201", "GC503"),
        ("GC102", "GC403"),
        ("GC105", "GC102"),
        ("GC110", "GC111"),
        ("GC304", "GC102"),
        ("GC304", "GC105"),
        ("GC304", "GC401"),
        ("GC303", "GC605"),
        ("GC302", "GC605"),
    ],
)
def test_the_specific_comes_before_the_general(specific: str, general: str) -> None:
    codes = [fault.code for fault in FAULTS]
    assert codes.index(specific) < codes.index(general)
