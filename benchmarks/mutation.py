"""`mutate` on a config beside its own `vjp`: what injecting, comparing and naming a fault costs.

    python -m benchmarks.mutation [configs/resnet50.yaml]

Both warm, in one process; `vjp` before and after, for the machine may change its speed in between.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

from gradcheck.config.load import load_given
from gradcheck.config.sections.methods import MethodOptions
from gradcheck.methods.by_segment.vjp import vjp
from gradcheck.problem.prepare import prepare, session
from gradcheck.session.mutation import mutate


def seconds_of_vjp(path: Path, repeat: int) -> list[float]:
    """Seconds of forward and backward pass of the split, after a first time."""
    loaded, found = load_given(path, {}), []
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        for _ in range(repeat + 1):
            start = time.perf_counter()
            vjp(problem, MethodOptions())
            found.append(time.perf_counter() - start)
    return found[1:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, nargs="?", default=Path("configs/resnet50.yaml"))
    parser.add_argument("--repeat", type=int, default=5)
    arguments = parser.parse_args()
    one = seconds_of_vjp(arguments.config, arguments.repeat)
    report = mutate(load_given(arguments.config, {}), 3600.0, lambda _: None)
    one += seconds_of_vjp(arguments.config, arguments.repeat)
    score, each = report.score, report.seconds / report.score.injected
    print(f"{score.injected} faults, {score.caught} caught, {score.named} named: {report.seconds:.0f} s")
    print(f"a fault: {each / statistics.median(one):.2f} of a vjp ({min(one):.2f} to {max(one):.2f} s)")


if __name__ == "__main__":
    main()
