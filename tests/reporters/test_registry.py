from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from gradcheck.reporters import REPORTERS, RenderOptions, Show

if TYPE_CHECKING:
    from gradcheck.results.report import Report

ESCAPE = "\x1b"


def test_formats_of_the_command_line() -> None:
    assert list(REPORTERS) == ["table", "concise", "json", "junit", "github", "markdown", "html"]


def test_importing_the_registry_imports_no_heavy_package() -> None:
    program = "import sys, gradcheck.reporters; print({'rich', 'jinja2', 'tensorflow'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


@pytest.mark.parametrize("name", REPORTERS)
@pytest.mark.parametrize("show", ["all", "failed", "summary"])
def test_off_a_terminal_every_text_is_plain_and_can_be_written(name: str, show: Show, sample: Report) -> None:
    text = REPORTERS[name](sample, RenderOptions(show=show))

    assert text.encode("utf-8")
    assert not text.endswith("\n")
    assert {c for c in text if not c.isprintable()} <= {"\n"}


@pytest.mark.parametrize("name", ["table", "json", "junit", "markdown", "html"])
def test_off_a_terminal_nothing_is_left_out(name: str, large: Report) -> None:
    text = REPORTERS[name](large, RenderOptions())

    paths = [tensor.path for run in large.runs for check in run.checks for tensor in check.tensors]
    assert len(paths) == 600
    assert [path for path in paths if path not in text] == []


@pytest.mark.parametrize("name", REPORTERS)
def test_a_note_of_a_check_is_shown(name: str, passing: Report) -> None:
    (run,) = passing.runs
    checks = tuple(dataclasses.replace(check, notes=("one row at a time",)) for check in run.checks)
    text = REPORTERS[name](
        dataclasses.replace(passing, runs=(dataclasses.replace(run, checks=checks),)), RenderOptions()
    )
    assert text.count("one row at a time") == len(checks)


@pytest.mark.parametrize("name", sorted(set(REPORTERS) - {"table"}))
def test_only_the_table_has_colour(name: str, failing: Report) -> None:
    assert ESCAPE not in REPORTERS[name](failing, RenderOptions(color=True, width=80))
