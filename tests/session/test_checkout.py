from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from gradcheck.session import checkout as module
from gradcheck.session.checkout import Checkout, checkout

if TYPE_CHECKING:
    from pathlib import Path


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=me", "-c", "user.email=me@here", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a tag, at a later commit, with a folder in it."""
    for name in ("GITHUB_SHA", "GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "repository"
    (path / "configs").mkdir(parents=True)
    (path / "configs" / "a.yaml").write_text("a", encoding="utf-8")
    git(path, "init", "-q")
    git(path, "add", "-A")
    git(path, "commit", "-qm", "one")
    git(path, "tag", "v1")
    git(path, "commit", "-qm", "two", "--allow-empty")
    return path


def test_the_commit_of_a_folder(repository: Path) -> None:
    head = git(repository, "rev-parse", "HEAD")
    assert checkout(repository / "configs") == Checkout(head, dirty=False)
    (repository / "new").touch()
    assert checkout(repository / "configs") == Checkout(head, dirty=False)  # as git says: untracked files do not count
    (repository / "configs" / "a.yaml").write_text("b", encoding="utf-8")
    assert checkout(repository / "configs") == Checkout(head, dirty=True)
    git(repository, "tag", "v2")
    assert checkout(repository) == Checkout(head, dirty=True)


def test_the_job_says_it_where_git_does_not(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checkout(tmp_path) is None
    assert checkout(tmp_path, safe=True) is None
    assert checkout(tmp_path / "nowhere") is None
    monkeypatch.setenv("GITHUB_SHA", "of the job")
    assert checkout(tmp_path) == checkout(tmp_path, safe=True) == Checkout("of the job", None)
    assert checkout(repository) == Checkout(git(repository, "rev-parse", "HEAD"), dirty=False)
    monkeypatch.setenv("PATH", "")  # no git
    assert checkout(repository) == Checkout("of the job", None)


def test_a_slow_git_is_not_waited_for(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text("#!/bin/sh\nexec sleep 60\n", encoding="utf-8")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(module, "_SECONDS", 0.2)
    assert checkout(repository) is None


@pytest.mark.parametrize("key", ["core.fsmonitor", "filter.mine.clean", "filter.mine.process", "Filter.mine.clean"])
@pytest.mark.parametrize("safe", [False, True])
def test_nothing_is_run_that_the_checkout_names(repository: Path, tmp_path: Path, key: str, safe: bool) -> None:
    trace, program = tmp_path / "ran", tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {trace}\ncat\n", encoding="utf-8")
    program.chmod(0o755)
    (repository / ".gitattributes").write_text("*.yaml filter=mine\n", encoding="utf-8")
    git(repository, "add", ".gitattributes")
    git(repository, "commit", "-qm", "three")
    git(repository, "config", key, str(program))
    (repository / "configs" / "a.yaml").write_text("b", encoding="utf-8")
    head = git(repository, "rev-parse", "HEAD")
    found = checkout(repository, safe=safe)
    assert not trace.exists()
    assert found == Checkout(head, None if safe or "filter" in key.lower() else True)
    git(repository, "status")
    assert trace.exists()  # git as people run it does


def test_the_index_is_left_as_it_is(repository: Path) -> None:
    index = repository / ".git" / "index"
    os.utime(repository / "configs" / "a.yaml", (1, 1))  # git would write down the new time
    before = index.read_bytes()
    checkout(repository)
    assert index.read_bytes() == before


def test_a_checkout_without_a_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_SHA", raising=False)
    git(tmp_path, "init", "-q")
    assert checkout(tmp_path) is None
    assert checkout(tmp_path, safe=True) is None
