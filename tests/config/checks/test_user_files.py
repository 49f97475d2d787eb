from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.config.checks.user_files import defined_at, missing_files

if TYPE_CHECKING:
    from pathlib import Path

CODE = """
import os as operating_system
from json import loads, dumps as write
first, (second, *rest) = 1, (2, 3)
typed: int = 3
if first:
    def inside_if(): ...
try:
    class InTry: ...
except ImportError:
    in_handler = 1
async def later():
    hidden = 1
"""


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "star.py").write_text("from os import *")
    (tmp_path / "lazy.py").write_text("def __getattr__(name): ...")
    (tmp_path / "a.npz").write_bytes(b"")
    return tmp_path


def found(base: Path, **data: Any) -> list[tuple[str, str]]:
    """The codes and messages about files."""
    return [(finding.code, finding.message) for finding in missing_files(data, base)]


@pytest.mark.parametrize(
    "name",
    [
        "operating_system",
        "loads",
        "write",
        "first",
        "second",
        "rest",
        "typed",
        "inside_if",
        "InTry",
        "in_handler",
        "later",
    ],
)
def test_names_that_a_file_defines(base: Path, name: str) -> None:
    assert found(base, model={"factory": f"./code.py:{name}"}) == []


@pytest.mark.parametrize("name", ["os", "dumps", "hidden", "loader"])
def test_names_that_it_does_not(base: Path, name: str) -> None:
    assert found(base, model={"factory": f"code.py:{name}"}) == [("GC028", f"code.py defines no `{name}`")]


def test_a_file_that_does_not_tell_is_not_judged(base: Path) -> None:
    assert found(base, model={"factory": "star.py:path"}, loss={"factory": "lazy.py:anything"}) == []
    assert found(base, model={"factory": "package.module:Name"}) == []


def test_layers_of_the_users_own_wherever_they_stand(base: Path) -> None:
    layers = [{"./none.py:Layer": {"units": 3}}, {"Bidirectional": {"layer": {"code.py:Gone": None}}}, "code.py:InTry"]
    findings = list(missing_files({"model": {"layers": layers}}, base))
    assert [(finding.path[-1], finding.at) for finding in findings] == [
        ("./none.py:Layer", "key"),
        ("code.py:Gone", "key"),
    ]


def test_files_and_folders(base: Path) -> None:
    assert found(base, data={"npz": "a.npz", "inputs": {"npz": {"file": "a.npz", "key": "x"}}}) == []
    assert found(base, data={"npz": "b.npz"}) == [("GC001", "there is no file b.npz")]
    assert found(base, data={"images": {"directory": "a.npz"}}) == [("GC001", "there is no folder a.npz")]
    assert found(base, model={"weights": "w.h5", "file": "m.keras"}) == [
        ("GC001", "there is no file w.h5"),
        ("GC001", "there is no file m.keras"),
    ]


def test_what_is_not_a_file_of_the_config(base: Path) -> None:
    assert found(base, model={"application": "ResNet50", "kwargs": {"weights": "imagenet"}}) == []
    assert found(base, model={"file": "hf://keras/model"}) == []
    assert found(base, model={"layers": [{"Custom": {"weights": "none", "file": "none"}}]}) == []


def test_only_what_a_file_defines_is_suggested(base: Path) -> None:
    (finding,) = missing_files({"model": {"factory": "./code.py:load"}}, base)
    assert finding.help == "It defines: InTry, first, in_handler, inside_if, later, rest, second, typed"


def test_names_that_no_file_system_holds(base: Path) -> None:
    assert found(base, model={"file": "a\0b"})[0][0] == "GC001"
    assert found(base, model={"file": "x" * 5000})[0][0] == "GC001"


@pytest.mark.parametrize(
    ("target", "line"),
    [
        ("./user.py:step", 4),
        ("user.py:Layer", 6),
        ("./user.py:nothing", None),
        ("./user.py:imported", None),
        ("./nowhere.py:step", None),
        ("./broken.py:step", None),
        ("package.module:step", None),
        ("Dense", None),
    ],
)
def test_where_a_function_is_defined(base: Path, target: str, line: int | None) -> None:
    (base / "user.py").write_text("from other import imported\n\n@decorated\ndef step(): ...\n\nclass Layer: ...\n")
    (base / "broken.py").write_text("def step(:")
    place = defined_at(target, base)
    assert (place and place.line) == line
    assert place is None or place.path == base / "user.py"
