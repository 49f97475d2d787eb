"""Parts that are another model than their whole: that is said first, with the layer, and no fault is named for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, Diagnosis, RunReport

    Run = Callable[..., RunReport]

#: A model in two parts: as the whole is for the kind "whole", else with one thing otherwise.
MODELS = """
    import keras
    import tensorflow as tf
    from keras import layers


    class Wave(layers.Layer):
        def __init__(self, stopped=False, **kwargs):
            super().__init__(**kwargs)
            self.stopped = stopped

        def call(self, x):
            wave = tf.sin(x)
            return x + (tf.stop_gradient(wave) if self.stopped else wave)


    class Scale(layers.Layer):
        def __init__(self, stopped=False, **kwargs):
            super().__init__(**kwargs)
            self.stopped = stopped

        def build(self, shape):
            self.factor = self.add_weight(shape=(shape[-1],), initializer="ones", name="factor")

        def call(self, x):
            factor = tf.convert_to_tensor(self.factor)
            return x * (tf.stop_gradient(factor) if self.stopped else factor)


    class Block(layers.Layer):
        def __init__(self, stopped=False, **kwargs):
            super().__init__(**kwargs)
            self.first = layers.Dense(6, activation="tanh", name="first")
            self.wave = Wave(stopped, name="wave")

        def build(self, shape):
            self.first.build(shape)
            super().build(shape)

        def call(self, x):
            return self.wave(self.first(x))


    @tf.custom_gradient
    def halved(x):
        return tf.identity(x), lambda dy: 0.5 * dy


    class Half(layers.Layer):
        def call(self, x):
            return halved(x)


    def front(x, kinds):
        kind = kinds.split()
        h = layers.Dense(6, activation="relu" if "activation" in kind else "tanh", name="a",
                         kernel_regularizer=None if "penalty" in kind else "l2")(x)
        h = Wave("wave" in kind, name="t")(h)
        epsilon = 1e-1 if "epsilon" in kind else 1e-3
        normed = layers.LayerNormalization(epsilon=epsilon, activity_regularizer="l2" if "more" in kind else None,
                                           name="norm")
        h = layers.GroupNormalization(2, name="norm")(h) if "type" in kind else normed(h)
        h = layers.Dropout(0.7 if "rate" in kind else 0.3, name="drop")(h)
        h = Scale("weight" in kind, activity_regularizer=None if "activity" in kind else "l2", name="scale")(h)
        return h if "skip" in kind else layers.Add(name="sum")([h, h])


    def back(h, kind):
        h = Block(kind == "inner", name="block")(h)
        if kind == "operation":
            h = keras.ops.stop_gradient(h) + 0.0 * h
        if kind == "custom":
            h = Half(name="half")(h)
        h = layers.BatchNormalization(momentum=0.5 if kind == "momentum" else 0.9, name="bn")(h)
        return layers.Dense(2, name="b")(h)


    def whole(kind="whole"):
        x = keras.Input([5], name="x")
        return keras.Model(x, back(front(x, kind), kind))


    def first(kind):
        x = keras.Input([5], name="x")
        return keras.Model(x, front(x, kind), name="front")


    def second(kind):
        h = keras.Input([6], name="h")
        return keras.Model(h, back(h, kind), name="back")


    class Subclassed(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.inner = whole()

        def build(self, shape):
            self.inner.build(shape)

        def call(self, x, training=False):
            return self.inner(x, training=training)


    def subclassed():
        x = keras.Input([5], name="x")
        return keras.Model(x, Subclassed(name="all")(x))
"""
TRAIN = """
    import tensorflow as tf

    def carried(check, times=1.0):
        front, back = check.segments
        with tf.GradientTape() as tape_0:
            h = front(check.x, training=check.training)
            extra = tf.add_n(front.losses) if front.losses else tf.zeros(())
        with tf.GradientTape() as tape_1:
            tape_1.watch(h)
            loss = check.loss(check.y, back(h, training=check.training))
        cotangent, *of_back = tape_1.gradient(loss, [h, *back.trainable_variables])
        seeds = [times * cotangent, tf.ones(())]
        of_front = tape_0.gradient([h, extra], front.trainable_variables, output_gradients=seeds)
        return [*of_front, *of_back]

    def right(check):
        return carried(check)

    def ascent(check):
        return carried(check, -1.0)

    def whole_alone(check):
        with tf.GradientTape() as tape:
            loss = check.loss(check.y, check.model(check.x, training=check.training)) + sum(check.model.losses)
        found = tape.gradient(loss, check.model.trainable_variables)
        return [None, *found[1:]]
"""


def checked(run: Run, kind: str, *methods: Any, whole: str = "whole", **config: Any) -> list[CheckReport]:
    parts = [{"factory": f"./m.py:{name}", "kwargs": {"kind": kind}} for name in ("first", "second")]
    model = {"segments": parts, "reference": {"factory": f"./m.py:{whole}"}}
    given = {"model": model, "loss": "MeanSquaredError", "data": {"batch_size": 8}, "methods": list(methods or ["vjp"])}
    if kind != "whole":  # it is one and the same in all tests
        given["verify_reference"] = "never"
    report = run({**given, **config}, {"m.py": MODELS, "train.py": TRAIN})
    assert report.error is None, report.error
    return list(report.checks)


def only(run: Run, kind: str, **config: Any) -> Diagnosis:
    (check,) = checked(run, kind, **config)
    assert (check.outcome, check.as_expected) == ("mismatch", False)
    (found,) = check.diagnoses
    return found


def test_parts_that_are_the_whole_pass(run: Run) -> None:
    (check,) = checked(run, "whole")
    assert (check.outcome, check.diagnoses) == ("match", ())


@pytest.mark.third  # of which each code is one
@pytest.mark.parametrize(
    ("kind", "expected", "words"),
    [
        (
            "wave",
            ("GC601", "t", 0),
            "The forward passes agree, and front's own gradient differs, at t (front/t of the parts)|wrong by itself: ",
        ),
        ("weight", ("GC601", "scale", 0), "front's own gradient differs, at scale"),
        ("inner", ("GC601", "block/wave", 1), "back's own gradient differs, at block/wave"),
        (
            "activation",
            ("GC113", "a", 0),
            "first at a (front/a of the parts): what goes in agrees|activation is relu in the part, tanh in the whole",
        ),
        (
            "epsilon",
            ("GC113", "norm", 0),
            "The forward passes differ first at norm|epsilon is 0.1 in the part, 0.001 in the whole",
        ),
        ("rate", ("GC113", "drop", 0), "rate is 0.7 in the part, 0.3 in the whole"),
        ("penalty", ("GC501", "a", 0), " in the parts, |the part lacks what a (front/a of the parts) adds"),
        ("type", ("GC113", "norm", 0), "it is a GroupNormalization in the part, a LayerNormalization in the whole"),
        ("activity", ("GC501", "scale", 0), "the part lacks what scale (front/scale of the parts) adds"),
    ],
)
def test_the_layer_that_computes_another_thing_is_named(
    run: Run, kind: str, expected: tuple[Any, ...], words: str
) -> None:
    found = only(run, kind)
    assert (found.code, found.layer, found.segment, found.confidence) == (*expected, "exact")
    assert found.evidence.startswith("the parts are not the whole model")
    assert [said for said in words.split("|") if said not in found.evidence] == []
    assert "model.reference" in found.fix


@pytest.mark.parametrize(
    ("kind", "code", "layer", "words"),
    [
        ("skip", "GC113", "block/first", "is given other values; only the whole has sum (Add)"),
        ("operation", "GC900", "block/wave", "another gradient comes back to block/wave"),
        ("custom", "GC900", "block/wave", "only the parts have back/half (Half)"),
        ("more", "GC900", None, "what layers and weight penalties add to the loss does not: "),
        ("momentum", "GC900", "bn", "the state afterwards is not: bn/moving"),
    ],
)
def test_what_is_between_layers_is_said(run: Run, kind: str, code: str, layer: str | None, words: str) -> None:
    found = only(run, kind)
    assert (found.code, found.confidence, found.layer) == (code, "likely", layer)
    assert words in found.evidence


@pytest.mark.third
@pytest.mark.parametrize(
    ("kind", "code", "layer"),
    [("activation wave", "GC113", "a"), ("penalty wave", "GC501", "a"), ("wave weight", "GC601", "scale")],
)
def test_what_is_not_all_of_it_is_likely(run: Run, kind: str, code: str, layer: str) -> None:
    found = only(run, kind)
    assert (found.code, found.confidence, found.layer) == (code, "likely", layer)


@pytest.mark.parametrize("config", [{"precision": "float64"}, {"microbatches": 2}, {"execution": "graph"}])
def test_however_it_is_run(run: Run, config: Any) -> None:
    assert only(run, "wave", **config).layer == "t"


@pytest.mark.parametrize("method", ["jacobian", "recompute", "graph", "hvp"])
def test_whichever_method_shows_it(run: Run, method: str) -> None:
    (check,) = checked(run, "wave", method, training=False)
    found = [(d.code, d.layer, d.confidence) for d in check.diagnoses]
    shared = [("GC601", "a", "possible")] if method == "hvp" else []  # layer normalisation, in the whole too
    assert found == [*shared, ("GC601", "t", "exact")]


def test_a_whole_that_is_no_graph_is_walked_too(run: Run) -> None:
    found = only(run, "inner", whole="subclassed")
    assert (found.confidence, found.segment) == ("exact", 1)
    assert found.layer is not None
    assert found.layer.endswith("block/wave")


CANDIDATES = [{"candidate": {"factory": f"./train.py:{name}", "name": name}} for name in ("right", "ascent")]


def test_a_candidate_is_held_against_a_correct_split_of_the_same_parts(run: Run) -> None:
    """The right loop over parts that differ has no mistake of its own; another loop has one beside."""
    right, ascent = (check.diagnoses for check in checked(run, "wave", *CANDIDATES))
    assert [(d.code, d.layer) for d in right] == [("GC601", "t")]
    assert [(d.code, d.layer, d.confidence) for d in ascent[:1]] == [("GC601", "t", "exact")]
    (sign,) = (d for d in ascent if d.code == "GC504")
    assert sign.confidence == "likely"
    assert sign.evidence.startswith("beside a correct split of the same parts: the cotangent of front was negated")


def test_a_candidate_that_leaves_the_parts_alone_is_not_blamed_for_them(run: Run) -> None:
    """It is wrong where parts and whole agree, and no split of the parts has its gradients."""
    method = {"candidate": {"factory": "./train.py:whole_alone"}}
    (check,) = checked(run, "weight", method, training=False)
    assert [(d.code, d.confidence, d.layer) for d in check.diagnoses] == [("GC900", "possible", "a")]


#: Two activations of one tensor, which parts may call in the other order; a last kernel of zeros hides its input.
BRANCHES = """
    import keras
    import tensorflow as tf
    from keras import layers


    def behind(h, swapped, stopped, other):
        activations = [layers.Activation("tanh"), layers.Activation("relu")]
        order = [1, 0] if swapped else [0, 1]
        made = {i: activations[i](h) for i in order}
        joined = layers.Concatenate(name="joined")([made[0], made[1]])
        if stopped:
            joined = layers.Lambda(lambda t: 0.5 * t + tf.stop_gradient(0.5 * t), name="mixed")(joined)
        if other:
            joined = layers.Lambda(lambda t: 2.0 * t, name="mixed")(joined)
        return layers.Dense(2, kernel_initializer="zeros" if other is not None else None, name="b")(joined)


    def whole(zeros=False):
        x = keras.Input([5], name="x")
        h = layers.Dense(6, name="a")(x)
        return keras.Model(x, behind(h, False, False, False if zeros else None))


    def first():
        x = keras.Input([5], name="x")
        return keras.Model(x, layers.Dense(6, name="a")(x), name="front")


    def second(**kwargs):
        h = keras.Input([6], name="h")
        return keras.Model(h, behind(h, **kwargs), name="back")
"""


def branches(run: Run, whole: dict[str, Any], **kwargs: Any) -> CheckReport:
    parts = [{"factory": "./m.py:first"}, {"factory": "./m.py:second", "kwargs": kwargs}]
    model = {"segments": parts, "reference": {"factory": "./m.py:whole", "kwargs": whole}}
    config = {"model": model, "loss": "MeanSquaredError", "data": {"batch_size": 6}, "methods": ["vjp"]}
    (check,) = run(config, {"m.py": BRANCHES}).checks
    return check


def test_calls_in_another_order_are_told_apart_by_their_values(run: Run) -> None:
    assert branches(run, {}, swapped=True, stopped=False, other=None).outcome == "match"
    (found,) = branches(run, {}, swapped=True, stopped=True, other=None).diagnoses
    assert (found.confidence, found.layer) == ("likely", "joined")
    assert "only the parts have back/mixed (Lambda)" in found.evidence


def test_values_that_a_kernel_of_zeros_hides_are_no_gradient_of_its_own(run: Run) -> None:
    (found,) = branches(run, {"zeros": True}, swapped=False, stopped=False, other=True).diagnoses
    assert found.confidence == "likely"
    assert (
        "b (back/b of the parts), which is given other values; only the parts have back/mixed (Lambda)"
        in found.evidence
    )


def test_training_says_it_first_too(run: Run) -> None:
    train = {"steps": 2, "optimizer": {"SGD": {"learning_rate": 0.1}}}
    (check,) = checked(run, "wave", train=train)
    assert [(d.code, d.layer) for d in check.diagnoses] == [("GC601", "t")]
