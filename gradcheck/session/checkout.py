"""The git commit that a folder is at."""

from __future__ import annotations

import os
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
        safe: whether `folder` may come from a stranger: comparing files with a commit may run commands that the
            checkout's own settings name, so that `dirty` is not asked for.
    """
    head = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    if not head:
        of_job = os.environ.get("GITHUB_SHA")
        return Checkout(of_job, None) if of_job else None
    changes = None if safe else _git(folder, "status", "--porcelain", "--untracked-files=no")
    return Checkout(head, None if changes is None else bool(changes))


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git prints; None if there is no git, no checkout, or no answer in time."""
    # The index is not refreshed on disk: a check leaves the folder as it is.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments, and a folder after -C
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
