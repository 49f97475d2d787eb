"""Whether the TensorFlow servers of a cluster answer. It imports no TensorFlow, so that a parent process can ask."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from gradcheck.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds that a server has to answer, and between two questions. Together they stay well below 30.
ANSWER, PAUSE = 12.0, 2.0

# Any TensorFlow server answers this with its devices, each with a random number drawn when the server started.
_QUESTION = "/tensorflow.WorkerService/GetStatus"
# A proxy of the environment is for the way out: workers are inside, and TensorFlow's own channels go there directly.
_OPTIONS = (("grpc.enable_http_proxy", 0),)
_HELP = "`gradcheck worker --port N` starts one; placement.cluster says where each of them is"


def worker_name(index: int, address: str) -> str:
    """Return how messages name a worker."""
    return f"worker {index} ({address})"


class Servers:
    """The TensorFlow servers at `addresses`, in the order of their tasks."""

    def __init__(self, addresses: Sequence[str], *, seconds: float = ANSWER) -> None:
        """Ask nothing yet; a server then has `seconds` to answer."""
        self._addresses, self._seconds = tuple(addresses), seconds
        self._known: dict[int, bytes] = {}

    def failure(self) -> RunError | None:
        """Ask all servers at once; return the error of the first that does not answer as it did before."""
        import grpc  # noqa: PLC0415 - needed for a cluster alone

        with ExitStack() as stack:
            # A new channel each time: one that has failed waits before it tries again.
            channels = [stack.enter_context(grpc.insecure_channel(a, options=_OPTIONS)) for a in self._addresses]
            calls = [channel.unary_unary(_QUESTION).future(b"", timeout=self._seconds) for channel in channels]
            for index, call in enumerate(calls):
                try:
                    status = call.result()
                except grpc.RpcError as error:
                    return self._failed(index, error.code())
                if self._known.setdefault(index, status) != status:
                    return self._error(index, "was started again, and has lost what it held")
        return None

    def _failed(self, index: int, status: Any) -> RunError:
        """Return the error of a server whose answer was `status`, a code of gRPC."""
        if status.name == "DEADLINE_EXCEEDED":
            return self._error(index, f"has not answered for {self._seconds:g} seconds: it hangs, or is cut off")
        if status.name == "UNAVAILABLE":
            ended = "has ended, or cannot be reached any more" if index in self._known else "cannot be reached"
            return self._error(index, f"{ended}: nothing accepts a connection there")
        return self._error(index, f"is no TensorFlow server: it answers {status.name}")

    def _error(self, index: int, what: str) -> RunError:
        return RunError(f"{worker_name(index, self._addresses[index])} {what}", code="GC061", help=_HELP)


class ServerWatch:
    """Asks the servers at `addresses` every few seconds, in a thread.

    Attributes:
        error: that of the first server that failed; None until then.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        """Start to ask."""
        self.error: RunError | None = None
        self._servers, self._closed = Servers(addresses), threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        # The first question is left to the process that joins the cluster, which has the line of the config.
        while self.error is None and not self._closed.wait(PAUSE):
            self.error = self._servers.failure()

    def close(self) -> None:
        """Ask no more."""
        self._closed.set()
