"""What docs/upstream-training.md says of Keras and TensorFlow is so: its scripts stand here, and print its figures.

Two of them are run; `--upstream all`: all of them.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
PAGE = (FOLDER.parent.parent / "docs" / "upstream-training.md").read_text(encoding="utf-8")
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if not path.name.startswith("test_"))
QUICK = ("accumulation_schedule", "saved_loss_scale")
FOR_RUFF = "# ruff: noqa: T201\n"  # scripts print
WRONG, ROUNDING = 1e-3, 1e-6


def shown(path: Path) -> str:
    """What the page says that the script prints."""
    code = path.read_text(encoding="utf-8").removeprefix(FOR_RUFF)
    _, found, after = PAGE.partition(f"```python\n# tests/upstream/{path.name}\n{code}```\n\n```text\n")
    assert found, f"docs/upstream-training.md does not show tests/upstream/{path.name} as it is"
    return after.partition("```")[0]


def figures(printed: str) -> dict[str, tuple[float, float]]:
    found = re.findall(r"^(.+): (\S+), mended: (\S+)$", printed, re.MULTILINE)
    return {name: (float(error), float(mended)) for name, error, mended in found}


def judge(printed: str, page: str) -> None:
    now, then = figures(printed), figures(page)
    assert now.keys() == then.keys() != set()
    for name, (error, mended) in now.items():
        using = f"Keras {version('keras')}, TensorFlow {version('tensorflow')}"
        assert error > WRONG, (
            f"{name}: the error is {error} with {using}: mended upstream, docs/upstream-training.md is stale"
        )
        assert error == pytest.approx(then[name][0], rel=0.5), f"{name}: another error with {using} than on the page"
        assert mended < ROUNDING, (
            f"{name}: the workaround leaves {mended} with {using}, docs/upstream-training.md is stale"
        )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "script" in metafunc.fixturenames:
        every = metafunc.config.getoption("--upstream") == "all"
        chosen = [path for path in SCRIPTS if every or path.stem in QUICK]
        metafunc.parametrize("script", chosen, ids=lambda path: path.stem)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_the_page_shows_each_script_and_an_error(path: Path) -> None:
    judge(shown(path), shown(path))


def test_a_script_prints_what_the_page_says(script: Path) -> None:
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    judge(done.stdout, shown(script))


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        ("schedule: 6.0e-08, mended: 6.0e-08", "mended upstream, docs/upstream-training.md is stale"),
        ("schedule: 1.8e-01, mended: 2.0e-02", "the workaround leaves 0.02"),
        ("schedule: 4.0e-01, mended: 6.0e-08", "another error"),
    ],
)
def test_a_page_that_is_stale_is_noticed(printed: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        judge(printed, "schedule: 1.8e-01, mended: 6.0e-08")
