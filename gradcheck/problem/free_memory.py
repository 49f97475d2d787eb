"""How much memory this process can still have: what the system has free, and what its control groups leave of it."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Assumed free where the system does not say.
UNKNOWN_FREE = 8 * 2**30


def free_bytes(root: Path = Path("/")) -> int:
    """The bytes that are free, or fewer where a control group (a container's, a CI job's) is limited to fewer.

    `root` is what /proc and /sys lie below.
    """
    return min([_free_in_system(root), *_left_in_groups(root)])


def _free_in_system(root: Path) -> int:
    """What Linux calls available, else free pages."""
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return UNKNOWN_FREE


class _Files(NamedTuple):
    """Where a version of control groups is mounted, and what its files are called."""

    mount: str
    limit: str
    used: str
    cache: str  # the line of memory.stat that counts what the kernel gives up first


_V1 = _Files("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Files("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


def _left_in_groups(root: Path) -> Iterator[int]:
    """What each control group above this process leaves it.

    A line of /proc/self/cgroup is `0::/path` (version 2) or `4:memory:/path`. In a container the path may be the
    host's, and what is mounted there the container's own group: a folder that does not exist is passed over.
    """
    for line in _lines(root / "proc/self/cgroup"):
        number, controllers, path = line.split(":", 2)
        if number != "0" and "memory" not in controllers.split(","):
            continue
        files = _V2 if number == "0" else _V1
        group = PurePosixPath(path.lstrip("/"))
        for folder in (group, *group.parents) if ".." not in group.parts else [PurePosixPath()]:
            yield from _left(root / files.mount / folder, files)


def _left(group: Path, files: _Files) -> Iterator[int]:
    """The limit of one control group less what is used of it; nothing where it has none."""
    limit = "".join(_lines(group / files.limit))
    if limit.isdecimal():
        used = int("".join(_lines(group / files.used)) or 0)
        cache = dict(line.split() for line in _lines(group / "memory.stat")).get(files.cache, 0)
        yield max(0, int(limit) - used + int(cache))


def _lines(file: Path) -> list[str]:
    """The lines of `file`; none where it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
