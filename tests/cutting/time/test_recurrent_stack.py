"""Which models can be cut along time, what the others are told, and how long the chunks are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras
import pytest
from keras import layers

from gradcheck.config.keyed import KeyedError
from gradcheck.config.schema import TimeSplit
from gradcheck.cutting.model_graph import flatten
from gradcheck.cutting.time.recurrent_stack import find_stack

if TYPE_CHECKING:
    from gradcheck.cutting.time.recurrent_stack import Stack

TWO = TimeSplit(chunks=2)


def stack_of(*stacked: keras.Layer, split: TimeSplit = TWO, steps: int | None = 7) -> Stack:
    return find_stack(flatten(keras.Sequential([keras.Input((steps, 4)), *stacked])), split)


@pytest.mark.parametrize(
    ("split", "lengths"),
    [
        (TWO, [4, 3]),
        (TimeSplit(chunks=3), [3, 2, 2]),
        (TimeSplit(chunks=7), [1] * 7),
        (TimeSplit(lengths=(1, 4, 2)), [1, 4, 2]),
    ],
)
def test_chunks_cover_the_sequence_in_order(split: TimeSplit, lengths: list[int]) -> None:
    chunks = stack_of(layers.GRU(2), split=split).chunks
    assert [len(chunk) for chunk in chunks] == lengths
    assert [step for chunk in chunks for step in chunk] == list(range(7))


def test_the_stack_and_what_stands_before_it() -> None:
    stack = stack_of(
        layers.Dense(3), layers.LSTM(2, return_sequences=True, name="a"), layers.GRU(2, name="b"), layers.Dense(1)
    )
    assert [call.name for call in stack.calls] == ["a", "b"]
    assert stack.before == {0}


def states_handed_on() -> keras.Model:
    x = keras.Input((7, 4))
    sequence, *states = layers.LSTM(2, return_sequences=True, return_state=True, name="encoder")(x)
    return keras.Model(x, layers.LSTM(2, name="decoder")(sequence, initial_state=states))


def two_stacks() -> keras.Model:
    x = keras.Input((7, 4))
    return keras.Model(x, layers.Add()([layers.GRU(2, name="left")(x), layers.GRU(2, name="right")(x)]))


class NoisyCell(layers.SimpleRNNCell):
    def __init__(self, units: int) -> None:
        super().__init__(units)
        self.noise = layers.Dropout(0.5)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ([layers.Flatten(), layers.Dense(1)], "no recurrent layer"),
        ([layers.Bidirectional(layers.LSTM(2), name="both")], "both is Bidirectional: its backward layer starts"),
        ([layers.LSTM(2, go_backwards=True, name="back")], "back has go_backwards"),
        ([layers.Reshape((7, 2, 2, 1)), layers.ConvLSTM2D(1, 1, name="conv")], r"conv \(ConvLSTM2D\)"),
        ([layers.RNN(NoisyCell(2), name="noisy")], "the cell of noisy draws random numbers at every step"),
        (
            [layers.GRU(2, return_sequences=True, name="a"), layers.Dropout(0.1), layers.GRU(2, name="b")],
            "b does not take the output of a",
        ),
        (two_stacks, "not one stack: right does not take the output of left"),
        (states_handed_on, "needs more of encoder than its output sequence"),
    ],
)
def test_what_cannot_be_cut_says_why(model: object, message: str) -> None:
    built = model() if callable(model) else keras.Sequential([keras.Input((7, 4)), *model])  # type: ignore[misc]  # a list
    with pytest.raises(KeyedError, match=message) as caught:
        find_stack(flatten(built), TWO)
    assert (caught.value.code, caught.value.keys) == ("GC025", ("split", "time"))
    assert caught.value.help


def test_a_sequence_of_unknown_length() -> None:
    with pytest.raises(KeyedError, match="is not known") as caught:
        stack_of(layers.GRU(2), steps=None)
    assert caught.value.code == "GC025"


@pytest.mark.parametrize(
    ("split", "key", "message"),
    [
        (TimeSplit(chunks=8), "chunks", "8 chunks of a sequence of 7 steps"),
        (TimeSplit(lengths=(3, 3)), "lengths", r"3 \+ 3 = 6 steps of a sequence of 7"),
    ],
)
def test_chunks_that_do_not_fit(split: TimeSplit, key: str, message: str) -> None:
    with pytest.raises(KeyedError, match=message) as caught:
        stack_of(layers.GRU(2), split=split)
    assert (caught.value.code, caught.value.keys) == ("GC004", ("split", "time", key))
