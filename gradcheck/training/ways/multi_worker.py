"""`replicas` in processes of their own, which `tf.distribute.MultiWorkerMirroredStrategy` connects."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.errors import GradcheckError, NotApplicable
from gradcheck.training.ways.distributed import trained_by_fit
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


def steps_of_workers(departure: Departure, configs: Sequence[str]) -> list[list[Step]]:
    """Train in a process for each of `configs`, and return what each step left behind in each.

    Raises:
        GradcheckError: that of the first worker that fails, with its name; the others are ended, for they would wait.
    """
    if os.name != "posix":
        raise NotApplicable("no other process can be started on this system")
    start = packed(departure)
    tasks = [
        Task(target=f"{__name__}:worker", arguments=(config, index, len(configs), start))
        for index, config in enumerate(configs)
    ]
    steps: dict[int, list[Step]] = {}
    with Workers(len(tasks)) as pool, closing(pool.as_finished(tasks)) as finished:
        for index, result in finished:
            if isinstance(result, GradcheckError):
                raise replace(result, message=f"worker {index + 1} of {len(tasks)}: {result.message}")
            steps[index] = result
    return [steps[index] for index in range(len(tasks))]


def configs_of(count: int) -> tuple[str, ...]:
    """Return the TF_CONFIG of each of `count` local workers; the environment's own, if there is one."""
    given = os.environ.get(VARIABLE)
    if given:
        return (given,)
    with ExitStack() as stack:  # all are bound at the same time, so that no two are the same
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    cluster = {"worker": addresses}
    return tuple(json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}}) for index in range(count))


def worker(config: str, index: int, count: int, start: bytes, stage: Callable[[str], None]) -> list[Step]:
    """Train as one of several workers, in a process in which TensorFlow's runtime has not started."""
    os.environ[VARIABLE] = config
    stage("waiting for the other workers")
    if count > 1:  # on one machine: its GPUs are for all
        gpus = tf.config.list_physical_devices("GPU")
        tf.config.set_visible_devices(gpus[index : index + 1] if len(gpus) >= count else [], "GPU")
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    departure = unpacked(start)  # only now: making its tensors starts TensorFlow's runtime
    stage("training with the other workers")
    try:
        return trained_by_fit(departure, strategy)
    except GradcheckError as error:
        if isinstance(error.__cause__, tf.errors.OpError):
            time.sleep(_COURTESY)
        raise
