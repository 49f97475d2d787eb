from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradcheck.config import discover
from gradcheck.errors import ConfigErrors

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "b.yaml": "model: {}",
        "a.yml": "{name: x, 'model': 1}",
        "sub/c.yaml": "name: x\nmodel: [",
        "sub/merged.yaml": "x: &x {model: 1}\n<<: *x\n",
        "nested.yaml": "config:\n  model: {}",
        "broken.yaml": "config: [\n  model: 3",
        "other.yaml": "jobs: {}",
        "model.txt": "model: {}",
        ".hidden/d.yaml": "model: {}",
        "sub/.e.yaml": "model: {}",
        "latin.yaml": b"model: {name: caf\xe9}",
    }
    for name, content in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return tmp_path


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_configs_below_a_folder(folder: Path) -> None:
    found = discover([folder])
    assert names(found, folder) == ["a.yml", "b.yaml", "latin.yaml", "sub/c.yaml", "sub/merged.yaml"]


def test_a_file_is_itself_whatever_it_holds(folder: Path) -> None:
    assert discover([folder / "model.txt"]) == [folder / "model.txt"]


def test_each_file_once_in_the_order_of_the_paths(folder: Path) -> None:
    found = discover([folder / "sub" / "c.yaml", folder, folder / "sub" / ".." / "b.yaml"])
    assert names(found, folder) == ["sub/c.yaml", "a.yml", "b.yaml", "latin.yaml", "sub/merged.yaml"]


def test_a_hidden_folder_that_is_asked_for(folder: Path) -> None:
    assert names(discover([folder / ".hidden"]), folder) == [".hidden/d.yaml"]


def test_a_folder_without_configs_and_a_path_that_is_not_there(folder: Path) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(ConfigErrors) as caught:
        discover([folder / "empty", folder / "b.yml"])
    assert [mistake.code for mistake in caught.value.mistakes] == ["GC008", "GC001"]
    assert "b.yaml" in caught.value.mistakes[1].help
