"""A batch as `fit` takes it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from gradcheck.errors import ConfigError
from gradcheck.live.given import batch_of


class Batches(keras.utils.PyDataset):  # type: ignore[misc]
    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Any:
        return np.full((3, 2), index), np.full((3,), index), np.full((3,), 0.5)


def test_the_first_batch_of_a_dataset_is_unpacked_as_keras_does() -> None:
    given = batch_of(None, None, data=Batches())
    assert (given.x.shape, given.y.shape, float(given.sample_weight[0])) == ((3, 2), (3,), 0.5)
    alone = batch_of(None, None, data=tf.data.Dataset.range(8).batch(4))
    assert (alone.batch_size, alone.y, alone.sample_weight) == (4, None, None)


def test_lists_of_numbers_are_arrays_and_lists_of_arrays_stay() -> None:
    given = batch_of([np.ones((2, 1)), tf.ones((2, 3))], [[1.0], [2.0]])
    assert isinstance(given.x, list)
    assert given.y.shape == (2, 1)
    assert given.batch_size == 2


@pytest.mark.parametrize("y", [np.array([0, 2, 1]), np.array([[0], [2], [1]]), np.eye(3)[[0, 2, 1]]])
def test_the_weight_of_a_class_is_that_of_its_examples(y: Any) -> None:
    given = batch_of(np.ones((3, 1)), y, class_weight={0: 2.0, 2: 5.0})
    assert given.sample_weight.tolist() == [2.0, 5.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "Received: neither"),
        ({"x": np.ones(2), "data": tf.data.Dataset.range(2)}, "Received: both"),
        ({"data": 3}, "Received: a int"),
        (
            {"x": np.ones(2), "y": np.ones(2), "class_weight": {}, "sample_weight": np.ones(2)},
            "without a sample_weight",
        ),
    ],
)
def test_what_is_no_batch(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        batch_of(**{"x": None, "y": None, **arguments})


def test_a_scalar_has_no_examples() -> None:
    with pytest.raises(ConfigError, match="no axis of examples"):
        _ = batch_of(np.float32(2.0), None).batch_size
