"""Every command on a page does what the page says."""

from __future__ import annotations

import re
import shlex
from contextlib import suppress
from typing import TYPE_CHECKING

import click
import pytest

from gradcheck.cli.main import COMMANDS, cli, main
from gradcheck.session import patience
from scripts.picture import COMMAND
from tests.docs.pages import PAGES, ROOT, blocks, commands, not_printed, section, write_files

if TYPE_CHECKING:
    from pathlib import Path

PICTURED = tuple(shlex.split(COMMAND)[1:])
#: The pages with the commands that are run here. A script that is audited needs a process of its own, and the command
#: of the picture is run by tests/docs/test_readme.py.
RUN = {
    name: [c for c in commands(page) if c.words[0] != "audit" and (name, c.words) != ("README.md", PICTURED)]
    for name, page in PAGES.items()
}
#: What stands for something else in a command that is only mentioned.
_PLACEHOLDERS = re.compile(r"\.\.\.|[A-Z]{3,}(?![\d_])|^any\.")


@pytest.mark.parametrize("name", [name for name, lines in RUN.items() if lines])
def test_every_command_does_what_its_page_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if any(word.startswith("jax:") for command in RUN[name] for word in command.words):
        pytest.importorskip("jax")
    write_files(PAGES[name], tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRADCHECK_WORKERS", "0")
    monkeypatch.setattr(patience, "SECONDS", 60.0)  # enough for the diagnoses on a loaded machine too
    for command in RUN[name]:
        code = main(list(command.words))
        printed = capsys.readouterr()
        assert code == command.code, f"{shlex.join(command.words)}: {printed.err}"
        assert not_printed(command.sample, printed.out) == [], shlex.join(command.words)


def mentioned() -> list[str]:
    """The commands in the text, the tables and the CI files of all pages."""
    inline = [line for page in PAGES.values() for line in re.findall(r"`gradcheck ([a-z][^`]*)`", page)]
    steps = [line for page in PAGES.values() for block in blocks("yaml", page) for line in block.splitlines()]
    in_ci = [found[1] for line in steps if (found := re.match(r"\s*(?:- )?(?:run: )?gradcheck (.*)$", line))]
    return sorted({line for line in [*inline, *in_ci] if not _PLACEHOLDERS.search(line) and "[" not in line})


@pytest.mark.parametrize("line", mentioned())
def test_every_command_that_is_mentioned_exists(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    name, *words = shlex.split(line)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    with suppress(click.MissingParameter):  # the options of a command, without a file
        command.make_context(name, words)


def test_mentioned_commands_are_found() -> None:
    assert len(mentioned()) >= 20


def test_a_wrong_sample_and_a_wrong_command_are_seen() -> None:
    assert not_printed("vjp: match, 0.1s\nGC101 at x", "vjp: match, 0.7s\nGC102 at x") == ["GC101 at x"]
    with pytest.raises(click.UsageError):
        test_every_command_that_is_mentioned_exists("run x.yaml --shwo failed", pytest.MonkeyPatch())


def test_the_help_is_the_real_one(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["run", "--help"]) == 0
    shown = section("gradcheck run --help", "end of gradcheck run --help", PAGES["docs/commands.md"])
    assert shown == capsys.readouterr().out, "replace the block by the output of: COLUMNS=100 gradcheck run --help"


def test_every_command_is_in_the_table() -> None:
    page = PAGES["docs/commands.md"]
    assert set(re.findall(r"^\| `gradcheck (\w+)", page, re.MULTILINE)) == set(COMMANDS)


def test_the_exit_codes_are_the_real_ones() -> None:
    from gradcheck.errors import ExitCode

    table = PAGES["docs/commands.md"].partition("| exit code | means |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == [str(int(code)) for code in ExitCode]
