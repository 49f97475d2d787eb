"""The action, the pre-commit hook and docs/ci.md, as far as they can be tried without GitHub."""

from __future__ import annotations

import dataclasses
import importlib
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import click
import pytest
import yaml

from gradcheck.cli.main import COMMANDS, main
from gradcheck.results.difference import ReportChange, ReportDifference, ReportOrigin, Result

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
HOOKS = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
OWNER = "OWNER/gradcheck"


def parsed(arguments: list[str]) -> click.Context:
    """The context of a command line of gradcheck: an option that does not exist, or a wrong value, is an error."""
    name, *rest = arguments
    return command_of(name).make_context(name, rest)


def command_of(name: str) -> click.Command:
    module, _, attribute = COMMANDS[name].target.partition(":")
    found: click.Command = getattr(importlib.import_module(module), attribute)
    return found


def blocks(language: str) -> list[str]:
    return [dedent(block) for block in re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)]


def texts(value: Any) -> Iterator[str]:
    """Every string in plain types."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from texts(inner)


class TestAction:
    def test_every_expression_names_what_there_is(self) -> None:
        ids = {step["id"] for step in STEPS.values() if "id" in step}
        written = re.findall(r"echo \"([\w-]+)=", STEPS["Check gradients"]["run"])
        used = set()
        for text in texts(ACTION):
            for expression in re.findall(r"\$\{\{(.*?)\}\}", text):
                for name in re.findall(r"inputs\.([\w-]+)", expression):
                    used.add(name)
                for step, output in re.findall(r"steps\.(\w+)\.outputs\.([\w-]+)", expression):
                    assert step in ids
                    assert output in written
        assert used == set(ACTION["inputs"])
        assert set(ACTION["outputs"]) == set(written)

    def test_no_expression_stands_in_a_script(self) -> None:
        # What an input holds would be read as a script.
        assert not [step for step in STEPS.values() if "${{" in step.get("run", "")]

    def test_every_step_is_one_that_a_composite_action_may_have(self) -> None:
        assert ACTION["runs"]["using"] == "composite"
        for step in STEPS.values():
            assert ("run" in step) != ("uses" in step)
            assert ("run" in step) == ("shell" in step)
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/x@v1"))
        assert all(isinstance(given["default"], str) and given["description"] for given in ACTION["inputs"].values())

    @pytest.mark.parametrize("code", [0, 1, 3])
    def test_the_check_hands_on_inputs_and_exit_code(self, tmp_path: Path, code: int) -> None:
        paths = "configs/a b.yaml\n\n  \nconfigs/$(touch planted)\n"
        inputs = {"PATHS": paths, "ARGUMENTS": '--safe\n--set=name=it\'s "x"\n', "BASELINE": "old one.json"}
        done, arguments = self.step(STEPS["Check gradients"], tmp_path, code, inputs)
        assert done.returncode == code, done.stderr
        folder = tmp_path / "runner" / "gradcheck"
        assert (tmp_path / "output").read_text(encoding="utf-8") == f"exit-code={code}\nreports={folder}\n"
        assert folder.is_dir()
        assert not (tmp_path / "planted").exists()
        assert arguments[:3] == ["-m", "gradcheck", "run"]
        given = parsed(arguments[2:]).params
        assert list(map(str, given["paths"])) == ["configs/a b.yaml", "configs/$(touch planted)"]
        assert (given["safe"], given["overrides"]) == (True, ('name=it\'s "x"',))
        assert str(given["baseline"]) == "old one.json"
        assert [(one.format_, one.file and one.file.name) for one in given["formats"]] == [
            ("github", None),
            ("html", "gradcheck.html"),
            ("json", "gradcheck.json"),
            ("junit", "gradcheck.xml"),
        ]

    def test_the_defaults_check_the_whole_checkout(self, tmp_path: Path) -> None:
        step = STEPS["Check gradients"]
        inputs = {
            name: ACTION["inputs"][re.findall(r"inputs\.([\w-]+)", value)[0]]["default"]
            for name, value in step["env"].items()
        }
        done, arguments = self.step(step, tmp_path, 0, inputs)
        assert done.returncode == 0, done.stderr
        given = parsed(arguments[2:]).params
        assert (list(map(str, given["paths"])), given["baseline"], given["safe"]) == (["."], None, False)

    def test_it_installs_itself_with_what_the_html_report_needs(self, tmp_path: Path) -> None:
        done, arguments = self.step(STEPS["Install gradcheck"], tmp_path, 0, {})
        assert done.returncode == 0, done.stderr
        assert arguments == ["-m", "pip", "install", "--quiet", f"{ROOT}[html]"]

    def test_a_failed_installation_ends_the_job(self, tmp_path: Path) -> None:
        assert self.step(STEPS["Install gradcheck"], tmp_path, 1, {})[0].returncode == 1

    def step(
        self, step: dict[str, Any], folder: Path, code: int, inputs: dict[str, str]
    ) -> tuple[subprocess.CompletedProcess[str], list[str]]:
        """Run a step's script as GitHub does, with a `python` that writes down its arguments and exits with `code`."""
        bash = shutil.which("bash")
        if bash is None:
            pytest.skip("bash is needed")
        programs, runner = folder / "programs", folder / "runner"
        programs.mkdir()
        runner.mkdir()
        python = programs / "python"
        python.write_text(f'#!{bash}\nprintf "%s\\0" "$@" > "{folder}/arguments"\nexit {code}\n', encoding="utf-8")
        python.chmod(0o755)
        script = folder / "script.sh"
        script.write_text(step["run"], encoding="utf-8")
        environment = {
            **os.environ,
            **inputs,
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_OUTPUT": str(folder / "output"),
            "RUNNER_TEMP": str(runner),
        }
        command = [bash, "--noprofile", "--norc", "-eo", "pipefail", str(script)]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        return done, (folder / "arguments").read_text(encoding="utf-8").split("\0")[:-1]


