from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradcheck.errors import Mistake
from gradcheck.results.difference import difference
from gradcheck.results.origin import Environment, Tool
from gradcheck.results.report import Diagnosis, Report, RunReport, Summary, Unproven
from tests.records import check, row

if TYPE_CHECKING:
    from gradcheck.results.difference import ReportDifference
    from gradcheck.results.report import CheckReport, TensorReport

STATUSES = ("exact", "close", "mismatch", "nonfinite", "missing", "absent", "dead", "inconclusive")


def run(*checks: CheckReport, config: str = "configs/cnn.yaml", name: str = "cnn", **more: Any) -> RunReport:
    fields: dict[str, Any] = {"seed": 0, "precision": "float32", "execution": "eager", "verdict": "pass"}
    return RunReport(name=name, config=config, checks=checks, **fields | more)


def report(*runs: RunReport, **environment: Any) -> Report:
    tool = Tool(name="gradcheck", version="1")
    return Report(tool=tool, environment=Environment(**environment), summary=Summary.of(runs), runs=runs)


def judged(*rows: TensorReport, **more: Any) -> CheckReport:
    """A check whose outcome is that of its rows."""
    failing = any(tensor.failed for tensor in rows)
    return check(*rows, **{"outcome": "mismatch" if failing else "match", "as_expected": not failing} | more)


def compared(old: CheckReport | None, new: CheckReport | None) -> ReportDifference:
    return difference(*(report(run(*([] if one is None else [one]))) for one in (old, new)))


def told(found: ReportDifference) -> list[tuple[str, str, str | None]]:
    return [(one.change, one.level, one.path or one.method) for one in found.changes]


def wrong(path: str = "dense/kernel", error: float = 1.0, **more: Any) -> TensorReport:
    return row(path, "mismatch", max_abs_error=error, **more)


def right(path: str = "dense/kernel", **more: Any) -> TensorReport:
    return row(path, **more)


def diagnosis(code: str) -> Diagnosis:
    return Diagnosis(code=code, title="", segment=0, layer=None, confidence="exact", evidence="", fix="")


@given(st.lists(st.tuples(st.sampled_from(STATUSES), st.floats(0, 1) | st.just(math.nan)), max_size=5))
def test_a_report_does_not_differ_from_itself(rows: list[tuple[Any, float]]) -> None:
    one = judged(*(row(f"w{i}", status, max_abs_error=error) for i, (status, error) in enumerate(rows)))
    found = compared(one, one)
    assert (found.changes, found.exit_code) == ((), 0)
    assert found.summary.unchanged == 2 + len(rows)  # the run, the check and the tensors


@given(st.lists(st.tuples(st.sampled_from(STATUSES), st.sampled_from(STATUSES)), min_size=1, max_size=6))
def test_what_newly_fails_one_way_newly_passes_the_other(pairs: list[tuple[Any, Any]]) -> None:
    old, new = (judged(*(row(f"w{i}", pair[side]) for i, pair in enumerate(pairs))) for side in (0, 1))
    there, back = compared(old, new), compared(new, old)
    assert there.summary.newly_failing == back.summary.newly_passing
    assert there.summary.drifted == back.summary.drifted
    assert (there.exit_code == 1) == any(change.new and change.new.exit_code for change in there.of("newly_failing"))


def test_a_planted_mistake_newly_fails_with_its_check_and_code() -> None:
    new = judged(wrong(), right("dense/bias"), diagnoses=(diagnosis("GC101"),))
    found = compared(judged(right(), right("dense/bias")), new)
    assert told(found) == [("newly_failing", "check", "vjp"), ("newly_failing", "tensor", "dense/kernel")]
    assert (found.exit_code, found.severity, found.summary.unchanged) == (1, 1, 2)
    assert found.changes[0].new is not None
    assert found.changes[0].new.codes == ("GC101",)


def test_what_fails_in_both_is_no_news() -> None:
    found = compared(judged(wrong()), judged(wrong()))
    assert (found.changes, found.exit_code, found.severity) == ((), 0, 0)


