from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from gradcheck.reporters.parts.selection import grouped, layers_in_brief, run_errors, shown

if TYPE_CHECKING:
    from gradcheck.results.report import Report


def test_groups_in_the_order_of_the_model(failing: Report) -> None:
    run = failing.runs[0]
    shuffled = run.checks[0].tensors[::-1]
    groups = {group.title: [tensor.path for tensor in group.tensors] for group in grouped(shuffled, run.segments)}
    assert list(groups) == [
        "inputs",
        "segment 0: segment_0 (conv_0)",
        "segment 1: segment_1 (conv_1)",
        "segment 2: segment_2 (flatten, dense, activation)",
        "outputs",
        "loss",
    ]
    assert groups["segment 0: segment_0 (conv_0)"] == ["conv_0/bias", "conv_0/kernel", "conv_0"]


def test_layers_stay_together(passing: Report) -> None:
    row = passing.runs[0].checks[0].tensors[0]
    rows = [dataclasses.replace(row, layer=layer, path=f"{layer}/{n}") for n, layer in enumerate("abab")]
    assert [t.path for t in grouped(rows, ())[0].tensors] == ["a/0", "a/2", "b/1", "b/3"]


def test_groups_without_segments(passing: Report) -> None:
    row = passing.runs[0].checks[0].tensors[0]
    rows = [dataclasses.replace(row, segment=None), row]
    assert [group.title for group in grouped(rows, ())] == ["segment 0", "whole model"]
    kinds = [dataclasses.replace(row, kind="optimizer"), dataclasses.replace(row, kind="state")]
    assert [group.title for group in grouped(kinds, ())] == ["state after the pass", "optimizer"]


def test_many_layers_in_brief(large: Report) -> None:
    assert layers_in_brief(large.runs[0].segments[1]) == (
        "conv1_block0_batch_normalization to conv1_block4_batch_normalization, 5 layers"
    )


def test_a_control_has_nothing_to_show_among_failures(control: Report, failing: Report) -> None:
    assert shown(control.runs[0].checks[1], "failed") == ()
    assert [t.path for t in shown(failing.runs[0].checks[1], "failed")] == ["conv_0/kernel", "conv_0/bias"]
    assert shown(failing.runs[0].checks[1], "summary") == ()


def test_errors_of_a_run(invalid: Report, broken: Report) -> None:
    assert len(run_errors(invalid.runs[0])) == 2
    assert run_errors(dataclasses.replace(broken.runs[0], errors=())) == (broken.runs[0].error,)
