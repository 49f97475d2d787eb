"""Verdicts, over whole configs."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.config import load_config
from gradcheck.session.configs import CheckOptions, check_one

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import RunReport

    Run = Callable[..., RunReport]

CHAIN = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, activation: ACTIVATION, name: first}
        - Dense: {units: 3, name: second}
        - Dense: {units: 2, name: third}
    split: {after: [first, second]}
    data: {batch_size: 4}
"""


def chain(activation: str = "tanh", more: str = "") -> str:
    return CHAIN.replace("ACTIVATION", activation) + more


def statuses(report: RunReport, kind: str) -> dict[str, str]:
    return {tensor.path: tensor.status for tensor in report.checks[0].tensors if tensor.kind == kind}


def test_a_correct_split_passes(run: Run) -> None:
    report = run(chain())
    assert (report.verdict, report.exit_code) == ("pass", 0)
    assert set(statuses(report, "weight").values()) <= {"exact", "close"}
    assert report.coverage.trainable == report.coverage.compared == 6


def test_naive_gradients_are_caught(run: Run) -> None:
    report = run(chain(more="    methods: [naive]\n"))
    assert (report.verdict, report.exit_code) == ("fail", 1)
    failing = {tensor.path for tensor in report.checks[0].failures if tensor.kind == "weight"}
    assert failing == {"first/kernel", "first/bias", "second/kernel", "second/bias"}
    assert report.checks[0].first_divergence == "second/bias"
    assert all((tensor.spread is not None) == tensor.failed for tensor in report.checks[0].tensors)


def test_a_control_that_matches_is_a_failure(run: Run) -> None:
    report = run(chain(more="    methods: [vjp: {expect: mismatch}]\n"))
    assert (report.verdict, report.exit_code) == ("fail", 1)


def test_a_control_that_mismatches_is_as_expected(run: Run) -> None:
    report = run(chain(more="    methods: [naive: {expect: mismatch}]\n"))
    assert (report.exit_code, report.checks[0].diagnoses) == (0, ())  # and nothing is to be explained
    assert {tensor.spread for tensor in report.checks[0].tensors} == {None}


def test_the_methods_that_are_asked_for_alone_are_checked_at_their_own_lines(tmp_path: Path) -> None:
    path = tmp_path / "chain.yaml"
    path.write_text(dedent(chain(more="    methods: [vjp, stateful, naive]\n")), encoding="utf-8")
    found = check_one(load_config(path), CheckOptions(only=frozenset({"stateful", "naive"})))
    assert [check.method for check in found.checks] == ["stateful", "naive"]
    error = found.checks[0].error  # there is no recurrent layer
    assert error is not None
    assert error.column == len("methods: [vjp, ") + 1


def test_every_check_says_what_it_rests_on(run: Run) -> None:
    from gradcheck.config.sections.methods import METHODS

    report = run(chain(more="    methods: [vjp, numeric, graph_scalar, stateful]\n"))
    assert [c.rests_on for c in report.checks] == [METHODS[c.method].rests_on for c in report.checks]
    assert report.checks[-1].outcome == "error"  # nothing to run along the time axis
    assert len(report.checks) == 4
    assert (report.error, report.errors) == (report.checks[-1].error, (report.checks[-1].error,))


def test_nan_on_both_sides_is_not_a_match(run: Run) -> None:
    report = run(chain(more="    loss: {factory: './loss.py:make'}\n"), {"loss.py": NAN_LOSS})
    assert (report.verdict, report.exit_code) == ("fail", 1)
    assert set(statuses(report, "weight").values()) == {"nonfinite"}


NAN_LOSS = """
    import tensorflow as tf

    def make():
        return lambda y, output: tf.reduce_sum(output) * float("nan")
"""

DEAD_LOSS = """
    import tensorflow as tf

    def make():
        return lambda y, output: tf.reduce_sum(output) * 0.0
"""

