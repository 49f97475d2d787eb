"""Default text and identifiers come from the vocabulary of whatever layer reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import Input, layers

from gradcheck.batch import make_batch
from gradcheck.config.sections.data import DataConfig
from gradcheck.config.sections.loss import LossSpec

PETS = ["cat", "dog", "fish"]


@pytest.fixture(autouse=True)
def session() -> None:
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(0)


def drawn(x: Any, out: Any, *, count: int = 200, seed: int = 0, **data: Any) -> np.ndarray[Any, Any]:
    """The batch for the input `x` of a model that ends in `out`, which is run on it; text as str."""
    model = keras.Model(x, out)
    config = DataConfig.model_validate({"batch_size": count, **data})
    values = make_batch(config, model, LossSpec(name="mse"), seed=seed, base=Path()).x[0]
    model(values)
    array = np.asarray(values)
    return array.astype("U") if array.dtype == object else array


def text(*shape: int) -> Any:
    return Input(shape, dtype="string", name="text")


def test_words_of_the_vocabulary_and_now_and_then_another() -> None:
    x = text(2)
    found = drawn(x, layers.StringLookup(vocabulary=PETS)(x))
    assert found.shape == (200, 2)
    share = np.isin(found, PETS).mean()
    assert 0.75 < share < 0.97
    assert set(PETS) < set(found.ravel())


def test_a_closed_vocabulary_gets_nothing_else() -> None:
    x = text()
    found = drawn(x, layers.StringLookup(vocabulary=PETS, num_oov_indices=0, mask_token=None)(x))
    assert set(found) == set(PETS)


def test_two_readers_get_what_both_know() -> None:
    x = text()
    one = layers.StringLookup(vocabulary=PETS, num_oov_indices=0, name="closed")(x)
    other = layers.StringLookup(vocabulary=["dog", "fish", "newt"], num_oov_indices=0, name="other")(x)
    third = layers.StringLookup(vocabulary=["newt"], name="open")(x)
    assert set(drawn(x, [one, other, third])) == {"dog", "fish"}


def test_sentences_for_a_text_vectorization() -> None:
    x = text()
    found = drawn(x, layers.TextVectorization(vocabulary=PETS, output_sequence_length=5)(x))
    lengths = {len(sentence.split()) for sentence in found}
    assert lengths == set(range(1, 9))
    words = [word for sentence in found for word in sentence.split()]
    assert 0.75 < np.isin(words, PETS).mean() < 0.97


@pytest.mark.parametrize(("split", "expected"), [("character", {"a", "b"}), (None, {"a", "b"})])
def test_text_that_is_not_split_at_spaces(split: Any, expected: set[str]) -> None:
    x = text()
    layer = layers.TextVectorization(vocabulary=["a", "b"], split=split, standardize=None)
    found = drawn(x, layer(x))
    assert not any(" " in value for value in found)
    assert expected <= {character for value in found for character in value}
    assert (max(map(len, found)) > 10) == (split == "character")
    assert split == "character" or expected < set(found)


def test_any_words_for_what_hashes_them() -> None:
    x = text(1)
    assert len(set(drawn(x, layers.Hashing(4)(x)).ravel())) == 3


def test_integers_of_the_vocabulary_and_one_that_it_lacks() -> None:
    x = Input((3,), dtype="int64")
    ids = layers.IntegerLookup(vocabulary=[11, 42, 77])(x)
    found = drawn(x, layers.Embedding(4, 2)(ids))  # the embedding's size bounds what is looked up, not the input
    assert set(found.ravel()) == {11, 42, 77, 78}


def test_hashed_integers_are_integers_as_ever() -> None:
    x = Input((3,), dtype="int32")
    assert set(drawn(x, layers.Hashing(4)(x)).ravel()) == {0, 1}


def test_an_inverse_lookup_takes_indices() -> None:
    x = Input((3,), dtype="int32")
    words = layers.StringLookup(vocabulary=PETS, invert=True, name="words")(x)
    again = layers.StringLookup(vocabulary=PETS, name="ids")(words)
    assert set(drawn(x, again).ravel()) == {0, 1, 2, 3}


class Inside(layers.Layer):
    """A layer that looks words up in a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.lookup = layers.StringLookup(vocabulary=PETS)

    def call(self, x: Any) -> Any:
        return self.lookup(x)


def test_the_layer_may_be_inside_another_or_behind_an_operation() -> None:
    x = text(4)
    assert set(PETS) < set(drawn(x, Inside()(x)).ravel())
    x = text(4)
    inner = keras.Sequential([Input((2,), dtype="string"), layers.StringLookup(vocabulary=PETS)])
    assert set(PETS) < set(drawn(x, inner(x[:, 1:3])).ravel())


def test_the_seed_decides() -> None:
    x = text()
    found = layers.TextVectorization(vocabulary=PETS)(x)
    first, again, other = (drawn(x, found, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_a_constant_word() -> None:
    x = text(2)
    found = drawn(x, layers.StringLookup(vocabulary=PETS)(x), inputs={"constant": ["dog", "newt"]}, count=2)
    np.testing.assert_array_equal(found, [["dog", "newt"]] * 2)


def test_columns_of_a_feature_space() -> None:
    space = keras.utils.FeatureSpace(
        {
            "pet": keras.utils.FeatureSpace.string_categorical(num_oov_indices=0),
            "age": keras.utils.FeatureSpace.float_normalized(),
        },
        output_mode="concat",
    )
    space.adapt(tf.data.Dataset.from_tensor_slices({"pet": PETS, "age": [1.0, 2.0, 3.0]}).batch(3))
    model = keras.Model(space.get_inputs(), layers.Dense(2)(space.get_encoded_features()))
    made = make_batch(DataConfig(batch_size=50), model, LossSpec(name="mse"), seed=0, base=Path())
    values = dict(zip((t.name for t in model.inputs), made.x, strict=True))
    assert set(np.asarray(values["pet"]).astype("U").ravel()) == set(PETS)
    assert values["age"].dtype == "float32"
