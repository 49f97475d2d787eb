"""`gradcheck run --shard` and `gradcheck join`: many machines, one report."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from gradcheck.cli.main import main

if TYPE_CHECKING:
    from collections.abc import Callable

    Ran = Callable[..., tuple[int, str, str]]

GOOD = """
    model: {input: {shape: [3]}, layers: [Dense: {units: 2, name: first}, Dense: 1]}
    split: {after: [first]}
"""
CONFIGS = {"a": GOOD, "b": GOOD + "    methods: [{vjp: {expect: mismatch}}]\n", "c": GOOD}
FORMATS = ("table", "concise", "json", "junit", "github", "markdown", "html")


@pytest.fixture
def ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ran:
    monkeypatch.chdir(tmp_path)
    for name, text in CONFIGS.items():
        Path(f"{name}.yaml").write_text(dedent(text), encoding="utf-8")

    def command(*arguments: str) -> tuple[int, str, str]:
        code = main(arguments)
        captured = capfd.readouterr()
        return code, captured.out, captured.err

    return command


def test_shards_join_to_one_report_in_every_format(ran: Ran) -> None:
    codes = [ran("run", ".", "--shard", f"{i}/2", "--format", f"json:{i}.json")[0] for i in (1, 2)]
    assert codes == [0, 1]
    assert [run["config"] for run in json.loads(Path("1.json").read_text())["runs"]] == ["a.yaml", "c.yaml"]
    assert json.loads(Path("2.json").read_text())["shard"] == {"index": 2, "count": 2, "configs": 3}
    for format_ in FORMATS:
        code, out, err = ran("join", "2.json", "1.json", "--format", format_)
        assert code == 1
        places = [out.find(f"{name}.yaml") for name in CONFIGS]
        assert -1 not in places or format_ == "github"  # which annotates failures alone
        assert err.endswith("3 configs: 2 passed, 1 failed\n")
    assert ran("join", "2.json", "1.json", "--exit-zero", "-q")[0] == 0


def test_an_empty_shard_passes_in_every_format(ran: Ran) -> None:
    for format_ in FORMATS:
        code, _, err = ran("run", "a.yaml", "--shard", "2/2", "--format", format_)
        assert (code, err.partition(" in ")[0]) == (0, "0 configs: nothing to do")


def test_what_cannot_be_joined_is_one_clear_error(ran: Ran) -> None:
    for i in (1, 2):
        ran("run", "a.yaml", "c.yaml", "--shard", f"{i}/2", "--format", f"json:{i}.json", "-q")
    for files, said in {
        ("1.json",): "cannot be joined: missing: shard 2/2",
        ("1.json", "1.json"): "1.json is given twice",
        ("1.json", "a.yaml"): "a.yaml is not JSON",
        ("none.json",): "none.json cannot be read",
    }.items():
        code, out, err = ran("join", *files)
        assert (code, out) == (2, "")
        assert err.startswith(f"error[GC0{'01' if said.startswith('none') else '10'}]: {said}")


@pytest.mark.parametrize("value", ["0/2", "3/2", "1", "a/b", "1/", "-1/2", "1/2/3"])
def test_what_is_no_shard_is_refused(ran: Ran, value: str) -> None:
    code, _, err = ran("run", "a.yaml", "--shard", value)
    assert code == 2
    assert f"{value!r} is not I/N, with I from 1 to N." in err
