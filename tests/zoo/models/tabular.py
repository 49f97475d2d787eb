"""Models over tables: several inputs, categories as text and numbers, shared embeddings, experts."""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import Input, Model, layers, ops


def wide_and_deep() -> Model:
    """Crossed features straight to the output, and an embedding through a deep net; inputs given as a mapping."""
    inputs = {
        "age": Input((1,), name="age"),
        "income": Input((1,), name="income"),
        "job": Input((1,), dtype="int32", name="job"),
    }
    one_hot = layers.Flatten()(layers.CategoryEncoding(6, output_mode="one_hot")(inputs["job"]))
    wide = layers.Concatenate(name="wide")([inputs["age"], one_hot])
    job = layers.Flatten()(layers.Embedding(6, 3, name="job_embedding")(inputs["job"]))
    deep = layers.Concatenate()([inputs["age"], inputs["income"], job])
    for units in (8, 4):
        deep = layers.Dropout(0.2)(layers.Dense(units, activation="relu", kernel_regularizer="l2")(deep))
    joined = layers.Concatenate()([wide, deep])
    return Model(inputs, layers.Dense(1, activation="sigmoid", name="buys")(joined), name="wide_and_deep")


def two_tower() -> Model:
    """Users and items, whose histories share one embedding of items, scored by a dot product."""
    items = layers.Embedding(12, 4, name="items")
    history = Input((5,), dtype="int32", name="history")
    candidate = Input((), dtype="int32", name="candidate")
    user = layers.Dense(4, name="user_tower")(layers.GlobalAveragePooling1D()(items(history)))
    item = layers.Dense(4, name="item_tower")(items(candidate))
    user, item = layers.UnitNormalization()(user), layers.UnitNormalization()(item)
    return Model([history, candidate], layers.Dot(axes=1, name="score")([user, item]), name="two_tower")


def structured() -> Model:
    """Every kind of column: text, integers, numbers and hashes, all prepared inside the model."""
    city = Input((1,), dtype="string", name="city")
    product = Input((1,), dtype="int64", name="product")
    device = Input((1,), dtype="string", name="device")
    numbers = Input((3,), name="numbers")

    cities = layers.StringLookup(vocabulary=["berlin", "lima", "osaka"], name="city_ids")
    products = layers.IntegerLookup(vocabulary=[11, 23, 42, 77], output_mode="multi_hot", name="product_hot")
    normalize = layers.Normalization(name="normalize")
    normalize.adapt(np.array([[1.0, 10.0, 100.0], [3.0, 30.0, 500.0], [2.0, 15.0, 250.0]]))
    hashed = layers.Hashing(6, name="device_hash")(device)

    columns = [
        layers.Flatten()(layers.Embedding(cities.vocabulary_size(), 3, name="city_embedding")(cities(city))),
        products(product),
        layers.CategoryEncoding(6, name="device_hot")(hashed),
        normalize(numbers),
    ]
    x = layers.Dense(8, activation="relu", name="hidden")(layers.Concatenate(name="features")(columns))
    return Model([city, product, device, numbers], layers.Dense(3, name="scores")(x), name="structured")


def multi_output() -> Model:
    """One trunk, three heads: a number, a class and a set of tags, each with a loss of its own, returned by name."""
    x = Input((6,))
    trunk = layers.Dense(8, activation="relu", name="trunk")(x)
    trunk = layers.BatchNormalization()(trunk)
    outputs = {
        "price": layers.Dense(1, name="price_head")(trunk),
        "kind": layers.Dense(4, activation="softmax", name="kind_head")(trunk),
        "tags": layers.Dense(3, activation="sigmoid", name="tags_head")(layers.Dense(4, activation="elu")(trunk)),
    }
    return Model(x, outputs, name="multi_output")


class Router(layers.Layer):
    """Chooses the best two of several experts, and adds a loss where it does not use them evenly."""

    def __init__(self, experts: int, chosen: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.experts, self.chosen = experts, chosen
        self.gate = layers.Dense(experts, use_bias=False, name="gate")

    def call(self, x: Any) -> Any:
        probabilities = ops.softmax(self.gate(x))
        best, indices = ops.top_k(probabilities, self.chosen)
        used = ops.sum(ops.one_hot(indices, self.experts, dtype=x.dtype), axis=1)
        share, importance = ops.mean(used, axis=0), ops.mean(probabilities, axis=0)
        self.add_loss(0.1 * self.experts * ops.sum(share * importance))
        return probabilities * used / ops.sum(best, axis=-1, keepdims=True)


def mixture_of_experts() -> Model:
    """A sparse mixture of experts with a load-balancing loss."""
    x = Input((6,))
    hidden = layers.Dense(8, activation="relu", name="stem")(x)
    weights = Router(4, name="router")(hidden)
    experts = ops.stack([layers.Dense(5, activation="swish", name=f"expert_{i}")(hidden) for i in range(4)], axis=1)
    mixed = ops.einsum("be,bef->bf", weights, experts)
    return Model(x, layers.Dense(2, name="out")(mixed), name="mixture_of_experts")