@pytest.mark.parametrize(
    ("floors", "atol", "moved", "drifts"),
    [
        ((1e-6, 1e-6), 0.0, 3.9e-6, False),  # within four floors
        ((1e-6, 1e-6), 0.0, 4.1e-6, True),
        ((1e-6, None), 1e-9, 3.9e-6, False),  # measured in one of them
        ((None, None), 1e-6, 0.9e-6, False),  # not measured: the absolute tolerance stands for it
        ((None, None), 1e-6, 1.1e-6, True),
        ((0.0, 0.0), 1.0, 1e-12, True),  # a floor of zero is a floor
    ],
)
@pytest.mark.parametrize("status", ["close", "mismatch"])
def test_an_error_drifts_by_more_than_rounding(
    floors: tuple[float | None, float | None], atol: float, moved: float, drifts: bool, status: Any
) -> None:
    errors = (1e-5, 1e-5 + moved)
    old, new = (
        judged(row("w", status, max_abs_error=error, noise_floor=floor, atol=atol))
        for error, floor in zip(errors, floors, strict=True)
    )
    for found in (compared(old, new), compared(new, old)):
        assert told(found) == ([("drifted", "tensor", "w")] if drifts else [])
        assert found.exit_code == 0


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (right(), row("dense/kernel", "dead")),  # nothing is proven any more
        (right(), row("dense/kernel", "inconclusive")),
        (wrong(), row("dense/kernel", "missing")),
        (right(), right(shape=(2,))),
        (right(), right(dtype="float16")),
    ],
)
def test_another_kind_of_result_drifts(old: TensorReport, new: TensorReport) -> None:
    assert told(compared(judged(old), judged(new))) == [("drifted", "tensor", "dense/kernel")]


def test_exact_and_close_are_the_same_result() -> None:
    assert compared(judged(right()), judged(row("dense/kernel", "close"))).changes == ()


def test_another_diagnosis_drifts() -> None:
    old, new = (judged(wrong(), diagnoses=(diagnosis(code),)) for code in ("GC101", "GC105"))
    assert told(compared(old, new)) == [("drifted", "check", "vjp")]


def test_appeared_and_vanished_are_said_once_at_the_highest_level() -> None:
    found = compared(judged(right("a"), right("b")), judged(right("b"), right("c")))
    assert told(found) == [("appeared", "tensor", "c"), ("vanished", "tensor", "a")]
    assert told(compared(None, judged(right()))) == [("appeared", "check", "vjp")]
    assert told(compared(judged(wrong()), None)) == [("vanished", "check", "vjp")]
    one, other = run(judged(right())), run(judged(wrong()), config="other.yaml", name="other")
    found = difference(report(one, other), report(one))
    assert [(c.change, c.level, c.config) for c in found.changes] == [("vanished", "run", "other.yaml")]


def test_what_is_new_and_fails_newly_fails() -> None:
    found = compared(None, judged(wrong(), right("dense/bias")))
    assert told(found) == [("newly_failing", "check", "vjp"), ("newly_failing", "tensor", "dense/kernel")]


def test_a_control_that_differs_does_not_fail_and_one_that_matches_does() -> None:
    control = check(wrong(), expect="mismatch", outcome="mismatch", as_expected=True)
    matches = check(right(), expect="mismatch", outcome="match", as_expected=False)
    assert compared(None, control).exit_code == 0
    assert told(compared(control, matches))[0] == ("newly_failing", "check", "vjp")


def test_an_exempt_tensor_does_not_fail() -> None:
    assert compared(judged(right()), judged(wrong(exempt=True))).exit_code == 0


def test_a_training_run_has_one_item_for_all_steps() -> None:
    def trained(first: int | None, steps: int = 5) -> CheckReport:
        listed = sorted({first or steps, steps})
        rows = [(wrong if first and step >= first else right)(step=step, quantity="gradient") for step in listed]
        return judged(*rows)

    assert told(compared(trained(None), trained(2))) == [
        ("newly_failing", "check", "vjp"),
        ("newly_failing", "tensor", "dense/kernel"),
    ]
    assert told(compared(trained(2), trained(3))) == [("drifted", "tensor", "dense/kernel")]
    assert compared(trained(2), trained(2)).changes == ()
    assert compared(trained(None, 3), trained(None, 5)).changes == ()  # other steps: not comparable


