"""What `gradcheck audit` adds to an eager training step: time and memory as ratios to the step that nobody watches.

python benchmarks/audit.py
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import time

STEPS = 12
ROUNDS = 3
#: Two models trained as one, by hand: units, batch size.
SIZES = {"small (256 units, batch 64)": (256, 64), "large (2048 units, batch 256)": (2048, 256)}


def train(units: int, batch: int, *, watched: bool) -> None:
    """Print the median time of a step, and the memory that the training took beyond importing TensorFlow."""
    import keras
    import numpy as np
    import tensorflow as tf

    import gradcheck

    def dense(width: int) -> keras.layers.Dense:
        return keras.layers.Dense(width, activation="relu")

    first = keras.Sequential([keras.Input((units,)), *(dense(units) for _ in range(4))])
    second = keras.Sequential([keras.Input((units,)), *(dense(units) for _ in range(3)), keras.layers.Dense(10)])
    loss_fn = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam()
    variables = first.trainable_variables + second.trainable_variables
    optimizer.build(variables)
    rng = np.random.default_rng(0)
    x, y = tf.constant(rng.normal(size=(batch, units)), tf.float32), tf.constant(rng.integers(0, 10, batch))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def step() -> None:
        with tf.GradientTape() as tape:
            h = first(x, training=True)
        with tf.GradientTape() as tape_2:
            tape_2.watch(h)
            loss = loss_fn(y, second(h, training=True))
        *grads_2, cotangent = tape_2.gradient(loss, [*second.trainable_variables, h])
        grads_1 = tape.gradient(h, first.trainable_variables, output_gradients=cotangent)
        optimizer.apply_gradients(zip([*grads_1, *grads_2], variables, strict=True))

    def run() -> None:
        times = []
        for _ in range(STEPS):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(statistics.median(times[2:]), taken)

    if watched:
        with gradcheck.audit() as audit:
            run()
        assert audit.report
    else:
        run()


def measured(units: int, batch: int, mode: str) -> tuple[float, float]:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, __file__, str(units), str(batch), mode]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    seconds, kilobytes = output.split()
    return float(seconds), float(kilobytes)


def main() -> None:
    for name, (units, batch) in SIZES.items():
        pairs = [(measured(units, batch, "plain"), measured(units, batch, "watched")) for _ in range(ROUNDS)]
        slower = statistics.median(watched[0] / plain[0] for plain, watched in pairs)
        larger = statistics.median(watched[1] / plain[1] for plain, watched in pairs)
        plain = statistics.median(plain[0] for plain, _ in pairs)
        print(f"{name}: plain step {1000 * plain:.1f} ms; watched {slower:.2f} times the time, {larger:.2f} the memory")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        train(int(sys.argv[1]), int(sys.argv[2]), watched=sys.argv[3] == "watched")
    else:
        main()
