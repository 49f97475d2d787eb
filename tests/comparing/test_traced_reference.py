"""The reference of a traced model is run as any other, whatever its boundaries need beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

VAE = """
    import keras
    import tensorflow as tf


    class Sampling(keras.layers.Layer):
        def call(self, x):
            mean, log_variance = x
            return mean + tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(mean){seed})


    class Autoencoder(keras.Model):
        def __init__(self):
            super().__init__()
            self.hidden = keras.layers.Dense(5, activation="relu")
            self.mean, self.log_variance = keras.layers.Dense(2), keras.layers.Dense(2)
            self.sampling = Sampling()
            self.decode = keras.layers.Dense(3)

        def call(self, x):
            hidden = self.hidden(x)
            return self.decode(self.sampling([self.mean(hidden), self.log_variance(hidden)]))
"""


SLICES, GRAPH, STEPS = {"microbatches": 2}, {"execution": "graph"}, {"train": {"steps": 2}}


@pytest.mark.parametrize(
    ("seed", "more"),
    # In a second step the sequence of an operation with a seed of its own has begun anew.
    [*(("", more) for more in ({}, SLICES, GRAPH, STEPS)), *((", seed=5", more) for more in ({}, SLICES, GRAPH))],
)
def test_draws_of_tensorflow_are_those_of_the_split(
    run: Callable[..., RunReport], seed: str, more: dict[str, Any]
) -> None:
    report = run(
        {
            "model": {"factory": "./vae.py:Autoencoder", "input": {"shape": [3]}},
            "split": {"every": "layer"},
            "data": {"batch_size": 4},
            "methods": ["vjp"],
            "verify_reference": "never",
            **more,
        },
        {"vae.py": VAE.replace("{seed}", seed)},
    )
    assert [segment.layers for segment in report.segments] == [
        (path,) for path in ("hidden", "mean", "log_variance", "sampling", "decode")
    ]
    assert report.verdict == "pass", report.checks[0].failures
