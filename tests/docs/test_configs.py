"""Every config on a page is valid and passes, or fails as the command beside it says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gradcheck import check, load_config
from gradcheck.config import load_given
from tests.docs.pages import PAGES, ROOT, commands, files, snippets, write_files

if TYPE_CHECKING:
    from pathlib import Path

CONFIGS = [
    (page, name)
    for page, text in PAGES.items()
    for name, block in files("yaml", text).items()
    if "model" in yaml.safe_load(block)
]
#: Pages whose examples fail on purpose, each with the test that runs them as the page says.
OWN_TEST = {
    "docs/pytest.md": "tests/pytest_plugin/test_docs.py",
    "docs/report.md": "tests/reporters/test_report_page.py",
}
#: Configs that no command on their page runs: tests/docs/test_commands.py runs the others.
NOT_RUN = [
    (page, name)
    for page, name in CONFIGS
    if page not in OWN_TEST and not any(name in c.words for c in commands(PAGES[page]))
]
SNIPPETS = [(page, snippet) for page, text in PAGES.items() for snippet in snippets(text)]


@pytest.mark.parametrize(("page", "name"), CONFIGS)
def test_every_config_is_valid(tmp_path: Path, page: str, name: str) -> None:
    write_files(PAGES[page], tmp_path)
    load_config(tmp_path / name, require_split=False)


@pytest.mark.parametrize(("page", "name"), NOT_RUN)
def test_every_config_passes(tmp_path: Path, page: str, name: str) -> None:
    write_files(PAGES[page], tmp_path)
    load_config(tmp_path / name, require_split=True)
    (run,) = check(tmp_path / name).runs
    assert (run.verdict, run.exit_code) == ("pass", 0), run.error


@pytest.mark.parametrize(("page", "snippet"), SNIPPETS)
def test_every_key_in_a_table_is_valid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: str, snippet: str
) -> None:
    write_files(PAGES[page], tmp_path)
    monkeypatch.chdir(tmp_path)
    given: dict[str, Any] = yaml.safe_load(snippet)
    config = {"model": {"input": {"shape": [4]}, "layers": [{"Dense": 2}]}, "split": {"every": "layer"}, **given}
    if "segments" in config["model"]:
        del config["split"]
    load_given(config, {})


def test_the_tables_were_found() -> None:
    assert len(SNIPPETS) >= 18


@pytest.mark.parametrize(("page", "test"), OWN_TEST.items())
def test_a_page_that_is_left_out_has_a_test_of_its_own(page: str, test: str) -> None:
    assert page.removeprefix("docs/") in (ROOT / test).read_text(encoding="utf-8")
