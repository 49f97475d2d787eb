"""Models whose trace is easily refused, or run on what it was not made for."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from gradcheck import check_model

X = np.random.default_rng(3).normal(size=(4, 6, 3)).astype("float32")


class Around(keras.Model):
    """A layer, and a head."""

    def __init__(self, inner: keras.Layer) -> None:
        super().__init__()
        self.inner, self.head = inner, layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.head(self.inner(x))


class AllSteps(layers.Layer):
    """Takes the steps of all sequences as one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = layers.Dense(3), layers.Dense(3)

    def call(self, x: Any) -> Any:
        batch, steps = ops.shape(x)[0], ops.shape(x)[1]
        return ops.reshape(self.second(ops.reshape(self.first(x), (batch * steps, 3))), (batch, steps, 3))


class Doubled(keras.Model):
    """A functional model whose own `call` doubles what its graph returns."""

    def __init__(self) -> None:
        x = keras.Input((6, 3))
        super().__init__(x, layers.Dense(2, name="second")(layers.Dense(3, name="first")(x)))

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return 2.0 * super().call(inputs, training=training, mask=mask)


class Plus(keras.Sequential):
    """A sequence with a `call` of its own."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return super().call(inputs, training=training, mask=mask) + 1.0


def cut(model: keras.Model, **options: Any) -> Any:
    model(X)
    report = check_model(model, X, every="layer", verify_reference="never", **options)
    assert report, report
    return report.runs[0]


def layers_of(run: Any) -> list[str]:
    return [name for segment in run.segments for name in segment.layers]


def test_a_boundary_whose_first_axis_is_not_the_batch() -> None:
    run = cut(Around(AllSteps()))
    assert layers_of(run) == ["inner/first", "inner/reshape", "inner/second", "inner/reshape_1", "head"]


@pytest.mark.parametrize(
    ("model", "last"),
    [
        (Doubled, "multiply"),
        (lambda: Plus([layers.Dense(3, name="first"), layers.Dense(2, name="second")]), "add"),
    ],
)
def test_a_graph_with_a_call_of_its_own_is_traced(model: Any, last: str) -> None:
    made = model()
    assert layers_of(cut(made)) == ["convert_to_tensor", "first", "second", last]  # its `call` converts what it takes
    assert not made._inbound_nodes


class Counting(layers.Layer):
    """Counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)
        self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False, name="calls")

    def call(self, x: Any) -> Any:
        self.calls.assign_add(1)
        return self.dense(x)


class Left(layers.Layer):
    """Has a weight on the left of a product."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)
        self.scale = self.add_weight(shape=(3,), initializer="ones", name="scale")

    def call(self, x: Any) -> Any:
        return self.scale * self.dense(x)


@pytest.mark.parametrize(("inner", "reason"), [(Counting, "uses the value of"), (Left, "`tensor + variable`")])
def test_only_a_variable_with_a_symbolic_tensor_is_advised_to_be_on_the_right(inner: Any, reason: str) -> None:
    (note,) = cut(Around(inner())).notes
    assert reason in note


class Mixing(layers.Layer):
    """Adds to every example the sum of all, by a matrix whose size is the length of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(3)

    def call(self, x: Any) -> Any:
        length = x.shape[0]
        return self.dense(x) + ops.einsum("ab,bij->aij", ops.ones((length, length)), x)


def test_code_that_needs_the_length_of_a_slice_is_traced_for_it() -> None:
    run = cut(Around(Mixing()), microbatches=2, methods=["vjp", "recompute", {"naive": {"expect": "mismatch"}}])
    assert layers_of(run) == ["inner/dense", "inner/einsum", "inner/add", "head"]
    assert not any("stays one call" in note for note in run.notes)


class Nested(keras.Model):
    """Takes a mapping of a tensor and of a pair; its own name is that of an input."""

    def __init__(self) -> None:
        super().__init__(name="a")
        self.first, self.second = layers.Dense(2), layers.Dense(2)

    def call(self, x: Any) -> Any:
        left, (right,) = x["pair"]
        return self.first(x["a"]) * self.second(left) + right


def test_inputs_in_a_structure_one_of_them_named_as_the_model() -> None:
    x = {"a": X[:, 0], "pair": (X[:, 1], [X[:, 2, :2]])}
    model = Nested()
    model(x)
    report = check_model(model, x, every="layer", verify_reference="never")
    assert report, report
    assert [t.path for t in report.runs[0].checks[0].of_kind("input")] == ["a_input", "pair_0", "pair_1_0"]


def test_strings_of_numpy() -> None:
    lookup = layers.StringLookup(vocabulary=["a", "b"])
    model = keras.Sequential([lookup, layers.Embedding(3, 4), layers.Dense(2)])
    words = np.array([["a"], ["b"], ["?"]])
    model(keras.ops.convert_to_tensor(words))
    report = check_model(model, words, every="layer", verify_reference="never")
    assert report, report
