from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.session import patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

#: Two inputs, a skip connection over a whole segment, and a layer that is called in two segments.
DAG = """
    model:
      input:
        a: {shape: [4]}
        b: {shape: [3]}
      layers:
        - Dense: {units: 5, activation: tanh, name: stem, inputs: [a]}
        - Dense: {units: 5, activation: tanh, name: shared}
        - Dense: {units: 5, name: gate, inputs: [b]}
        - Multiply: {name: mixed, inputs: [shared, gate]}
        - call: {layer: shared, inputs: [mixed], name: again}
        - Concatenate: {name: skip, inputs: [again, stem]}
        - Dense: {units: 2, name: out, kernel_regularizer: l2}
    split: {after: ["shared:1", mixed]}
    loss: MeanSquaredError
    data: {batch_size: 6}
    methods:
      - candidate: {factory: "./train.py:gradients"}
"""

#: A split as a person writes it: one tape per segment, cotangents carried by name.
BY_HAND = """
    import tensorflow as tf

    def gradients(check):
        given = check.x if isinstance(check.x, (list, tuple)) else [check.x]
        values = dict(zip(["a", "b"], given))
        tapes = []
        for segment in check.segments:
            inputs = [tf.identity(values[name]) for name in segment.input_names]
            with tf.GradientTape() as tape:
                tape.watch(inputs)
                outputs = segment(inputs, training=check.training)
                outputs = outputs if isinstance(outputs, list) else [outputs]
                penalty = tf.add_n(segment.losses) if segment.losses else tf.constant(0.0)
            values.update(zip(segment.output_names, outputs))
            tapes.append((segment, tape, inputs, outputs, penalty))

        output = values[check.segments[-1].output_names[-1]]
        with tf.GradientTape() as tape:
            tape.watch(output)
            loss = check.loss(check.y, output)
        cotangents = {check.segments[-1].output_names[-1]: tape.gradient(loss, output)}
        sums = {v.path: None for v in check.variables}
        total = loss
        for segment, tape, inputs, outputs, penalty in reversed(tapes):
            total += penalty
            seeds = [cotangents[name] for name in segment.output_names]
            sources = inputs + [v.value for v in segment.trainable_variables]
            found = tape.gradient([*outputs, penalty], sources, output_gradients=[*seeds, tf.ones_like(penalty)])
            for name, g in zip(segment.input_names, found):
                cotangents[name] = g if cotangents.get(name) is None else cotangents[name] + g
            for v, g in zip(segment.trainable_variables, found[len(inputs):]):
                sums[v.path] = g if sums[v.path] is None else sums[v.path] + g
        result = [sums[v.path] for v in check.variables]
        {fault}
        return total, result
"""

STEM = "stem/kernel"


def by_hand(fault: str = "pass") -> dict[str, str]:
    return {"train.py": BY_HAND.replace("{fault}", fault)}


def only_check(report: RunReport) -> CheckReport:
    (check,) = report.checks
    return check


def test_a_correct_split_by_hand_over_a_dag_passes(run: Run) -> None:
    report = run(DAG, by_hand())
    assert (report.verdict, report.exit_code) == ("pass", 0), report.error
    check = only_check(report)
    assert {tensor.kind for tensor in check.tensors} == {"weight", "loss"}
    assert all(tensor.status in ("exact", "close") for tensor in check.tensors)
    assert len(check.of_kind("weight")) == 8


@pytest.mark.parametrize(
    ("fault", "wrong", "status"),
    [
        ("result[0] = result[0] * 2.001", {STEM}, "mismatch"),
        ("result[0] = -result[0]", {STEM}, "mismatch"),
        ("result[0] = tf.transpose(result[0])", {STEM}, "mismatch"),
        ("result[0] = tf.cast(result[0], tf.float64)", {STEM}, "mismatch"),
        ("result[0] = None", {STEM}, "missing"),
        ("result[0] = result[0] * float('nan')", {STEM}, "nonfinite"),
        ("result[0] = tf.zeros_like(result[0])", {STEM}, "mismatch"),
        ("result[1], result[3] = result[3], result[1]", {"stem/bias", "shared/bias"}, "mismatch"),
    ],
)
def test_exactly_the_planted_error_is_named(run: Run, fault: str, wrong: set[str], status: str) -> None:
    report = run(DAG, by_hand(fault))
    assert (report.verdict, report.exit_code) == ("fail", 1)
    check = only_check(report)
    assert {tensor.path for tensor in check.failures} == wrong
    assert {tensor.status for tensor in check.failures} == {status}
    assert check.first_divergence in wrong


