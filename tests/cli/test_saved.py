"""`gradcheck run --save-gradients` and `--reference`: which files are written and read, and what is refused before."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from gradcheck.cli.main import main

CONFIG = """
    model: {input: {shape: [3]}, layers: [Dense: {units: 2, name: first}, Dense: 1]}
    split: {after: [first]}
"""


@pytest.fixture(autouse=True)
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        Path(f"{name}.yaml").write_text(dedent(CONFIG), encoding="utf-8")


def test_a_folder_is_made_and_each_config_finds_its_file(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", ".", "--save-gradients", "new/refs", "-q"]) == 0
    assert sorted(file.name for file in Path("new/refs").iterdir()) == ["a.npz", "b.npz"]
    assert main(["run", ".", "--reference", "new/refs", "--format", "concise"]) == 0
    out = capfd.readouterr().out
    assert out.count("note the reference is read from new/refs/") == 2
    Path("new/refs/a.npz").unlink()
    assert main(["run", ".", "--reference", "new/refs", "--format", "concise"]) == 2
    captured = capfd.readouterr()
    assert "error[GC001]: new/refs/a.npz cannot be read" in captured.err
    assert "b.yaml: pass vjp" in captured.out  # the other config still runs


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--save-gradients", "x.npz"], "--save-gradients x.npz: a.yaml and b.yaml would share x.npz"),
        (["--reference", "x.npz"], "--reference x.npz: a.yaml and b.yaml would share x.npz"),
        (
            ["--save-gradients", "x", "--reference", "y"],
            "--reference computes nothing that --save-gradients could save",
        ),
        (["--save-gradients", "a.yaml"], "a.yaml cannot be made: file exists"),
        (["--save-gradients", "none/x.npz", "--set", "name=x"], "would share none/x.npz"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_runs(
    arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", ".", *arguments]) == 2
    captured = capfd.readouterr()
    assert said in captured.err
    assert captured.out == ""


def test_a_file_that_cannot_be_written_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "a.yaml", "--save-gradients", "none/x.npz"]) == 2
    assert "cannot be written" in capfd.readouterr().err
