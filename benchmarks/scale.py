"""How the cost of a check grows: with depth, width, batch, segments, configs; and what a saved reference saves.

    python benchmarks/scale.py [depth|width|batch|segments|reference|jobs]...

All of them without arguments. Ratios, measured in turn in one process; `reference` and `jobs` start processes.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.bench import MethodCost

ALONE = True  # no other methods than those of the config


def config(*, layers: int = 10, units: int = 8, batch: int = 8, split: Any = None) -> dict[str, Any]:
    return {
        "model": {
            "input": {"shape": [units]},
            "layers": [{"Dense": {"units": units, "activation": "tanh"}}] * layers,
        },
        "split": split or {"every": "layer"},
        "data": {"batch_size": batch},
    }


def checked(**given: Any) -> float:
    """Seconds of a whole check, without the start of the process."""
    from gradcheck import check

    start = time.perf_counter()
    (run,) = check(config(**given)).runs
    assert run.verdict == "pass", run.errors
    return time.perf_counter() - start


def costs(**given: Any) -> list[MethodCost]:
    """What `tape`, `vjp` and `recompute` cost, warm."""
    from gradcheck.config.load import load_given
    from gradcheck.session.bench import bench
    from gradcheck.workers.task import silent

    loaded = load_given({**config(**given), "methods": ["vjp", "recompute"]}, {})
    run = bench(loaded, 7, ALONE, silent)
    return [*run.references, *run.methods]


def row(name: str, found: list[MethodCost]) -> None:
    tape, *methods = found
    words = [f"{name}: tape {1000 * (tape.seconds or 0):.1f} ms, {(tape.peak_bytes or 0) / 2**20:.1f} MiB"]
    for cost in methods:
        memory = "-" if cost.memory_ratio is None else f"{cost.memory_ratio:.2f}"
        low, high = cost.time_ratio_range
        words.append(
            f"{cost.method} {cost.time_ratio:.2f} of its time ({low:.2f} - {high:.2f}), {memory} of its memory"
        )
    print("; ".join(words), flush=True)


def depth() -> None:
    checked()  # what is only done once
    base = statistics.median(checked(layers=10) for _ in range(5)) / 10
    for layers in (10, 100, 1000):
        took = base * 10 if layers == 10 else checked(layers=layers)
        ratio = took / layers / base
        print(f"{layers} layers, every layer a segment: a check {took:.2f} s, {ratio:.2f} per layer (of 10 layers)")
    for layers in (10, 100, 1000):
        row(f"{layers} layers", costs(layers=layers))


def width() -> None:
    for units in (8, 128, 1024):
        row(f"{units} units in 10 layers", costs(units=units, batch=64))


def batch() -> None:
    for size in (8, 128, 2048):
        row(f"{size} examples", costs(units=256, batch=size))


def segments() -> None:
    for parts in (2, 8, 32):
        row(f"{parts} segments of 32 layers", costs(layers=32, units=128, batch=64, split={"parts": parts}))


def reference() -> None:
    """Peak memory of a process that checks a model with large weights, with and without a saved reference."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "reference.npz")
        saving, normal, reading = (_peak(option, file) for option in ("--save-gradients", "", "--reference"))
        print(f"saved reference: {file.stat().st_size / 2**20:.0f} MiB")
    start = _peak("start", file)
    for name, peak in {"run": normal, "--save-gradients": saving, "--reference": reading}.items():
        ratio = (peak - start) / (normal - start)
        print(f"{name}: {(peak - start) / 2**20:.0f} MiB beyond TensorFlow itself, {ratio:.2f} of a normal run")


def _peak(option: str, file: Path) -> int:
    """Peak resident bytes of a process of its own."""
    code = f"""
import tensorflow, keras
import benchmarks_scale_child as child
child.run({option!r}, {str(file)!r})
print(next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
    code = code.replace("benchmarks_scale_child", Path(__file__).stem)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": _path()}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def run(option: str, file: str) -> None:
    """The child of `reference`: a check of 64 MiB of weights whose layers are small otherwise."""
    from gradcheck.config.load import load_given
    from gradcheck.session.configs import CheckOptions, check_one
    from gradcheck.session.gradient_files import GradientFiles

    if option == "start":
        return
    given = GradientFiles(option, Path(file))
    options = {
        "": CheckOptions(),
        "--save-gradients": CheckOptions(save_gradients=given),
        "--reference": CheckOptions(reference=given),
    }
    loaded = load_given({**config(layers=16, units=1024, batch=4), "verify_reference": "never"}, {})
    found = check_one(loaded, options[option])
    assert found.verdict == "pass", found.errors


def jobs() -> None:
    """Many small configs, one after another and side by side; and the same as two shards, one after the other."""
    import yaml

    with tempfile.TemporaryDirectory() as folder:
        for number in range(24):
            Path(folder, f"{number:02}.yaml").write_text(yaml.safe_dump(config(layers=6)), encoding="utf-8")
        one = _seconds(folder, "--jobs", "1")
        for count in (2, 4):
            print(f"24 configs, --jobs {count}: {_seconds(folder, '--jobs', str(count)) / one:.2f} of --jobs 1")
        shard = max(_seconds(folder, "--shard", f"{i}/4") for i in (1, 2, 3, 4))
        print(f"24 configs in 4 shards: the slowest {shard / one:.2f} of all in one")


def _seconds(*arguments: str) -> float:
    start = time.perf_counter()
    command = [sys.executable, "-m", "gradcheck", "run", *arguments, "--format", "concise", "-q"]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": _path()}, capture_output=True, check=True)
    return time.perf_counter() - start


def _path() -> str:
    here = Path(__file__).resolve().parent
    return os.pathsep.join([str(here), str(here.parent)])


PARTS: dict[str, Callable[[], None]] = {
    "depth": depth,
    "width": width,
    "batch": batch,
    "segments": segments,
    "reference": reference,
    "jobs": jobs,
}

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        PARTS[part]()
