"""`jacobian` beside plain `tape.jacobian`/`batch_jacobian` code on the three-part CNN: time and extra memory as ratios.

    python benchmarks/jacobian.py [--size 32] [--skip-plain]

Each side runs in a process of its own, once to warm up and once to be measured. Extra memory is the peak of resident
memory above what the process held before, as Linux counts it.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "cnn_three_parts.yaml"


def status(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds and extra bytes of the second of two calls."""
    work()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # restarts the peak
    before, start = status("VmRSS"), time.perf_counter()
    work()
    return {"seconds": time.perf_counter() - start, "bytes": max(0, status("VmHWM") - before)}


def plain(problem: Any) -> Callable[[], Any]:
    """What people write: the Jacobians of each part whole, then the products."""
    import tensorflow as tf

    def work() -> Any:
        values, parts = list(problem.batch.x), []
        for segment in problem.segments:
            x = tf.identity(values[-1])
            with tf.GradientTape(persistent=True) as tape:
                tape.watch(x)
                y = segment(x, training=True)
            weights = [v.value for v in segment.trainable_variables]
            parts.append((tape.batch_jacobian(y, x), [tape.jacobian(y, w) for w in weights]))
            values.append(y)
        with tf.GradientTape() as tape:
            tape.watch(values[-1])
            loss = problem.loss(problem.batch.y, [values[-1]])
        cotangent, gradients = tape.gradient(loss, values[-1]), []
        for d_input, d_weights in reversed(parts):
            rank = len(cotangent.shape)
            gradients += [tf.tensordot(cotangent, d, axes=rank) for d in d_weights]
            batch = cotangent.shape[0]
            flat = tf.reshape(d_input, (batch, tf.size(cotangent) // batch, -1))
            product = tf.einsum("br,brc->bc", tf.reshape(cotangent, (batch, -1)), flat)
            cotangent = tf.reshape(product, (batch, *d_input.shape[rank:]))
        return gradients

    return work


def ours(problem: Any) -> Callable[[], Any]:
    from gradcheck.config.sections.methods import MethodOptions
    from gradcheck.methods.by_segment.jacobian import jacobian

    return lambda: jacobian(problem, MethodOptions())


def child(side: str, size: int) -> None:
    from gradcheck import load_config
    from gradcheck.problem.prepare import prepare, session

    loaded = load_config(CONFIG, overrides=[f"model.input={{shape: [{size}, {size}, 1]}}"])
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        print(json.dumps(measured({"plain": plain, "ours": ours}[side](problem))))


def run(side: str, size: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", side, "--size", str(size)]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    found = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if found.returncode:
        print(f"{side} at {size}x{size}: ended with {found.returncode} {found.stderr.strip()[-300:]}")
        return {"seconds": float("nan"), "bytes": float("nan")}
    result: dict[str, float] = json.loads(found.stdout.splitlines()[-1])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, action="append", help="height and width (repeat)")
    parser.add_argument("--skip-plain", action="store_true", help="measure ours alone")
    parser.add_argument("--child", choices=["plain", "ours"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments.child, arguments.size[0])
        return
    for size in arguments.size or [32, 64]:
        found = run("ours", size)
        print(f"{size}x{size}: jacobian {found['seconds']:.2f} s, {found['bytes'] / 2**20:.0f} MiB extra", flush=True)
        if not arguments.skip_plain and size <= 32:
            base = run("plain", size)
            print(f"{size}x{size}: plain    {base['seconds']:.2f} s, {base['bytes'] / 2**20:.0f} MiB extra")
            faster, smaller = (base[key] / found[key] for key in ("seconds", "bytes"))
            print(f"{size}x{size}: {faster:.1f} times faster (at least 10), 1/{smaller:.0f} of the memory (1/20)")


if __name__ == "__main__":
    main()
