"""`graph` and `graph_scalar`: the chain rule by `tf.gradients`, with `grad_ys` and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import tensorflow as tf

from gradcheck import check, load_config
from gradcheck.cutting.tensor_copies import copied
from gradcheck.methods.by_segment.graph import ByGraph, GraphRecord, graph
from gradcheck.methods.by_segment.graph_scalar import ScalarRecord, graph_scalar
from gradcheck.problem.prepare import prepare, session

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.handoff.interface import Gradients
    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

#: A dense chain with all that adds to a gradient beside the boundary's: penalties, and an embedding's sparse rows.
CHAIN = """
    model:
      input: {shape: [3], dtype: int32}
      layers:
        - Embedding: {input_dim: 7, output_dim: 2, name: table}
        - Flatten: {name: flat}
        - Dense: {units: 5, activation: tanh, activity_regularizer: l2, kernel_regularizer: l1, name: first}
        - BatchNormalization: {name: norm}
        - Dropout: {rate: 0.3, name: dropout}
        - Dense: {units: 2, name: out}
    split: {after: [first, dropout]}
    loss: MeanSquaredError
    data: {batch_size: 4}
    methods: [graph_scalar]
"""
TWO_PARTS = ("configs", "tf_gradients_two_parts.yaml")
DAG = ("configs", "residual_dag.yaml")


def only_check(report: RunReport) -> CheckReport:
    assert report.error is None, report.error
    (found,) = report.checks
    return found


def failing(report: RunReport) -> set[tuple[str, str]]:
    return {(tensor.kind, tensor.path) for tensor in only_check(report).failures}


def checked(root: Path, path: tuple[str, ...], method: str, **overrides: Any) -> RunReport:
    (report,) = check(root.joinpath(*path), methods=[method], **overrides).runs
    return report


def computed(root: Path, path: tuple[str, ...], method: Callable[..., Gradients]) -> Gradients:
    loaded = load_config(root.joinpath(*path))
    with session(loaded.config):
        return method(prepare(loaded.config, loaded.base), loaded.config.methods[0].options)


@pytest.mark.third
@pytest.mark.parametrize(
    "name",
    [
        "attention",
        "boundary_is_output",
        "embedding_and_projection",
        "lstm_states",
        "masks",
        "nested_models",
        "norm_and_dropout",
        "own_layers",
        "own_parts_and_whole",
        "regularisers",
        "several_outputs",
        "shared_embedding",
        "stateful",
    ],
)
def test_every_kind_of_model_matches(root: Path, name: str) -> None:
    report = checked(root, ("tests", "examples", "passing", f"{name}.yaml"), "graph", execution="graph")
    assert report.verdict == "pass", failing(report)
    assert {tensor.kind for tensor in only_check(report).tensors} >= {"weight", "output", "loss"}


@pytest.mark.parametrize(
    ("name", "execution"), [("norm_and_dropout", "xla"), ("norm_and_dropout", "eager"), ("masks", "eager")]
)
def test_it_is_compared_like_with_like(root: Path, name: str, execution: str) -> None:
    """XLA draws other dropout masks than the rest, so against a compiled reference the method is compiled as well."""
    report = checked(root, ("tests", "examples", "passing", f"{name}.yaml"), "graph", execution=execution)
    assert report.verdict == "pass", failing(report)


def test_the_shipped_config_passes_with_all_its_methods(root: Path) -> None:
    (report,) = check(root.joinpath(*TWO_PARTS)).runs
    assert (report.verdict, report.exit_code) == ("pass", 0)
    assert [found.method for found in report.checks] == ["graph", "graph_scalar", "vjp", "jacobian"]
    assert all(found.outcome == "match" for found in report.checks)


@pytest.mark.parametrize("method", [graph, graph_scalar])
def test_no_tape_is_used(root: Path, method: Callable[..., Gradients], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a tape was made")

    loaded = load_config(root.joinpath(*TWO_PARTS))
    with session(loaded.config):
        problem = prepare(loaded.config, loaded.base)
        monkeypatch.setattr(tf, "GradientTape", refused)
        found = method(problem, loaded.config.methods[0].options)
    assert all(gradient is not None for gradient in found.tensors.values())


def test_without_grad_ys_all_before_the_last_segment_is_wrong(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def summed(_: Any, targets: Any, sources: Any, output_gradients: Any = None) -> Any:  # noqa: ARG001 - that is the fault
        return tf.gradients(targets, sources)

    monkeypatch.setattr(GraphRecord, "gradient", summed)
    wrong = failing(checked(root, TWO_PARTS, "graph"))
    assert wrong == {("input", "input"), ("weight", "h/kernel"), ("weight", "h/bias"), ("boundary", "h")}


def test_a_boundary_that_is_not_cut_counts_what_lies_before_it_twice(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ByGraph, "cross", lambda _self, _segment, _ref, tensor: copied(tensor))
    wrong = failing(checked(root, DAG, "graph"))
    assert wrong == {("weight", "shared/kernel"), ("weight", "shared/bias")}


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
def test_scalar_by_scalar_matches_on_a_dense_chain(run: Run, execution: str) -> None:
    report = run(CHAIN, execution=execution)
    assert report.verdict == "pass", failing(report)
    assert report.coverage.compared == 7


def test_scalar_by_scalar_has_one_row_for_each_element_and_no_grad_ys(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    map_fn, gradients = tf.map_fn, tf.gradients

    def counted(function: Any, elements: Any, **kwargs: Any) -> Any:
        rows.append(int(elements.shape[0]))
        return map_fn(function, elements, **kwargs)

    def bare(ys: Any, xs: Any) -> Any:
        assert ys.shape.rank == 0
        return gradients(ys, xs)

    monkeypatch.setattr(tf, "map_fn", counted)
    monkeypatch.setattr(tf, "gradients", bare)
    computed(root, TWO_PARTS, graph_scalar)
    assert rows == [1, 20, 20]  # the loss, y and h


def test_scalar_by_scalar_without_the_cotangent_is_wrong(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gradient = ScalarRecord.gradient
    monkeypatch.setattr(
        ScalarRecord,
        "gradient",
        lambda self, targets, sources, output_gradients=None: gradient(self, targets, sources),  # noqa: ARG005 - that is the fault
    )
    assert ("weight", "h/kernel") in failing(checked(root, TWO_PARTS, "graph_scalar"))


def test_the_report_says_why_two_gradients_cannot_be_multiplied(root: Path) -> None:
    check = only_check(checked(root, TWO_PARTS, "graph_scalar"))
    (note,) = check.notes
    assert check.warnings == ()
    assert "tf.gradients(h, h/kernel) has the shape (3, 4) of h/kernel, summed over the 20 elements of h" in note
    assert "dL/dh has the shape (5, 4) of h: no product of the two is the gradient of h/kernel" in note


def test_what_the_note_says_of_tf_gradients_is_so() -> None:
    kernel = tf.Variable(tf.random.normal((3, 4)))

    def both(x: Any) -> Any:
        h = x @ kernel
        (summed,) = tf.gradients(h, [kernel])
        rows = [tf.gradients(tf.reshape(h, [-1])[i], [kernel])[0] for i in range(20)]
        return summed, tf.add_n(rows)

    summed, of_rows = tf.function(both)(tf.random.normal((5, 3)))
    assert summed.shape == (3, 4)
    tf.debugging.assert_near(summed, of_rows)


@pytest.mark.parametrize(
    ("layers", "after", "received"),
    [
        (
            [{"Conv1D": {"filters": 2, "kernel_size": 2, "name": "conv"}}, "Flatten"],
            "conv",
            "conv (None, 3, 2) float32",
        ),
        (
            [
                "Flatten",
                {"Dense": {"units": 3, "name": "a"}},
                {"Dense": {"units": 3, "name": "b"}},
                {"Add": {"name": "sum", "inputs": ["a", "b"]}},
            ],
            "b",
            "segment_0 hands on a (None, 3) float32, b (None, 3) float32",
        ),
        (
            [
                "Flatten",
                {"Dense": {"units": 8, "name": "a"}},
                {"Flatten": {"name": "whole", "inputs": ["input"]}},
                {"Add": {"name": "sum", "inputs": ["a", "whole"]}},
            ],
            "a",
            "segment_1 takes",
        ),
    ],
    ids=["convolution", "skip", "second_input"],
)
def test_what_is_no_dense_chain_is_refused(run: Run, layers: list[Any], after: str, received: str) -> None:
    report = run(
        {
            "model": {"input": {"shape": [4, 2]}, "layers": [*layers, {"Dense": 2}]},
            "split": {"after": [after]},
            "methods": ["graph_scalar", "graph"],
        }
    )
    assert report.exit_code == 2
    assert report.error is not None
    assert report.error.code == "GC027"
    assert received in report.error.message
    assert "`graph`" in (report.error.help or "")
    assert report.checks[1].outcome == "match"  # as the help says


def test_jacobians_that_do_not_fit_are_refused(run: Run) -> None:
    report = run(CHAIN, memory_budget=5000)
    assert report.exit_code == 3
    assert report.error is not None
    assert report.error.code == "GC056"
    assert "graph_scalar" in report.error.message
