"""The zoo under other engines: how many models match, differ or cannot be asked, and why.

    python -m benchmarks.engines [layers|models|applications ...] [--against jax] [--only NAME]

What draws random numbers in training is asked once more with `training: false`.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def layers() -> Iterator[tuple[str, dict[str, Any]]]:
    from tests.zoo.layers import CASES

    for case in CASES:
        split = {"after": list(case.after)}
        yield case.name, {"model": case.model, "split": split, "data": {"batch_size": 4, **case.data}}


def models() -> Iterator[tuple[str, dict[str, Any]]]:
    from tests.zoo.models.cases import CASES

    for case in CASES:
        yield case.name, case.config({"every": "layer"}, [])


def applications() -> Iterator[tuple[str, dict[str, Any]]]:
    from tests.zoo.test_applications import SIZES

    for name, size in SIZES.items():
        model = {"application": name, "kwargs": {"weights": None, "input_shape": [size, size, 3], "classes": 7}}
        yield name, {"model": model, "split": {"parts": 4}, "data": {"batch_size": 2}}


FAMILIES = {"layers": layers, "models": models, "applications": applications}


def main() -> None:
    import gradcheck

    parser = argparse.ArgumentParser()
    parser.add_argument("families", nargs="*", default=list(FAMILIES))
    parser.add_argument("--against", action="append")
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    engines = given.against or ["jax", "torch"]
    counts: dict[tuple[str, str], Counter[str]] = {}
    for family in given.families:
        for name, config in FAMILIES[family]():
            if given.only not in name:
                continue
            for engine in engines:
                outcome, why = asked(gradcheck, config, engine)
                if "random" in why and config.get("training", True):
                    again, said = asked(gradcheck, {**config, "training": False}, engine)
                    if again != "error":  # such as a crop, whose output is of another size then
                        outcome, why = f"{again}, training false", said
                counts.setdefault((family, engine), Counter())[outcome] += 1
                print(f"{family} {engine} {name}: {outcome} {why}", flush=True)
    for (family, engine), found in counts.items():
        print(f"{family} {engine}: " + ", ".join(f"{count} {outcome}" for outcome, count in found.most_common()))


def asked(gradcheck: Any, config: dict[str, Any], engine: str) -> tuple[str, str]:
    """The outcome under one engine, and why it is no match."""
    start = time.perf_counter()
    report = gradcheck.check({**config, "methods": [engine], "verify_reference": "never"})
    (run,) = report.runs
    seconds = f"({time.perf_counter() - start:.1f} s)"
    if run.error is not None:
        return "error", f"{run.error.code} {run.error.message} {seconds}"
    (check,) = run.checks
    failing = [f"{t.kind} {t.path} {t.status} {t.max_rel_error:.1e} floor {t.noise_floor}" for t in check.failures]
    return check.outcome, f"{'; '.join([*check.notes, *failing[:6], check.second_opinion or ''])} {seconds}"


if __name__ == "__main__":
    main()
