from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import pytest

import gradcheck
from gradcheck.cli import main as module
from gradcheck.cli.main import COMMANDS, Subcommand, cli, main
from gradcheck.errors import ConfigError, ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable

INVALID = Path(__file__).parents[1] / "examples" / "invalid"


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    """What a fresh interpreter makes of `code`."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Makes `gradcheck schema` do something else."""

    def replace(function: Callable[[], object]) -> None:
        made = click.command(name="schema")(function)
        monkeypatch.setattr(module.LazyGroup, "get_command", lambda *_: made)

    return replace


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_lists_every_command_in_sections(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    assert main([flag]) == ExitCode.OK
    text = capsys.readouterr().out
    assert [name for name in COMMANDS if f"  {name} " not in text] == []
    assert [title for title in ("Check:", "Configs:", "Examples:") if title not in text] == []


@pytest.mark.parametrize("arguments", [["--help"], ["validate", "--help"], ["schema"], ["validate", "configs"]])
def test_nothing_slow_is_imported(arguments: list[str]) -> None:
    slow = {"tensorflow", "keras", "numpy", "rich"}
    done = run_python(
        "import sys; from gradcheck.cli.main import main\n"
        f"main({arguments!r}); found = {slow!r} & set(sys.modules); sys.exit(str(found) if found else 0)"
    )
    assert done.returncode == 0, done.stderr


def test_help_imports_no_command_and_no_pydantic() -> None:
    done = run_python(
        "import sys; from gradcheck.cli.main import main; main(['--help'])\n"
        "sys.exit(any(m in sys.modules for m in ('gradcheck.cli.run', 'gradcheck.cli.validate', 'pydantic')))"
    )
    assert done.returncode == 0, done.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == ExitCode.OK
    assert capsys.readouterr().out == f"gradcheck {gradcheck.__version__}\n"


def test_no_command_is_a_usage_error_that_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert (captured.out, captured.err[:6]) == ("", "Usage:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["vaildate"], "Did you mean `validate`?"),
        (["validate"], "Missing argument"),
        (["--nonsense"], "No such option"),
        (["validate", "x", "--color", "sometimes"], "Invalid value for '--color'"),
    ],
)
def test_a_wrong_command_line(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert main(arguments) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error[GC010]: ")
    assert message in captured.err
    assert "--help` lists" in captured.err


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_is_where_the_table_says(name: str) -> None:
    try:
        found = cli.get_command(click.Context(cli), name)
    except ModuleNotFoundError:
        pytest.skip("not written yet")
    assert isinstance(found, click.Command)
    assert found.name == name


def test_an_entry_names_a_module_and_an_attribute() -> None:
    assert all(isinstance(entry, Subcommand) and entry.target.count(":") == 1 for entry in COMMANDS.values())


class TestEndings:
    def test_a_returned_code(self, command: Callable[..., None]) -> None:
        command(lambda: ExitCode.VACUOUS)
        assert main(["schema"]) == ExitCode.VACUOUS

    def test_an_exit_of_click(self, command: Callable[..., None]) -> None:
        command(lambda: click.get_current_context().exit(3))
        assert main(["schema"]) == ExitCode.RUNTIME

    def test_an_error_of_ours(self, command: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
        def fail() -> None:
            raise ConfigError("it is wrong", code="GC004", help="mend it")

        command(fail)
        assert main(["schema"]) == ExitCode.USAGE
        assert capsys.readouterr().err == "error[GC004]: it is wrong\nhelp: mend it\n\n"

    @pytest.mark.parametrize("error", [ZeroDivisionError("by zero\nsomewhere"), SystemExit(0), RecursionError("deep")])
    def test_anything_unexpected_is_one_line(
        self, command: Callable[..., None], capsys: pytest.CaptureFixture[str], error: BaseException
    ) -> None:
        def fail() -> None:
            raise error

        command(fail)
        assert main(["schema"]) == ExitCode.RUNTIME
        lines = capsys.readouterr().err.splitlines()
        assert lines[0].startswith(f"error[GC050]: {type(error).__name__}: ")
        assert "Traceback" not in "".join(lines)

    def test_a_traceback_where_asked_for(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("gradcheck.config.json_schema", lambda: 1 / 0)
        assert main(["schema", "-v"]) == ExitCode.RUNTIME
        assert "Traceback" in capfd.readouterr().err

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
    def test_an_interruption(self, command: Callable[..., None], error: BaseException) -> None:
        def fail() -> None:
            raise error

        command(fail)
        assert main(["schema"]) == ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    "interrupted", ["exec('raise KeyboardInterrupt')", "raise KeyboardInterrupt"], ids=["compiled", "plain"]
)
@pytest.mark.parametrize("caught", [True, False])
def test_an_interruption_ends_the_process_as_such(tmp_path: Path, interrupted: str, *, caught: bool) -> None:
    """Python ends itself by SIGINT, whatever is returned, where code that `exec` compiled was interrupted."""
    (tmp_path / "interrupted.py").write_text(
        f"import gradcheck.cli.main as cli\ndef main():\n    try: {interrupted}\n    except KeyboardInterrupt:\n"
        f"        if not {caught}: raise\n        return 130\ncli.main = main\n"
        "from gradcheck.__main__ import run\nrun()\n",
        encoding="utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])}
    command = [sys.executable, "-m", "interrupted"]
    done = subprocess.run(command, env=environment, check=False, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (ExitCode.INTERRUPTED, "" if caught else "interrupted\n")


@pytest.mark.parametrize("command_line", ["schema | head -n 1", f"validate {INVALID} 2>&1 | head -n 1"])
def test_a_reader_that_goes_away_is_no_error(command_line: str) -> None:
    shell = f"set -o pipefail; {sys.executable} -m gradcheck {command_line}"
    bash = shutil.which("bash")
    assert bash is not None
    done = subprocess.run([bash, "-c", shell], capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
    assert done.returncode != ExitCode.MISMATCH


def test_six_mistakes_are_all_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(INVALID / "six_mistakes.yaml")]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("error[GC") == captured.err.count("--> ") == 6
    assert captured.err.endswith("1 file: 1 with 6 errors\n")
