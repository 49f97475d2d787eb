"""`recompute`: each segment's forward pass twice, the second one exactly the first, and nothing moved twice."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck import check
from gradcheck.building.state import Snapshot, movable_variables
from gradcheck.methods.by_segment.recompute import Recomputing, not_before

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

#: A batch norm and a spectral normalisation, which assigns its trained kernel, that two segments share; and dropout.
SHARED_STATE = """
    model:
      input: {shape: [6]}
      layers:
        - SpectralNormalization: {layer: {Dense: {units: 5, name: inner}}, name: spectral}
        - BatchNormalization: {momentum: 0.5, name: norm}
        - Dense: {units: 6, activation: tanh, name: middle}
        - Dropout: {rate: 0.4, name: dropout}
        - call: {layer: spectral, inputs: [dropout], name: spectral_again}
        - call: {layer: norm, inputs: [spectral_again], name: norm_again}
        - Dense: {units: 2, name: out}
    split: {every: layer}
    loss: MeanSquaredError
    data: {batch_size: 6}
    methods: [recompute]
"""
STATISTICS = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, name: first}
        - BatchNormalization: {momentum: 0.5, name: norm}
        - Dense: {units: 2, name: out}
    split: {after: [norm]}
    loss: MeanSquaredError
    data: {batch_size: 6}
    methods: [recompute]
"""
NOISE = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, name: first}
        - Dropout: {rate: 0.5, name: dropout}
        - Dense: {units: 5, name: second}
        - Dropout: {rate: 0.5, name: last_dropout}
        - Dense: {units: 2, name: out}
    split: {after: [dropout, last_dropout]}
    loss: MeanSquaredError
    data: {batch_size: 6}
    methods: [recompute]
