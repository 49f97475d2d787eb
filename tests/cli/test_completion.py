"""Completion in a shell: what bash offers after the line of docs/install.md; the other shells have a script."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with the command `gradcheck`."""
    command = tmp_path / "gradcheck"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m gradcheck "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return f"{tmp_path}{os.pathsep}{os.environ['PATH']}"


def output(path: str, *command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_commands_options_and_values(path: str) -> None:
    (line,) = re.findall(r"^eval .*bash_source.*$", PAGE, re.MULTILINE)
    script = f"""\
{line}
complete -p gradcheck
for words in "va" "run --pre" "plan --format js" "run --format js" "run --show s" "layer --method nu"; do
  COMP_WORDS=(gradcheck $words); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMPREPLY=()
  _gradcheck_completion gradcheck
  echo "$words: ${{COMPREPLY[*]}}"
done
"""
    found = output(path, "bash", "--norc", "-c", script).splitlines()
    assert found[0] == "complete -o nosort -F _gradcheck_completion gradcheck"
    assert found[1:] == [
        "va: validate",
        "run --pre: --precision",
        "plan --format js: json",
        "run --format js: json",
        "run --show s: summary",
        "layer --method nu: numeric",
    ]


@pytest.mark.parametrize(("shell", "word"), [("zsh", "compdef"), ("fish", "complete ")])
def test_the_other_shells_have_a_script(path: str, shell: str, word: str) -> None:
    assert f"_GRADCHECK_COMPLETE={shell}_source gradcheck" in PAGE
    assert word in output(path, "gradcheck", _GRADCHECK_COMPLETE=f"{shell}_source")