DETACHED = """
    import keras
    import tensorflow as tf

    class Detached(keras.layers.Layer):
        def call(self, x):
            return tf.stop_gradient(x)
"""


def test_dead_gradients_prove_nothing(run: Run) -> None:
    report = run(chain(more="    loss: {factory: './loss.py:make'}\n"), {"loss.py": DEAD_LOSS})
    assert (report.verdict, report.exit_code) == ("vacuous", 4)
    assert set(statuses(report, "weight").values()) == {"dead"}
    assert report.coverage.dead == 6


def test_a_model_without_trainable_weights_proves_nothing(run: Run) -> None:
    config = """
        model:
          input: {shape: [4]}
          layers: [Dense: {units: 3, name: first, trainable: false}, Activation: {activation: tanh, name: second}]
        split: {after: [first]}
    """
    assert run(config).exit_code == 4


def test_none_on_both_sides_is_absent(run: Run) -> None:
    config = """
        model:
          input: {shape: [4]}
          layers:
            - Dense: {units: 3, name: first}
            - "./own.py:Detached": {name: cut}
            - Dense: {units: 2, name: last}
        split: {after: [first]}
        verify_reference: never
    """
    report = run(config, {"own.py": DETACHED})
    assert report.verdict == "pass"
    assert statuses(report, "weight") == {
        "first/kernel": "absent",
        "first/bias": "absent",
        "last/kernel": "exact",
        "last/bias": "exact",
    }
    assert report.coverage.absent == 2


def test_none_on_one_side_is_a_mismatch(run: Run) -> None:
    config = chain(more="    methods: [candidate: {factory: './own.py:gradients'}]\n")
    none = "def gradients(check):\n    return [None] * len(check.variables)\n"
    report = run(config, {"own.py": none})
    assert report.exit_code == 1
    assert set(statuses(report, "weight").values()) == {"missing"}


def test_a_factory_that_raises_is_named_with_the_users_line(run: Run) -> None:
    config = "model: {factory: './own.py:build'}\nsplit: {every: layer}\n"
    report = run(config, {"own.py": "def build():\n    raise KeyError('here')\n"})
    assert (report.verdict, report.exit_code) == ("error", 3)
    assert report.error is not None
    assert "./own.py:build" in report.error.message
    assert (report.error.line, report.error.excerpt) == (2, "    raise KeyError('here')")


def test_an_unknown_name_in_after_is_located(run: Run) -> None:
    report = run(chain().replace("[first, second]", "[first, secnod]"))
    assert report.exit_code == 2
    assert report.error is not None
    assert report.error.code == "GC023"
    assert report.error.excerpt is not None
    assert report.error.excerpt[(report.error.column or 0) - 1 :].startswith("secnod")
    assert "did you mean `second`" in str(report.error.help)


def test_an_override_that_matches_nothing_is_a_warning(run: Run) -> None:
    report = run(chain(more="    tolerance: {overrides: {'frist/*': {rtol: 1.0}}}\n"))
    assert report.verdict == "pass"
    assert any("'frist/*' matches no tensor" in warning for warning in report.warnings)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("schedule: 1f1b", "schedule: 1f1b has no effect: there is one micro-batch (`microbatches` says how many)"),
        ("train: {optimizer: Adam}", "train.optimizer has no effect: there are no training steps"),
        ("train: {steps: 0, optimizer: Adm}", "train.optimizer has no effect: there are no training steps"),
        ("schedule: 1f1b\n    microbatches: 2", None),
        ("train: {steps: 1, optimizer: Adam}", None),
    ],
)
def test_a_key_that_changes_nothing_is_a_warning(run: Run, key: str, said: str | None) -> None:
    report = run(chain(more=f"    {key}\n"))
    assert report.verdict == "pass"
    assert [warning[: len(said or "")] for warning in report.warnings] == ([] if said is None else [said])


