"""Records joined: seeds of each kind of mistake are planted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.auditing.interface import AuditOptions
from gradcheck.auditing.records.record import Record, activation_of, digest, round_to
from tests.auditing.records.planted import Array, C, H, came, left, normal, own_run, two

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.results.report import RunReport, TensorReport


def joined(records: Sequence[Record], **options: Any) -> RunReport:
    from gradcheck.auditing.records.joining import join

    return join(records, AuditOptions(**options))


def codes(run: RunReport) -> list[str]:
    return [diagnosis.code for diagnosis in run.checks[0].diagnoses]


def boundary(run: RunReport) -> TensorReport:
    (tensor,) = run.checks[0].of_kind("boundary")
    return tensor


def test_the_right_seed_is_proven() -> None:
    run = joined(two([left(H, C)], [came(H, C)]))
    assert (run.verdict, run.exit_code) == ("pass", 0)
    tensor = boundary(run)
    assert (tensor.status, tensor.path) == ("exact", "lower → upper (lower.py:9)")
    assert tensor.lines == ("lower.py:9 in lower", "upper.py:5 in upper")
    weights = run.checks[0].of_kind("weight")
    assert [weight.path for weight in weights] == ["lower: w", "upper: w"]
    assert weights[0].lines == ("lower.py:9 in lower",)
    assert "2 processes joined: 1 activation of one came into another" in run.notes


PLANTED: dict[str, tuple[Callable[[Array], Array | None], str]] = {
    "none": (lambda _: None, "GC101"),
    "ones": (np.ones_like, "GC101"),
    "mean of the batch": (lambda c: np.broadcast_to(c.mean(axis=0, keepdims=True), c.shape), "GC103"),
    "sum of the batch": (lambda c: np.broadcast_to(c.sum(axis=0, keepdims=True), c.shape), "GC103"),
    "float16": (lambda c: round_to(c, "float16").astype(np.float32), "GC104"),
    "bfloat16": (lambda c: round_to(c, "bfloat16").astype(np.float32), "GC104"),
    "zero": (np.zeros_like, "GC105"),
    "loss scale": (lambda c: c * 1024, "GC503"),
    "sign": (lambda c: -c, "GC504"),
    "three times": (lambda c: c * 3, "GC900"),
    "one wrong element": (lambda c: np.where(np.arange(c.size).reshape(c.shape) == 7, c + 5, c), "GC900"),
}


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_a_wrong_seed_is_named(planted: str) -> None:
    wrong, code = PLANTED[planted]
    run = joined(two([left(H, wrong(C))], [came(H, C)]))
    assert (run.verdict, run.exit_code, codes(run)) == ("fail", 1, [code])
    (diagnosis,) = run.checks[0].diagnoses
    assert (diagnosis.line, diagnosis.place) == ("lower.py:9", "boundary lower → upper")
    assert boundary(run).status == "mismatch"
    assert "judged by the seeds that it was given" in (run.checks[0].of_kind("weight")[0].note or "")
    assert run.checks[0].of_kind("weight")[1].note is None


def test_without_a_seed_the_report_says_where_the_cotangent_was_computed() -> None:
    (diagnosis,) = joined(two([left(H, None)], [came(H, C)])).checks[0].diagnoses
    assert "no output_gradients" in diagnosis.evidence
    assert diagnosis.evidence.endswith("computed at upper.py:5 in upper")
    (diagnosis,) = joined(two([left(H, None)], [came(H, C, computed=None)])).checks[0].diagnoses
    assert diagnosis.evidence.endswith("due from upper")


def test_swapped_cotangents() -> None:
    other, d = normal(3), normal(4)
    run = joined(two([left(H, d), left(other, C)], [came(H, C), came(other, d)]))
    assert codes(run) == ["GC106"]
    assert [tensor.path[-2:] for tensor in run.checks[0].of_kind("boundary")] == ["9)", "#2"]


def test_the_cotangent_of_the_step_before() -> None:
    other, d = normal(3), normal(4)
    run = joined(two([left(H, C), left(other, C, update=2)], [came(H, C), came(other, d, update=2)]))
    assert codes(run) == ["GC305"]
    assert boundary(run).step == 2


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, "lower.py:9"),
        ({"sent": -C, "sent_line": "upper.py:8"}, "upper.py:8"),
        ({"computed": -C, "sent": -C, "sent_line": "upper.py:8"}, "upper.py:5"),
        ({"sent": C, "sent_line": "upper.py:8"}, "lower.py:9"),
    ],
    ids=["used", "sent", "computed", "sent right"],
)
def test_the_line_is_the_first_at_which_it_was_wrong(more: dict[str, Any], line: str) -> None:
    (diagnosis,) = joined(two([left(H, -C)], [came(H, C, **more)])).checks[0].diagnoses
    assert (diagnosis.code, diagnosis.line) == ("GC504", line)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_rounded_activation(dtype: str) -> None:
    rounded = round_to(H, dtype)
    entry = left(H, C, read_line="lower.py:7")
    run = joined(two([entry], [came(rounded, C)]))
    assert (run.exit_code, codes(run), run.checks[0].diagnoses[0].line) == (1, ["GC104"], "lower.py:7")
    assert joined(two([entry], [came(rounded, C)]), allow=("GC104",)).exit_code == 0
    assert joined(two([replace(entry, precision=dtype)], [came(rounded, C)])).exit_code == 0


def test_an_activation_that_goes_to_several() -> None:
    d = normal(4)

    def run(seed: Array) -> RunReport:
        records = two([left(H, seed)], [came(H, C)])
        return joined([*records, Record(name="side", run=own_run("side"), came=(came(H, d),))])

    assert run(C + d).exit_code == 0
    assert boundary(run(C + d)).path == "lower → upper, side (lower.py:9)"
    assert codes(run(C)) == codes(run(d)) == ["GC105"]


def test_equal_activations_of_several_updates_are_told_apart() -> None:
    d = normal(4)
    lefts, cames = [left(H, C), left(H, d, update=2)], [came(H, C, update=4), came(H, d, update=5)]
    assert joined(two(lefts, cames)).exit_code == 0
    assert joined(two([lefts[0], left(H, C, update=2)], cames)).exit_code == 1


def test_a_gradient_asked_twice_is_compared_twice() -> None:
    run = joined(two([left(H, C, line="lower.py:8", paths=()), left(H, None)], [came(H, C)]))
    assert [tensor.status for tensor in run.checks[0].of_kind("boundary")] == ["exact", "mismatch"]
    assert codes(run) == ["GC101"]


def test_a_loss_scale_is_undone_on_the_way_or_behind_it() -> None:
    cames = [came(H, C * 512, scale=512.0)]
    run = joined(two([left(H, C, factor=1.0)], cames))
    assert (run.exit_code, boundary(run).note) == (0, "the loss scale 512 undone on the way")
    assert joined(two([left(H, C * 512, factor=1 / 512)], cames)).exit_code == 0
    assert joined(two([left(H, C * 512)], cames)).exit_code == 0
    run = joined(two([left(H, C * 512, factor=1.0)], cames))
    assert (codes(run), run.checks[0].diagnoses[0].line) == (["GC503"], "lower.py:10")


def test_an_activation_that_no_gradient_call_names() -> None:
    unnamed = left(H, None, asked=False)
    run = joined(two([unnamed], [came(H, C)]))
    assert (codes(run), boundary(run).status) == (["GC105"], "missing")
    assert "never handed back" in run.checks[0].diagnoses[0].evidence
    for form in (C, round_to(C, "float16")):  # it came in, and may have been used in a way that nobody sees
        run = joined(two([unnamed], [came(H, C)], entered=(digest(form),)))
        assert run.exit_code == 0
        assert "lower → upper: nothing could be compared for the activation of lower.py:9" in run.notes
    assert boundary(joined(two([left(H, C, asked=False)], [came(H, C)]))).status == "exact"
    assert codes(joined(two([left(H, np.ones_like(C), asked=False)], [came(H, C)]))) == ["GC101"]
    assert len(joined(two([unnamed, left(H, C)], [came(H, C)])).checks[0].of_kind("boundary")) == 1


def test_a_receiver_that_does_not_need_it() -> None:
    run = joined(two([left(H, C)], [came(H, None)]))
    assert run.exit_code == 0
    assert any("nothing could be compared" in note for note in run.notes)


def test_the_boundary_nearest_to_the_loss_comes_first() -> None:
    other, d = normal(3), normal(4)
    middle = Record(name="middle", came=(came(H, C),), left=(left(other, None, line="middle.py:3"),))
    lower = Record(name="lower", run=own_run("lower"), left=(left(H, None),))
    run = joined([lower, middle, Record(name="upper", came=(came(other, d),))])
    assert [diagnosis.line for diagnosis in run.checks[0].diagnoses] == ["middle.py:3", "lower.py:9"]
    assert run.checks[0].first_divergence == "middle → upper (middle.py:3)"


def test_there_and_back_again() -> None:
    other, d = normal(3), normal(4)
    client = Record(name="client", run=own_run("client"), left=(left(H, C),), came=(came(other, d),))
    server = Record(name="server", run=own_run("server"), left=(left(other, d),), came=(came(H, C),))
    run = joined([client, server])
    assert run.exit_code == 0
    assert len(run.checks[0].of_kind("boundary")) == 2


def test_what_matches_nobody_is_told() -> None:
    records = two([left(H, C)], [came(normal(9), C)])
    run = joined(records)
    assert run.exit_code == 0  # by what each has proven itself
    assert "lower: no activation that left it, or came in, is equal to one of another process" in run.notes
    assert joined([replace(record, run=None) for record in records]).exit_code == 4


def test_the_tolerance_is_that_of_the_options() -> None:
    records = two([left(H, C * np.float32(1.001))], [came(H, C)])
    assert joined(records).exit_code == 1
    assert joined(records, rtol=1e-2).exit_code == 0


def test_the_note_on_given_seeds_goes_where_they_were_compared() -> None:
    from gradcheck.auditing.audit_report import seeds_given

    run = replace(own_run("lower"), notes=(seeds_given("lower.py:9"), seeds_given("lower.py:30")))
    records = two([left(H, C)], [came(H, C)])
    notes = joined([replace(records[0], run=run), records[1]]).notes
    assert [note for note in notes if "taken as given" in note] == [f"lower: {seeds_given('lower.py:30')}"]


@pytest.mark.parametrize("value", [np.ones((3, 4)), np.zeros(9), np.array([1.5]), np.array([np.nan, 1.0])], ids=str)
def test_equal_values_that_prove_nothing(value: Array) -> None:
    assert activation_of(value, "float32", 1) is None
