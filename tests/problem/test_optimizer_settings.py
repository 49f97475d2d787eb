"""Optimizers in words: what a person would write."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def kinds() -> Any:
    import keras

    return keras.optimizers


def test_defaults_are_left_out(kinds: Any) -> None:
    from gradcheck.problem.optimizer_settings import in_words

    assert in_words(kinds.Adam(0.01)) == "Adam(learning_rate=0.01)"
    assert in_words(kinds.SGD(0.05, momentum=0.9, name="mine")) == "SGD(learning_rate=0.05, momentum=0.9)"
    decayed = kinds.SGD(kinds.schedules.ExponentialDecay(0.1, decay_steps=2, decay_rate=0.5))
    assert in_words(decayed).startswith("SGD(learning_rate=ExponentialDecay(initial_learning_rate=0.1, decay_steps=2")
    assert in_words(kinds.LossScaleOptimizer(kinds.Adam(0.01))) == "Adam(learning_rate=0.01)"


def test_only_what_differs_from_one_of_the_same_class(kinds: Any) -> None:
    from gradcheck.problem.optimizer_settings import differ, in_words

    one, other = kinds.SGD(0.1, momentum=0.9, nesterov=True), kinds.SGD(0.1, nesterov=True)
    assert differ(one, other)
    assert in_words(one, other) == "SGD(learning_rate=0.1, momentum=0.9)"
    assert in_words(other, one) == "SGD(learning_rate=0.1, momentum=0.0)"
    assert differ(one, kinds.Adam(0.1))
    assert not differ(one, kinds.SGD(0.1, momentum=0.9, nesterov=True, name="another"))
