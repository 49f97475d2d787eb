"""Frozen records of where a report comes from: the program, its environment, and the code that was checked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Tool:
    """The program that wrote the report."""

    name: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Environment:
    """The versions and the device that numerical results depend on, and when and of what code the report was made.

    Attributes:
        device: empty if TensorFlow was not needed.
        time: when the report was made, in UTC, as ISO 8601.
        commit: the commit that the config's folder is at; None if it lies in no git checkout.
        dirty: whether tracked files there differed from that commit; None if that is not known.
    """

    python: str = ""
    tensorflow: str = ""
    keras: str = ""
    numpy: str = ""
    device: str = ""
    time: str = ""
    commit: str | None = None
    dirty: bool | None = None
