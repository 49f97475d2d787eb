"""Steps as they stand in the user's file get the verdicts and the codes of the candidates with the same mistakes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.diagnose import live_steps
from tests.diagnose.test_candidates import MISTAKES, located

if TYPE_CHECKING:
    from gradcheck.results.report import Report

STEPS = {"train": 3, "clipped": 3, "scaled": 2}
RIGHT = ["train:right", "train:right_and_compiled", "clipped:right", "scaled:right"]
WRONG = [
    "train:never_cleared",
    "train:one_step_behind",
    "train:one_update_for_each_model",
    "train:applied_again",
    "train:nothing_applied",
    "train:every_second_step",
    "clipped:each_model_by_its_own_norm",
    "scaled:loss_not_scaled",
    "scaled:front_alone",
    "scaled:ascent",
]


@cache
def made(file: str) -> Any:
    import keras

    keras.utils.set_random_seed(1)
    parts, steps = getattr(live_steps, file)()
    return parts, {getattr(step, "__name__", None) or step.python_function.__name__: step for step in steps}


def checked(which: str) -> Report:
    from gradcheck import check_step

    file, _, name = which.partition(":")
    parts, steps = made(file)
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(6, n)).astype("float32") for n in (4, 2))
    return check_step(steps[name], parts, x, y, loss="mse", steps=STEPS[file])


@pytest.mark.parametrize("which", RIGHT)
def test_a_right_step_passes(which: str) -> None:
    report = checked(which)
    assert report, report
    assert report.runs[0].checks[0].steps == STEPS[which.partition(":")[0]]


@pytest.mark.third
@pytest.mark.parametrize("which", WRONG)
def test_a_wrong_step_is_caught_named_and_located(which: str) -> None:
    report, expected = checked(which), MISTAKES[which]
    if expected.layer:
        expected = replace(expected, layer=f"front/{expected.layer}")  # these models have names
    (run,) = report.runs
    (check,) = run.checks
    assert not report
    assert (run.verdict, run.exit_code, check.outcome) == ("fail", 1, "mismatch"), report
    assert check.diagnoses[0].code == expected.code, check.diagnoses
    assert located(check.diagnoses[0], expected, check), (check.diagnoses[0], check.first_divergence)
