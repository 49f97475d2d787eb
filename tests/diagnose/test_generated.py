"""Shows that no exact diagnosis is false: random wrong candidates, and random parts that differ from their whole.

A few of each by default; `--generated 100` draws a hundred of each (about eight minutes).
"""

from __future__ import annotations

from collections import Counter
from itertools import count as count_up
from typing import Any

import numpy as np
import pytest

from tests.diagnose.generated import MODELS, Bench, problem_of, weights
from tests.diagnose.generated_parts import parts_of


@pytest.fixture(scope="module")
def count(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--generated"))


def drawn(count: int, models: tuple[str, ...]) -> dict[str, int]:
    """How many of `count` each model gets."""
    return dict(Counter(models[i % len(models)] for i in range(count)))


def sure(diagnoses: Any) -> list[Any]:
    return [diagnosis for diagnosis in diagnoses if diagnosis.confidence == "exact"]


def test_what_is_said_of_a_wrong_candidate_is_true(count: int, record_property: Any) -> None:
    figures: Counter[str] = Counter()
    false: list[Any] = []
    for number, (model, of_model) in enumerate(drawn(count, MODELS[:4] if count <= 12 else MODELS).items()):
        with problem_of(model, microbatches=1 + number % 2) as problem:
            bench = Bench(problem)
            assert bench.observed(bench.right).failing == {}
            for index in range(of_model):
                mistake = bench.mistake(np.random.default_rng([index, *map(ord, model)]))
                observed = bench.observed(mistake.gradients)
                found = bench.diagnosed(observed)
                assert found, mistake.kind
                exact = sure(found)
                false += [(model, mistake.kind, d) for d in exact if not bench.is_true(observed, d)]
                figures[outcome(mistake.code, [d.code for d in exact], found[0])] += 1
    report("candidates", figures, false, record_property)
    assert false == []
    known = figures["exact, right"] + figures["known, not named"]
    assert known >= count // 4
    assert figures["exact, right"] >= 0.95 * known


def outcome(code: str | None, exact: list[str], first: Any) -> str:
    """In which row a candidate is counted: by what it is, and what was said of it."""
    if code in exact:
        return "exact, right"
    if exact:
        return "exact, an equivalent one" if code else "unknown, exact what it amounts to"
    return f"unknown, {first.code} ({first.confidence})" if code is None else "known, not named"


def test_a_name_that_is_another_mistakes_is_seen_to_be_false() -> None:
    """The judge of the other tests: what is true of one candidate is not of the next."""
    with problem_of(MODELS[0]) as problem:
        bench = Bench(problem)
        suspects = {code: [i for i in bench.replayed.suspects(own_slices=True) if i.code == code] for code in SHIFTED}
        made = {code: bench.observed(weights(bench.replayed.replays.gradients(i[0]))) for code, i in suspects.items()}
        said = {code: next(d for d in sure(bench.diagnosed(o)) if d.code == code) for code, o in made.items()}
        for code, observed in made.items():
            assert [other for other, d in said.items() if bench.is_true(observed, d)] == [code]


SHIFTED = ("GC101", "GC103", "GC201", "GC402", "GC504")


def test_what_is_said_of_parts_that_differ_is_true(count: int, record_property: Any) -> None:
    """An exact diagnosis gives the layer that was changed; no fault is named, for none was made."""
    figures: Counter[str] = Counter()
    false: list[Any] = []
    draws = count_up()
    for model, of_model in drawn(count, MODELS[:4] if count <= 12 else MODELS).items():
        done = 0
        while done < of_model:
            context, made = parts_of(model, np.random.default_rng([next(draws), *map(ord, model)]))
            with context as problem:
                bench = Bench(problem)
                observed = bench.observed(bench.right)
                if not observed.failing:
                    assert next(draws) < 20 * count  # never without end, should no change make a difference
                    continue  # the change makes no difference here
                changed, (first, *others) = made[0], bench.diagnosed(observed)
                right = first.code in codes_of(changed.kind) and changed.is_named(first.layer)
                false += [(model, changed, d) for d in sure([first, *others]) if d is not first or not right]
                figures[f"{first.confidence}, {'right' if right else 'another'} layer"] += 1
                done += 1
    report("parts", figures, false, record_property)
    assert false == []
    assert figures["exact, right layer"] >= 0.8 * count


def codes_of(kind: str) -> set[str]:
    """What a change of parts may be called: by its forward pass, or by its gradients alone."""
    return {"GC601", "GC900"} if "stopped" in kind or "gradient" in kind else {"GC113"}


def report(what: str, figures: Counter[str], false: list[Any], record_property: Any) -> None:
    """Prints the counts, with -s or where the test fails."""
    record_property(what, dict(figures))
    counted = ", ".join(f"{n} {word}" for word, n in sorted(figures.items()))
    print(f"\n{sum(figures.values())} {what}: {counted}; false: {len(false)}", *false, sep="\n  ")  # noqa: T201 - with -s
