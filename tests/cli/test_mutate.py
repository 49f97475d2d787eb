"""`gradcheck mutate`: what it prints, and how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gradcheck.cli.main import main

CONFIG = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 3, activation: tanh, name: first}
        - Dense: {units: 1, name: last}
    split: {every: layer}
    loss: MeanSquaredError
    data: {batch_size: 3}
"""


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two faults, for speed: one that a wide tolerance misses, one that nothing excuses."""
    from gradcheck.faults import FAULTS

    chosen = tuple(fault for fault in FAULTS if fault.code in ("GC403", "GC504"))
    monkeypatch.setattr("gradcheck.diagnose.replaying.replays.FAULTS", chosen)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("config.yaml")
    path.write_text(dedent(CONFIG), encoding="utf-8")
    return path


def mutated(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["mutate", *arguments])
    captured = capfd.readouterr()
    return code, captured.out, captured.err


def faults_of(out: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(out)["faults"]
    return [fault for fault in found if fault["place"]]


def test_help_needs_no_tensorflow() -> None:
    script = "import sys; from gradcheck.cli.main import main\nmain(['mutate', '--help'])\n"
    check = "sys.exit(str({'tensorflow', 'numpy', 'rich', 'pydantic'} & set(sys.modules) or 0))"
    done = subprocess.run([sys.executable, "-c", script + check], capture_output=True, text=True, check=False)
    assert done.stderr.strip() in ("", "0")
    assert "Examples:" in done.stdout


def test_all_caught_and_named(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = mutated(capfd, str(config))
    assert code == 0, err
    assert out.startswith("PASS config (config.yaml)\n  float32, seed 0, ")
    assert "  all " in out
    assert err == f"1 config: {err.split()[2]} faults injected, {err.split()[5]} caught, {err.split()[7]} named\n"
    assert err.split()[2] == err.split()[5] == err.split()[7] != "0"


def test_a_wide_tolerance_misses_and_says_which(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = mutated(capfd, str(config), "--rtol", "3", "--set", "tolerance.noise=off")
    assert code == 1
    assert out.startswith("FAIL config")
    assert "  MISSED GC504 at every gradient: every gradient was negated; the largest change is in " in out
    assert "MISSED GC403" not in out


def test_json_to_a_file(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = mutated(capfd, str(config), "--format", "json", "-o", "found.json", "-q")
    assert (code, out) == (0, "")
    report = json.loads(Path("found.json").read_text(encoding="utf-8"))
    assert set(report) == {"schema_version", "tool", "environment", "runs", "faults", "score"}
    assert set(report["score"]) == {"injected", "caught", "named"}
    assert {"code", "place", "status", "named", "margin", "reason"} <= set(report["faults"][0])
    assert {fault["status"] for fault in report["faults"]} <= {"caught", "missed", "equivalent", "not-applicable"}
    assert report["environment"]["tensorflow"]


def test_the_options_change_the_config(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = mutated(
        capfd, str(config), "--precision", "float64", "--seed", "3", "--set", "name=mine", "--show", "all"
    )
    assert code == 0
    assert out.startswith("PASS mine (config.yaml)\n  float64, seed 3, ")
    assert "           every gradient (every gradient was negated): caught, named, margin " in out


@pytest.mark.usefixtures("config")
def test_a_folder_runs_each_config(capfd: pytest.CaptureFixture[str]) -> None:
    Path("broken.yaml").write_text("model: {layers: [Dense: 2], inputt: {shape: [4]}}\n", encoding="utf-8")
    code, out, err = mutated(capfd, ".", "--format", "json")
    assert code == 2
    assert "error[GC" in err
    runs = json.loads(out)["runs"]
    assert [(Path(run["config"]).name, run["verdict"], run["exit_code"]) for run in runs] == [
        ("broken.yaml", "error", 2),
        ("config.yaml", "pass", 0),
    ]
    assert {Path(fault["config"]).name for fault in faults_of(out)} == {"config.yaml"}


@pytest.mark.parametrize("methods", [["--set", "methods=[numeric]"], []])
def test_a_config_without_split(config: Path, capfd: pytest.CaptureFixture[str], methods: list[str]) -> None:
    config.write_text(dedent(CONFIG).replace("split: {every: layer}\n", ""), encoding="utf-8")
    code, _, err = mutated(capfd, str(config), *methods)
    assert code == 2
    assert "error[GC026]" in err
    assert "config.yaml:2:" in err


def test_a_model_that_cannot_be_built(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text("def build():\n    raise ValueError('mine')\n", encoding="utf-8")
    model = "model={factory: './user.py:build'}"
    code, out, err = mutated(capfd, str(config), "--set", model)
    assert code == 3
    assert "error[GC051]: factory ./user.py:build raised ValueError: mine" in err
    assert out.startswith("ERROR config")
    code, _, err = mutated(capfd, str(config), "--set", model, "--safe")
    assert code == 2
    assert "GC029" in err


def test_nothing_to_inject_into(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    layers = "[{Dense: {units: 3, trainable: false, name: first}}, Dense: {units: 1, trainable: false}]"
    code, out, _ = mutated(capfd, str(config), "--set", f"model.layers={layers}", "--timeout", "1e-9")
    assert code == 4
    assert out.startswith("VACUOUS config")
    assert "Nothing was proven" in out


def test_a_split_that_is_wrong_by_itself(
    config: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradcheck.handoff.split import HandOff

    monkeypatch.setattr(HandOff, "contribution", lambda *_: None)
    code, out, _ = mutated(capfd, str(config))
    assert code == 1
    assert "nothing was injected: the split itself does not match the reference: 4 of " in out


def test_what_is_printed_by_user_code_is_not_in_the_report(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("loss.py").write_text(
        "import keras\n\ndef make():\n    print('said')\n    return keras.losses.MeanSquaredError()\n", encoding="utf-8"
    )
    code, out, err = mutated(capfd, str(config), "--set", "loss={factory: './loss.py:make'}", "--format", "json")
    assert code == 0
    assert json.loads(out)["score"]["injected"] > 0
    assert "said" in err


def test_usage(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert mutated(capfd)[0] == 2
    assert mutated(capfd, str(config), "--timeout", "0")[0] == 2
    code, _, err = mutated(capfd, "none.yaml")
    assert code == 2
    assert "error[GC001]" in err
