"""Whole configs, each with what it must come out as: the folder that it lies in is the parametrisation."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from gradcheck import check

if TYPE_CHECKING:
    from gradcheck.results.report import RunReport

EXAMPLES = Path(__file__).parent / "examples"
PASSING, FAILING = (sorted((EXAMPLES / folder).glob("*.yaml")) for folder in ("passing", "failing"))


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders with the files beside them that are made rather than kept: arrays, images, saved models."""
    copy = tmp_path_factory.mktemp("examples")
    for folder in ("passing", "failing"):
        shutil.copytree(EXAMPLES / folder, copy / folder)
    save_arrays(copy / "passing")
    save_images(copy / "passing" / "photos")
    save_models(copy / "passing")
    return copy


def save_arrays(folder: Path) -> None:
    rng = np.random.default_rng(0)
    weights = rng.uniform(0, 1, 8)
    np.savez(folder / "batch.npz", x=rng.normal(size=(8, 4)), y=rng.normal(size=(8, 2)), sample_weight=weights)


def save_images(folder: Path) -> None:
    import keras

    rng = np.random.default_rng(0)
    for kind in ("cats", "dogs"):
        (folder / kind).mkdir(parents=True)
        for number in range(2):
            keras.utils.save_img(folder / kind / f"{number}.png", rng.integers(0, 256, (8, 8, 3)), scale=False)


def save_models(folder: Path) -> None:
    import keras

    keras.utils.set_random_seed(0)
    x = keras.Input([5], name="x")
    hidden = keras.layers.Dense(6, activation="gelu", name="hidden")(x)
    model = keras.Model(x, keras.layers.Dense(1, activation="sigmoid", name="out")(hidden + x[:, :1]))
    model.save(folder / "model.keras")
    trained = keras.Sequential([keras.Input([4]), keras.layers.Dense(6), keras.layers.Dense(1)])
    trained.save_weights(folder / "trained.weights.h5")


def checked(path: Path) -> RunReport:
    (run,) = check(path).runs
    return run


def promised(path: Path, key: str) -> str:
    """What the comment `# key: ...` in a config says."""
    found = re.search(rf"^# {key}: *(.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None, f"{path.name} has no comment `# {key}: ...`"
    return found[1]


@pytest.mark.third
@pytest.mark.parametrize("path", PASSING, ids=lambda path: path.stem)
def test_a_passing_example(examples: Path, path: Path) -> None:
    run = checked(examples / "passing" / path.name)
    assert (run.verdict, run.exit_code) == ("pass", 0), run.error or [c.failures for c in run.checks]
    assert run.coverage.compared == run.coverage.trainable
    assert run.coverage.dead == 0


@pytest.mark.parametrize("path", FAILING, ids=lambda path: path.stem)
def test_a_failing_example(examples: Path, path: Path) -> None:
    run = checked(examples / "failing" / path.name)
    assert run.exit_code == int(promised(path, "exit")), run.error
    failing = {tensor.path for check in run.checks for tensor in check.failures}
    assert failing == set(filter(None, promised(path, "fails").split(", ")))
