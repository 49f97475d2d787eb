"""`gradcheck plan`: where the model is cut, before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from gradcheck.cli.main import main

ROOT = Path(__file__).parents[2]
CONFIG = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, activation: tanh, name: first}
        - Dense: {units: 5, name: middle}
        - Add: {name: joined, inputs: [middle, first]}
        - Dense: {units: 2, name: last}
    data: {batch_size: 3}
"""
TEXT = """\
mine (config.yaml)

  segment 0 segment_0: 1 call, 25 parameters, 135 FLOPs forward
    calls: first
    takes   input (3,4) float32, 48 B
    returns first (3,5) float32, 60 B

  segment 1 segment_1: 3 calls, 42 parameters, 246 FLOPs forward
    calls: middle, joined, last
    takes   first (3,5) float32, 60 B
    returns last (3,2) float32, 24 B

  memory, estimated for a batch of 3
"""
NESTED = """
    import keras

    print("said while building")

    def build():
        x = keras.Input([4], name="x")
        inner = keras.Model(x, keras.layers.Dense(4, name="dense")(x), name="inner")
        y = keras.Input([4], name="y")
        return keras.Model(y, keras.layers.Dense(1, name="out")(inner(inner(y)) + 1.0))
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = Path("config.yaml")
    path.write_text(dedent(CONFIG), encoding="utf-8")
    return path


def planned(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["plan", *arguments])
    captured = capfd.readouterr()
    return code, captured.out, captured.err


def plan_of(capfd: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    code, out, err = planned(capfd, *arguments, "--format", "json")
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    return found


def test_the_text_with_a_split(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = planned(capfd, str(config), "--set", "split={after: first}", "--set", "name=mine")
    assert (code, err) == (0, "")
    text, _, memory = out.partition("batch of 3\n")
    assert text + "batch of 3\n" == TEXT
    # 25 + 42 float32 numbers; all activations (3 x 17) and a gradient for each weight; the widest cut (3 x 5) as well.
    assert memory.startswith("    variables                268 B\n")
    assert "    tape (reference)" in memory
    assert "    vjp" in memory


def test_the_text_without_a_split(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = planned(capfd, str(config))
    assert (code, err) == (0, "")
    assert out == dedent("""\
        config (config.yaml)

          no split: 4 names that split.after accepts
            first
            middle
            joined
            last
        """)


def test_json(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(capfd, str(config), "--set", "split={after: middle}")
    assert {"name", "config", "batch_size", "names", "segments", "memory", "warnings"} <= set(plan)
    first, second = plan["segments"]
    assert first["layers"] == ["first", "middle"]
    assert [tensor["name"] for tensor in first["outputs"]] == ["first", "middle"]
    assert second["inputs"] == [
        {"name": "middle", "shape": [3, 5], "dtype": "float32", "bytes": 60},
        {"name": "first", "shape": [3, 5], "dtype": "float32", "bytes": 60},
    ]
    assert plan["memory"]["vjp"] > plan["memory"]["weights"] == 4 * (25 + 30 + 12)


def test_a_larger_batch_costs_more(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    small, large = (
        plan_of(capfd, str(config), "--set", "split={every: layer}", "--set", f"data.batch_size={size}")
        for size in (3, 30)
    )
    assert [s["flops"] * 10 for s in small["segments"]] == [s["flops"] for s in large["segments"]]
    assert small["memory"]["weights"] == large["memory"]["weights"]
    assert small["memory"]["tape"] < large["memory"]["tape"]


def test_more_parts_than_calls_is_a_warning(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = planned(capfd, str(config), "--set", "split={parts: 9}")
    assert code == 0
    assert "warning: the model has 4 calls, fewer than parts: 9" in out


def test_every_listed_name_can_be_cut_at(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text(dedent(NESTED), encoding="utf-8")
    config.write_text("model: {factory: './user.py:build'}\n", encoding="utf-8")
    code, out, err = planned(capfd, str(config), "--format", "json")
    assert code == 0
    assert "said while building" in err
    names = json.loads(out)["names"]
    assert {"inner/dense", "inner/dense:1", "inner/dense:2", "inner", "inner:1", "add", "out"} <= set(names)
    for name in names:
        split = f"split={{after: ['{name}']}}"
        code, _, err = planned(capfd, str(config), "--set", split)
        assert code == (2 if name == "out" else 0), err  # nothing follows the last call


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--set", "split={after: [frist]}"], 2, "did you mean `first`?"),
        (["--set", "split={after: [first, first]}"], 2, "error[GC024]"),
        (["--set", "model={factory: './none.py:build'}"], 2, "error[GC028]"),
        (["--set", "split={time: {chunks: 2}}"], 2, "no recurrent layer"),
    ],
)
def test_errors(config: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], code: int, words: str) -> None:
    found, out, err = planned(capfd, str(config), *arguments)
    assert (found, out) == (code, "")
    assert words in err


def test_a_missing_file(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out, err = planned(capfd, str(tmp_path / "none.yaml"))
    assert (code, out) == (2, "")
    assert "error[GC001]" in err


def test_a_model_that_cannot_be_built(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Path("user.py").write_text("def build():\n    raise ValueError('mine')\n", encoding="utf-8")
    code, out, err = planned(capfd, str(config), "--set", "model={factory: './user.py:build'}")
    assert (code, out) == (3, "")
    assert "error[GC051]: factory ./user.py:build raised ValueError: mine" in err
    assert "user.py:2" in err


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_configs(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plan = plan_of(capfd, str(path))
    text = path.read_text(encoding="utf-8")
    is_cut = "split:" in text or "segments:" in text
    assert (len(plan["segments"]) > 1, bool(plan["names"])) == (is_cut, not is_cut)
    assert [segment["index"] for segment in plan["segments"]] == list(range(len(plan["segments"])))


SUBCLASSED = """
    import keras

    class Part(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.dense = keras.layers.Dense(3)

        def call(self, x):
            return self.dense(x) if keras.ops.max(x) > 0 else x

    class Net(keras.Model):
        def __init__(self):
            super().__init__(name="net")
            self.first, self.part = keras.layers.Dense(3), Part()

        def call(self, x):
            return keras.ops.tanh(self.part(self.first(x)))
"""


@pytest.mark.parametrize("split", [[], ["--set", "split={every: layer}"]])
def test_layers_of_a_subclassed_model_and_those_that_stay_one_call(
    config: Path, capfd: pytest.CaptureFixture[str], split: list[str]
) -> None:
    Path("user.py").write_text(dedent(SUBCLASSED), encoding="utf-8")
    config.write_text("model: {factory: './user.py:Net', input: {shape: [3]}}\n", encoding="utf-8")
    plan = plan_of(capfd, str(config), *split)
    note = (
        "part (Part) stays one call and is not cut inside: it branches on a value "
        "(user.py:10: `return self.dense(x) if keras.ops.max(x) > 0 else x`)"
    )
    found = [layer for segment in plan["segments"] for layer in segment["layers"]] if split else plan["names"]
    assert (found, plan["notes"]) == (["first", "part", "tanh"], [note])
    code, out, _ = planned(capfd, str(config), *split)
    assert code == 0
    assert " ".join(out.split()).count(f"note: {note}") == 1, out


def test_a_plan_without_notes_says_none(config: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert plan_of(capfd, str(config))["notes"] == []
