"""`gradcheck run`: what it runs, what it prints where, and what it returns."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
from junitparser import JUnitXml

from gradcheck.cli.main import main
from gradcheck.results.report import Report

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ran = Callable[..., tuple[int, str, str]]

ROOT = Path(__file__).parents[2]
CONFIGS = {
    "good": """
        model:
          input: {shape: [4]}
          layers: [Dense: {units: 5, activation: tanh, name: first}, Dense: {units: 2, name: second}]
        split: {after: [first]}
        data: {batch_size: 4}
    """,
    "wrong": """
        model:
          input: {shape: [4]}
          layers: [Dense: {units: 5, activation: tanh, name: first}, Dense: {units: 2, name: second}]
        split: {after: [first]}
        methods: [naive]
    """,
    "broken": """
        model:
          input: {shpae: [4]}
          layers: [Dense: 2, Dense: 1]
        split: {every: layer}
    """,
    "dead": """
        model:
          input: {shape: [4]}
          layers: [Dense: {units: 3, name: first, trainable: false}, ReLU]
        split: {after: [first]}
    """,
    "raises": "model: {factory: './user.py:raises'}\nsplit: {every: layer}",
    "leaves": "model: {factory: './user.py:leaves'}\nsplit: {every: layer}",
    "talks": "model: {factory: './user.py:talks'}\nsplit: {every: layer}",
    **{
        name: f"model: {{factory: './user.py:{name}'}}\nsplit: {{every: layer}}"
        for name in ("exits", "aborts", "dies", "reads_nothing", "interrupts", "loops", "threads")
    },
    "untracked": "model: {factory: './user.py:untracked'}\nsplit: {every: layer}",
    "imports": "model: {factory: './imports.py:build'}\nsplit: {every: layer}",
}
USER = """
    import ctypes, os, random, sys, threading, time
    import keras
    import tensorflow as tf

    def model(*layers):
        inputs = tensor = keras.Input([4])
        for layer in (*layers, keras.layers.Dense(2)):
            tensor = layer(tensor)
        return keras.Model(inputs, tensor)

    def raises():
        raise ValueError("[red]mine[/red]")

    def leaves():
        sys.exit(0)

    def talks():
        print("said by python")
        os.system("echo said by a child")
        return model(keras.layers.Dense(3))

    def dies():
        os.kill(os.getpid(), 9)

    def exits():
        os._exit(0)

    def aborts():
        x = tf.Variable(1.0)
        with tf.GradientTape(persistent=True) as tape:
            y = x * x
        tape.gradient([y, y], [x], output_gradients=[None, tf.constant(1.0)])

    def reads_nothing():
        ctypes.string_at(0)

    def interrupts():
        raise KeyboardInterrupt

    def loops():
        @tf.function
        def step(x):
            return tf.while_loop(lambda i: True, lambda i: i + 1, [x])

        step(tf.constant(0))

    def threads():
        threading.Thread(target=time.sleep, args=(1000,)).start()
        return model(keras.layers.Dense(3))

    class Untracked(keras.layers.Layer):
        def call(self, x):
            return x * random.SystemRandom().uniform(1.0, 2.0)

    def untracked():
        return model(keras.layers.Dense(3), Untracked())
"""
#: Imported by the config `imports`: leaves a trace.
IMPORTS = """
    import pathlib

    pathlib.Path(__file__).with_name("imported").touch()

    def build(): ...
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    for name, text in CONFIGS.items():
        (path / f"{name}.yaml").write_text(dedent(text), encoding="utf-8")
    for name, text in {"user.py": USER, "imports.py": IMPORTS}.items():
        (path / name).write_text(dedent(text), encoding="utf-8")
    return path


