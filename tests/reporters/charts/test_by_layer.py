from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

from gradcheck.reporters.charts.by_layer import MOST, by_layer

if TYPE_CHECKING:
    from gradcheck.results.report import Report, TensorReport


def test_bars_are_as_long_as_the_error_on_a_log_scale(skip: Report) -> None:
    layers = by_layer(skip.runs[0].checks[0])
    assert layers.errors is not None
    assert layers.errors.ends == ("1e-08", "1e+01")
    assert [(row.name, row.length, row.tone) for row in layers.rows] == [
        ("shared", None, "good"),
        ("conv_1", round(100 * (math.log10(3e-08) + 8) / 9, 1), "good"),
        ("a", None, "good"),
        ("skip", round(100 * (math.log10(1.5) + 8) / 9, 1), "bad"),
        ("b", round(100 * (math.log10(3e-08) + 8) / 9, 1), "good"),
    ]
    assert layers.rows[3].tolerance == round(100 * 3 / 9, 1)  # rtol 1e-5


def test_failures_without_a_figure_are_full_bars(nonfinite: Report) -> None:
    bars = by_layer(nonfinite.runs[0].checks[0]).rows
    assert [(bar.name, bar.length, bar.tone, bar.status) for bar in bars[:2]] == [
        ("a", 100.0, "bad", "nonfinite"),
        ("b", None, "warn", "absent"),
    ]


def test_nothing_is_drawn_of_exact_tensors(passing: Report) -> None:
    check = passing.runs[0].checks[0]
    rows = tuple(dataclasses.replace(t, max_rel_error=0.0) for t in check.tensors)
    layers = by_layer(dataclasses.replace(check, tensors=rows))
    assert layers.errors is None
    assert layers.norms is None
    assert layers.sides == ()
    assert {row.length for row in layers.rows} == {None}


def test_the_norm_of_a_layer_is_that_of_all_its_weights(passing: Report) -> None:
    check = passing.runs[0].checks[0]

    def with_norm(tensor: TensorReport) -> TensorReport:
        norm = {"kernel": 3.0, "bias": 4.0}.get(tensor.name, math.nan)
        return dataclasses.replace(tensor, reference_norm=norm, candidate_norm=10 * norm)

    layers = by_layer(dataclasses.replace(check, tensors=tuple(map(with_norm, check.tensors))))
    assert layers.sides == ("reference", "candidate")
    assert [words for words, _ in layers.rows[0].norms] == ["5e+00", "5e+01"]
    assert [length for _, length in layers.rows[0].norms] == [
        round(100 * math.log10(5) / 2, 1),
        round(100 * math.log10(50) / 2, 1),
    ]


def test_of_many_layers_the_wrong_ones_and_those_around_them(large: Report) -> None:
    layers = by_layer(large.runs[0].checks[0])
    assert len(layers.rows) == 300
    assert len(layers.shown) <= MOST
    assert [row.name for row in layers.shown] == [
        *(f"conv0_block{n}_batch_normalization" for n in range(3)),
        "conv6_block4_batch_normalization",
        *(f"conv7_block{n}_batch_normalization" for n in range(4)),
    ]
    assert [row.name for row in layers.shown if row.tone == "bad"] == [
        "conv0_block0_batch_normalization",
        "conv7_block1_batch_normalization",
    ]


def test_of_training_the_first_failing_step(training: Report) -> None:
    (row,) = by_layer(training.runs[0].checks[0]).rows
    assert (row.name, row.status) == ("dense", "mismatch")
