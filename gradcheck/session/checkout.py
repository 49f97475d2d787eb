"""The git commit that a folder is at."""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_SECONDS = 2.0


class Checkout(NamedTuple):
    """A commit, and whether tracked files differ from it (None if that is not known)."""

    commit: str
    dirty: bool | None


def checkout(folder: Path, *, safe: bool = False) -> Checkout | None:
    """Return the commit that `folder` is at; that of the CI job (`GITHUB_SHA`) if git does not say, None without both.

    Args:
        folder: any folder of a git checkout, or of none.
        safe: whether `folder` may come from a stranger: then its files are not compared with the commit.
    """
    head = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        of_job = os.environ.get("GITHUB_SHA")
        return Checkout(of_job, None) if of_job else None
    return Checkout(head, None if safe else _changed(folder))


def _changed(folder: Path) -> bool | None:
    """Return whether tracked files differ from the commit; None if git cannot say so without running other programs.

    To compare a file, git pipes it through the filters that the checkout's own settings name.
    """
    known = _git(folder, "config", "--list", "--show-scope")
    if known is None or re.search(r"^(local|worktree)\tfilter\.", known, re.MULTILINE | re.IGNORECASE):
        return None
    found = _git(folder, "status", "--porcelain", "--untracked-files=no", "--ignore-submodules=dirty")
    return None if found is None else bool(found)


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints; None if there is no git, no checkout, or no answer in time."""
    # The folder is left as it is (no refreshed index), no monitor is started, and nothing is fetched.
    command = ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, and a folder after -C
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            timeout=_SECONDS,
            env={**os.environ, "GIT_ALLOW_PROTOCOL": "none"},
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
