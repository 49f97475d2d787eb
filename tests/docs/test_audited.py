"""The audited scripts on the pages are judged as shown, as they are and when they are mended."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.pages import PAGES, README, ROOT, blocks, commands, files, not_printed, section

if TYPE_CHECKING:
    from pathlib import Path

TWO_MODELS, WALKTHROUGH = "docs/tour/two-models.md", "docs/audit.md"


def audit(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gradcheck", "audit", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


@pytest.mark.parametrize(("name", "script"), [(TWO_MODELS, "split.py"), (WALKTHROUGH, "train.py")])
def test_the_audited_scripts_are_judged_as_shown(name: str, script: str, tmp_path: Path) -> None:
    page = PAGES[name]
    code = files("python", page)[script]
    outputs = re.findall(r"<!-- (audit.*) -->", page)
    diffs = blocks("diff", page)
    assert len(outputs) == len(diffs) + 1
    for i, marker in enumerate(outputs):
        (tmp_path / script).write_text(code, encoding="utf-8")
        done = audit(tmp_path, script)
        mended = i == len(diffs)
        assert done.returncode == (0 if mended else 1), done.stderr
        assert not_printed(section(marker, f"end of {marker}", page), done.stdout) == []
        code = code if mended else patched(code, diffs[i])


def test_the_readme_shows_the_same_script_and_what_is_said_of_it() -> None:
    (command,) = [c for c in commands(README) if c.words[0] == "audit"]
    assert (command.words, command.code) == (("audit", "split.py"), 1)
    assert files("python", README)["split.py"] == files("python", PAGES[TWO_MODELS])["split.py"]
    assert command.sample
    assert not_printed(command.sample, section("audit", "end of audit", PAGES[TWO_MODELS])) == []


def test_the_tour_joins_two_processes_as_the_walkthrough_does() -> None:
    (shell,) = [block for block in blocks("bash", PAGES[WALKTHROUGH]) if "--join" in block]
    assert shell in blocks("bash", PAGES["docs/tour/machines.md"])


def patched(code: str, diff: str) -> str:
    """The code after a change; its lines, and those around them, stand in the code once."""
    before, after = (
        "".join(line[1:] for line in diff.splitlines(keepends=True) if line[0] in signs) for signs in (" -", " +")
    )
    assert code.count(before) == 1
    return code.replace(before, after)


@pytest.mark.on_request
def test_two_processes_are_joined_as_shown(tmp_path: Path) -> None:
    """Three processes with TensorFlow, two of them at a time."""
    page = PAGES[WALKTHROUGH]
    (shell,) = [block for block in blocks("bash", page) if "--join" in block]
    for name in ("server.py", "client.py"):
        (tmp_path / name).write_text(files("python", page)[name], encoding="utf-8")
    program = shlex.join([sys.executable, "-m", "gradcheck"])
    done = subprocess.run(
        ["/usr/bin/timeout", "250", "/bin/bash", "-c", re.sub(r"^gradcheck\b", program, shell, flags=re.MULTILINE)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 1, done.stderr
    shown = page.partition(shell)[2].partition("```text\n")[2].partition("```")[0]
    assert not_printed(shown, done.stdout) == []
