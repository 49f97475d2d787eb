"""Joining the devices that a config names: local ones, or those of TensorFlow servers, of the same version."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

import tensorflow as tf
from tensorflow.python.eager import context

from gradcheck.config.keyed import KeyedError, KeyedRunError, at
from gradcheck.errors import RunError
from gradcheck.phrases import listed
from gradcheck.placement.devices import JOB, known_devices, resolved, split_cpu
from gradcheck.placement.health import Servers, worker_name
from gradcheck.placement.loopback import accept_only
from gradcheck.placement.worker_questions import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.config.schema import Placement

_LOCAL_CPU = re.compile(r"^/?(?:device:)?CPU:(\d+)$", re.IGNORECASE)
_STARTED = "in a process of its own, as `gradcheck run` gives each such config, this works"


@contextmanager
def joined(placement: Placement | None) -> Iterator[Servers | None]:
    """Join the devices of `placement`, and yield the servers of its cluster, if it has one.

    Whatever the block raises because one of them has failed becomes the error that names it.

    Raises:
        RunError: GC061 for a server that cannot be reached, hangs or ends; GC062 for one of another version, and where
            this process cannot join.
    """
    if placement is None or not placement.cluster:
        with at("placement"):
            _split_for(placement)
        yield None
        return
    servers = Servers(placement.cluster)
    with at("placement", "cluster"):
        require_alive(servers)
        with failures_named(servers):
            _connect(placement.cluster)
            _require_same_version(placement.cluster)
    with failures_named(servers):
        yield servers


def require_alive(servers: Servers | None) -> None:
    """Raise if one of `servers` has failed.

    Raises:
        KeyedRunError: GC061.
    """
    failure = servers and servers.failure()
    if failure:
        raise KeyedRunError(failure.message, code=failure.code, help=failure.help)


@contextmanager
def failures_named(servers: Servers | None) -> Iterator[None]:
    """Replace an exception of the block by the error of the server that has failed, if one has."""
    try:
        yield
    except Exception as error:
        try:
            require_alive(servers)
        except RunError as failure:
            raise failure from error
        raise


def device_names(placement: Placement) -> tuple[str, ...]:
    """Return TensorFlow's full names of the devices in `placement`, one a segment. Call it inside `joined`.

    Raises:
        KeyedError: GC034, for one that does not exist.
    """
    known, names = known_devices(), []
    for index, name in enumerate(placement.devices):
        found = resolved(name, known)
        if found is None:
            with at("placement", "devices", index):
                raise KeyedError(
                    f"there is no such device. Received: {name}", code="GC034", help=f"there are {listed(known)}"
                )
        names.append(found)
    return tuple(names)


def _split_for(placement: Placement | None) -> None:
    """Have as many logical CPU devices as `placement` names."""
    found = [_LOCAL_CPU.match(name) for name in (placement.devices if placement else ())]
    highest = max((int(match[1]) for match in found if match), default=0)
    if highest:
        try:
            split_cpu(highest + 1)
        except RuntimeError as error:
            raise KeyedRunError(
                f"TensorFlow runs in this process already, with fewer than {highest + 1} CPU devices",
                code="GC062",
                help=_STARTED,
            ) from error


def _connect(cluster: Sequence[str]) -> None:
    """Connect this process to the servers of `cluster`, once."""
    before = context.context().get_server_def()
    if before is not None:
        (job,) = [job for job in before.cluster.job if job.name == JOB] or [None]
        if job is None or [job.tasks[task] for task in sorted(job.tasks)] != list(cluster):
            raise KeyedRunError("this process is connected to another cluster", code="GC062", help=_STARTED)
        return
    tf.config.experimental_connect_to_host(list(cluster), job_name=JOB)
    known_devices()  # which connects
    own = context.context().get_server_def().cluster
    for address in (task for job in own.job if job.name != JOB for task in job.tasks.values()):
        accept_only("127.0.0.1", int(address.rpartition(":")[2]))  # TensorFlow's server for this process: nobody calls


def _require_same_version(cluster: Sequence[str]) -> None:
    """Raise for a worker with another TensorFlow.

    Raises:
        KeyedRunError: GC062.
    """
    for index, address in enumerate(cluster):
        found = ask(f"/job:{JOB}/task:{index}/device:CPU:0", {"ask": "versions"})
        if found is not None and found["tensorflow"] != tf.__version__:
            with at(index):
                raise KeyedRunError(
                    f"{worker_name(index, address)} runs TensorFlow {found['tensorflow']}, and this process "
                    f"{tf.__version__}: they may round otherwise, or not understand each other",
                    code="GC062",
                    help="install the same version on both sides",
                )
