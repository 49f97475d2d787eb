"""The memory available to this process: free memory of the system, within its control groups and its own limits."""

from __future__ import annotations

import os
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

if sys.platform != "win32":
    import resource

#: The free memory that is assumed if the system does not report it.
UNKNOWN_FREE = 8 * 2**30
#: The share of the memory that is available to this process which tensors may take.
FREE_SHARE = 0.8
#: About how many threads a TensorFlow server starts, and the stack of each in bytes if `ulimit -s` is unlimited.
SERVER_THREADS, DEFAULT_STACK = 100, 2 * 2**20
#: The variable with the most bytes that TensorFlow's allocator may hold.
ALLOCATOR_LIMIT = "TF_MKL_ALLOC_MAX_BYTES"


def free_bytes(root: Path = Path("/")) -> int:
    """Return the free bytes, or fewer if a control group (of a container or a CI job) or `ulimit` allows fewer.

    `root` is the folder that contains /proc and /sys.
    """
    return min([_free_in_system(root), *_left_in_groups(root), *_left_under_ulimit(root)])


def leave_room(root: Path = Path("/")) -> None:
    """Hold the tensors of a TensorFlow server, which has not started yet, to a part of what `ulimit` leaves to it.

    When TensorFlow's allocator needs more it takes as much again as it holds, or all that is left. Then whatever else
    needs memory fails, which ends the process without an error. Without a limit nothing is held.
    """
    left = [free - SERVER_THREADS * _stack() for free in _left_under_ulimit(root)]
    if left:
        os.environ.setdefault(ALLOCATOR_LIMIT, str(int(FREE_SHARE * max(0, min(left)))))


def _stack() -> int:
    """Return the bytes of a thread's stack: all of them count as data."""
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return DEFAULT_STACK if soft == resource.RLIM_INFINITY else soft


def _free_in_system(root: Path) -> int:
    """Return the available memory that Linux reports, else the size of the free pages."""
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return UNKNOWN_FREE


class _Files(NamedTuple):
    """The mount point of a version of control groups, and the names of its files."""

    mount: str
    limit: str
    used: str
    cache: str  # the line of memory.stat that counts what the kernel gives up first


_V1 = _Files("sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = _Files("sys/fs/cgroup", "memory.max", "memory.current", "inactive_file")


def _left_in_groups(root: Path) -> Iterator[int]:
    """Yield the bytes that each control group above this process has left.

    A line of /proc/self/cgroup is `0::/path` (version 2) or `4:memory:/path` (version 1). In a container the path may
    be the host's, while the container's own group is mounted at the top: folders that do not exist are skipped.
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
    """Yield the limit of one control group minus its use; nothing if it has no limit."""
    limit = "".join(_lines(group / files.limit))
    if limit.isdecimal():
        used = int("".join(_lines(group / files.used)) or 0)
        # The kernel frees this cache before it lets an allocation fail.
        cache = dict(line.split() for line in _lines(group / "memory.stat")).get(files.cache, 0)
        yield max(0, int(limit) - used + int(cache))


def _left_under_ulimit(root: Path) -> Iterator[int]:
    """Yield the bytes that are left of this process's own limits, `ulimit -v` and `ulimit -d`."""
    if sys.platform == "win32":
        return
    used = dict(line.split(":", 1) for line in _lines(root / "proc/self/status") if ":" in line)
    for limit, line in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        allowed, _ = resource.getrlimit(limit)
        if allowed != resource.RLIM_INFINITY and line in used:
            yield max(0, allowed - int(used[line].split()[0]) * 1024)


def _lines(file: Path) -> list[str]:
    """Return the lines of `file`; an empty list if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
