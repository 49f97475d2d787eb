"""Models as people write them, cut after every call and where a person would cut: no mismatch, no crash.

Each is also handed to `naive`, which must not match: a check that cannot fail proves nothing.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.results.report import PROVEN
from tests.zoo.models.cases import CASES, here

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport
    from tests.zoo.models.cases import Case

    Run = Callable[..., RunReport]

pytestmark = pytest.mark.zoo
BY_NAME = {case.name: case for case in CASES}
CONTROL = {"naive": {"expect": "mismatch"}}
each = pytest.mark.parametrize("case", CASES, ids=list(BY_NAME))


def skip_unless_known(case: Case) -> None:
    """Skips a model that this Keras cannot build."""
    import keras

    known = {*vars(keras.layers), *inspect.signature(keras.Input).parameters, ""}
    if case.needs not in known:
        pytest.skip(f"Keras {keras.__version__} has no {case.needs}")


def assert_proven(report: RunReport, case: Case) -> None:
    """Every weight that must train has a gradient that is proven, and so has a boundary at least."""
    coverage = report.coverage
    assert (coverage.trainable, coverage.compared, coverage.absent) == (case.trainable, case.trainable, 0)
    check = report.checks[0]
    assert coverage.dead == 0, [t.path for t in check.of_kind("weight") if t.status == "dead"]
    assert any(t.status in PROVEN for t in check.of_kind("boundary"))


@pytest.mark.third
@each
def test_cut_after_every_call(run: Run, zoo: Callable[..., None], case: Case) -> None:
    skip_unless_known(case)
    report = run(case.config({"every": "layer"}, ["vjp"]))
    zoo("model", case.name, report)
    assert report.warnings == ()
    assert_proven(report, case)


@pytest.mark.third(start=1)
@each
def test_cut_where_a_person_would_and_the_control_fails(run: Run, case: Case) -> None:
    skip_unless_known(case)
    report = run(case.config({"after": list(case.after)}, ["vjp", CONTROL]))
    assert [check.outcome for check in report.checks] == ["match", "mismatch"], failing(report.checks[0])
    assert len(report.segments) == len(case.after) + 1
    assert_proven(report, case)


def failing(check: CheckReport) -> Any:
    """What does not match, or why nothing was compared."""
    return check.error or [(t.path, t.status, t.max_rel_error) for t in check.failures]


@pytest.mark.parametrize(
    ("discriminator", "trainable"), [("discriminator", 12), ("frozen_discriminator", 8)], ids=["both", "frozen"]
)
def test_a_gan_in_series(run: Run, zoo: Callable[..., None], discriminator: str, trainable: int) -> None:
    parts = [{"factory": here(f"generative.py:{name}")} for name in ("generator", discriminator)]
    config = {"model": {"segments": parts}, "loss": {"BinaryCrossentropy": {"from_logits": True}}}
    report = run({**config, "data": {"batch_size": 4}, "methods": ["vjp"]})
    zoo("model", f"gan_{discriminator}", report)
    assert (report.coverage.trainable, report.coverage.compared, report.coverage.dead) == (trainable, trainable, 0)
    (image,) = report.checks[0].of_kind("boundary")
    assert image.shape == (4, 8, 8, 1)
    assert image.status in PROVEN
    (control,) = run({**config, "data": {"batch_size": 4}, "methods": [CONTROL]}).checks
    wrong = {t.path.partition("/")[0] for t in control.failures if t.kind == "weight"}
    assert wrong == {"generator"}


def test_skips_cross_several_cuts_at_once(run: Run) -> None:
    case = BY_NAME["unet"]
    report = run(case.config({"after": list(case.after)}, ["vjp"]))
    crossing = [set(segment.inputs) for segment in report.segments]
    assert "activation_3" in crossing[3]
    assert "activation_1" in crossing[4]
    assert not any("activation_1" in names for names in crossing[2:4])


def test_a_tied_embedding_is_one_weight_of_the_first_and_the_last_segment(run: Run) -> None:
    for name, path in (("gpt", "tokens/embeddings"), ("gpt_reversible", "tokens/embeddings")):
        case = BY_NAME[name]
        report = run(case.config({"after": list(case.after)}, ["vjp"]))
        (tied,) = (t for t in report.checks[0].of_kind("weight") if t.path == path)
        assert tied.segments is not None
        assert {0, len(report.segments) - 1} <= set(tied.segments)


def test_padding_is_masked_in_the_loss_and_across_the_cuts(run: Run) -> None:
    case = BY_NAME["seq2seq"]
    padded = run(case.config({"every": "layer"}, ["vjp"])).reference
    full = run({**case.config({"every": "layer"}, ["vjp"]), "data": {"batch_size": 4}}).reference
    assert padded is not None
    assert full is not None
    assert padded.loss != full.loss
