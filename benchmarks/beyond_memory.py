"""A model that is larger than the memory limit of every process: stages on workers against a saved reference.

    python -m benchmarks.beyond_memory [--limit 2.0] [--stages 8] [--layers 6] [--units 100000]

One process without a limit saves the reference, for which it takes four to five times the weights. Then four workers,
and the process that runs the check, each have `--limit` GiB of data (`ulimit -d`; with stacks of 2 MiB, `ulimit -s`,
for a server's hundred threads count with the whole of theirs). The weights are more than that, and a single process
with the same limit refuses.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import yaml

PARTS = """
import keras

WIDTH = 64

def part(index, units, layers):
    x = inputs = keras.Input([WIDTH])
    for i in range(layers):
        for name, size in (("wide", units), ("narrow", WIDTH)):
            dense = keras.layers.Dense(
                size, activation="tanh", kernel_initializer="lecun_normal", name=f"{name}_{index}_{i}"
            )
            x = dense(x)
    return keras.Model(inputs, x, name=f"stage_{index}")
"""
WORKERS = 4
WIDTH = 64
STACK = 2 * 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=2.0, help="GiB of data for each process")
    for name, default in {"stages": 8, "layers": 6, "units": 100_000}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    limit, weights = int(given.limit * 2**30), 4 * 2 * WIDTH * given.units * given.layers * given.stages
    print(f"weights: {weights / 2**30:.2f} GiB; limit of each process: {given.limit:.2f} GiB", flush=True)
    if weights <= limit:
        sys.exit("the model is smaller than the limit: this shows nothing")
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "parts.py").write_text(PARTS, encoding="utf-8")
        kwargs = [{"index": i, "units": given.units, "layers": given.layers} for i in range(given.stages)]
        chain = {
            "model": {"segments": [{"factory": "./parts.py:part", "kwargs": each} for each in kwargs]},
            "loss": "MeanSquaredError",
            "data": {"batch_size": 4},
            "verify_reference": "never",
        }
        (folder / "whole.yaml").write_text(yaml.safe_dump(chain), encoding="utf-8")
        run(folder, "saving the reference", "whole.yaml", "--save-gradients", "whole.npz")
        run(folder, "one process with the limit", "whole.yaml", "--reference", "whole.npz", limit=limit)
        workers = [stack.enter_context(worker(limit)) for _ in range(WORKERS)]
        for process in workers:
            stack.callback(process.terminate)  # before it is waited for, whatever happens
        cluster = [process.stdout.readline().split()[-1] for process in workers if process.stdout]
        devices = [f"/job:worker/task:{i * WORKERS // given.stages}/device:CPU:0" for i in range(given.stages)]
        placed = {**chain, "placement": {"devices": devices, "cluster": cluster}}
        (folder / "placed.yaml").write_text(yaml.safe_dump(placed), encoding="utf-8")
        run(folder, "four workers with the limit", "placed.yaml", "--reference", "whole.npz", limit=limit)
        ended = [process.poll() for process in workers]
        if any(code is not None for code in ended):
            sys.exit(f"exit codes of the workers: {ended}")
        held = [peak(process.pid) / 2**30 for process in workers]
        print(f"peak resident memory of a worker: {min(held):.2f} to {max(held):.2f} GiB")


def run(folder: Path, what: str, *arguments: str, limit: int | None = None) -> None:
    """Run a check, and print its verdict, time and exit code."""
    command = within(limit, "run", *arguments, "--format", "concise")
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)
    seconds, said = time.perf_counter() - start, done.stdout.partition("\n")[0]
    print(f"{what}: exit code {done.returncode}, {seconds:.0f} s: {said or done.stderr.strip()}", flush=True)


def worker(limit: int) -> subprocess.Popen[str]:
    """Start a worker with the limit."""
    command, pipe = within(limit, "worker"), subprocess.PIPE
    return subprocess.Popen(command, env=environment(), stdout=pipe, stderr=subprocess.DEVNULL, text=True)


def within(limit: int | None, *arguments: str) -> list[str]:
    """Return a command of gradcheck's, under the limit."""
    command = [sys.executable, "-m", "gradcheck", *arguments]
    if limit is None:
        return command
    return ["bash", "-c", f'ulimit -s {STACK // 1024} && ulimit -d {limit // 1024} && exec "$@"', "_", *command]


def environment() -> dict[str, str]:
    """Return the environment, in which this checkout is found from any folder."""
    paths = (str(Path.cwd()), os.environ.get("PYTHONPATH"))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}


def peak(pid: int) -> int:
    """Return the most bytes of memory that a process and its child have held."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    texts = [Path(f"/proc/{one}/status").read_text(encoding="ascii") for one in (str(pid), *children)]
    return max(int(re.search(r"VmHWM:\s*(\d+)", text)[1]) * 1024 for text in texts)  # type: ignore[index]


if __name__ == "__main__":
    main()
