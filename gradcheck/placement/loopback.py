"""The address that a TensorFlow server accepts connections at.

A server has no authentication, and listens at every address of the machine, whatever its own address is said to be. On
Linux the socket can be told to take packets for one address alone (SO_ATTACH_FILTER), which comes to the same as a
socket that is bound to it.
"""

from __future__ import annotations

import ctypes
import ipaddress
import os
import socket
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Every address.
ANY = "0.0.0.0"  # noqa: S104 - only where it is asked for

_SO_ATTACH_FILTER = 26  # of <asm/socket.h>
# Instructions of <linux/filter.h>: load a byte or a word, mask, jump if equal, return.
_LOAD_BYTE, _LOAD_WORD, _AND, _JUMP_EQUAL, _RETURN = 0x30, 0x20, 0x54, 0x15, 0x06
_NETWORK_HEADER = 0x1_0000_0000 - 0x10_0000  # SKF_NET_OFF: offsets from here are into the header of the IP packet
_DESTINATION = 16  # of an IPv4 packet
_ACCEPT, _DROP = 0xFFFF_FFFF, 0


class _Instruction(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("value", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction)))


def accept_only(host: str, port: int) -> None:
    """Have the socket of this process that listens at `port` take connections to the IPv4 address `host` alone.

    Raises:
        RunError: GC062, if that is impossible here.
    """
    if host == ANY:
        return
    if sys.platform != "linux":
        raise RunError(
            f"TensorFlow's server listens at every address, and only Linux can keep it to one. Received: {host}",
            code="GC062",
            help=f"in a network of your own, `--host {ANY}` has it listen at every address",
        )
    packet_for_host = int(ipaddress.IPv4Address(host))
    instructions = (
        (_LOAD_BYTE, 0, 0, _NETWORK_HEADER),
        (_AND, 0, 0, 0xF0),
        (_JUMP_EQUAL, 0, 3, 0x40),  # an IPv4 packet, or drop it
        (_LOAD_WORD, 0, 0, _NETWORK_HEADER + _DESTINATION),
        (_JUMP_EQUAL, 0, 1, packet_for_host),
        (_RETURN, 0, 0, _ACCEPT),
        (_RETURN, 0, 0, _DROP),
    )
    held = (_Instruction * len(instructions))(*(_Instruction(*fields) for fields in instructions))
    program = _Program(len(instructions), ctypes.cast(held, ctypes.POINTER(_Instruction)))
    for listener in _listeners(port):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, bytes(program))


def _listeners(port: int) -> Iterator[socket.socket]:
    """Yield the sockets of this process that listen at `port`."""
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        with suppress(OSError), closing(socket.socket(fileno=os.dup(int(descriptor.name)))) as found:
            accepts = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if accepts and found.family in (socket.AF_INET, socket.AF_INET6) and found.getsockname()[1] == port:
                yield found
