"""What a further config costs beside the first, and what a layer costs in a deep model beside a shallow one.

python benchmarks/many.py
"""

from __future__ import annotations

import time

import numpy as np  # noqa: F401 - loaded before the clock starts, as both sides need it

from gradcheck import check


def seconds(layers: int) -> float:
    config = {
        "model": {"input": {"shape": [8]}, "layers": [{"Dense": {"units": 8, "activation": "tanh"}}] * layers},
        "split": {"every": "layer"},
    }
    start = time.perf_counter()
    (run,) = check(config).runs
    assert run.verdict == "pass"
    return time.perf_counter() - start


def main() -> None:
    first = seconds(3)
    further = min(seconds(3) for _ in range(3))
    print(f"a further small config: {further / first:.3f} of the first (at most 0.15)")
    shallow = min(seconds(10) for _ in range(5)) / 10
    deep = seconds(1000) / 1000
    print(f"per layer: {deep / shallow:.2f} with 1,000 layers, of 10 (at most 1.3)")


if __name__ == "__main__":
    main()
