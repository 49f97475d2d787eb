"""Models that recommend, as subclasses: towers, crossings, experts."""

from __future__ import annotations

from typing import Any

import keras
from keras import Input, layers, ops


class Tower(keras.Model):
    """An entity's number, and what is known of it, to a vector of length one."""

    def __init__(self, cardinality: int, dim: int) -> None:
        super().__init__()
        self.embedding = layers.Embedding(cardinality, dim)
        self.mlp = keras.Sequential([layers.Dense(2 * dim, activation="relu"), layers.Dense(dim)])

    def call(self, ids: Any, features: Any) -> Any:
        x = ops.concatenate([self.embedding(ids), features], axis=-1)
        return ops.normalize(self.mlp(x), axis=-1)


class TwoTower(keras.Model):
    """A tower for users and one for items, and how alike they are."""

    def __init__(self, cardinalities: dict[str, int], dim: int) -> None:
        super().__init__()
        self.towers = {name: Tower(cardinality, dim) for name, cardinality in cardinalities.items()}
        self.calibrate = layers.Dense(1)

    def call(self, inputs: Any) -> Any:
        vectors = {
            name: tower(inputs[f"{name}_id"], features=inputs[f"{name}_features"])
            for name, tower in self.towers.items()
        }
        score = ops.sum(vectors["user"] * vectors["item"], axis=-1, keepdims=True)
        return self.calibrate(score)


def two_tower() -> keras.Model:
    return TwoTower({"user": 9, "item": 11}, dim=4)


class FactorizationMachine(layers.Layer):
    """The sum of the products of all pairs of vectors."""

    def call(self, vectors: Any) -> Any:
        square_of_sum = ops.square(ops.sum(vectors, axis=1))
        sum_of_squares = ops.sum(ops.square(vectors), axis=1)
        return 0.5 * ops.sum(square_of_sum - sum_of_squares, axis=-1, keepdims=True)


class DeepFM(keras.Model):
    """A linear part, a factorization machine and a deep net over the same embedding."""

    def __init__(self, vocabulary: int, dim: int) -> None:
        super().__init__()
        self.linear = layers.Embedding(vocabulary, 1)
        self.flat_linear = layers.Flatten()
        self.first_order = layers.Dense(1)
        self.embedding = layers.Embedding(vocabulary, dim)
        self.fm = FactorizationMachine()
        self.flatten = layers.Flatten()
        self.deep1 = layers.Dense(8, activation="relu")
        self.dropout = layers.Dropout(0.2)
        self.deep2 = layers.Dense(1)
        self.total = layers.Add()
        self.probability = layers.Activation("sigmoid")

    def call(self, fields: Any, training: bool | None = None) -> Any:
        first = self.first_order(self.flat_linear(self.linear(fields)))
        vectors = self.embedding(fields)
        deep = self.deep1(self.flatten(vectors))
        deep = self.deep2(self.dropout(deep, training=training))
        return self.probability(self.total([first, self.fm(vectors), deep]))


def deepfm() -> keras.Model:
    return DeepFM(vocabulary=13, dim=4)


def deepfm_twin() -> keras.Model:
    fields = Input((5,), dtype="int32")
    first = layers.Flatten(name="flat_linear")(layers.Embedding(13, 1, name="linear")(fields))
    first = layers.Dense(1, name="first_order")(first)
    vectors = layers.Embedding(13, 4, name="embedding")(fields)
    deep = layers.Dense(8, activation="relu", name="deep1")(layers.Flatten(name="flatten")(vectors))
    deep = layers.Dense(1, name="deep2")(layers.Dropout(0.2, name="dropout")(deep))
    total = layers.Add(name="total")([first, FactorizationMachine(name="fm")(vectors), deep])
    return keras.Model(fields, layers.Activation("sigmoid", name="probability")(total))


class CrossNetwork(keras.Model):
    """Crosses the features with themselves, layer by layer."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.crosses = [layers.Dense(width, kernel_regularizer="l2") for _ in range(depth)]
        self.logit = layers.Dense(1)

    def call(self, x0: Any) -> Any:
        x = x0
        for cross in self.crosses:
            x = x0 * cross(x) + x
        return self.logit(x)


def deep_cross() -> keras.Model:
    return CrossNetwork(width=6, depth=2)


class MixtureOfExperts(keras.Model):
    """A gate that weighs the answers of a list of experts."""

    def __init__(self, num_experts: int, hidden: int, units: int) -> None:
        super().__init__()
        self.experts = [
            keras.Sequential([layers.Dense(hidden, activation="relu"), layers.Dense(units)]) for _ in range(num_experts)
        ]
        self.gate = layers.Dense(num_experts, activation="softmax")
        self.head = layers.Dense(1)

    def call(self, x: Any) -> Any:
        gates = self.gate(x)
        mixed = 0
        for i, expert in enumerate(self.experts):
            mixed += gates[:, i : i + 1] * expert(x)
        return self.head(mixed)


def mixture_of_experts() -> keras.Model:
    return MixtureOfExperts(num_experts=3, hidden=5, units=4)


class MMoE(keras.Model):
    """Experts shared by several tasks, each with its own gate and head: lists in dictionaries."""

    def __init__(self, tasks: tuple[str, ...], num_experts: int, units: int) -> None:
        super().__init__()
        self.experts = [layers.Dense(units, activation="relu") for _ in range(num_experts)]
        self.gates = {task: layers.Dense(num_experts, activation="softmax") for task in tasks}
        self.heads = {task: [layers.Dense(units, activation="relu"), layers.Dense(1)] for task in tasks}

    def call(self, inputs: Any) -> Any:
        expert_outputs = ops.stack([expert(inputs) for expert in self.experts], axis=1)
        outputs = {}
        for task, gate in self.gates.items():
            x = ops.einsum("be,beu->bu", gate(inputs), expert_outputs)
            for layer in self.heads[task]:
                x = layer(x)
            outputs[task] = x
        return outputs


def multi_task() -> keras.Model:
    return MMoE(("click", "like"), num_experts=3, units=4)