"""


def only_check(report: RunReport) -> CheckReport:
    assert report.error is None, report.error
    (found,) = report.checks
    return found


def failing(report: RunReport) -> set[tuple[str, str]]:
    return {(tensor.kind, tensor.path) for tensor in only_check(report).failures}


@pytest.mark.parametrize(
    "name",
    [
        "attention",
        "boundary_is_output",
        "embedding_and_projection",
        "lstm_states",
        "masks",
        "nested_models",
        "operations",
        "own_parts_and_whole",
        "regularisers",
        "several_outputs",
        "shared_embedding",
    ],
)
def test_every_kind_of_model_matches(root: Path, name: str) -> None:
    (report,) = check(root / "tests" / "examples" / "passing" / f"{name}.yaml", methods=["recompute"]).runs
    assert report.verdict == "pass", failing(report)
    assert {tensor.kind for tensor in only_check(report).tensors} >= {"weight", "output", "loss"}


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
@pytest.mark.parametrize("name", ["norm_and_dropout", "stateful"])
def test_state_is_moved_once_however_it_is_compiled(root: Path, name: str, execution: str) -> None:
    path = root / "tests" / "examples" / "passing" / f"{name}.yaml"
    (report,) = check(path, methods=["recompute"], execution=execution).runs
    assert report.verdict == "pass", failing(report)
    assert len(only_check(report).of_kind("state")) > 1


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
def test_state_that_two_segments_share_is_moved_twice_and_not_four_times(run: Run, execution: str) -> None:
    report = run(SHARED_STATE, execution=execution)
    assert report.verdict == "pass", failing(report)
    assert {tensor.path for tensor in only_check(report).of_kind("state")} > {"norm/moving_mean", "spectral/vector_u"}


def test_without_rewinding_only_the_state_is_wrong_where_nothing_is_random(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Recomputing, "rewound", lambda *_: nullcontext())
    assert failing(run(STATISTICS)) == {("state", "norm/moving_mean"), ("state", "norm/moving_variance")}


def test_without_rewinding_dropout_draws_another_mask(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def put_back_only(_: Recomputing, done: Any) -> Iterator[None]:
        now = Snapshot(movable_variables([done.segment]))
        yield
        now.put_back()

    monkeypatch.setattr(Recomputing, "rewound", put_back_only)
    wrong = failing(run(NOISE))
    assert ("weight", "first/kernel") in wrong
    assert not {path for kind, path in wrong if kind in ("state", "output", "loss")}
    assert not {path for _, path in wrong if path.startswith("out")}  # the last segment has no dropout


def test_without_putting_back_shared_state_ends_where_the_first_use_left_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def rewound_only(self: Recomputing, done: Any) -> Iterator[None]:
        self._starts.pop(done).put_back()
        yield

    monkeypatch.setattr(Recomputing, "rewound", rewound_only)
    wrong = failing(run(SHARED_STATE))
    assert {kind for kind, _ in wrong} == {"state"}
    assert {path.partition("/")[0] for _, path in wrong} == {"norm", "spectral"}


def test_another_training_flag_in_the_second_pass_is_caught(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Recomputing.__init__

    def at_inference(self: Recomputing, problem: Any) -> None:
        made(self, problem)
        self._training = False

    monkeypatch.setattr(Recomputing, "__init__", at_inference)
    assert ("weight", "first/kernel") in failing(run(NOISE))


def test_no_tape_is_alive_during_the_forward_pass(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    open_tapes: list[Any] = []
    seen: list[tuple[int, int]] = []
    enter, leave, forward = tf.GradientTape.__enter__, tf.GradientTape.__exit__, Recomputing.forward

    def entered(tape: Any) -> Any:
        open_tapes.append(tape)
        return enter(tape)

    def left(tape: Any, *raised: object) -> None:
        open_tapes.remove(tape)
        leave(tape, *raised)

    def watched(self: Recomputing, segment: Any, inputs: Any, *, training: bool) -> list[Any]:
        seen.append((segment.plan.index, len(open_tapes)))
        return forward(self, segment, inputs, training=training)

    monkeypatch.setattr(tf.GradientTape, "__enter__", entered)
    monkeypatch.setattr(tf.GradientTape, "__exit__", left)
    monkeypatch.setattr(Recomputing, "forward", watched)
    assert run(NOISE).verdict == "pass"
    assert seen == [(0, 0), (1, 0), (2, 0), (2, 1), (1, 1), (0, 1)]


@pytest.mark.parametrize("execution", ["eager", "graph", "xla"])
@pytest.mark.parametrize(
    "values",
    [
        np.array([1.5, -0.0, 0.0, np.inf, -np.inf, np.nan, 1e-45], np.float32),
        np.array([True, False]),
        np.array([2**31 - 1, -5], np.int32),
        np.array(2.5, np.float64),
    ],
    ids=lambda values: values.dtype.name,
)
@pytest.mark.parametrize("cotangent", [[1.0, 2.0], [np.nan, 1.0], [np.inf, 1.0]], ids=str)
def test_waiting_changes_no_bit(values: Any, cotangent: list[float], execution: str) -> None:
    function: Any = not_before
    if execution != "eager":
        function = tf.function(not_before, jit_compile=execution == "xla")
    copy = function([tf.constant(cotangent)], tf.constant(values)).numpy()
    assert copy.dtype == values.dtype
    assert copy.tobytes() == values.tobytes()


def test_a_graph_makes_the_second_pass_only_once_its_cotangent_is_there() -> None:
    order: list[str] = []

    def noted(name: str, tensor: Any) -> Any:
        def note(value: Any) -> Any:
            order.append(name)
            return value

        return tf.ensure_shape(tf.numpy_function(note, [tensor], tf.float32), tensor.shape)

    def both(tensor: Any) -> Any:
        cotangent = tensor
        for i in range(20):
            cotangent = noted(f"first {i}", cotangent)
        return cotangent, noted("second", not_before([cotangent], tensor))

    tf.function(both)(tf.ones((2,)))
    assert order[-1] == "second"
    assert len(order) == 21
