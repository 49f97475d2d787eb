"""Shows that no exact diagnosis is false: random wrong candidates, and random parts that differ from their whole.

A few of each by default; `--generated 100` draws a hundred of each (about a quarter of an hour).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from tests.diagnose.generated import MODELS, Bench, parts_of, problem_of


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
                import os

                if os.environ.get("SHOW"):
                    print(model, mistake.kind, "|", [(d.code, d.confidence, d.place) for d in found], flush=True)
                figures[outcome(mistake.code, [d.code for d in exact], found[0])] += 1
    report("candidates", figures, false, record_property)
    assert false == []
    assert figures["missed"] == 0
    assert figures["exact, right"] >= count // 5


def outcome(code: str | None, exact: list[str], first: Any) -> str:
    """In which row a candidate is counted: by what it is, and what was said of it."""
    if code in exact:
        return "exact, right"
    if exact:
        return "exact, an equivalent one" if code else "exact, of what nobody has heard of"
    if code is not None and first.code not in (code, "GC900"):
        return f"not named: {code} as {first.code}"
    return f"{first.code} ({first.confidence})"


def test_what_is_said_of_parts_that_differ_is_true(count: int, record_property: Any) -> None:
    figures: Counter[str] = Counter()
    false: list[Any] = []
    done = 0
    for model, of_model in drawn(count, MODELS[:4] if count <= 12 else MODELS).items():
        index = 0
        while index < of_model:
            rng = np.random.default_rng([done, *map(ord, model)])
            done += 1
            context, made = parts_of(model, rng)
            with context as problem:
                bench = Bench(problem)
                observed = bench.observed(bench.right)
                if not observed.failing:
                    continue  # the change makes no difference here
                index += 1
                found = bench.diagnosed(observed)
                (pair,) = made
                exact = sure(found)
                false += [(model, pair.kind, d) for d in exact if not is_true(pair, d)]
                assert found[0].code == "GC900", (model, pair.kind, found)
                assert [d.code for d in found] == ["GC900"], (model, pair.kind, found)
                right = found[0].layer in pair.layers
                figures[f"{found[0].confidence}, {'right' if right else 'another'} layer"] += 1
                import os

                if os.environ.get("SHOW"):
                    print(
                        model, pair.kind, "|", found[0].confidence, found[0].layer, found[0].evidence[90:], flush=True
                    )
    report("parts", figures, false, record_property)
    assert false == []
    assert figures["exact, right layer"] >= count // 2


def is_true(pair: Any, diagnosis: Any) -> bool:
    """Whether an exact diagnosis of parts names the layer that was changed, or one inside it."""
    return diagnosis.code == "GC900" and any(
        diagnosis.layer == path or diagnosis.layer.startswith(f"{path}/") for path in pair.layers
    )


def report(what: str, figures: Counter[str], false: list[Any], record_property: Any) -> None:
    """Prints the counts, with -s or where the test fails."""
    record_property(what, dict(figures))
    counted = ", ".join(f"{n} {word}" for word, n in sorted(figures.items()))
    print(f"\n{sum(figures.values())} {what}: {counted}; false: {len(false)}", *false, sep="\n  ")  # noqa: T201 - with -s
