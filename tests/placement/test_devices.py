"""Names of devices, and what this process and a worker answer."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from gradcheck.cli.main import main
from gradcheck.config.keyed import KeyedError, KeyedRunError
from gradcheck.config.schema import Placement
from gradcheck.numerics import SparseRows, Tolerance, compare, digest
from gradcheck.placement import membership
from gradcheck.placement.devices import full_name, resolved, task_of
from gradcheck.placement.hosting import answer
from gradcheck.results.json_types import record_from
from gradcheck.results.tensor import Comparison

KNOWN = ("/device:CPU:0", "/device:CPU:1", "/job:worker/replica:0/task:0/device:CPU:0", "/device:GPU:0")
TOLERANCE = Tolerance(rtol=1e-5, atol=None, compute_dtype="float32")


@pytest.mark.parametrize(
    ("name", "device"),
    [
        ("cpu:0", KNOWN[0]),
        ("/CPU:1", KNOWN[1]),
        ("/device:CPU:1", KNOWN[1]),
        ("/job:worker/task:0", KNOWN[2]),
        ("/job:worker/task:0/device:CPU:0", KNOWN[2]),
        ("/job:worker/task:1", None),
        ("/GPU:0", KNOWN[3]),
        ("/GPU:1", None),
        ("nonsense", None),
    ],
)
def test_a_name_stands_for_one_device(name: str, device: str | None) -> None:
    assert resolved(name, KNOWN) == device


def test_the_worker_of_a_device() -> None:
    assert task_of(full_name("/job:worker/task:3/GPU:1")) == 3
    assert task_of(full_name("CPU:2")) is None


def test_a_device_that_does_not_exist() -> None:
    with pytest.raises(KeyedError, match=r"no such device\. Received: /GPU:7") as raised:
        membership.device_names(Placement(devices=("/CPU:0", "/GPU:7")))
    assert (raised.value.code, raised.value.keys) == ("GC034", ("placement", "devices", 1))


def test_cpus_cannot_be_split_once_tensorflow_runs() -> None:
    tf.zeros(())
    count = len(tf.config.list_logical_devices("CPU"))
    placed = Placement(devices=(f"/CPU:{count + 40}",))
    with pytest.raises(KeyedRunError, match="TensorFlow runs in this process already"), membership.joined(placed):
        pass


def test_a_worker_with_another_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    versions = iter([tf.__version__, None, "2.16.1"])  # None: a TensorFlow server, no worker
    monkeypatch.setattr(membership, "ask", lambda *_: {"tensorflow": v} if (v := next(versions)) else None)
    with pytest.raises(KeyedRunError, match=r"worker 2 \(c:3\) runs TensorFlow 2\.16\.1, and this process") as raised:
        membership._require_same_version(["a:1", "b:2", "c:3"])
    assert (raised.value.code, raised.value.exit_code) == ("GC062", 3)


def test_an_exception_names_the_server_that_failed() -> None:
    class Failed:
        def failure(self) -> Any:
            return KeyedRunError("worker 0 (a:1) has ended", code="GC061")

    with pytest.raises(KeyedRunError, match="has ended"), membership.failures_named(Failed()):  # type: ignore[arg-type]
        raise ValueError("socket closed")
    with pytest.raises(ValueError, match="my own"), membership.failures_named(None):
        raise ValueError("my own")


@pytest.mark.parametrize("planted", [0.0, 1e-3, np.nan, np.inf])
def test_a_worker_compares_as_this_process_does(planted: float) -> None:
    left = np.arange(12, dtype="float32").reshape(3, 4)
    right = left.copy()
    right[1, 2] += planted
    question = {
        "ask": "compare",
        "shapes": [None, None],
        "tolerance": dataclasses.asdict(TOLERANCE),
        "gradient": True,
    }
    found = record_from(Comparison, json.loads(answer(json.dumps(question).encode(), left, right)))
    assert repr(found) == repr(compare(left, right, TOLERANCE))
    assert (found.status == "exact") == (planted == 0)


def test_a_worker_compares_sparse_rows() -> None:
    rows, values = np.array([4, 1]), np.ones((2, 3), "float32")
    sparse, dense = SparseRows(indices=rows, values=values, shape=(5, 3)), np.zeros((5, 3), "float32")
    question = {
        "ask": "compare",
        "shapes": [[5, 3], None],
        "tolerance": dataclasses.asdict(TOLERANCE),
        "gradient": True,
    }
    found = record_from(Comparison, json.loads(answer(json.dumps(question).encode(), rows, values, dense)))
    assert repr(found) == repr(compare(sparse, dense, TOLERANCE))
    assert found.status == "mismatch"


def test_the_host_of_a_worker_is_an_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worker", "--host", "my.machine"]) == 2
    assert "--host takes an IPv4 address of this machine. Received: my.machine" in capsys.readouterr().err


def test_a_worker_says_what_is_free_and_hashes_what_it_holds() -> None:
    values = np.arange(6, dtype="float32").reshape(2, 3)
    assert json.loads(answer(b'{"ask": "digest"}', values)) == digest(values)
    assert json.loads(answer(b'{"ask": "digest"}', values + 1)) != digest(values)
    assert 2**20 < json.loads(answer(b'{"ask": "free"}')) < 2**50