def test_strings_under_xla_are_refused(run: Run) -> None:
    """TensorFlow would end the whole process."""
    report = run("""
        model:
          input: {shape: [1], dtype: string}
          layers:
            - StringLookup: {vocabulary: [a, b]}
            - Embedding: {input_dim: 4, output_dim: 3}
            - Dense: {units: 2, name: last}
        split: {after: [embedding]}
        execution: xla
    """)
    assert report.error is not None
    assert (report.exit_code, report.error.code, report.error.excerpt) == (3, "GC059", "execution: xla")


def test_fail_fast_is_not_the_default(run: Run) -> None:
    report = run(chain(more="    methods: [naive, vjp]\n"))
    assert [check.outcome for check in report.checks] == ["mismatch", "match"]


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("float64", "float64"),
        ("float16", "float16"),
        ("bfloat16", "bfloat16"),
        ("mixed_float16", "float32"),
        ("mixed_bfloat16", "float32"),
    ],
)
def test_every_precision(run: Run, precision: str, dtype: str) -> None:
    report = run(chain(more="    methods: [vjp, naive: {expect: mismatch}]\n"), precision=precision)
    assert report.verdict == "pass", report.error
    assert {tensor.dtype for tensor in report.checks[0].of_kind("weight")} == {dtype}


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_every_execution(run: Run, execution: str) -> None:
    report = run(chain(more="    methods: [vjp, naive: {expect: mismatch}]\n"), execution=execution)
    assert report.verdict == "pass", report.error


def test_two_runs_give_the_same_figures(run: Run) -> None:
    config = chain(activation="relu").replace(
        "- Dense: {units: 2, name: third}", "- Dropout: 0.5\n        - Dense: {units: 2, name: third}"
    )
    first, second = run(config), run(config)
    assert [t for c in first.checks for t in c.tensors] == [t for c in second.checks for t in c.tensors]
    assert first.checks[0].loss == second.checks[0].loss


def test_the_reference_that_does_not_repeat_itself_is_found(run: Run) -> None:
    assert run(chain()).warnings == ()
    assert run(chain(more="    verify_reference: always\n")).warnings == ()


def test_each_segment_needs_a_device(run: Run) -> None:
    assert run(chain(more="    placement: ['cpu:0', 'cpu:0', 'cpu:0']\n")).verdict == "pass"
    report = run(chain(more="    placement: ['cpu:0', 'cpu:0']\n"))
    assert (report.verdict, report.exit_code) == ("error", 2)
    assert report.error is not None
    assert (report.error.code, report.error.excerpt is not None) == ("GC034", True)


PARTS = """
    import keras
    from keras import layers

    def whole():
        x = keras.Input((6,))
        y = layers.Dropout(0.5)(layers.BatchNormalization(name="norm")(layers.Dense(5, name="first")(x)))
        return keras.Model(x, layers.Dense(2, name="last")(y))

    def front():
        x = keras.Input((6,))
        y = layers.Dropout(0.5)(layers.BatchNormalization()(layers.Dense(5)(x)))
        return keras.Model(x, y, name="front")

    def back():
        x = keras.Input((5,))
        return keras.Model(x, layers.Dense(2)(x), name="back")
"""
SEPARATE = """
    model:
      segments: [{factory: "./parts.py:front"}, {factory: "./parts.py:back"}]
      reference: {factory: "./parts.py:whole"}
    data: {batch_size: 8}
    methods: [vjp, naive: {expect: mismatch}, candidate: {factory: "./parts.py:gradients"}]
"""
BY_PATH = """
    import tensorflow as tf

    def gradients(check):
        front, back = check.segments
        with tf.GradientTape() as lower:
            boundary = front(check.x, training=check.training)
        with tf.GradientTape() as upper:
            upper.watch(boundary)
            loss = check.loss(check.y, back(boundary, training=check.training))
        mine = [v.value for v in back.trainable_variables]
        cotangent, *last = upper.gradient(loss, [boundary, *mine])
        first = lower.gradient(boundary, [v.value for v in front.trainable_variables], output_gradients=cotangent)
        variables = [*front.trainable_variables, *back.trainable_variables]
        return loss, {v.path: g * SCALE for v, g in zip(variables, [*first, *last])}
"""


