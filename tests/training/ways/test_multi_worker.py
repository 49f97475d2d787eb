from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.training.ways.multi_worker import VARIABLE, cluster_around, local_cluster
from tests.training.trained import trained

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.results.report import RunReport
    from tests.training.trained import Run

MODEL = """
    model: {}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""
MODELS = """
    import json
    import os
    import signal

    import keras
    import tensorflow as tf

    def index():
        return json.loads(os.environ.get("TF_CONFIG", '{"task": {"index": -1}}'))["task"]["index"]

    class Fails(keras.layers.Layer):
        def __init__(self, how):
            super().__init__()
            self.how = how

        def call(self, x):
            if index() == 1 and tf.distribute.has_strategy() and not tf.distribute.in_cross_replica_context():
                if self.how == "exits":
                    os._exit(7)
                if self.how == "is killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                if self.how == "raises":
                    raise ValueError("only here")
            return x

    def model(how=None):
        x = keras.Input((4,))
        y = keras.layers.Dense(5, activation="tanh")(x)
        y = Fails(how)(y) if how else keras.layers.BatchNormalization(name="normal")(y)
        return keras.Model(x, {"u": keras.layers.Dense(2, name="u")(y), "v": keras.layers.Dense(1, name="v")(y)})
"""


def config(how: str | None = None, **keys: Any) -> dict[str, Any]:
    model = {"factory": "./models.py:model", "kwargs": {"how": how}}
    methods = [{"replicas": {"count": 2, "strategy": "multi_worker"}}]
    return {**trained(MODEL, "Adam", steps=2, methods=methods), "model": model, **keys}


def children() -> set[str]:
    """The commands of the processes that this one has started."""
    listed = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True)  # noqa: PLW1510, S607
    return {line for line in listed.stdout.splitlines() if "gradcheck.workers" in line}


def test_workers_agree_with_the_plain_loop_and_leave_nothing_behind(run: Run) -> None:
    before = children()
    found = run(config(), {"models.py": MODELS})
    assert found.verdict == "pass", found.error or found.checks[0].failures[:3]
    (check,) = found.checks
    assert {row.kind for row in check.tensors} == {"loss", "weight", "optimizer", "state"}
    assert any(note.startswith("GC301") for note in check.notes)
    assert any("Keras issue 20585" in note for note in check.notes)
    assert children() == before
    assert VARIABLE not in os.environ


@pytest.mark.third
@pytest.mark.parametrize(
    ("how", "code", "said"),
    [
        ("exits", "GC060", "the process ended itself with exit code 7"),
        ("is killed", "GC060", "the process was ended by SIGKILL"),
        ("raises", "GC053", "training raised ValueError: only here"),
    ],
)
def test_a_worker_that_fails_ends_the_check_with_its_name(run: Run, how: str, code: str, said: str) -> None:
    before, start = children(), time.monotonic()
    found = run(config(how), {"models.py": MODELS})
    assert time.monotonic() - start < 60  # the start of the workers included
    assert found.verdict == "error"
    (mistake,) = [check.error for check in found.checks if check.error]
    assert (mistake.code, mistake.exit_code) == (code, 3)
    assert mistake.message.startswith(f"worker 2 of 2: {said}")
    assert how == "is killed" or (mistake.file or "").endswith("models.py")
    assert children() == before


@pytest.mark.on_request
def test_a_loss_that_is_not_divided_differs(run: Run) -> None:
    losses = "import tensorflow as tf\n\ndef mean():\n    return lambda y, z: tf.reduce_mean((y - z) ** 2)\n"
    loss = {"factory": "./losses.py:mean"}
    found: RunReport = run(config(loss=loss), {"models.py": MODELS, "losses.py": losses})
    assert found.verdict == "fail", found.error


@pytest.mark.on_request
def test_machines_of_a_tf_config_check_each_for_itself(tmp_path: Path) -> None:
    """Two commands, as on two machines, the second of which is not the first worker."""
    (tmp_path / "models.py").write_text(MODELS.replace("\n    ", "\n"), encoding="utf-8")
    (tmp_path / "config.yaml").write_text(json.dumps(config()), encoding="utf-8")
    command = [sys.executable, "-m", "gradcheck", "run", str(tmp_path / "config.yaml"), "--format", "json"]
    started = [
        subprocess.Popen(command, env={**os.environ, VARIABLE: one}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for one in local_cluster(2).configs
    ]
    for one in started:
        output, errors = one.communicate(timeout=120)
        assert one.returncode == 0, (output.decode(), errors.decode())
        (check,) = json.loads(output)["runs"][0]["checks"]
        assert "state" in {row["kind"] for row in check["tensors"]}


def test_a_local_cluster_has_ports_that_are_free() -> None:
    cluster = local_cluster(3)
    configs = [json.loads(one) for one in cluster.configs]
    assert [one["task"] for one in configs] == [{"type": "worker", "index": index} for index in range(3)]
    assert len({json.dumps(one["cluster"]) for one in configs}) == 1
    addresses = configs[0]["cluster"]["worker"]
    assert len(set(addresses)) == 3
    for address in addresses:
        host, _, port = address.partition(":")
        socket.create_server((host, int(port))).close()


@pytest.mark.parametrize(("task", "index"), [({"type": "chief", "index": 0}, 0), ({"type": "worker", "index": "1"}, 2)])
def test_a_cluster_around_counts_the_chief(task: dict[str, Any], index: int) -> None:
    given = json.dumps({"cluster": {"worker": ["b:1", "c:1"], "chief": ["a:1"]}, "task": task})
    cluster = cluster_around(given)
    assert (cluster.size, cluster.index, cluster.configs) == (3, index, (given,))
