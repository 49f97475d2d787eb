"""A worker: a TensorFlow server, and what this process answers about tensors that it holds.

Questions come over the server's own connection: as an operation that calls a Python function which its process has
registered under a token. The first one of a process has always the same token, `asking.TOKEN`.
"""

from __future__ import annotations

import dataclasses
import json
import platform
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.errors import RunError
from gradcheck.numerics import SparseRows, Tolerance, compare, digest
from gradcheck.placement.free_memory import free_bytes, leave_room
from gradcheck.placement.loopback import ANY, accept_only
from gradcheck.placement.worker_questions import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.numerics.elements import Array


class Worker:
    """A TensorFlow server in this process, until the process ends.

    Attributes:
        address: host:port, as it is written in `placement.cluster`.
    """

    def __init__(self, host: str, port: int) -> None:
        """Start to listen at `host`, an IPv4 address; at a free port for 0.

        Raises:
            RunError: GC062, if there is no listening there.
        """
        # The graph keeps the function alive; building it makes no tensor, and starts no other runtime.
        with tf.Graph().as_default() as self._graph:
            answered = tf.numpy_function(answer, [tf.constant("")], tf.string)
        if answered.op.get_attr("token") != TOKEN:
            raise AssertionError("another function of this process is called from TensorFlow")
        leave_room()
        try:
            self._server = tf.distribute.Server({"local": [f"{host}:{port}"]}, job_name="local", task_index=0)
        except tf.errors.OpError as error:
            raise RunError(
                f"no server can listen at port {port}: another program may do so. TensorFlow says: {error.message}",
                code="GC062",
                help="take another port; --port 0 takes any that is free",
            ) from error
        _, _, given = self._server.target.rpartition(":")
        accept_only(host, int(given))
        self.address = f"{platform.node() if host == ANY else host}:{given}"


def answer(question: bytes, *arrays: Array) -> bytes:
    """Return the answer of this process to `question`, about `arrays`, as JSON."""
    asked = json.loads(question)
    return json.dumps(_ANSWERS[asked.pop("ask")](arrays, **asked)).encode()


def _versions(_: Sequence[Array]) -> dict[str, Any]:
    return {"tensorflow": tf.__version__}


def _memory(_: Sequence[Array], *, restart: bool) -> dict[str, Any] | None:
    """Return how many bytes of tensors TensorFlow holds, and held at most, if it counts; `restart` the peak then."""
    try:
        held: dict[str, Any] = tf.config.experimental.get_memory_info(_CPU)
    except ValueError:  # builds without oneDNN count nothing
        return None
    if restart:
        tf.config.experimental.reset_memory_stats(_CPU)
    return held


def _compared(arrays: Sequence[Array], *, shapes: Sequence[Any], tolerance: Any, gradient: bool) -> dict[str, Any]:
    """Return the comparison of two tensors: each is an array, or the indices and values of a sparse one of a shape."""
    left = iter(arrays)
    sides = [
        next(left) if shape is None else SparseRows(indices=next(left), values=next(left), shape=tuple(shape))
        for shape in shapes
    ]
    return dataclasses.asdict(compare(sides[0], sides[1], Tolerance(**tolerance), gradient=gradient))


def _free(_: Sequence[Array]) -> int:
    return free_bytes()


def _digest(arrays: Sequence[Array]) -> str:
    """Return the hash of a tensor's elements, which stay here."""
    return digest(*arrays)


_CPU = "CPU:0"
_ANSWERS: dict[str, Callable[..., Any]] = {
    "versions": _versions,
    "memory": _memory,
    "free": _free,
    "digest": _digest,
    "compare": _compared,
}
