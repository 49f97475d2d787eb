"""Whole processes beside bare imports: commands without TensorFlow, `run` on the three-part CNN, and on ResNet50.

The last is held against a script that builds the same model and computes one gradient.

    python benchmarks/startup.py [--repeat 5]

The median of interleaved runs, so that a busy moment hits every side alike.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
GRADCHECK = [sys.executable, "-m", "gradcheck"]
PLAIN = """
import keras, numpy as np, tensorflow as tf
keras.config.set_floatx("float64")
model = keras.applications.ResNet50(weights=None, input_shape=(64, 64, 3), classes=10, classifier_activation=None)
rng = np.random.default_rng(0)
x, y = tf.constant(rng.normal(size=(4, 64, 64, 3))), tf.constant(rng.integers(10, size=4))
with tf.GradientTape() as tape:
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(y, model(x, training=True))
gradients = tape.gradient(loss, model.trainable_variables)
print(float(loss), len(gradients))
"""
SIDES = {
    "import tensorflow": [sys.executable, "-c", "import tensorflow"],
    "import tensorflow, keras": [sys.executable, "-c", "import tensorflow, keras"],
    "--help": [*GRADCHECK, "--help"],
    "validate": [*GRADCHECK, "validate", "configs/cnn_three_parts.yaml"],
    "schema": [*GRADCHECK, "schema"],
    "explain": [*GRADCHECK, "explain", "GC101"],
    "run": [*GRADCHECK, "run", "configs/cnn_three_parts.yaml", "--method", "vjp"],
    "plain resnet50": [sys.executable, "-c", PLAIN],
    "run resnet50": [*GRADCHECK, "run", "configs/resnet50.yaml", "--method", "vjp"],
}
#: Against which import each command is held, and the ratio to reach.
AGAINST = {
    "--help": ("import tensorflow", 0.12),
    "validate": ("import tensorflow", 0.12),
    "schema": ("import tensorflow", 0.12),
    "explain": ("import tensorflow", 0.12),
    "run": ("import tensorflow, keras", 1.35),
    "run resnet50": ("plain resnet50", 1.35),
}


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=5)
    repeat = parser.parse_args().repeat
    measured: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(repeat):
        for side, command in SIDES.items():
            measured[side].append(seconds(command))
    for side, (base, goal) in AGAINST.items():
        ratio = statistics.median(measured[side]) / statistics.median(measured[base])
        print(f"{side:12} {statistics.median(measured[side]):.2f} s, {ratio:.3f} of `{base}` (at most {goal})")


if __name__ == "__main__":
    main()