def test_parts_beside_a_reference_of_their_own_with_state(run: Run) -> None:
    report = run(SEPARATE, {"parts.py": PARTS + BY_PATH.replace("SCALE", "1.0")})
    assert report.verdict == "pass", report.error or [(t.path, t.status) for c in report.checks for t in c.failures]
    assert len(report.checks[0].of_kind("state")) == 3
    assert len(report.checks[0].of_kind("weight")) == 6


def test_a_wrong_candidate_over_parts_of_their_own_is_caught(run: Run) -> None:
    report = run(SEPARATE, {"parts.py": PARTS + BY_PATH.replace("SCALE", "1.01")})
    assert {tensor.kind for tensor in report.checks[2].failures} == {"weight"}


SOFTMAX: dict[str, Any] = {
    "model": {"input": {"shape": [4]}, "layers": [{"Dense": 3}, {"Dense": {"units": 3, "activation": "softmax"}}]},
    "split": {"every": "layer"},
    "loss": {"factory": "./loss.py:make"},
    "methods": ["vjp", {"naive": {"expect": "mismatch"}}],
}
LOSS = """
    import tensorflow as tf

    def make():
        return lambda y, p: SCALE * tf.reduce_mean(tf.reduce_sum(p * PART, -1))
"""


def test_gradients_that_are_rounding_prove_nothing(run: Run) -> None:
    report = run(SOFTMAX, {"loss.py": LOSS.replace("SCALE", "1.0").replace("PART", "1.0")})
    assert (report.verdict, report.exit_code) == ("vacuous", 4)
    (warning,) = report.warnings
    assert warning.startswith("GC701: every gradient is zero but for rounding")


def test_rounding_without_a_weight_is_no_error(run: Run) -> None:
    model = {"input": {"shape": [1]}, "layers": [{"Rescaling": {"scale": 2.0, "name": "a"}}, {"Rescaling": 0.3}]}
    cosine_of_one_number = {"loss": "CosineSimilarity", "data": {"batch_size": 3}}
    report = run({"model": model, "split": {"after": ["a"]}, **cosine_of_one_number})
    assert (report.verdict, report.error) == ("vacuous", None)
    assert report.warnings[0].startswith("GC701: every gradient is zero but for rounding (of a weight at most 0.0e+00")


def test_small_gradients_are_no_rounding(run: Run) -> None:
    report = run(SOFTMAX, {"loss.py": LOSS.replace("SCALE", "1e-9").replace("PART", "[1.0, 2.0, 3.0]")})
    assert (report.verdict, report.exit_code, report.warnings) == ("pass", 0, ())


def test_a_compiled_model_that_differs_from_the_eager_one_is_named(run: Run) -> None:
    source = """
        import keras
        import tensorflow as tf

        class Odd(keras.layers.Layer):
            def call(self, x):
                return x * (2.0 if tf.executing_eagerly() else 3.0)

        def build():
            x = keras.Input((4,))
            y = Odd(name="odd")(keras.layers.Dense(3, name="first")(x))
            return keras.Model(x, keras.layers.Dense(2, name="last")(y))

        def mine(given):
            with tf.GradientTape() as tape:
                loss = given.loss(given.y, given.model(given.x, training=True))
            return loss, tape.gradient(loss, given.variables)
    """
    config = {"model": {"factory": "./model.py:build"}, "split": {"every": "layer"}, "execution": "graph"}
    methods = ["vjp", {"candidate": {"factory": "./model.py:mine"}}]
    report = run({**config, "methods": methods}, {"model.py": source})
    split, candidate = report.checks
    assert split.outcome == "match"
    assert [diagnosis.code for diagnosis in candidate.diagnoses] == ["GC606"]
    assert (candidate.second_opinion or "").startswith("float64 sides with the candidate")


