from __future__ import annotations

from typing import Any

import cloudpickle
import numpy as np
import pytest

from gradcheck.engines.absent import Absent
from gradcheck.engines.sent import packed
from gradcheck.errors import CannotAsk


class TestAbsent:
    def test_it_raises_when_it_is_used_and_says_what_was(self) -> None:
        tf = Absent("tensorflow")
        assert tf.nn is not None
        with pytest.raises(NotImplementedError, match=r"it calls tensorflow\.nn\.relu, which is TensorFlow's"):
            tf.nn.relu(1.0)
        with pytest.raises(NotImplementedError, match="it uses a tensor"):
            np.asarray(Absent("a tensor"))

    def test_decorators_give_the_function_without_its_gradient(self) -> None:
        tf = Absent("tensorflow")

        @tf.custom_gradient
        def square(x: float) -> Any:
            return x * x, lambda upstream: upstream * x

        assert square(3.0) == 9.0
        assert tf.function(lambda x: x + 1)(1) == 2


def test_code_is_sent_by_value_and_tensorflow_by_name() -> None:
    import tensorflow as tf

    @tf.custom_gradient
    def cube(x: Any) -> Any:
        return x**3, lambda upstream: upstream * x

    def either(x: Any, *, raw: bool) -> Any:
        return tf.sin(x) if raw else cube(x)

    found = cloudpickle.loads(packed(either))
    assert found(2.0, raw=False) == 8.0
    with pytest.raises(NotImplementedError, match=r"it calls tensorflow\.sin"):
        found(2.0, raw=True)
    assert cloudpickle.loads(packed(tf.function(either)))(2.0, raw=False) == 8.0

    with pytest.raises(CannotAsk, match="its code cannot be handed to another process"):
        packed(x for x in ())