def test_two_checks_of_one_method_are_told_apart() -> None:
    old = report(run(judged(right("a")), judged(right("a"))))
    new = report(run(judged(right("a")), judged(wrong("a"))))
    assert [one.change for one in difference(old, new).changes] == ["newly_failing", "newly_failing"]


def error(code: str, exit_code: int) -> dict[str, Any]:
    mistake = Mistake(code=code, message="", exit_code=exit_code)
    return {"verdict": "error", "error": mistake, "errors": (mistake,), "exit_code": exit_code}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (error("GC051", 3), 3),
        (error("GC003", 2), 2),
        ({"verdict": "vacuous", "exit_code": 4}, 4),
        ({"verdict": "fail", "exit_code": 1, "unproven": (Unproven(path="w", status="dead"),)}, 1),
    ],
)
def test_a_run_that_newly_fails_as_a_whole(more: dict[str, Any], code: int) -> None:
    old, new = report(run(judged(right()))), report(run(**more))
    found = difference(old, new)
    assert told(found) == [("newly_failing", "run", None), ("vanished", "check", "vjp")]
    assert (found.exit_code, found.severity) == (1, code)
    assert told(difference(new, new)) == []


def test_an_error_of_a_check_is_not_one_of_the_run() -> None:
    mistake = Mistake(code="GC054", message="", exit_code=3)
    raised = check(outcome="error", as_expected=False, error=mistake)
    found = difference(report(run(judged())), report(run(raised, verdict="error", error=mistake, errors=(mistake,))))
    assert told(found) == [("newly_failing", "check", "vjp")]
    assert found.severity == 3


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("configs/cnn.yaml", "configs/cnn.yaml", True),
        ("./configs/cnn.yaml", "configs/cnn.yaml", True),
        ("/home/one/configs/cnn.yaml", "configs/cnn.yaml", True),  # another checkout
        ("old/cnn.yaml", "new/cnn_2.yaml", True),  # moved, with the same name
    ],
)
def test_configs_belong_together_by_path_then_by_name(old: str, new: str, same: bool) -> None:
    found = difference(report(run(config=old)), report(run(config=new)))
    assert (found.changes == ()) == same


def test_a_name_that_several_configs_have_does_not_pair_them() -> None:
    old = report(run(config="a/x.yaml"), run(config="b/x.yaml"))
    new = report(run(config="b/x.yaml"), run(config="c/x.yaml"), run(config="d/x.yaml"))
    changes = [(one.change, one.config) for one in difference(old, new).changes]
    assert changes == [("appeared", "c/x.yaml"), ("appeared", "d/x.yaml"), ("vanished", "a/x.yaml")]


def test_other_settings_are_notes() -> None:
    found = difference(report(run(), keras="3.14.0", device=""), report(run(seed=1), keras="3.15.0", device="CPU"))
    assert found.notes == ("keras 3.14.0 → 3.15.0", "device - → CPU", "configs/cnn.yaml: seed 0 → 1")
    again = dataclasses.replace(report(), tool=Tool(name="gradcheck", version="2"))
    assert difference(report(), again).notes == ("gradcheck version 1 → 2",)


def test_the_json_has_counts_sides_and_no_nan() -> None:
    old = report(run(judged(right())), time="2026-01-01T00:00:00Z", commit="0" * 40, dirty=False)
    found = difference(old, report(run(judged(wrong()))), old_file="old.json")
    plain = json.loads(found.to_json())
    assert plain["old"]["file"] == "old.json"
    assert plain["old"]["environment"]["commit"] == "0" * 40
    assert plain["new"]["file"] is None
    assert plain["summary"]["newly_failing"] == 2
    check_, tensor = plain["changes"]
    assert (check_["change"], check_["level"], check_["method"], check_["path"]) == (
        "newly_failing",
        "check",
        "vjp",
        None,
    )
    assert (tensor["old"]["status"], tensor["new"]["status"], tensor["new"]["max_abs_error"]) == (
        "exact",
        "mismatch",
        1.0,
    )
    assert check_["new"]["max_abs_error"] is None
