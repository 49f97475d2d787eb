"""A socket that listens everywhere takes connections at one address alone."""

from __future__ import annotations

import socket
import sys

import pytest

from gradcheck.errors import RunError
from gradcheck.placement.loopback import ANY, accept_only

linux = pytest.mark.skipif(sys.platform != "linux", reason="a filter of Linux")


def reached(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=0.3).close()
    except OSError:
        return False
    return True


@linux
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_one_address_alone_is_reached(family: socket.AddressFamily) -> None:
    dual = family == socket.AF_INET6
    with socket.create_server(("", 0), family=family, dualstack_ipv6=dual) as listener:
        port = listener.getsockname()[1]
        assert reached("127.0.0.1", port)
        assert reached("127.0.0.2", port)
        accept_only(ANY, port)
        assert reached("127.0.0.2", port)
        accept_only("127.0.0.1", port)
        assert reached("127.0.0.1", port)
        assert not reached("127.0.0.2", port)
        assert not (dual and reached("::1", port))


def test_elsewhere_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    accept_only(ANY, 1)
    with pytest.raises(RunError, match=r"every address.*Received: 127\.0\.0\.1") as raised:
        accept_only("127.0.0.1", 1)
    assert raised.value.code == "GC062"
