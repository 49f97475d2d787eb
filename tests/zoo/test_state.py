"""Randomness and state: two runs are equal, the split equals the whole, and so does what it leaves behind."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck import check
from gradcheck.results.report import PROVEN
from tests.zoo.models.cases import here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

pytestmark = pytest.mark.zoo

#: By model, how many state variables its forward pass moves in training, and what else a second pass makes wrong.
MODELS = {
    "dropout_everywhere": (8, "weight"),
    "batch_norm_with_momentum": (4, "state"),
    "stateful_gru": (2, "weight"),
    "shared_seeds": (1, "weight"),
    "augmented": (5, "weight"),
    "with_metrics": (6, "state"),
}
each = pytest.mark.parametrize("name", MODELS)


def config(name: str, **changes: Any) -> dict[str, Any]:
    """The config that checks the model by `vjp`, cut after every call."""
    return {
        "model": {"factory": here(f"stateful.py:{name}")},
        "split": {"every": "layer"},
        "loss": "MeanSquaredError",
        "data": {"batch_size": 4, "inputs": "uniform"},
        **changes,
    }


def checked(name: str, execution: str = "eager") -> RunReport:
    # `auto` verifies the reference where that is quick: a machine with other work could verify one run of the two.
    both = config(name, execution=execution, methods=["vjp", "recompute"], verify_reference="always")
    (report,) = check(both).runs
    return report


#: The first of two equal runs, which two tests look at.
first_run = cache(checked)


@each
@pytest.mark.parametrize(
    "execution", ["eager", pytest.param("graph", marks=[pytest.mark.slow, pytest.mark.third(start=1)])]
)
def test_the_split_equals_the_whole_and_so_does_the_state(zoo: Callable[..., None], name: str, execution: str) -> None:
    report = first_run(name, execution)
    zoo("model", name if execution == "eager" else f"{name} ({execution})", report)
    assert report.warnings == ()
    assert report.coverage.compared == report.coverage.trainable > 0
    for found in report.checks:
        state = found.of_kind("state")
        assert len(state) >= MODELS[name][0]
        assert {t.status for t in state} <= PROVEN


@each
def test_two_runs_are_equal_to_the_last_digit(name: str) -> None:
    first, second = figures(first_run(name, "eager")), figures(checked(name))
    assert first.keys() == second.keys()
    assert {path: (value, second[path]) for path, value in first.items() if value != second[path]} == {}


@pytest.mark.third(start=1)
@pytest.mark.parametrize("name", ["dropout_everywhere", "shared_seeds", "augmented"])
def test_another_seed_gives_other_figures(run: Run, name: str) -> None:
    first, second = (run(config(name, seed=seed, data={"inputs": {"constant": 0.5}})) for seed in (0, 1))
    assert figures(first) != figures(second)


@each
def test_a_split_by_hand_matches_until_it_runs_a_segment_twice(run: Run, name: str) -> None:
    factory = here("by_hand.py:gradients")
    right = {"candidate": {"factory": factory, "name": "once"}}
    wrong = {"candidate": {"factory": factory, "kwargs": {"twice": True}, "name": "twice", "expect": "mismatch"}}
    report = run(config(name, methods=[right, wrong]))
    once, twice = report.checks
    assert (once.outcome, twice.outcome) == ("match", "mismatch"), [(t.path, t.status) for t in once.failures]
    moved, kind = MODELS[name]
    assert len([t for t in twice.failures if t.kind == "state"]) == moved
    assert kind in {t.kind for t in twice.failures}


@pytest.mark.parametrize(("name", "moved"), [("batch_norm_with_momentum", 0), ("shared_seeds", 0), ("stateful_gru", 2)])
def test_in_inference_recurrent_states_move_and_nothing_else(run: Run, name: str, moved: int) -> None:
    twice = {"candidate": {"factory": here("by_hand.py:gradients"), "kwargs": {"twice": True}}}
    split, by_hand = run(config(name, training=False, methods=["vjp", twice])).checks
    assert split.outcome == "match"
    assert len([t for t in by_hand.failures if t.kind == "state"]) == moved


def figures(report: RunReport) -> dict[str, Any]:
    """All that a report says, by path, but for how long it took."""

    def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
        items = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else ()
        )
        for key, item in items:
            if key != "seconds":
                yield from leaves(item, f"{path}/{key}")
        if not isinstance(value, (dict, list, tuple)):
            yield path, value if value == value else "nan"  # noqa: PLR0124 - NaN alone differs from itself

    return dict(leaves(asdict(report)))
