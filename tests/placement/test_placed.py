"""Four stages on four workers: bitwise what one process computes, and a wrong cotangent named at its boundary."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from gradcheck.cli.main import main
from gradcheck.results.report import Report
from tests.placement.conftest import DENSE, STAGES, placement

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CANDIDATES = """
import tensorflow as tf

def gradients(given, factor):
    for index, segment in enumerate(given.segments):
        for v in (*segment.trainable_variables, *segment.non_trainable_variables):
            assert f"/task:{index}/" in v.value.device, (v.path, v.value.device)
    passes, value = [], given.x
    for segment in given.segments:
        with segment.on_device(), tf.GradientTape() as tape:
            value = tf.identity(value)
            tape.watch(value)
            output = segment(value, training=given.training)
        assert output.device == segment.device
        passes.append((segment, tape, value, output))
        value = output
    with tf.GradientTape() as tape:
        tape.watch(value)
        loss = given.loss(given.y, value)
    cotangent, found = tape.gradient(loss, value), {}
    for index, (segment, tape, value, output) in reversed([*enumerate(passes)]):
        with segment.on_device():
            cotangent = cotangent * (factor if index == 2 else 1.0)
            sources = [value, *(v.value for v in segment.trainable_variables)]
            cotangent, *gradients = tape.gradient(output, sources, output_gradients=cotangent)
        found |= {v.path: g for v, g in zip(segment.trainable_variables, gradients)}
    return loss, found
"""
SLICED = """
microbatches: 2
schedule: 1f1b
methods: [vjp, recompute]
"""
CANDIDATE = """
verify_reference: never
methods:
  - naive: {expect: mismatch}
  - candidate: {factory: "./own.py:gradients", kwargs: {factor: 2.0}}
"""


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> Report:
    code = main(["run", *arguments, "--format", "json"])
    printed = capsys.readouterr()
    assert printed.out, (code, printed.err)
    return Report.from_json(printed.out)


def test_stages_on_workers_compute_what_one_process_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cluster: list[str]
) -> None:
    (tmp_path / "own.py").write_text(CANDIDATES, encoding="utf-8")
    for name, text in {"slices": STAGES + SLICED, "own": DENSE + CANDIDATE}.items():
        (tmp_path / f"{name}.yaml").write_text(text + placement(cluster), encoding="utf-8")
    own, slices = checked(capsys, str(tmp_path)).runs
    assert (slices.errors, own.errors) == ((), ())

    # The reference runs in one process: every tensor is bitwise equal, dropout's masks and the statistics too.
    for check in slices.checks:
        assert {tensor.status for tensor in check.tensors} == {"exact"}
        assert {tensor.kind for tensor in check.tensors} == {"weight", "input", "boundary", "output", "loss", "state"}

    naive, wrong = own.checks
    assert {tensor.path for tensor in naive.tensors if tensor.failed} >= {"first/kernel", "first", "second"}
    assert {tensor.segment for tensor in wrong.tensors if tensor.failed} == {0, 1, 2}
    (diagnosis,) = wrong.diagnoses
    assert (diagnosis.code, diagnosis.segment) == ("GC112", 2)


PARTS = """
import keras

def part(index, units):
    inputs = keras.Input([6 if index == 0 else 5])
    dense = keras.layers.Dense(units, activation="tanh", name=f"dense_{index}")
    return keras.Model(inputs, dense(inputs), name=f"part_{index}")
"""
CHAIN = """
model:
  segments:
    - {factory: "./own.py:part", kwargs: {index: 0, units: 5}}
    - {factory: "./own.py:part", kwargs: {index: 1, units: 5}}
    - {factory: "./own.py:part", kwargs: {index: 2, units: 5}}
    - {factory: "./own.py:part", kwargs: {index: 3, units: 2}}
data: {batch_size: 3}
"""


def test_stages_on_workers_against_a_saved_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cluster: list[str]
) -> None:
    (tmp_path / "own.py").write_text(PARTS + CANDIDATES, encoding="utf-8")
    whole, chain = tmp_path / "whole.yaml", tmp_path / "chain.yaml"
    whole.write_text(CHAIN, encoding="utf-8")
    chain.write_text(CHAIN + CANDIDATE.replace("naive:", "vjp:\n  - naive:") + placement(cluster), encoding="utf-8")
    saved = str(tmp_path / "whole.npz")
    assert checked(capsys, str(whole), "--save-gradients", saved).exit_code == 0

    (run,) = checked(capsys, str(chain), "--reference", saved).runs
    vjp, naive, wrong = run.checks
    assert {tensor.status for tensor in vjp.tensors} == {"exact"}
    assert {tensor.kind for tensor in vjp.tensors} >= {"weight", "input", "boundary", "output", "loss"}
    assert naive.outcome == "mismatch"
    # The replays run on the workers: the whole model is nowhere.
    (diagnosis,) = wrong.diagnoses
    assert (diagnosis.code, diagnosis.segment) == ("GC112", 2)


def test_the_plan_of_a_placement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "planned.yaml"
    text = """
    model: {input: {shape: [100]}, layers: [{Dense: {units: 50, name: a}}, {Dense: {units: 30, name: b}}, {Dense: 10}]}
    split: {after: [a, b]}
    data: {batch_size: 4}
    placement: {devices: ["/CPU:0", "/job:worker/task:1", "/job:worker/task:1/device:CPU:0"], cluster: [a:1, b:2]}
    """
    path.write_text(text, encoding="utf-8")
    assert main(["plan", str(path), "--format", "json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    here, there = plan["devices"]
    assert (here["device"], here["address"], here["segments"]) == (
        "/job:localhost/replica:0/task:0/device:CPU:0",
        None,
        [0],
    )
    assert (there["address"], there["segments"]) == ("b:2", [1, 2])
    weights = 4 * (50 * 30 + 30 + 30 * 10 + 10)
    assert there["weights"] == weights
    # The gradients of one segment, the largest of them once more, all outputs, all inputs, the widest output.
    gradients = 4 * (50 * 30 + 30)
    assert there["memory"] == weights + gradients + 4 * (50 * 30) + 16 * (30 + 10) + 16 * (50 + 30) + 16 * 30
    assert plan["crossing"] == {"boundaries": 16 * 50, "cotangents": 16 * 50, "inputs": 0}
    main(["plan", str(path)])
    assert "at b:2: segments 1, 2: weights 7.188 KiB" in capsys.readouterr().out