@pytest.fixture
def ran(folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Ran]:
    """Runs the command here: configs by name, then options. Returns exit code, standard output and error."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NO_COLOR", raising=False)

    def run(names: str, *options: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = main(["run", *(f"{name}.yaml" for name in names.split()), *options])
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return run


def figures(ran: Ran, names: str, *options: str) -> dict[str, Any]:
    """The JSON report of a run that produces one."""
    code, out, err = ran(names, "--format", "json", *options)
    assert code in (0, 1, 4), err
    found: dict[str, Any] = json.loads(out)
    return found


def without_times(value: Any) -> Any:
    """Without seconds, and what is found out in so many of them: here a diagnosis has one, another process ten."""
    if isinstance(value, dict):
        return {
            key: without_times(inner) for key, inner in value.items() if key not in ("seconds", "time", "diagnoses")
        }
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ("good", 0),
        ("wrong", 1),
        ("broken", 2),
        ("raises", 3),
        ("dead", 4),
        ("good dead", 4),
        ("dead wrong", 1),
        ("wrong broken", 2),
        ("broken raises", 3),
    ],
)
def test_the_exit_code_is_the_most_serious(ran: Ran, names: str, code: int) -> None:
    assert ran(names, "--show", "summary")[0] == code


def test_all_configs_run_also_beside_a_broken_one(ran: Ran) -> None:
    code, out, err = ran("broken raises leaves dead wrong good", "--format", "json")
    assert code == 3
    verdicts = {run["name"]: (run["verdict"], run["exit_code"]) for run in json.loads(out)["runs"]}
    assert verdicts == {
        "broken": ("error", 2),
        "raises": ("error", 3),
        "leaves": ("error", 3),
        "dead": ("vacuous", 4),
        "wrong": ("fail", 1),
        "good": ("pass", 0),
    }
    assert err.splitlines()[-1].startswith("6 configs: 1 passed, 1 failed, 3 in error, 1 proved nothing in ")


def test_errors_are_told_with_the_users_own_line(ran: Ran) -> None:
    _, _, err = ran("broken raises leaves")
    assert err.count("error[") == 3
    assert "error[GC003]: unknown key `shpae`\n  --> broken.yaml:3:11" in err
    assert "raised ValueError: [red]mine[/red]" in err
    assert 'raise ValueError("[red]mine[/red]")\n' in err
    assert "raised SystemExit: 0" in err
    assert "Traceback" not in err


def test_verbose_shows_the_traceback(ran: Ran) -> None:
    _, out, err = ran("raises", "-v")
    assert "Traceback (most recent call last)" in err
    assert "Traceback" not in out


def test_quiet_says_nothing_but_errors(ran: Ran) -> None:
    assert ran("good", "-q")[2] == ""
    assert ran("good broken", "-q")[2].startswith("error[GC003]")


@pytest.mark.parametrize(
    ("engine", "installed", "says"),
    [
        ("jx", True, "there is no engine jx"),
        ("jax", False, "method jax needs JAX, which is not installed\nhelp: pip install jax"),
    ],
)
def test_an_engine_that_is_not_there_is_said_once_before_anything_runs(
    ran: Ran, monkeypatch: pytest.MonkeyPatch, engine: str, installed: bool, says: str
) -> None:
    if not installed:
        monkeypatch.setattr("gradcheck.engines.asking.find_spec", lambda _: None)
    code, out, err = ran("good", "good", "--against", engine)
    assert (code, out, err.count("error[GC032]")) == (2, "", 1)
    assert says in err


def test_what_user_code_prints_goes_to_standard_error(ran: Ran) -> None:
    code, out, err = ran("talks", "--format", "json")
    assert code == 0
    assert json.loads(out)["summary"]["passed"] == 1
    assert "said by python" in err
    assert "said by a child" in err


class TestOutput:
    def test_a_file_holds_the_report_and_standard_output_nothing(self, ran: Ran, tmp_path: Path) -> None:
        file = tmp_path / "report.json"
        code, out, _ = ran("good", "--format", "json", "-o", str(file))
        assert (code, out) == (0, "")
        assert Report.from_json(file.read_text(encoding="utf-8")).summary.passed == 1

    def test_a_file_is_not_touched_where_there_is_no_report(self, ran: Ran, tmp_path: Path) -> None:
        file = tmp_path / "report.json"
        file.write_text("the last one", encoding="utf-8")
        assert ran("nowhere", "-o", str(file))[0] == 2
        assert file.read_text(encoding="utf-8") == "the last one"
        assert list(tmp_path.iterdir()) == [file]

    def test_a_report_of_a_broken_config_is_a_report(self, ran: Ran, tmp_path: Path) -> None:
        file = tmp_path / "report.json"
        assert ran("broken", "--format", "json", "-o", str(file))[0] == 2
        (run,) = json.loads(file.read_text(encoding="utf-8"))["runs"]
        assert run["error"]["code"] == "GC003"

    def test_a_file_that_cannot_be_written(self, ran: Ran, tmp_path: Path) -> None:
        code, out, err = ran("broken", "-o", str(tmp_path / "no" / "folder" / "report.txt"))
        assert (code, out) == (2, "")
        assert "error[GC010]" in err


class TestSeveralReports:
    def test_one_run_writes_them_all(self, ran: Ran, tmp_path: Path) -> None:
        junit, page = tmp_path / "gradients.xml", tmp_path / "report.json"
        code, out, err = ran(
            "good broken", "--format", f"junit:{junit}", "--format", "concise", "--format", f"json:{page}"
        )
        assert code == 2
        assert "good.yaml: pass vjp" in out
        assert err.count("error[GC003]") == 1
        assert JUnitXml.fromfile(str(junit)).errors == 1
        assert Report.from_json(page.read_text(encoding="utf-8")).summary.runs == 2

    def test_each_may_go_to_a_file(self, ran: Ran, tmp_path: Path) -> None:
        files = [tmp_path / "a", tmp_path / "b"]
        assert ran("broken", "--format", f"json:{files[0]}", "--format", f"github:{files[1]}")[:2] == (2, "")
        assert all(file.read_text(encoding="utf-8") for file in files)

    @pytest.mark.parametrize(
        "formats", [("json:no/folder/a", "concise"), ("json", "concise"), ("json:a", "html:a"), ("tabel",)]
    )
    def test_a_wrong_place_is_said_before_anything_is_run(self, ran: Ran, formats: tuple[str, ...]) -> None:
        code, out, err = ran("broken", *(word for one in formats for word in ("--format", one)))
        assert (code, out) == (2, "")
        assert err.startswith("error[GC010]")
        assert "GC003" not in err

    @pytest.mark.parametrize("lenient", [(), ("--exit-zero",)])
    def test_a_broken_config_is_annotated_beside_the_others(
        self, ran: Ran, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lenient: tuple[str, ...]
    ) -> None:
        monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
        code, out, _ = ran("broken good", "--format", "github", *lenient)
        assert code == 2
        assert "::error file=broken.yaml,line=3,col=11,title=gradcheck broken::error[GC003]" in out
        assert "::notice title=gradcheck::2 configs: 1 passed, 1 error" in out
        summary = (tmp_path / "summary.md").read_text(encoding="utf-8")
        assert "### ERROR broken" in summary
        assert "### PASS good" in summary

    def test_a_path_that_is_not_there_is_annotated_too(self, ran: Ran) -> None:
        code, out, err = ran("nowhere", "--format", "github", "--exit-zero")
        assert code == 2
        assert out.startswith("::error file=nowhere.yaml,line=1,col=1,title=gradcheck::error[GC001]")
        assert "error[GC001]" in err


#: What the contract promises, by the key that a record stands under.
JSON_KEYS = {
    "": "schema_version tool environment summary runs",
    "tool": "name version",
    "environment": "python tensorflow keras numpy device time commit dirty",
    "summary": "runs passed failed errors vacuous",
    "runs": "name config seed precision execution verdict error segments reference coverage checks",
    "segments": "index name layers parameters inputs outputs",
    "reference": "method loss seconds gradient_norm",
    "coverage": "trainable compared absent dead",
    "checks": "method expect outcome as_expected loss loss_abs_error max_abs_error max_rel_error seconds "
    "peak_bytes first_divergence tensors diagnoses",
    "tensors": "kind segment layer name path shape dtype status allclose max_abs_error max_rel_error max_ulp_error "
    "cosine norm_ratio noise_floor elements mismatched_elements worst rtol atol required",
    "worst": "index reference candidate",
    "required": "rtol atol",
    "spread": "edges counts equal nonfinite reference candidate",
    "diagnoses": "code title segment layer confidence evidence fix",
}


class TestJson:
    def records(self, value: Any, name: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
        """Every mapping in the report, with the key that it stands under."""
        if isinstance(value, dict):
            yield name, value
            for key, inner in value.items():
                yield from self.records(inner, key)
        elif isinstance(value, list):
            for inner in value:
                yield from self.records(inner, name)

    def test_the_keys_are_the_contract(self, ran: Ran) -> None:
        report = figures(ran, "good wrong")
        seen = set()
        for name, record in self.records(report):
            seen.add(name)
            missing = set(JSON_KEYS[name].split()) - set(record)
            assert not missing, name
        assert seen == set(JSON_KEYS)

    def test_the_values_are_about_this_run(self, ran: Ran) -> None:
        report = figures(ran, "wrong")
        assert report["environment"]["device"] in ("CPU", "GPU")
        (run,) = report["runs"]
        (check,) = run["checks"]
        assert run["config"] == "wrong.yaml"
        assert [segment["layers"] for segment in run["segments"]] == [["first"], ["second"]]
        assert (check["outcome"], check["first_divergence"]) == ("mismatch", "first/bias")
        assert run["coverage"] == {"trainable": 4, "compared": 4, "absent": 0, "dead": 0}

    def test_it_says_when_and_on_which_commit(self, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("GITHUB_SHA", "of the job")
        _, out, _ = ran("broken", "--format", "json")
        made = json.loads(out)["environment"]
        assert (made["commit"], made["dirty"]) == ("of the job", None)
        when = datetime.strptime(made["time"], "%Y-%m-%dT%H:%M:%S%z")
        assert abs((datetime.now(timezone.utc) - when).total_seconds()) < 60
        monkeypatch.delenv("GITHUB_SHA")
        assert figures(ran, "good")["environment"]["commit"] is None
        _, out, _ = ran(str(ROOT / "configs" / "two_dense"), "--format", "json", "--set", "seed=nope")
        assert re.fullmatch("[0-9a-f]{40}", json.loads(out)["environment"]["commit"]) or not (ROOT / ".git").exists()

    def test_it_reads_back_as_it_was(self, ran: Ran) -> None:
        report = figures(ran, "good wrong")
        assert Report.from_dict(report).to_dict() == report


class TestOptions:
    def test_methods_replace_the_list(self, ran: Ran) -> None:
        run = figures(ran, "good", "--method", "naive", "--method", "vjp")["runs"][0]
        assert [check["method"] for check in run["checks"]] == ["naive", "vjp"]

    def test_any_key_can_be_set(self, ran: Ran) -> None:
        run = figures(ran, "good", "--set", "data.batch_size=3", "--set", "split={every: layer}", "--set", "name=mine")
        (tensor,) = [t for t in run["runs"][0]["checks"][0]["tensors"] if t["kind"] == "input"]
        assert (run["runs"][0]["name"], tensor["shape"]) == ("mine", [3, 4])

    def test_a_wrong_value_is_underlined_in_the_argument(self, ran: Ran) -> None:
        code, _, err = ran("good", "--set", "data.batch_size=nope")
        assert code == 2
        assert "--> --set:1:17" in err

    def test_the_seed_decides_every_figure(self, ran: Ran) -> None:
        losses = [figures(ran, "good", "--seed", seed)["runs"][0]["reference"]["loss"] for seed in ("1", "1", "2")]
        assert losses[0] == losses[1] != losses[2]

    def test_precision_and_execution(self, ran: Ran) -> None:
        run = figures(ran, "good", "--precision", "float64", "--execution", "graph")["runs"][0]
        assert (run["precision"], run["execution"], run["verdict"]) == ("float64", "graph", "pass")
        assert {t["dtype"] for t in run["checks"][0]["tensors"]} == {"float64"}

    def test_tolerances_are_used_as_given(self, ran: Ran) -> None:
        options = ("--method", "naive", "--rtol", "0", "--atol", "1e9")
        run = figures(ran, "good", *options)["runs"][0]
        assert run["verdict"] == "pass"
        assert {(t["rtol"], t["atol"]) for t in run["checks"][0]["tensors"]} == {(0.0, 1e9)}

    def test_the_command_line_beats_the_file(self, ran: Ran) -> None:
        assert ran("wrong", "--method", "vjp")[0] == 0

    @pytest.mark.parametrize(("show", "rows"), [("all", 8), ("failed", 3), ("summary", 0)])
    def test_show(self, ran: Ran, show: str, rows: int) -> None:
        _, out, _ = ran("wrong", "--show", show)
        assert len(re.findall(r"^      \S+ +(?:weight|input|boundary|output|loss) ", out, re.MULTILINE)) == rows

    def test_fail_fast_stops_within_a_config_and_after_it(self, ran: Ran) -> None:
        options = ("--method", "naive", "--method", "vjp")
        assert [len(run["checks"]) for run in figures(ran, "wrong good", *options)["runs"]] == [2, 2]
        assert [len(run["checks"]) for run in figures(ran, "wrong good", *options, "--fail-fast")["runs"]] == [1]

    @pytest.mark.parametrize(("names", "code"), [("wrong", 0), ("dead", 0), ("broken", 2), ("raises wrong", 3)])
    def test_exit_zero_forgives_verdicts_and_no_errors(self, ran: Ran, names: str, code: int) -> None:
        assert ran(names, "--exit-zero", "--show", "summary")[0] == code

    def test_safe_refuses_before_anything_is_imported(self, ran: Ran, folder: Path) -> None:
        code, _, err = ran("imports good", "--safe", "--show", "summary")
        assert code == 2
        assert "error[GC029]" in err
        assert "1 passed" in err
        assert not (folder / "imported").exists()
        ran("imports", "--show", "summary")
        assert (folder / "imported").exists()

    def test_a_reference_that_does_not_repeat_itself_is_found(self, ran: Ran) -> None:
        def warnings(name: str) -> list[str]:
            _, out, _ = ran(name, "--verify-reference", "--format", "json")
            found: list[str] = json.loads(out)["runs"][0]["warnings"]
            return [warning for warning in found if "GC704" in warning]

        assert len(warnings("untracked")) == 1
        assert warnings("good") == []

    def test_colour_only_where_it_is_wanted(self, ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
        assert "\x1b[" not in "".join(ran("broken")[1:])
        assert "\x1b[" in ran("broken", "--color", "always")[1]
        monkeypatch.setenv("NO_COLOR", "1")
        assert "\x1b[" not in "".join(ran("broken", "--color", "always")[1:])


class TestPaths:
    def test_a_missing_path(self, ran: Ran) -> None:
        code, out, err = ran("goood")
        assert (code, out) == (2, "")
        assert "did you mean `good.yaml`?" in err

    def test_a_folder_without_configs(self, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
        empty = folder / "empty"
        empty.mkdir()
        (empty / "values.yaml").write_text("a: 1\n", encoding="utf-8")
        assert main(["run", str(empty)]) == 2
        assert "error[GC008]" in capfd.readouterr().err

    def test_a_folder_stands_for_its_configs(self, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "below").mkdir()
        for name in ("a.yaml", "below/b.yml"):
            (tmp_path / name).write_text(dedent(CONFIGS["good"]), encoding="utf-8")
        (tmp_path / "values.yaml").write_text("a: 1\n", encoding="utf-8")
        assert main(["run", str(tmp_path), str(tmp_path / "a.yaml"), "--format", "json"]) == 0
        assert [run["name"] for run in json.loads(capfd.readouterr().out)["runs"]] == ["a", "b"]

    def test_no_path_at_all(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert main(["run"]) == 2
        assert "Missing argument" in capfd.readouterr().err


def test_shipped_configs_need_what_gradcheck_needs_and_no_more() -> None:
    needed = {"tensorflow", "keras", "numpy", *sys.stdlib_module_names}
    beside = {path.stem for path in (ROOT / "configs").glob("*.py")}
    for path in (ROOT / "configs").glob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert {name.partition(".")[0] for name in names} <= needed | beside, path


#: What decides how a process behaves, and is not for those that are started here.
DROPPED = ("NO_COLOR", "TF_CPP_MIN_LOG_LEVEL", "GRADCHECK_WORKERS")


def started(code: str, *arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of its own; `code` is a script or `-m`, with its arguments."""
    inherited = {key: value for key, value in os.environ.items() if key not in DROPPED}
    return subprocess.run(
        [sys.executable, code, *arguments],
        cwd=cwd,
        env={**inherited, **environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_a_config_error_needs_no_tensorflow(folder: Path) -> None:
    script = (
        "import sys; from gradcheck.cli.main import main; code = main(['run', 'broken.yaml'])\n"
        "sys.exit('TensorFlow' if 'tensorflow' in sys.modules else code)"
    )
    done = started("-c", script, cwd=folder)
    assert done.returncode == 2, done.stderr


@pytest.fixture(scope="module")
def piped(folder: Path) -> subprocess.CompletedProcess[str]:
    """One run in a process of its own, its output in pipes, in a narrow terminal."""
    names = ("talks", "wrong", "broken")
    return started("-m", "gradcheck", "run", *(f"{n}.yaml" for n in names), cwd=folder, COLUMNS="40", TERM="xterm")


class TestPipes:
    def test_the_report_is_complete_and_plain(self, piped: subprocess.CompletedProcess[str]) -> None:
        assert piped.returncode == 2
        assert "\x1b" not in piped.stdout
        lines = piped.stdout.splitlines()
        assert [line.split()[:2] for line in lines if line.startswith(("PASS", "FAIL", "ERROR"))][:3] == [
            ["PASS", "talks"],
            ["FAIL", "wrong"],
            ["ERROR", "broken"],
        ]
        row = next(line for line in lines if "first/kernel" in line and "mismatch" in line)
        assert len(row) > 100
        assert "…" not in piped.stdout

    def test_standard_error_has_the_rest(self, piped: subprocess.CompletedProcess[str]) -> None:
        assert "\x1b" not in piped.stderr
        assert "said by" not in piped.stdout
        told = [line for line in piped.stderr.splitlines() if line]
        said = [line for line in told if line.startswith("said by")]
        assert set(said) == {"said by a child", "said by python"}
        told = [line for line in told if line not in said]
        assert told[0].startswith("error[GC003]")
        assert told[-1].startswith("3 configs: 1 passed, 1 failed, 1 in error in ")
        assert len(told) == 7  # nothing of TensorFlow's


def test_jobs_give_what_one_process_gives(folder: Path, ran: Ran) -> None:
    names = ["good", "talks", "wrong", "broken", "raises"]
    files = [f"{name}.yaml" for name in names]
    options = ("--format", "json", "--set", "verify_reference=never")  # which else depends on the clock
    done = started("-m", "gradcheck", "run", *files, "--jobs", "2", *options, cwd=folder)
    code, out, _ = ran(" ".join(names), *options)
    assert done.returncode == code == 3, done.stderr
    assert [d["code"] for d in json.loads(done.stdout)["runs"][2]["checks"][0]["diagnoses"]] == ["GC101"]
    assert without_times(json.loads(done.stdout)) == without_times(json.loads(out))
    assert "said by python" in done.stderr
    assert "[red]mine[/red]" in done.stderr
    assert "Traceback" not in done.stderr


def test_verbose_shows_tracebacks_of_other_processes_too(folder: Path) -> None:
    done = started("-m", "gradcheck", "run", "good.yaml", "raises.yaml", "--jobs", "2", "-v", cwd=folder)
    assert done.returncode == 3, done.stderr
    assert done.stderr.count("raises.yaml:\nTraceback") == 1
    assert "\nValueError: [red]mine[/red]\n" in done.stderr


#: What each config does to its process, the code of its error, and the user's line that the error names.
FATAL = {
    "exits": ("GC060", "os._exit(0)"),
    "aborts": ("GC060", "tape.gradient"),
    "dies": ("GC060", None),
    "reads_nothing": ("GC060", "string_at(0)"),
    "interrupts": ("GC053", "raise KeyboardInterrupt"),
    "loops": ("GC057", "step(tf.constant(0))"),
}


def test_whatever_ends_a_process_is_the_verdict_of_its_config_alone(folder: Path) -> None:
    files = [f"{name}.yaml" for name in (*FATAL, "threads", "good")]
    options = ("--format", "json", "--timeout", "20", "--jobs", "2")
    done = started("-m", "gradcheck", "run", *files, *options, cwd=folder)
    assert done.returncode == 3, done.stderr
    *fatal, threads, good = json.loads(done.stdout)["runs"]
    assert (threads["verdict"], good["verdict"]) == ("pass", "pass")
    lines = (folder / "user.py").read_text(encoding="utf-8").splitlines()
    for run, (code, line) in zip(fatal, FATAL.values(), strict=True):
        assert (run["error"]["code"], run["exit_code"]) == (code, 3), run["error"]
        if line is not None:
            assert line in lines[run["error"]["line"] - 1], run["error"]
        assert f"error[{code}]: {run['error']['message']}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", [["plan"], ["mutate"], ["layer", "--input", "1.0"]], ids=str)
def test_nor_does_it_end_another_command_well(folder: Path, command: list[str]) -> None:
    name, *options = command
    target = "./user.py:exits" if name == "layer" else "exits.yaml"
    done = started("-m", "gradcheck", name, target, *options, cwd=folder)
    assert done.returncode == 3, done.stderr
    assert "error[GC060]: the process ended itself with exit code 0" in done.stderr


def test_a_file_that_cannot_be_written_is_found_before_anything_runs(folder: Path, ran: Ran) -> None:
    for output in ("missing/report.json", "good.yaml/report.json"):
        code, out, err = ran("talks", "-o", output)
        assert (code, out) == (2, "")
        assert f"error[GC010]: {output} cannot be written: " in err
        assert "said by" not in err
    assert not (folder / "missing").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_disk_is_told_of(folder: Path) -> None:
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gradcheck", "run", "broken.yaml"],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
    assert done.returncode == 3
    assert "error[GC050]: the report cannot be written to standard output: no space left on device" in done.stderr
    assert "Exception ignored" not in done.stderr


def test_on_a_terminal_an_error_is_told_once(folder: Path) -> None:
    screen, terminal = os.openpty()
    command = [sys.executable, "-m", "gradcheck", "run", "broken.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=terminal, stderr=terminal, check=False, timeout=60
    )
    os.close(terminal)
    with os.fdopen(screen, "rb", buffering=0) as file:
        told = file.read(10_000).decode()
    assert done.returncode == 2
    assert told.count("error[GC003]") == 1
    assert "1 config: 1 in error" in told
