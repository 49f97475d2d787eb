"""`gradcheck bench`: what it prints, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from gradcheck.cli.main import main

CONFIG = """
    model:
      input: {shape: [4]}
      layers: [Dense: {units: 3, name: first}, Dense: 1]
    split: {every: layer}
"""


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("good.yaml").write_text(dedent(CONFIG), encoding="utf-8")
    Path("wrong.yaml").write_text(dedent(CONFIG) + "sede: 1\n", encoding="utf-8")


def test_a_table_of_the_methods_that_are_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "good.yaml", "--method", "vjp", "--method", "scan", "--rounds", "1"]) == 3
    out = capfd.readouterr().out
    assert [line.split()[0] for line in out.splitlines()[:6]] == ["good", "float32,", "method", "tape", "vjp", "scan:"]
    assert "scan: ERROR: method scan needs a time split" in out


def test_a_folder_as_json_with_a_broken_config_beside_the_others(capfd: pytest.CaptureFixture[str]) -> None:
    code = main(["bench", ".", "--method", "vjp", "--rounds", "2", "--format", "json", "-o", "costs.json"])
    captured = capfd.readouterr()
    assert (code, captured.out) == (2, "")
    assert "error[GC003]: unknown key `sede`" in captured.err
    good, wrong = json.loads(Path("costs.json").read_text())["runs"]
    assert (good["config"], good["methods"][0]["method"], good["methods"][0]["rounds"]) == ("good.yaml", "vjp", 2)
    assert (wrong["verdict"], wrong["exit_code"], wrong["methods"]) == ("error", 2, [])
