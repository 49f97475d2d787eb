"""Frozen records of where a report comes from: the program, its environment, the code, and the share of the configs."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

_One = TypeVar("_One")


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


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The share of the configs that a report has: every `count`-th of all, from the `index`-th, which counts from 1.

    `configs` is the number of all configs, of all shards.
    """

    index: int
    count: int
    configs: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(f"expected a shard I/N with I from 1 to N. Received: {self}")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def share(self, configs: Sequence[_One]) -> Sequence[_One]:
        """Return the part of `configs` that belongs to this shard."""
        return configs[self.index - 1 :: self.count]


def environment() -> Environment:
    """Return the installed versions that numerical results depend on, the device, and the time."""
    now = datetime.now(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Environment(
        python=platform.python_version(),
        tensorflow=version("tensorflow"),
        keras=version("keras"),
        numpy=version("numpy"),
        device=_device(),
        time=now,
    )


def _device() -> str:
    """Return `GPU` or `CPU`; empty if this process has not imported TensorFlow."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return ""
    return "GPU" if tensorflow.config.list_physical_devices("GPU") else "CPU"
