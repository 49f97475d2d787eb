"""What a candidate may return: gradients by variable, by path and in order, also where models name layers alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.errors import RunError
from gradcheck.methods.returned import understood

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

#: Two models from one function, as for two players: every path of the one is a path of the other.
TWINS = """
    model: {segments: [{factory: "./models.py:net"}, {factory: "./models.py:net"}]}
    loss: MeanSquaredError
    data: {batch_size: 4}
    methods: [candidate: {factory: "./train.py:gradients"}]
"""
#: The same beside a whole that was written by itself, whose paths are others.
WITH_WHOLE = TWINS.replace("}]}", '}], reference: {factory: "./models.py:whole"}}', 1)
MODELS = """
    import keras

    def net():
        x = keras.Input([3])
        h = keras.layers.Dense(3, activation="tanh", name="fc")(x)
        return keras.Model(x, keras.layers.Dense(3, name="out")(h), name="net")

    def whole():
        x = keras.Input([3])
        h = x
        for i in range(2):
            h = keras.layers.Dense(3, activation="tanh", name=f"fc_of_{i}")(h)
            h = keras.layers.Dense(3, name=f"out_of_{i}")(h)
        return keras.Model(x, h)
"""
#: The loop of docs/candidate.md, over any two models; RETURNED is what it hands back.
LOOP = """
    import tensorflow as tf

    def gradients(check):
        front, back = check.segments
        with tf.GradientTape() as tape_0:
            boundary = front(check.x, training=check.training)
        with tf.GradientTape() as tape_1:
            tape_1.watch(boundary)
            loss = check.loss(check.y, back(boundary, training=check.training))
        cotangent, *of_back = tape_1.gradient(loss, [boundary, *back.trainable_variables])
        of_front = tape_0.gradient(boundary, front.trainable_variables, output_gradients=cotangent)
        variables, found = [*front.trainable_variables, *back.trainable_variables], [*of_front, *of_back]
        pairs = list(zip(variables, found))
        return RETURNED
"""
both = pytest.mark.parametrize("config", [TWINS, WITH_WHOLE], ids=["composed", "with a reference"])


def checked(run: Run, config: str, returned: str) -> CheckReport:
    (check,) = run(config, {"models.py": MODELS, "train.py": LOOP.replace("RETURNED", returned)}).checks
    return check


@both
@pytest.mark.parametrize(
    "returned",
    [
        "{id(v): g for v, g in pairs}",
        "{v.value.ref(): g for v, g in pairs}",
        "[dict((id(v), g) for v, g in pairs)[id(v)] for v in check.variables]",
        "(loss, {id(v): g for v, g in pairs})",
    ],
)
def test_models_that_name_their_layers_alike_are_told_apart(run: Run, config: str, returned: str) -> None:
    check = checked(run, config, returned)
    assert (check.outcome, check.diagnoses) == ("match", ()), check.error
    assert len(check.of_kind("weight")) == 8


@both
@pytest.mark.parametrize(
    "returned", ["{id(v): -g for v, g in pairs}", "{id(v): g for v, g in zip(variables, found[::-1])}"]
)
def test_a_mistake_is_seen_whatever_the_keys_are(run: Run, config: str, returned: str) -> None:
    assert checked(run, config, returned).outcome == "mismatch"


@both
def test_a_path_of_two_variables_is_refused(run: Run, config: str) -> None:
    """The later gradient has overwritten the earlier: neither is known."""
    error = checked(run, config, "{v.path: g for v, g in pairs}").error
    assert error is not None
    assert (error.code, error.exit_code) == ("GC055", 3)
    assert "the path 'fc/kernel', which 2 variables have" in error.message
    assert "in the order of `variables`, or key by the variable itself: {id(v): gradient}" in str(error.help)


def test_the_names_of_the_report_tell_them_apart(run: Run) -> None:
    named = "{f'{v.path}:2' if v in back.trainable_variables else v.path: g for v, g in pairs}"
    named = named.replace("v in back", "any(v is b for b in back").replace("variables else", "variables) else")
    assert checked(run, TWINS, named).outcome == "match"
    alone = checked(
        run, TWINS, f"dict(list({named}.items())[:4])"
    ).error  # the first model's four, by their plain paths
    assert alone is not None
    assert "which 2 variables have" in alone.message


def test_one_gradient_a_variable(run: Run) -> None:
    twice = "{**{id(v): g for v, g in pairs}, 'fc_of_0/kernel': found[0]}"
    error = checked(run, WITH_WHOLE, twice).error
    assert error is not None
    assert "several keys for the variable fc_of_0/kernel, the last of them 'fc_of_0/kernel'" in error.message


def test_a_key_that_is_no_variable(run: Run) -> None:
    error = checked(run, TWINS, "{1: found[0]}").error
    assert error is not None
    assert "the unknown key 1" in error.message


@pytest.mark.parametrize("returned", ["{}", "tuple({})", "(loss, {})"])
def test_each_gradient_with_its_variable(run: Run, returned: str) -> None:
    """As `apply_gradients` takes them, in any order."""
    pairs = "[(g, v) for v, g in pairs[::-1]]"
    assert checked(run, WITH_WHOLE, returned.format(pairs)).outcome == "match"


class Variable:
    """Of a Keras variable what a key may refer to."""

    def __init__(self, path: str) -> None:
        self.path, self.value = path, object()


class Weight:
    def __init__(self, path: str, variable: Variable) -> None:
        self.path, self.variable, self.key = path, variable, path


class Part:
    def __init__(self, *variables: Variable) -> None:
        self.trainable_variables = list(variables)


class Shifted:
    """Parts whose layers are numbered from 1 on, beside a whole that numbers them from 0 on."""

    def __init__(self) -> None:
        self.of_whole = [Variable(f"dense_{i}/kernel") for i in range(2)]
        self.of_parts = [Variable(f"dense_{i}/kernel") for i in range(1, 3)]
        self.weights = [Weight(v.path, v) for v in self.of_whole]
        self.segments = [Part(v) for v in self.of_parts]
        self.counterparts = {id(v.value): w for v, w in zip(self.of_parts, self.weights, strict=True)}


def gradients_of(returned: Any) -> dict[Any, Any]:
    problem: Any = Shifted()
    return understood(returned, problem, "f")[1]


def test_all_paths_together_say_whose_they_are() -> None:
    """`dense_1` alone is a variable of either side."""
    import tensorflow as tf

    one, two = tf.constant(1.0), tf.constant(2.0)
    found = gradients_of({"dense_1/kernel": one, "dense_2/kernel": two})
    assert found["dense_0/kernel"] is one
    assert found["dense_1/kernel"] is two
    with pytest.raises(RunError, match="which 2 variables have"):
        gradients_of({"dense_1/kernel": one})
