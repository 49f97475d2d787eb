"""Text, ragged and sparse tensors out of factories and files, and defaults for inputs that are such."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import Input, layers

from gradcheck.batch import Batch, make_batch
from gradcheck.config.sections.data import DataConfig
from gradcheck.config.sections.loss import LossSpec
from gradcheck.errors import ConfigError

ragged_inputs = pytest.mark.skipif(
    "ragged" not in inspect.signature(keras.Input).parameters, reason="this Keras has no ragged inputs"
)


@pytest.fixture(autouse=True)
def session() -> None:
    keras.utils.clear_session(free_memory=False)


class LargestOfRow(layers.Layer):
    """The largest of a row, however long it is."""

    def call(self, x: Any) -> Any:
        return tf.reduce_max(x, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *input_shape[2:])


def reading(x: Any) -> keras.Model:
    """A model of the input `x`, of rows of numbers."""
    floats = x if str(x.dtype) == "float32" else layers.Lambda(lambda t: tf.cast(t, "float32"), dtype="float32")(x)
    return keras.Model(x, LargestOfRow(name="out")(floats))


def batch(model: keras.Model, base: Path, values: str, **data: Any) -> Batch:
    """The batch whose factory returns the expression `values` for x."""
    source = f"import numpy as np\nimport tensorflow as tf\ndef make():\n    return {values}, None\n"
    (base / "data.py").write_text(source)
    config = DataConfig.model_validate({"batch_size": 2, "factory": "./data.py:make", **data})
    return make_batch(config, model, LossSpec(name="mse"), seed=0, base=base)


def failing(model: keras.Model, base: Path, values: str, **data: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        batch(model, base, values, **data)
    assert caught.value.code == "GC030"
    return caught.value


def words() -> keras.Model:
    x = Input((2,), dtype="string", name="words")
    return keras.Model(x, layers.StringLookup(vocabulary=["é", "b"], output_mode="multi_hot")(x))


@pytest.mark.parametrize(
    "values",
    [
        "[['é', 'b'], ['c', 'd']]",
        "np.array([['é', 'b'], ['c', 'd']])",
        "np.array([['é', 'b'], ['c', 'd']], dtype=object)",
        "np.array([['é'.encode(), b'b'], ['c', 'd']], dtype=object)",
        "np.char.encode(np.array([['é', 'b'], ['c', 'd']]), 'utf-8')",
        "tf.constant([['é', 'b'], ['c', 'd']])",
    ],
)
def test_text_of_every_kind(tmp_path: Path, values: str) -> None:
    made = batch(words(), tmp_path, values).x[0]
    assert made.dtype == tf.string
    assert [[word.decode() for word in row] for row in made.numpy()] == [["é", "b"], ["c", "d"]]


def test_text_of_an_npz_file(tmp_path: Path) -> None:
    np.savez(tmp_path / "batch.npz", words=np.array([["é", "b"], ["c", "d"]]))
    config = DataConfig(npz="batch.npz", batch_size=2)
    made = make_batch(config, words(), LossSpec(name="mse"), seed=0, base=tmp_path).x[0]
    assert made[0, 0].numpy().decode() == "é"


def test_objects_of_an_npz_file_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "batch.npz", words=np.array([["a", "b"], ["c", "d"]], dtype=object))
    with pytest.raises(ConfigError, match="allow_pickle=False") as caught:
        make_batch(DataConfig(npz="batch.npz"), words(), LossSpec(name="mse"), seed=0, base=tmp_path)
    assert caught.value.code == "GC030"


def test_objects_that_are_no_text(tmp_path: Path) -> None:
    error = failing(words(), tmp_path, "np.array([['a', None], ['c', 'd']], dtype=object)")
    assert error.message == "input words takes string. Received: objects that are not all text"
    error = failing(words(), tmp_path, "[[1, 2], [3, 4]]")
    assert error.message == "input words takes string. Received: int64"


ROWS = "tf.ragged.constant([[1, 2, 3], [4], [5, 6]])"


@ragged_inputs
def test_a_ragged_tensor_stays_one(tmp_path: Path) -> None:
    made = batch(reading(Input((None,), dtype="int64", ragged=True)), tmp_path, ROWS)
    assert isinstance(made.x[0], tf.RaggedTensor)
    assert made.x[0].dtype == tf.int64
    assert made.x[0].to_list() == [[1, 2, 3], [4]]
    assert made.y[0].shape == (2,)  # type: ignore[union-attr]


def test_a_ragged_tensor_for_an_input_that_leaves_the_axis_open(tmp_path: Path) -> None:
    made = batch(reading(Input((None,), dtype="float32")), tmp_path, ROWS)
    assert isinstance(made.x[0], tf.RaggedTensor)
    assert made.x[0].to_list() == [[1.0, 2.0, 3.0], [4.0]]


@ragged_inputs
def test_default_rows_of_unequal_length() -> None:
    model = reading(Input((None, 2), ragged=True))
    made = make_batch(DataConfig(batch_size=20), model, LossSpec(name="mse"), seed=0, base=Path()).x[0]
    assert isinstance(made, tf.RaggedTensor)
    assert made.shape[2] == 2
    assert len(set(made.row_lengths().numpy())) > 3


@pytest.mark.parametrize(
    ("shape", "values", "message"),
    [
        ((3,), ROWS, "takes shape (batch, 3). Received: a RaggedTensor of shape (3, None) and dtype int32"),
        ((None, 2), ROWS, "takes shape (batch, any, 2). Received: a RaggedTensor of shape (3, None) and dtype int32"),
        ((None,), "[[1, 2], [3]]", "rows has rows of unequal length. Received: a list"),
        ((None,), "{'rows': [[1, 2], [3]]}", "rows has rows of unequal length. Received: a list"),
        ((None,), "tf.ragged.constant([[1, 2]])", "batch_size is 2. Received: 1 rows for input rows"),
        ((None,), "tf.ragged.constant([[1.5], [2.5]])", "takes int32. Received: float32 from 1.5 to 2.5"),
        ((None,), "tf.ragged.constant([['a'], ['b']])", "takes int32. Received: "),
        ((5,), "tf.sparse.eye(2, 4)", "takes shape (batch, 5). Received: a SparseTensor of shape (2, 4)"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, shape: Any, values: str, message: str) -> None:
    error = failing(reading(Input(shape, dtype="int32", name="rows")), tmp_path, values)
    assert message in error.message
    assert error.keys[0] == "data"  # type: ignore[attr-defined]


def test_rows_of_unequal_length_are_no_target(tmp_path: Path) -> None:
    source = f"import tensorflow as tf\ndef make():\n    return None, {ROWS}\n"
    (tmp_path / "data.py").write_text(source)
    config = DataConfig(factory="./data.py:make")
    with pytest.raises(ConfigError, match=r"the target of output out must be an array\. Received: a RaggedTensor"):
        make_batch(config, reading(Input((4,))), LossSpec(name="mse"), seed=0, base=tmp_path)


@ragged_inputs
def test_an_output_of_unequal_rows_is_refused() -> None:
    x = Input((None,), dtype="int32", ragged=True)
    model = keras.Model(x, layers.Embedding(5, 2, name="out")(x))
    with pytest.raises(ConfigError, match=r"no loss takes output out\. Received: a RaggedTensor") as caught:
        make_batch(DataConfig(), model, LossSpec(name="mse"), seed=0, base=Path())
    assert caught.value.code == "GC030"


def test_sparse_rows_stay_sparse_where_the_input_is(tmp_path: Path) -> None:
    x = Input((4,), sparse=True)
    made = batch(keras.Model(x, layers.Dense(2)(x)), tmp_path, "tf.sparse.eye(3, 4)").x[0]
    assert isinstance(made, tf.SparseTensor)
    np.testing.assert_array_equal(tf.sparse.to_dense(made), np.eye(2, 4))


def test_sparse_rows_become_dense_where_it_is_not(tmp_path: Path) -> None:
    x = Input((4,))
    made = batch(keras.Model(x, layers.Dense(2)(x)), tmp_path, "tf.sparse.eye(3, 4)").x[0]
    np.testing.assert_array_equal(made, np.eye(2, 4))


def test_a_sparse_default_is_mostly_zeros() -> None:
    x = Input((100,), sparse=True)
    model = keras.Model(x, layers.Dense(2)(x))
    made = make_batch(DataConfig(), model, LossSpec(name="mse"), seed=0, base=Path()).x[0]
    assert isinstance(made, tf.SparseTensor)
    assert 20 < len(made.values) < 80
