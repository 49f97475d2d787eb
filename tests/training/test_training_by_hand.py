"""Training loops by hand: right ones pass, and every fault of one is caught at the step where it begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.cli.main import main
from gradcheck.workers import VARIABLE
from tests.training.trained import DECAY, LOOP, MODEL, by_hand, statuses, trained

if TYPE_CHECKING:
    from pathlib import Path

    from tests.training.trained import Run


@pytest.mark.parametrize("fault", [None, "silent"])
def test_a_training_step_by_hand(run: Run, fault: str | None) -> None:
    found = by_hand(run, fault)
    assert found.verdict == "pass", found.checks[0].failures
    check = found.checks[0]
    assert check.warnings == ()
    kinds = {t.kind for t in check.tensors}
    assert kinds == {"weight", "optimizer"} | (set() if fault else {"loss"})
    assert set(statuses(check, "weight", "value", 3).values()) <= {"exact", "close"}
    assert not statuses(check, "weight", "gradient", 3)
    assert found.coverage.compared == found.coverage.trainable == 6


@pytest.mark.parametrize("optimizer", ["SGD", "Adam", {"RMSprop": {"momentum": 0.9}}])
def test_an_optimizer_that_is_stepped_once_per_part_is_caught(run: Run, optimizer: Any) -> None:
    found = by_hand(run, "each part", optimizer)
    (check,) = found.checks
    assert (found.exit_code, check.first_failing_step) == (1, 1)
    assert check.first_divergence is not None
    assert check.first_divergence.endswith("/iteration")
    (count,) = (t for t in check.failures if t.name == "iteration" and t.step == 3)
    assert count.worst is not None
    assert (count.worst.reference, count.worst.candidate) == (3, 6)


@pytest.mark.parametrize(
    ("fault", "optimizer", "step", "first"),
    [
        ("one left out", {"SGD": {"learning_rate": 1e-5}}, 1, "first/kernel"),
        ("one left out", "Adam", 1, "adam/first_kernel_velocity"),
        ("slot", "Adam", 1, "adam/out_kernel_momentum"),
        ("schedule off by one", {"SGD": {"learning_rate": DECAY}}, 1, "out/bias"),
        ("nothing", "Adam", 1, "adam/iteration"),
    ],
)
def test_a_fault_of_a_training_step(run: Run, fault: str, optimizer: Any, step: int, first: str) -> None:
    found = by_hand(run, fault, optimizer)
    (check,) = found.checks
    assert (found.exit_code, check.first_failing_step, check.first_divergence) == (1, step, first)


@pytest.mark.parametrize("fault", ["stale", "previous", "summed up"])
def test_gradients_of_another_step(run: Run, fault: str) -> None:
    assert by_hand(run, None, kind="factory").verdict == "pass"
    found = by_hand(run, fault, kind="factory")
    (check,) = found.checks
    assert (found.exit_code, check.steps, check.first_failing_step) == (1, 3, 2)
    wrong = [t for t in check.failures if t.step == 2]
    assert {t.quantity for t in wrong if t.kind == "weight"} == {"gradient", "value"}
    assert check.first_divergence == "out/bias"
    assert [(step.step, step.failing > 0, step.weights > 1e-4) for step in check.by_step] == [
        (1, False, False),
        (2, True, True),
        (3, True, True),
    ]
    for tensor in check.tensors:  # each with values of its own step and quantity
        assert (tensor.spread is not None) == tensor.failed
        if tensor.spread and tensor.worst:
            pairs = zip(tensor.spread.reference, tensor.spread.candidate, strict=True)
            assert (tensor.worst.reference, tensor.worst.candidate) in pairs


def test_a_gradient_that_no_optimizer_takes_ends_the_training(run: Run) -> None:
    found = by_hand(run, "shape", kind="factory")
    (check,) = found.checks
    assert (found.exit_code, check.steps, check.first_failing_step) == (1, 1, 1)
    assert check.first_divergence == "first/kernel"
    assert any("first/kernel" in warning and "step 1" in warning for warning in check.warnings)


def test_a_candidate_that_does_not_use_its_optimizer(run: Run) -> None:
    found = by_hand(run, "by hand", {"SGD": {"learning_rate": 0.1}})
    (check,) = found.checks
    assert found.verdict == "pass", check.failures
    assert {t.kind for t in check.tensors} == {"loss", "weight"}
    assert any("does not use the optimizer" in warning for warning in check.warnings)
    wrong = by_hand(run, "by hand", {"SGD": {"learning_rate": 0.1001}})
    assert wrong.exit_code == 1


def test_what_a_gradient_function_changes_is_put_back(run: Run) -> None:
    found = by_hand(run, "updates too", kind="factory")
    assert found.verdict == "pass", found.checks[0].failures
    assert any("changed 1 weights (first/kernel)" in warning for warning in found.checks[0].warnings)
    frozen = by_hand(run, "frozen")
    assert any("what is trainable" in warning for warning in frozen.checks[0].warnings)


def test_a_training_step_that_raises_or_returns_no_loss(run: Run) -> None:
    found = by_hand(run, "no loss")
    assert (found.exit_code, found.checks[0].error and found.checks[0].error.code) == (3, "GC055")
    text = LOOP + '\n    def raises(given):\n        raise ValueError("not ready")\n'
    config = trained(MODEL, "SGD", methods=[{"candidate": {"train_step": "./loop.py:raises"}}])
    error = run(config, {"loop.py": text}).checks[0].error
    assert error is not None
    assert (error.code, error.excerpt) == ("GC054", '    raise ValueError("not ready")')


def test_an_update_too_small_for_the_size_of_the_weights(run: Run) -> None:
    """A weight that moves by a millionth of itself is within any tolerance of its own size, moved or not."""
    found = by_hand(run, "one left out", {"SGD": {"learning_rate": 1e-5}}, steps=1)
    (kernel,) = (t for t in found.checks[0].failures if t.path == "first/kernel")
    assert kernel.max_rel_error < 1e-5
    assert kernel.status == "mismatch"


SCALED = """
    import tensorflow as tf

    def step(given, scale=True):
        first, second = given.segments
        with tf.GradientTape(persistent=True) as tape:
            loss = given.loss(given.y, second(first(given.x, training=True), training=True)) + tf.add_n(second.losses)
            target = given.optimizer.scale_loss(loss) if scale else loss
        given.optimizer.apply(tape.gradient(target, given.variables), given.variables)
        return loss
