"""`replicas` in processes of their own, which `tf.distribute.MultiWorkerMirroredStrategy` connects."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.errors import GradcheckError, NotApplicable
from gradcheck.training.ways.distributed import trained
from gradcheck.training.ways.packing import packed, unpacked
from gradcheck.workers.pool import Workers
from gradcheck.workers.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.training.steps import Step
    from gradcheck.training.ways.elsewhere import Departure

#: Where TensorFlow looks for the machines that train together, and which one of them this is.
VARIABLE = "TF_CONFIG"
#: Seconds that a worker keeps an error of TensorFlow's to itself: another's end may be the cause, and says more.
_COURTESY = 2.0


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The workers that train together.

    Attributes:
        size: how many there are, on all machines.
        index: which of them is the first of `configs`.
        configs: the TF_CONFIG of each that is started here.
    """

    size: int
    index: int
    configs: Sequence[str]


def cluster_around(given: str) -> Cluster:
    """Return the cluster that a TF_CONFIG describes; one process of it is started here."""
    config = json.loads(given)
    tasks = [(kind, index) for kind in ("chief", "worker") for index, _ in enumerate(config["cluster"].get(kind, ()))]
    return Cluster(
        size=len(tasks), index=tasks.index((config["task"]["type"], int(config["task"]["index"]))), configs=(given,)
    )


def local_cluster(count: int) -> Cluster:
    """Return a cluster of `count` workers on this machine."""
    with ExitStack() as stack:  # all are bound at the same time, so that no two are the same
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    tasks = [{"type": "worker", "index": index} for index in range(count)]
    configs = [json.dumps({"cluster": {"worker": addresses}, "task": task}) for task in tasks]
    return Cluster(size=count, index=0, configs=configs)


def steps_of_workers(departure: Departure, cluster: Cluster) -> list[list[Step]]:
    """Train in a process for each config of `cluster`, and return what each step left behind in each.

    Raises:
        GradcheckError: that of the first worker that fails, with its name; the others are ended, for they would wait.
    """
    if os.name != "posix":
        raise NotApplicable("no other process can be started on this system")
    content = packed(departure)
    tasks = [Task(target=f"{__name__}:worker", arguments=(config, cluster.size, content)) for config in cluster.configs]
    steps: dict[int, list[Step]] = {}
    with Workers(len(tasks)) as pool, closing(pool.as_finished(tasks)) as finished:
        for index, result in finished:
            if isinstance(result, GradcheckError):
                name = f"worker {cluster.index + index + 1} of {cluster.size}"
                raise replace(result, message=f"{name}: {result.message}")
            steps[index] = result
    return [steps[index] for index in range(len(tasks))]


def worker(config: str, count: int, content: bytes, stage: Callable[[str], None]) -> list[Step]:
    """Train as one of `count` workers, in a process in which TensorFlow's runtime has not started."""
    stage("waiting for the other workers")
    if os.environ.get(VARIABLE) != config:  # all are on this machine, and share its GPUs
        os.environ[VARIABLE] = config
        index, gpus = json.loads(config)["task"]["index"], tf.config.list_physical_devices("GPU")
        tf.config.set_visible_devices(gpus[index : index + 1] if len(gpus) >= count else [], "GPU")
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    if strategy.num_replicas_in_sync != count:
        raise NotApplicable(f"{count} workers have {strategy.num_replicas_in_sync} replicas: let each see one GPU")
    departure = unpacked(content)  # only now: making its tensors starts TensorFlow's runtime
    stage("training with the other workers")
    try:
        return trained(departure, strategy, by_fit=False)
    except GradcheckError as error:
        if isinstance(error.__cause__, tf.errors.OpError):
            time.sleep(_COURTESY)
        raise
