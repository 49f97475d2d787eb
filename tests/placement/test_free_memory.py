"""Against trees that are laid out as Linux lays out /proc and /sys."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gradcheck.placement.free_memory import ALLOCATOR_LIMIT, UNKNOWN_FREE, free_bytes, leave_room
from gradcheck.problem import budget

if TYPE_CHECKING:
    from pathlib import Path

GIB = 2**30
MEMINFO = f"MemTotal: {64 * 2**20} kB\nMemAvailable: {32 * 2**20} kB\n"
LIMITED = pytest.mark.skipif(sys.platform == "win32", reason="there is no ulimit")
NO_LIMIT = "9223372036854771712\n"  # how version 1 writes it


def tree(root: Path, **files: str | int) -> Path:
    """Files below `root`, `__` for a slash in their names."""
    for name, text in {"proc__meminfo": MEMINFO, **files}.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


def test_without_control_groups_what_the_system_has(tmp_path: Path) -> None:
    assert free_bytes(tree(tmp_path)) == 32 * GIB


def test_in_a_container_the_limit_of_version_2(tmp_path: Path) -> None:
    root = tree(tmp_path, proc__self__cgroup="0::/", **{"sys__fs__cgroup__memory.max": 2 * GIB})
    assert free_bytes(root) == 2 * GIB


def test_what_is_used_counts_and_what_is_only_cached_does_not(tmp_path: Path) -> None:
    group = "sys__fs__cgroup__"
    files = {
        f"{group}memory.max": 4 * GIB,
        f"{group}memory.current": 3 * GIB,
        f"{group}memory.stat": f"anon {2 * GIB}\ninactive_file {GIB}\nactive_file 7",
    }
    assert free_bytes(tree(tmp_path, proc__self__cgroup="0::/", **files)) == 2 * GIB


@pytest.mark.parametrize(("inner", "outer", "expected"), [("max", 3, 3), (2, 3, 2), (5, 3, 3), ("max", "max", 32)])
def test_nested_groups_are_all_in_force(tmp_path: Path, inner: int | str, outer: int | str, expected: int) -> None:
    inner, outer = (n if isinstance(n, str) else n * GIB for n in (inner, outer))
    files = {"sys__fs__cgroup__ci__memory.max": outer, "sys__fs__cgroup__ci__job__memory.max": inner}
    assert free_bytes(tree(tmp_path, proc__self__cgroup="0::/ci/job", **files)) == expected * GIB


@pytest.mark.parametrize("path", ["/docker/abc", "/"])
def test_version_1_also_where_the_path_is_the_hosts(tmp_path: Path, path: str) -> None:
    files = {
        "sys__fs__cgroup__memory__memory.limit_in_bytes": GIB,
        "sys__fs__cgroup__memory__memory.usage_in_bytes": GIB // 2,
    }
    root = tree(tmp_path, proc__self__cgroup=f"9:cpu,cpuacct:{path}\n4:memory:{path}", **files)
    assert free_bytes(root) == GIB // 2


def test_no_limit_is_none_and_a_limit_that_is_used_up_leaves_nothing(tmp_path: Path) -> None:
    limit, used = (f"sys__fs__cgroup__memory__memory.{name}_in_bytes" for name in ("limit", "usage"))
    assert free_bytes(tree(tmp_path, proc__self__cgroup="4:memory:/", **{limit: NO_LIMIT, used: 5})) == 32 * GIB
    assert free_bytes(tree(tmp_path, **{limit: GIB, used: 2 * GIB})) == 0


def test_a_path_above_the_namespace_is_that_of_the_group_that_is_mounted(tmp_path: Path) -> None:
    files = {"sys__fs__cgroup__memory.max": GIB, "sys__fs__outside__memory.max": 1}
    assert free_bytes(tree(tmp_path, proc__self__cgroup="0::/../outside", **files)) == GIB


def test_where_the_system_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.sysconf")
    assert free_bytes(tmp_path) == UNKNOWN_FREE


@LIMITED
@pytest.mark.parametrize(("limited", "used"), [("RLIMIT_AS", "VmSize"), ("RLIMIT_DATA", "VmData")])
def test_what_ulimit_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limited: str, used: str) -> None:
    import resource

    of = getattr(resource, limited)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (3 * GIB if which == of else resource.RLIM_INFINITY, 0))
    status = "\n".join(f"{name}: {2**20 * (1 if name == used else 2)} kB" for name in ("VmSize", "VmData"))
    assert free_bytes(tree(tmp_path, proc__self__status=status)) == 2 * GIB


@LIMITED
@pytest.mark.parametrize(
    ("limit", "stack", "expected"),
    [(3 * GIB, 2**20, int(0.8 * (2 * GIB - 100 * 2**20))), (2 * GIB, 2**30, 0), (None, 2**20, None)],
)
def test_tensors_of_a_server_leave_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int | None, stack: int, expected: int | None
) -> None:
    import resource

    limits = {resource.RLIMIT_DATA: limit, resource.RLIMIT_STACK: stack}
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limits.get(which) or resource.RLIM_INFINITY, 0))
    monkeypatch.setattr(os, "environ", {})
    leave_room(tree(tmp_path, proc__self__status=f"VmData: {2**20} kB"))
    assert os.environ.get(ALLOCATOR_LIMIT) == (None if expected is None else str(expected))


FULL = """
import resource
import sys

import numpy as np
import tensorflow as tf

from gradcheck.placement.free_memory import leave_room

resource.setrlimit(resource.RLIMIT_STACK, (2**20, 2**20))
resource.setrlimit(resource.RLIMIT_DATA, (3 * 2**29, 3 * 2**29))
if sys.argv[1] == "yes":
    leave_room()
held = []
try:
    while True:
        held.append(tf.ones([2**23]))
except tf.errors.ResourceExhaustedError:
    np.ones(2**23)
    print("there is room")
"""


@LIMITED
def test_with_all_its_tensors_a_process_has_memory_for_other_things() -> None:
    """Without that it has none: what TensorFlow's allocator holds doubles until nothing is left."""
    commands = [[sys.executable, "-c", FULL, room] for room in ("yes", "no")]
    # At once, for TensorFlow waits ten seconds before it gives up.
    processes = [subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) for c in commands]
    assert [process.communicate()[0].strip() for process in processes] == ["there is room", ""]


def test_the_budget_is_a_share_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "free_bytes", lambda: 1000)
    assert budget.resolve_budget("auto") == 800
