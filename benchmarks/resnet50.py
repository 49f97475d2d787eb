"""Reference, `vjp` and comparison on ResNet50 beside one plain tape gradient, both warm, in one process.

    python benchmarks/resnet50.py [--size 224] [--batch 4] [--repeat 3]

Time is the median of interleaved runs; memory the peak of resident memory (VmHWM) during one run of each.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.config.load import load_given
from gradcheck.config.sections.methods import MethodOptions
from gradcheck.methods.by_segment.vjp import vjp
from gradcheck.numerics import TolerancePolicy
from gradcheck.problem.prepare import prepare, session

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.problem.problem import Problem


def plain(problem: Problem) -> list[Any]:
    """What a training step computes."""
    with tf.GradientTape() as tape:
        loss = problem.loss(problem.batch.y, [problem.model(problem.batch.x[0], training=True)])
    gradients: list[Any] = tape.gradient(loss, [weight.variable.value for weight in problem.weights])
    return gradients


def checked(problem: Problem) -> Any:
    """What a check adds up to."""
    reference = Reference(problem)
    return compare_all(problem, reference, vjp(problem, MethodOptions()), TolerancePolicy(), noise=True)


def measured(work: Callable[[Problem], Any], problem: Problem) -> tuple[float, int]:
    """Seconds, and peak bytes of the process."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # restarts the peak
    start = time.perf_counter()
    work(problem)
    seconds = time.perf_counter() - start
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return seconds, next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=3)
    arguments = parser.parse_args()
    config = {
        "model": {
            "application": "ResNet50",
            "kwargs": {"weights": None, "input_shape": [arguments.size, arguments.size, 3]},
        },
        "split": {"after": ["conv2_block2_out", "conv3_block2_1_relu", "conv4_block3_2_relu"]},
        "data": {"batch_size": arguments.batch},
    }
    loaded = load_given(config, {})
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        sides = {"plain": plain, "check": checked}
        for work in sides.values():
            work(problem)
        found: dict[str, list[tuple[float, int]]] = {side: [] for side in sides}
        for _ in range(arguments.repeat):
            for side, work in sides.items():
                found[side].append(measured(work, problem))
    time_of = {side: statistics.median(seconds for seconds, _ in runs) for side, runs in found.items()}
    peak_of = {side: max(peak for _, peak in runs) for side, runs in found.items()}
    print(f"plain {time_of['plain']:.2f} s, {peak_of['plain'] / 2**20:.0f} MiB")
    print(f"check {time_of['check']:.2f} s, {peak_of['check'] / 2**20:.0f} MiB")
    print(f"ratio {time_of['check'] / time_of['plain']:.2f} in time (at most 2.3)")
    print(f"ratio {peak_of['check'] / peak_of['plain']:.2f} in peak memory (at most 1.25)")


if __name__ == "__main__":
    main()
