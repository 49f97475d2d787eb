from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
Audit = "Callable[..., subprocess.CompletedProcess[str]]"


@pytest.fixture
def write(tmp_path: Path) -> Callable[[dict[str, str]], Path]:
    """Writes files of a script's folder."""

    def written(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(dedent(text), encoding="utf-8")
        return tmp_path

    return written


@pytest.fixture
def audit(write: Callable[[dict[str, str]], Path]) -> Audit:
    """Runs `gradcheck audit` in a process of its own, with the observation of `stand_in`."""

    def run(files: dict[str, str] | str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        folder = write({"train.py": files} if isinstance(files, str) else files)
        environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), **options.pop("env", {})}
        return subprocess.run(
            [sys.executable, str(HERE / "stand_in.py"), "audit", *(arguments or ("train.py",))],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            **options,
        )

    return run