def test_a_single_wrong_element_is_found_at_its_index(run: Run) -> None:
    report = run(DAG, by_hand("result[5] = tf.tensor_scatter_nd_add(result[5], [[2]], [1e-3])"))
    assert (report.verdict, report.exit_code) == ("fail", 1)
    check = only_check(report)
    (tensor,) = check.failures
    assert (tensor.path, tensor.status, check.first_divergence) == ("gate/bias", "mismatch", "gate/bias")
    assert tensor.mismatched_elements == 1
    assert tensor.worst is not None
    assert tensor.worst.index == (2,)


@pytest.mark.parametrize(
    "returned", ["{v.path: g for v, g in zip(check.variables, result)}", "[g.numpy() for g in result]"]
)
def test_gradients_may_come_by_path_or_as_numpy(run: Run, returned: str) -> None:
    assert run(DAG, by_hand(f"result = {returned}")).verdict == "pass"


def test_what_a_mapping_leaves_out_is_missing(run: Run) -> None:
    fault = "result = {v.path: g for v, g in zip(check.variables, result) if v.path != 'stem/kernel'}"
    check = only_check(run(DAG, by_hand(fault)))
    assert [(tensor.path, tensor.status) for tensor in check.failures] == [(STEM, "missing")]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("return 3", "GC055", "int: 3"),
        ("result = result[:-1]", "GC055", "7 gradients for 8 variables"),
        ("result = {'nonsense': result[0]}", "GC055", "unknown path 'nonsense'"),
        ("result[0] = 'text'", "GC055", "stem/kernel"),
        ("total = tf.ones((2,))", "GC055", "loss of shape (2,)"),
        ("raise ValueError('mine')", "GC054", "ValueError: mine"),
    ],
)
def test_unusable_results_are_errors_that_say_what_was_received(run: Run, fault: str, code: str, words: str) -> None:
    report = run(DAG, by_hand(fault))
    assert (report.verdict, report.exit_code) == ("error", 3)
    assert report.error is not None
    assert report.error.code == code
    assert words in report.error.message
    assert "./train.py:gradients" in report.error.message


def test_an_exception_names_the_users_own_line(run: Run) -> None:
    report = run(DAG, by_hand("raise ValueError('mine')"))
    assert report.error is not None
    assert str(report.error.file).endswith("train.py")
    assert report.error.excerpt is not None
    assert "raise ValueError('mine')" in report.error.excerpt


def test_a_candidate_that_changes_weights_is_put_back_with_a_warning(run: Run) -> None:
    config: Any = DAG + "      - vjp\n"
    report = run(config, by_hand("check.variables[0].assign(check.variables[0] * 2)"))
    first, second = report.checks
    assert "changed 1 weights (stem/kernel)" in first.warnings[0]
    assert second.outcome == "match"


def test_state_is_compared(run: Run) -> None:
    config = """
        model:
          input: {shape: [4]}
          layers:
            - BatchNormalization: {name: norm}
            - Dense: {units: 2, name: out}
        split: {after: [norm]}
        data: {batch_size: 6}
        methods: [candidate: {factory: "./train.py:gradients"}]
    """
    whole = """
        import tensorflow as tf

        def gradients(check):
            {extra}
            with tf.GradientTape() as tape:
                loss = check.loss(check.y, check.model(check.x, training=check.training))
            return loss, tape.gradient(loss, [v.value for v in check.variables])
    """
    assert run(config, {"train.py": whole.replace("{extra}", "pass")}).verdict == "pass"
    twice = run(config, {"train.py": whole.replace("{extra}", "check.model(check.x, training=True)")})
    assert {tensor.path for tensor in only_check(twice).failures} == {"norm/moving_mean", "norm/moving_variance"}