class TestHook:
    def test_it_has_what_pre_commit_requires(self) -> None:
        for hook in HOOKS:
            assert {"id", "name", "entry", "language"} <= set(hook)
            assert hook["language"] in ("python", "system")

    @pytest.mark.parametrize(
        ("name", "taken"),
        [
            ("gradcheck.yaml", True),
            ("models/gradcheck.yml", True),
            ("models/cnn.gradcheck.yaml", True),
            ("mygradcheck.yaml", False),
            ("gradcheck.yaml.txt", False),
            ("gradcheck/values.yaml", False),
        ],
    )
    def test_which_files_it_takes(self, name: str, taken: bool) -> None:
        (hook,) = HOOKS
        assert bool(re.search(hook["files"], name)) == taken

    def test_it_judges_files(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (hook,) = HOOKS
        program, *arguments = shlex.split(hook["entry"])
        assert program == "gradcheck"
        monkeypatch.chdir(tmp_path)
        assert main(["init", "gradcheck.yaml"]) == 0
        Path("bad.gradcheck.yaml").write_text("model: {input: {shpae: [4]}, layers: [Dense: 2]}\n", encoding="utf-8")
        assert main([*arguments, "gradcheck.yaml"]) == 0
        capsys.readouterr()
        assert main([*arguments, "gradcheck.yaml", "bad.gradcheck.yaml"]) == 2
        assert "--> bad.gradcheck.yaml:1:" in capsys.readouterr().err

    def test_its_entry_is_installed(self) -> None:
        assert re.search(r"^gradcheck = \"gradcheck\.", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)


class TestPage:
    def test_the_jobs_parse_and_use_what_there_is(self) -> None:
        found = blocks("yaml")
        assert len(found) == 5
        uses, hooks = [], []
        for block in found:
            plain = yaml.safe_load(block)
            uses += [step for step in steps(plain) if step.get("uses", "").startswith(OWNER)]
            hooks += [hook for repo in plain["repos"] for hook in repo["hooks"]] if "repos" in plain else []
        assert len(uses) == 2
        assert {key for step in uses for key in step["with"]} <= set(ACTION["inputs"])
        assert [hook["id"] for hook in hooks] == [hook["id"] for hook in HOOKS]
        assert all(re.search(hook["files"], "configs/cnn.yaml") for hook in hooks)

    def test_the_arguments_of_the_action_exist(self) -> None:
        for step in (step for block in blocks("yaml") for step in steps(yaml.safe_load(block)) if "with" in step):
            if step["uses"].startswith(OWNER):
                parsed(["run", *(step["with"]["paths"] + "\n" + step["with"].get("arguments", "")).split()])

    def test_the_inputs_are_those_in_the_table(self) -> None:
        table = PAGE.partition("| input | default |")[2].partition("\n\n")[0]
        rows = {
            name: default.strip("` ")
            for name, default in re.findall(r"^\| `([\w-]+)` \| (.*?) ?\|", table, re.MULTILINE)
        }
        assert rows == {name: given["default"] for name, given in ACTION["inputs"].items()}

    def test_every_command_has_the_options_that_it_is_given(self) -> None:
        scripts = [line for block in blocks("sh") for line in block.splitlines()]
        jobs = [line for block in blocks("yaml") for line in re.findall(r"^\s*- (gradcheck .*)", block, re.MULTILINE)]
        commands = [line for line in (*scripts, *jobs) if line.startswith("gradcheck ")]
        assert len(commands) >= 8
        for command in commands:
            parsed(shlex.split(command)[1:])

    def test_an_option_that_does_not_exist_would_be_seen(self) -> None:
        for wrong in ("run a.yaml --basline x", "run a.yaml --format xml:x", "diff one.json"):
            with pytest.raises(click.UsageError):
                parsed(shlex.split(wrong))

    def test_every_option_and_command_that_the_text_names_exists(self) -> None:
        known = {option for name in COMMANDS for parameter in command_of(name).params for option in parameter.opts}
        named = set(re.findall(r"`(--[\w-]+)[ `]", PAGE))
        assert named
        assert named <= known
        assert set(re.findall(r"`gradcheck (\w+)", PAGE)) <= set(COMMANDS)

    def test_the_keys_of_the_difference_exist(self) -> None:
        records = (ReportDifference, ReportChange, ReportOrigin, Result)
        known = {field.name for record in records for field in dataclasses.fields(record)}
        text = PAGE.partition("`--format json` has")[2].partition("\n\n")[0]
        named = set(re.findall(r"`(\w+)`", text))
        assert named - {"run", "check", "tensor"} <= known
        assert {field.name for record in records[1:] for field in dataclasses.fields(record)} <= named

    def test_the_exit_codes_are_the_real_ones(self) -> None:
        from gradcheck.errors import ExitCode

        table = PAGE.partition("| code | `run`")[2]
        assert re.findall(r"^\| (\d+) \|", table, re.MULTILINE) == [str(int(code)) for code in ExitCode]


def steps(plain: Any) -> list[dict[str, Any]]:
    """The steps of a workflow, or of a list of steps."""
    if isinstance(plain, list):
        return plain
    return [step for job in plain.get("jobs", {}).values() for step in job["steps"]]