"""


@pytest.mark.parametrize("scale", [True, False])
def test_a_loss_that_the_loop_itself_scales(run: Run, scale: bool) -> None:
    method = {"candidate": {"train_step": "./loop.py:step", "kwargs": {"scale": scale}}}
    found = run(trained(MODEL, "SGD", precision="mixed_float16", methods=[method]), {"loop.py": SCALED})
    assert found.exit_code == (0 if scale else 1), found.error


HAND_OFF = ", output_gradients=from_loss)"


@pytest.fixture
def _in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "0")


@pytest.mark.usefixtures("_in_this_process")  # which has loaded TensorFlow already
@pytest.mark.parametrize(("hand_off", "code"), [(HAND_OFF, 0), (")", 1)], ids=["handed over", "forgotten"])
def test_two_models_with_a_training_step_of_their_own(
    root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], hand_off: str, code: int
) -> None:
    source = (root / "configs" / "train_two_models.py").read_text(encoding="utf-8")
    assert HAND_OFF in source
    (tmp_path / "train_two_models.py").write_text(source.replace(HAND_OFF, hand_off), encoding="utf-8")
    config = tmp_path / "train_two_models.yaml"
    config.write_bytes((root / "configs" / "train_two_models.yaml").read_bytes())
    assert main(["run", str(config)]) == code
    assert ("first wrong in step 1 of 5" in capfd.readouterr().out) == bool(code)