def test_a_models_own_train_step_is_not_used_and_the_report_says_so(run: Run) -> None:
    source = """
        import keras

        class Mine(keras.Model):
            def train_step(self, data):
                raise AssertionError("not to be called")

        def build():
            x = keras.Input((4,))
            return Mine(x, keras.layers.Dense(2)(keras.layers.Dense(3, name="first")(x)))
    """
    report = run({"model": {"factory": "./model.py:build"}, "split": {"after": "first"}}, {"model.py": source})
    assert report.verdict == "pass"
    (note,) = report.notes
    assert "Mine has its own train_step, which is not used" in note


def test_so_does_that_of_a_subclassed_model(run: Run) -> None:
    source = """
        import keras

        class Mine(keras.Model):
            def __init__(self):
                super().__init__()
                self.first, self.last = keras.layers.Dense(3), keras.layers.Dense(2)

            def train_step(self, data):
                raise AssertionError("not to be called")

            def call(self, x):
                h = self.first(x)
                return self.last(h) if keras.ops.max(h) > -1e9 else h
    """
    model = {"factory": "./model.py:Mine", "input": {"shape": [4]}}
    report = run({"model": model, "methods": ["numeric"]}, {"model.py": source})
    assert report.verdict == "pass"
    closed, own = report.notes
    assert closed.startswith("the model (Mine) stays one call and is not cut inside: it branches on a value (model.py:")
    assert "Mine has its own train_step, which is not used" in own


SCALED = """
    import tensorflow as tf

    def gradients(given):
        with tf.GradientTape() as tape:
            loss = given.loss(given.y, given.model(given.x, training=given.training))
        found = dict(zip([v.path for v in given.variables], tape.gradient(loss, given.variables)))
        return loss, {path: g * FACTOR for path, g in found.items()}
"""


@pytest.mark.parametrize(
    ("factor", "code", "said"),
    [
        ("(2.0 if path == 'first/kernel' else 1.0)", "GC900", "every wrong gradient is 2 times the reference's"),
        ("(-1.0 if path == 'first/kernel' else 1.0)", "GC900", "every wrong gradient is -1 times the reference's"),
        ("6.0", "GC201", "the number of elements of an output"),
        ("2.0 ** 10", "GC503", "2 to the 10"),
        ("-1.0", "GC504", "every gradient was negated"),
    ],
)
def test_a_factor_is_explained_only_where_every_gradient_has_it(run: Run, factor: str, code: str, said: str) -> None:
    layers = [{"Dense": {"units": 4, "name": "first"}}, {"Dense": {"units": 3, "name": "last"}}]
    config = {
        "model": {"input": {"shape": [5]}, "layers": layers},
        "split": {"every": "layer"},
        "methods": [{"candidate": {"factory": "./mine.py:gradients"}}],
    }
    report = run(config, {"mine.py": SCALED.replace("FACTOR", factor)})
    (check,) = report.checks
    assert check.diagnoses[0].code == code
    assert said in check.diagnoses[0].evidence


def test_a_training_step_that_returns_no_number_is_refused(run: Run) -> None:
    config = {
        "model": {"input": {"shape": [5]}, "layers": [{"Dense": {"units": 4, "name": "first"}}, {"Dense": 3}]},
        "split": {"every": "layer"},
        "train": {"steps": 1},
        "methods": [{"candidate": {"train_step": "./mine.py:step"}}],
    }
    report = run(config, {"mine.py": "def step(given):\n    return 'x'\n"})
    assert report.exit_code == 3
    assert report.error is not None
    assert report.error.code == "GC055"


