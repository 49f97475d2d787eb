"""Workers for the tests, and a model of four stages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

STAGES = """
model:
  input: {shape: [8, 8, 2]}
  layers:
    - Conv2D: {filters: 4, kernel_size: 3, activation: relu, name: conv_0}
    - BatchNormalization: {name: norm}
    - Conv2D: {filters: 4, kernel_size: 3, name: conv_1}
    - Dropout: {rate: 0.3, name: drop}
    - Flatten
    - Dense: {units: 16, activation: tanh, name: dense_0}
    - Dense: {units: 3, name: dense_1}
split: {after: [norm, drop, dense_0]}
loss: {SparseCategoricalCrossentropy: {from_logits: true}}
data: {batch_size: 6}
"""
DENSE = """
model:
  input: {shape: [6]}
  layers:
    - Dense: {units: 5, activation: tanh, name: first}
    - Dense: {units: 5, activation: tanh, name: second}
    - Dense: {units: 4, activation: tanh, name: third}
    - Dense: {units: 2, name: fourth}
split: {every: layer}
data: {batch_size: 3}
"""


def placement(cluster: list[str], stages: int = 4) -> str:
    devices = ", ".join(f"/job:worker/task:{i % len(cluster)}/device:CPU:0" for i in range(stages))
    return f"placement: {{devices: [{devices}], cluster: [{', '.join(cluster)}]}}\n"


@pytest.fixture(scope="session")
def cluster() -> Iterator[list[str]]:
    command = [sys.executable, str(Path(__file__).parent / "serve.py"), "4"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()
        process.kill()
