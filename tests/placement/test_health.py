"""Servers that answer, hang, end and start again: gRPC's own, which answer what a test lets them."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gradcheck.placement.health import Servers, ServerWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def serve() -> Iterator[Callable[..., tuple[str, Any]]]:
    """Starts a server whose every call is answered by `answer`, and returns its address."""
    started: list[Any] = []

    def start(answer: Callable[[], bytes], method: str = "GetStatus", port: int = 0) -> tuple[str, Any]:
        server = grpc.server(ThreadPoolExecutor(2))
        handler = grpc.unary_unary_rpc_method_handler(lambda *_: answer())
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tensorflow.WorkerService", {method: handler})]
        )
        port = server.add_insecure_port(f"127.0.0.1:{port}")
        server.start()
        started.append(server)
        return f"127.0.0.1:{port}", server

    yield start
    for server in started:
        server.stop(None)


def test_servers_that_answer_have_not_failed(serve: Callable[..., tuple[str, Any]]) -> None:
    servers = Servers([serve(lambda: b"a")[0], serve(lambda: b"b")[0]])
    assert servers.failure() is None
    assert servers.failure() is None


def test_one_that_was_never_there(serve: Callable[..., tuple[str, Any]]) -> None:
    address, server = serve(lambda: b"a")
    server.stop(None).wait()
    failure = Servers([serve(lambda: b"b")[0], address]).failure()
    assert failure is not None
    assert (failure.code, failure.exit_code) == ("GC061", 3)
    assert failure.message == f"worker 1 ({address}) cannot be reached: nothing accepts a connection there"


def test_one_that_has_ended(serve: Callable[..., tuple[str, Any]]) -> None:
    address, server = serve(lambda: b"a")
    servers = Servers([address])
    assert servers.failure() is None
    server.stop(None).wait()
    assert "worker 0" in str(servers.failure())
    assert "has ended" in str(servers.failure())


def test_one_that_hangs(serve: Callable[..., tuple[str, Any]]) -> None:
    address, _ = serve(lambda: time.sleep(1.5) or b"a")
    failure = Servers([address], seconds=0.3).failure()
    assert "has not answered for 0.3 seconds" in str(failure)


def test_one_that_was_started_again(serve: Callable[..., tuple[str, Any]]) -> None:
    answers = iter([b"one", b"one", b"another"])
    servers = Servers([serve(lambda: next(answers))[0]])
    assert (servers.failure(), servers.failure()) == (None, None)
    assert "was started again" in str(servers.failure())


def test_what_is_no_tensorflow_server(serve: Callable[..., tuple[str, Any]]) -> None:
    address, _ = serve(lambda: b"a", "Other")
    assert "is no TensorFlow server: it answers UNIMPLEMENTED" in str(Servers([address]).failure())


def test_the_watch_finds_the_one_that_ends(
    serve: Callable[..., tuple[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gradcheck.placement.health.PAUSE", 0.05)
    address, server = serve(lambda: b"a")
    watch = ServerWatch([address])
    time.sleep(0.3)
    assert watch.error is None
    server.stop(None).wait()
    until = time.monotonic() + 10
    while watch.error is None and time.monotonic() < until:
        time.sleep(0.05)
    assert "has ended" in str(watch.error)
    watch.close()
