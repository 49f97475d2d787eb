"""Patients described by numbers and words, each a named input with its own preprocessing layer."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

WORDS = {"sex": ["female", "male"], "pain": ["none", "typical", "atypical"], "thal": ["normal", "fixed", "reversible"]}
NUMBERS = {"age": (54.0, 81.0), "pressure": (131.0, 310.0), "oldpeak": (1.0, 1.3)}  # mean and variance
CLASS_WEIGHT = {0: 0.7, 1: 1.9}


def build() -> keras.Model:
    numbers = {name: keras.Input((1,), name=name) for name in NUMBERS}
    words = {name: keras.Input((1,), name=name, dtype="string") for name in WORDS}
    features = [layers.Normalization(mean=mean, variance=v)(numbers[name]) for name, (mean, v) in NUMBERS.items()]
    features += [layers.StringLookup(vocabulary=WORDS[name], output_mode="one_hot")(words[name]) for name in WORDS]
    x = layers.Dense(24, activation="relu", name="hidden")(layers.concatenate(features))
    x = layers.Dropout(0.5, name="dropout")(x)
    return keras.Model(numbers | words, layers.Dense(1, activation="sigmoid", name="ill")(x), name="structured_data")


def batch() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """The class weights are sample weights by now, as `fit` makes them."""
    rng = np.random.default_rng(4)
    x = {name: rng.normal(mean, variance**0.5, (8, 1)) for name, (mean, variance) in NUMBERS.items()}
    x |= {name: rng.choice(vocabulary, (8, 1)) for name, vocabulary in WORDS.items()}
    ill = np.array([0, 1, 0, 0, 1, 0, 0, 1])
    return x, ill[:, None].astype("float32"), np.vectorize(CLASS_WEIGHT.get)(ill)