ONE_SEGMENT = {
    "one layer": "{layers: [{Dense: 3}], input: {shape: [4]}}",
    "one call of the user's own": "{factory: './models.py:own'}",
    "parts that hand nothing on": "{factory: './models.py:towers'}",
}
MODELS = """
    import keras

    class Own(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(2)

        def call(self, x):
            return self.dense(x)

    def own():
        x = keras.Input((4,))
        return keras.Model(x, Own()(x))

    def towers(shared=False):
        a, b = keras.Input((4,), name="a"), keras.Input((4,), name="b")
        p, q = keras.layers.Dense(2, name="p"), keras.layers.Dense(2, name="q")
        return keras.Model([a, b], [p(a), (p if shared else q)(b)])
"""


def one_segment(model: str, methods: str, more: str = "") -> str:
    return f"model: {model}\nsplit: {{every: layer}}\nmethods: {methods}\n{more}"


@pytest.mark.parametrize("model", ONE_SEGMENT.values(), ids=ONE_SEGMENT)
@pytest.mark.parametrize("more", ["", "microbatches: 2\ntrain: {steps: 2}", "execution: graph"])
def test_the_tape_compared_with_itself_proves_nothing(run: Run, model: str, more: str) -> None:
    report = run(one_segment(model, "[vjp]", more), {"models.py": MODELS})
    assert (report.verdict, report.exit_code) == ("vacuous", 4), report.error
    (check,) = report.checks
    assert (check.outcome, check.as_expected) == ("inconclusive", True)
    assert "the reference's own computation" in check.notes[0]
    assert sum("no method can show here that a split is right" in warning for warning in report.warnings) == 1


def test_a_control_over_one_segment_is_no_proof_either(run: Run) -> None:
    report = run(one_segment(ONE_SEGMENT["one layer"], "[vjp, naive: {expect: mismatch}]"))
    assert (report.verdict, [check.outcome for check in report.checks]) == ("vacuous", ["inconclusive"] * 2)


@pytest.mark.parametrize("method", ["numeric", "jacobian"])
def test_one_segment_with_a_method_that_proves_something_by_itself(run: Run, method: str) -> None:
    report = run(one_segment(ONE_SEGMENT["one layer"], f"[vjp, {method}]"))
    assert (report.verdict, report.exit_code) == ("pass", 0)
    assert [check.outcome for check in report.checks] == ["inconclusive", "match"]
    assert "one segment (dense)" in report.warnings[0]


def test_one_segment_that_differs_from_the_reference_still_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradcheck.handoff.split import HandOff

    right = HandOff.pull_back
    monkeypatch.setattr(HandOff, "pull_back", lambda *given: [None if g is None else 2 * g for g in right(*given)])
    report = run(one_segment(ONE_SEGMENT["one layer"], "[vjp]"))
    assert (report.verdict, report.exit_code) == ("fail", 1)


def test_segments_that_share_weights_and_hand_nothing_on_are_a_split(run: Run) -> None:
    report = run(one_segment("{factory: './models.py:towers', kwargs: {shared: true}}", "[vjp]"), {"models.py": MODELS})
    assert (report.verdict, report.warnings) == ("pass", ())


def test_a_check_says_where_it_was_asked_for(run: Run, tmp_path: Path) -> None:
    candidate = "  - candidate: {factory: './train.py:gradients', name: mine}"
    files = {"train.py": "import os\n\ndef gradients(problem):\n    return [None] * len(problem.variables)\n"}
    report = run(chain(more=f"    methods:\n      - vjp\n    {candidate}\n"), files)
    lines = (tmp_path / "config.yaml").read_text(encoding="utf-8").splitlines()
    vjp, mine = (check.asked_at for check in report.checks if check.method in ("vjp", "mine"))
    assert vjp == f"{tmp_path / 'config.yaml'}:{lines.index('  - vjp') + 1}"
    assert mine == f"{tmp_path / 'train.py'}:3"


def test_a_method_that_the_config_does_not_name_was_asked_for_by_the_config(run: Run, tmp_path: Path) -> None:
    lines = [check.asked_at for check in run(chain()).checks if check.method == "vjp"]
    assert lines == [f"{tmp_path / 'config.yaml'}:3"]  # its model
