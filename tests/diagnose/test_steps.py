"""Training steps as tutorials write them: what each hands to optimizers within a step, with mistakes and without.

They lie in `steps/`, beside the configs of their models, and know nothing of the classes that inject faults.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

if TYPE_CHECKING:
    from gradcheck.results.report import CheckReport

STEPS = Path(__file__).parent / "steps"
#: The steps of each file that are right.
RIGHT = {
    "own": ["right", "right_and_compiled", "right_with_xla", "persistent_tape", "of_the_config"],
    "three": ["right"],
    "scaled": ["right"],
}
#: Code, segment, and words in the place or the evidence.
WRONG: dict[str, tuple[str, int | None, str]] = {
    "own:front_alone": ("GC101", 0, "boundary 0 → 1"),
    "own:front_forgotten": ("GC102", 0, "boundary 0 → 1"),
    "own:second_pass_after_the_update": ("GC305", 0, "weights that were already updated"),
    "own:every_micro_batch": ("GC310", None, "all segments were updated after every micro-batch of 3"),
    "own:server_every_micro_batch": ("GC310", 1, "segment_1 alone was updated after every micro-batch of 3"),
    "own:applied_again": ("GC306", None, "all weights were handed to an optimizer 2 times in one step"),
    "own:one_step_behind": ("GC305", None, "in step 2, the gradients of the step before"),
    "own:never_cleared": ("GC205", None, "in step 2, the sum of its own gradients and those of every step before"),
    "three:last_first": ("GC305", 1, "boundary 1 → 2"),
    "three:one_after_the_other": ("GC305", None, "every boundary"),
    "three:one_after_the_other_by_own_optimizers": ("GC305", None, "every boundary"),
    "three:every_micro_batch": ("GC310", None, "of 3, with its own mean gradient"),
    "three:every_micro_batch_by_its_share": ("GC310", None, "of 3, with its share of the gradient"),
    "three:server_alone": ("GC310", 2, "segment_2 alone was updated after every micro-batch of 3"),
    "three:server_alone_with_new_weights": ("GC310", 2, "cotangents that were computed with its new weights"),
    "scaled:cotangent_unscaled": ("GC503", 0, "segment_0 alone were divided by the loss scale before"),
    "scaled:back_unscaled": ("GC503", 1, "segment_1 alone were divided by the loss scale before"),
    "scaled:back_past_the_scale": ("GC503", 1, "given to the inner optimizer"),
}
#: What config the steps of `own` have beside their optimizers.
SGD = {"SGD": {"learning_rate": 0.1}}


@cache
def checked(file: str, optimizer: str | None = None, *only: str) -> dict[str, CheckReport]:
    """All steps of a file, or `only` some, in one run."""
    from gradcheck import check

    config = yaml.safe_load((STEPS / f"{file}.yaml").read_text(encoding="utf-8"))
    if optimizer is not None:
        config["train"]["optimizer"] = yaml.safe_load(optimizer)
    names = [*RIGHT[file], *(which.partition(":")[2] for which in WRONG if which.startswith(f"{file}:"))]
    names += ["by_hand"] if file == "own" else []
    names = list(only) or names
    config["methods"] = [{"candidate": {"train_step": f"{STEPS}/{file}.py:{name}", "name": name}} for name in names]
    (run,) = check(config).runs
    return {one.method: one for one in run.checks}


@pytest.mark.parametrize("which", [f"{file}:{name}" for file, names in RIGHT.items() for name in names])
def test_a_right_step_matches(which: str) -> None:
    file, _, name = which.partition(":")
    check = checked(file)[name]
    assert (check.outcome, check.diagnoses) == ("match", ()), check.failures
    assert {tensor.status for tensor in check.of_kind("weight")} <= {"exact", "close"}


@pytest.mark.parametrize("which", WRONG)
def test_a_wrong_step_is_named(which: str) -> None:
    file, _, name = which.partition(":")
    code, segment, words = WRONG[which]
    check = checked(file)[name]
    assert check.outcome == "mismatch"
    first = check.diagnoses[0]
    assert (first.code, first.segment, first.confidence) == (code, segment, "exact"), check.diagnoses
    assert words in f"{first.place} {first.evidence}"


def test_the_gradients_of_own_optimizers_are_compared_in_each_step() -> None:
    check = checked("own")["right"]
    rows = [row for row in check.tensors if row.kind == "weight"]
    assert {(row.quantity, row.step) for row in rows} == {("gradient", 3)}
    assert "Adam(learning_rate=0.01), SGD(learning_rate=0.05, momentum=0.9)" in " ".join(check.notes)
    assert check.warnings == ()
    missing = [row.path for row in checked("own")["front_forgotten"].failures if row.step == 1]
    assert missing == ["first/kernel", "first/bias", "second/kernel", "second/bias"]


def test_the_optimizer_of_the_config_is_compared_as_ever() -> None:
    check = checked("own")["of_the_config"]
    assert {row.quantity for row in check.of_kind("weight")} == {"value"}
    assert check.of_kind("optimizer")


def test_an_update_by_hand_without_an_optimizer_is_no_proof() -> None:
    error = checked("own")["by_hand"].error
    assert error is not None
    assert error.code == "GC055"
    assert "add train.optimizer" in (error.help or "")
    assert checked("own", str(SGD))["by_hand"].outcome == "match"


@pytest.mark.parametrize(("name", "confidence"), [("by_hand", "exact"), ("by_hand_and_slower", "likely")])
def test_an_update_by_hand_where_the_config_has_another_rule(name: str, confidence: str) -> None:
    check = checked("own", str({"Adam": {"learning_rate": 0.1}}), "by_hand", "by_hand_and_slower")[name]
    (found,) = check.diagnoses
    assert (found.code, found.confidence, found.place) == ("GC311", confidence, "the optimizer")
    assert "every weight moved by -0.1 times its gradient, and train.optimizer is Adam(" in found.evidence


@pytest.mark.parametrize("name", ["right", "right_and_compiled", "right_with_xla", "persistent_tape"])
def test_another_optimizer_than_the_configs(name: str) -> None:
    check = checked("own", str(SGD))[name]
    (found,) = check.diagnoses
    assert (found.code, found.confidence, found.place) == ("GC311", "exact", "the optimizer")
    assert found.evidence.startswith("the gradients agree; your optimizer differs: ")
    assert "Adam(learning_rate=0.01)" in found.evidence
    assert "train.optimizer is SGD(learning_rate=0.1" in found.evidence


@pytest.mark.parametrize("which", [which for which in WRONG if which.startswith("own:")])
def test_wrong_gradients_are_named_before_another_optimizer(which: str) -> None:
    check = checked("own", str(SGD))[which.partition(":")[2]]
    first, last = check.diagnoses[0], check.diagnoses[-1]
    assert (first.code, last.code, last.confidence) == (WRONG[which][0], "GC311", "likely"), check.diagnoses