def test_a_candidate_is_called_once_also_where_it_is_wrong(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(DAG, by_hand("print('called'); result[0] = result[0] * 2")).verdict == "fail"
    assert capsys.readouterr().out.count("called") == 1


WEIGHTED = {
    "model": {"input": {"shape": [3]}, "layers": [{"Dense": {"units": 4, "name": "a"}}, {"Dense": {"units": 2}}]},
    "split": {"every": "layer"},
    "loss": "MeanSquaredError",
    "data": {"batch_size": 4, "sample_weight": {"uniform": {"minval": 0.5, "maxval": 2}}},
    "methods": [{"candidate": {"factory": "./mine.py:mine"}}],
}
HALVES = """
    import tensorflow as tf

    def mine(given):
        losses = []
        with tf.GradientTape() as tape:
            for part in (slice(0, 2), slice(2, 4)):
                outputs = given.model(given.x[part], training=True)
                losses.append(given.loss(given.y[part], outputsWEIGHTS) / 2)
            loss = tf.add_n(losses)
        return loss, tape.gradient(loss, given.variables)
"""


def test_sample_weights_go_with_a_part_of_the_batch(run: Run) -> None:
    mine = HALVES.replace("WEIGHTS", ", sample_weight=given.sample_weight[part]")
    report = run(WEIGHTED, {"mine.py": mine})
    assert report.verdict == "pass", report.error
    assert run(WEIGHTED, {"mine.py": mine.replace("weight[part]", "weight[:2]")}).verdict == "fail"


def test_the_weights_of_the_whole_batch_do_not_fit_a_part_of_it(run: Run) -> None:
    error = run(WEIGHTED, {"mine.py": HALVES.replace("WEIGHTS", "")}).error
    assert error is not None
    assert error.code == "GC054"
    assert "loss got 2 targets, and the sample weights of 4 examples" in error.message


@pytest.mark.parametrize("method", ["jacobian", {"candidate": {"factory": "./mine.py:mine"}}])
@pytest.mark.parametrize("train", [{}, {"steps": 2}])
def test_under_xla_what_runs_eagerly_is_held_against_an_eager_reference(run: Run, method: Any, train: Any) -> None:
    """XLA draws other dropout masks."""
    layers = [{"Dense": {"units": 8, "name": "a"}}, {"Dropout": 0.5}, {"Dense": {"units": 2, "name": "out"}}]
    source = """
        import tensorflow as tf

        def mine(given, factor=1.0):
            with tf.GradientTape() as tape:
                loss = given.loss(given.y, given.model(given.x, training=True))
            return loss, [factor * g for g in tape.gradient(loss, given.variables)]
    """
    wrong = {"candidate": {"factory": "./mine.py:mine", "kwargs": {"factor": 1.5}, "name": "wrong"}}
    config = {
        "model": {"input": {"shape": [3]}, "layers": layers},
        "split": {"after": ["a"]},
        "execution": "xla",
        "methods": ["vjp", method, *([wrong] if isinstance(method, dict) else [])],
        "train": train,
    }
    report = run(config, {"mine.py": source})
    compiled, eager, *others = report.checks
    assert (compiled.outcome, eager.outcome) == ("match", "match"), report.error
    assert [check.outcome for check in others] == ["mismatch"] * isinstance(method, dict)
    assert compiled.warnings == ()
    assert eager.notes == ("compared with an eager reference: XLA draws other random numbers",)
    assert eager.warnings == ()


def test_under_xla_without_random_numbers_the_compiled_reference_will_do(run: Run) -> None:
    layers = [{"Dense": {"units": 4, "name": "a"}}, {"Dense": {"units": 2, "name": "out"}}]
    model = {"input": {"shape": [3]}, "layers": layers}
    (check,) = run({"model": model, "split": {"after": ["a"]}, "execution": "xla", "methods": ["jacobian"]}).checks
    assert (check.outcome, check.notes) == ("match", ())


def test_a_custom_gradient_that_the_model_means_explains_nothing(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that clips what comes back is not linear in it, in the reference neither."""
    monkeypatch.setattr(patience, "SECONDS", 60.0)  # enough to replay GC101 on a loaded machine too
    source = """
        import keras
        import tensorflow as tf

        @tf.custom_gradient
        def clipped(x):
            return tf.identity(x), lambda upstream: tf.clip_by_norm(upstream, 0.01)

        class Clip(keras.layers.Layer):
            def call(self, x):
                return clipped(x)

        def mine(given):
            front, back = given.segments
            with tf.GradientTape() as tape_0:
                a = front(given.x, training=True)
            with tf.GradientTape() as tape_1:
                tape_1.watch(a)
                loss = given.loss(given.y, back(a, training=True))
            cotangent, *of_back = tape_1.gradient(loss, [a, *back.trainable_variables])
            return loss, [*tape_0.gradient(a, front.trainable_variables, output_gradients=SEED), *of_back]
    """
    layers = [{"Dense": {"units": 3, "name": "a"}}, {"./mine.py:Clip": {}}, {"Dense": {"units": 2, "name": "out"}}]
    config = {
        "model": {"input": {"shape": [3]}, "layers": layers},
        "split": {"after": ["a"]},
        "methods": [{"candidate": {"factory": "./mine.py:mine"}}],
        "verify_reference": "never",
    }
    assert run(config, {"mine.py": source.replace("SEED", "cotangent")}).verdict == "pass"
    (check,) = run(config, {"mine.py": source.replace("SEED", "None")}).checks
    assert check.diagnoses[0].code == "GC101"
    assert not [diagnosis for diagnosis in check.diagnoses if diagnosis.code == "GC601"]
