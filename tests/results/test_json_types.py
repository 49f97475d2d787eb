from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from gradcheck.errors import Mistake
from gradcheck.results.by_step import StepReport
from gradcheck.results.json_types import json_text, plain_of, record_from
from gradcheck.results.report import CheckReport, RunReport, TensorReport
from gradcheck.results.tensor import Required, Spread, Worst

TENSOR = TensorReport(
    kind="weight", segment=0, layer="a", name="kernel", path="a/kernel", shape=(2, 3), dtype="float32",
    status="mismatch", allclose=False, max_abs_error=0.5, elements=6, mismatched_elements=1,
    worst=Worst(index=(0, 1), reference=1.0, candidate=1.5), rtol=1e-5, atol=0.0, required=Required(rtol=0.5),
    segments=(0, 2),
    spread=Spread(edges=(0.5, 1.0), counts=(1,), equal=5, nonfinite=0, reference=(1.0,), candidate=(1.5,)),
)  # fmt: skip
CHECK = CheckReport(
    method="vjp", expect="match", outcome="mismatch", as_expected=False, loss=1.0, loss_abs_error=math.inf,
    max_abs_error=0.5, max_rel_error=0.5, seconds=2, tensors=(TENSOR,),
    by_step=(
        StepReport(
            step=1, compared=3, failing=1, gradients=0.1, weights=0.2, optimizer=0.3, state=0.4, outputs=0.5, loss=0.6
        ),),
)  # fmt: skip
RUN = RunReport(
    name="a", config="a.yaml", seed=0, precision="float32", execution="eager", verdict="fail", exit_code=1,
    errors=(Mistake(code="GC050", message="no", file="a.py", line=3),), checks=(CHECK,),
)  # fmt: skip


def test_a_record_reads_back_as_it_was_but_for_infinity() -> None:
    plain = plain_of(RUN)
    (check,) = plain["checks"]
    assert check["loss_abs_error"] is check["tensors"][0]["required"]["atol"] is None
    read = record_from(RunReport, json.loads(json_text(plain)))
    assert read == replace(RUN, checks=(replace(CHECK, loss_abs_error=math.nan),))


def test_the_tensor_is_named_first() -> None:
    first = ", ".join([*plain_of(TENSOR)][:9])
    assert first == "kind, segment, layer, name, path, shape, dtype, status, allclose"


def test_keys_of_newer_reports_are_ignored_and_those_of_older_ones_take_their_defaults() -> None:
    plain = plain_of(RUN) | {"weather": "fine"}
    del plain["notes"]
    assert record_from(RunReport, plain) is not None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": "0"}, "RunReport: expected int. Received: str"),
        ({"checks": "vjp"}, "RunReport: expected list. Received: str"),
        ({"checks": [["vjp"]]}, "CheckReport: expected dict. Received: list"),
        ({"checks": [{"method": "vjp"}]}, "CheckReport.* missing 8 required"),
        ({"checks": [{"loss": "1"}]}, r"CheckReport: expected int \| float. Received: str"),
        ({"warnings": [1]}, "RunReport: expected str. Received: int"),
    ],
)
def test_what_is_no_report(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^not a gradcheck report: {message}"):
        record_from(RunReport, plain_of(RUN) | changes)


def test_a_name_that_is_no_utf_8_can_be_written() -> None:
    text = json_text({"config": "\udcff.yaml"}, indent=None)
    assert text.encode("utf-8") == rb'{"config": "\udcff.yaml"}'
    assert json.loads(text) == {"config": "\udcff.yaml"}
