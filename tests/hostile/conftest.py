"""Configs and files of a stranger, and what it takes to see that nothing of theirs has run."""

from __future__ import annotations

import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.cli.main import main
from gradcheck.workers import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

#: Code of a stranger: that it ran shows by the file that it makes.
EVIL = """
from pathlib import Path
Path({marker!r}).touch()

def make(*args, **kwargs):
    raise SystemExit(0)

class Evil:
    def __init__(self, *args, **kwargs):
        raise SystemExit(0)
"""


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `main` runs, it runs in this process: TensorFlow is loaded already."""
    monkeypatch.setenv(VARIABLE, "0")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the config, with code that can be imported by its name; beside it is what is not the config's."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for path in (inside, outside):
        path.mkdir()
        (path / "evil.py").write_text(EVIL.format(marker=str(tmp_path / "marker")), encoding="utf-8")
    (outside / "secret.txt").write_text("the secret", encoding="utf-8")
    monkeypatch.chdir(inside)
    monkeypatch.syspath_prepend(str(outside))
    monkeypatch.delitem(sys.modules, "evil", raising=False)
    return inside


@pytest.fixture
def ran(folder: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs the program on a text as config; returns the exit code, standard output and standard error."""

    def run(text: str, *options: str, command: str = "run") -> tuple[int, str, str]:
        config = folder / "config.yaml"
        config.write_text(text, encoding="utf-8")
        capfd.readouterr()
        code = main([command, str(config), *options])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def nothing_ran(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], bool]:
    """Whether no code of the stranger's has run and nothing was asked of the network."""
    marker, asked = folder.parent / "marker", []

    def connect(_: socket.socket, address: Any) -> None:
        asked.append(address)
        raise OSError("no network here")

    monkeypatch.setattr(socket.socket, "connect", connect)
    return lambda: not marker.exists() and not asked


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a harmless model: `model.keras`, `model.h5`, `model.weights.h5`."""
    import keras

    folder = tmp_path_factory.mktemp("saved")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a"), keras.layers.Dense(1, name="b")])
    for name in ("model.keras", "model.h5"):
        model.save(folder / name)
    model.save_weights(folder / "model.weights.h5")
    return folder
