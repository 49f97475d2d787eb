"""`--safe`: nothing runs, nothing outside of the config's folder is read, nothing but the report is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Ran = Callable[..., tuple[int, str, str]]

MODEL = "model: {input: {shape: [4]}, layers: [{Dense: {units: 3, name: a}}, {Dense: {units: 1, name: b}}]}\n"
SPLIT = "split: {every: layer}\n"


def layers(text: str) -> str:
    return f"model: {{input: {{shape: [4]}}, layers: [{text}]}}\n" + SPLIT


#: Ways for a config to name code, each of which runs without `--safe`.
CODE = {
    "a factory": "model: {factory: './evil.py:make'}\n" + SPLIT,
    "a factory of a module": "model: {factory: 'evil:make'}\n" + SPLIT,
    "a part": "model: {segments: [{factory: './evil.py:make'}, {factory: './evil.py:make'}]}\n",
    "a layer": layers("./evil.py:Evil"),
    "a layer within": layers("TimeDistributed: {layer: './evil.py:Evil'}"),
    "a cell": layers("RNN: {cell: [{'./evil.py:Evil': {}}]}"),
    "an initializer": layers("Dense: {units: 1, kernel_initializer: {'./evil.py:make': {}}}"),
    "a regularizer": layers("Dense: {units: 1, kernel_regularizer: {'evil:make': {}}}"),
    "an argument": layers("Dense: {units: 1, activation: {'evil:Evil': {}}}"),
    "a layer in NumPy": layers("numpy_layer: {class: './evil.py:Evil'}"),
    "a loss": MODEL + SPLIT + "loss: {factory: './evil.py:make'}\n",
    "a loss of an output": MODEL + SPLIT + "loss: {b: {factory: './evil.py:make'}}\n",
    "data": MODEL + SPLIT + "data: {factory: './evil.py:make'}\n",
    "a candidate": MODEL + SPLIT + "methods: [candidate: {factory: './evil.py:make'}]\n",
    "a training step": MODEL + SPLIT + "methods: [candidate: {train_step: './evil.py:make'}]\ntrain: {steps: 1}\n",
    "a surrogate": MODEL + SPLIT + "methods: [numeric: {surrogate: './evil.py:make'}]\n",
}


@pytest.mark.parametrize("text", CODE.values(), ids=CODE)
def test_code(ran: Ran, nothing_ran: Callable[[], bool], text: str) -> None:
    code, _, err = ran(text, "--safe")
    assert code == 2
    assert re.search(
        r"^error\[GC029\]: .* may run code .*, which --safe refuses\n +--> \S+config\.yaml:\d+:\d+$", err, re.MULTILINE
    )
    assert nothing_ran()
    ran(text)
    assert not nothing_ran()


@pytest.mark.parametrize("command", ["run", "mutate", "plan"])
def test_every_command_that_builds_a_config_has_it(ran: Ran, nothing_ran: Callable[[], bool], command: str) -> None:
    code, _, err = ran(CODE["a factory"], "--safe", command=command)
    assert code == 2
    assert "error[GC029]" in err
    assert nothing_ran()


def test_what_the_command_line_adds_is_refused_too(ran: Ran, nothing_ran: Callable[[], bool]) -> None:
    code, _, err = ran(MODEL + SPLIT, "--safe", "--set", "data={factory: 'evil:make'}")
    assert code == 2
    assert "error[GC029]" in err
    assert nothing_ran()


ELSEWHERE = {
    "arrays": MODEL + SPLIT + "data: {npz: PATH}\n",
    "one array": MODEL + SPLIT + "data: {inputs: {npz: {file: PATH, key: x}}}\n",
    "weights": MODEL.replace("model: {", "model: {weights: PATH, ") + SPLIT,
    "weights of a part": "model: {segments: [{file: m.keras, weights: PATH}, {file: m.keras}]}\n",
    "a model": "model: {file: PATH}\n" + SPLIT,
    "a reference": "model: {segments: [{file: m.keras}, {file: m.keras}], reference: {file: PATH}}\n",
    "images": MODEL + SPLIT + "data: {images: {directory: PATH, image_size: [8, 8]}}\n",
}


@pytest.mark.parametrize("text", ELSEWHERE.values(), ids=ELSEWHERE)
@pytest.mark.parametrize(
    "path", ["../outside/secret.txt", "/etc/passwd", "link", "within/secret.txt", "/dev/zero", "loop"]
)
def test_files_elsewhere(ran: Ran, text: str, path: str) -> None:
    Path("link").symlink_to("../outside/secret.txt")
    Path("within").symlink_to("../outside")
    Path("loop").symlink_to("loop")
    code, out, err = ran(text.replace("PATH", path), "--safe")
    assert code == 2
    assert f"`{path}` leads outside of the config's folder, where --safe reads nothing" in err
    assert "the secret" not in out + err


def test_images_that_are_links_elsewhere(ran: Ran) -> None:
    Path("photos/a").mkdir(parents=True)
    Path("photos/a/1.png").symlink_to("/etc/passwd")
    Path("photos/b").symlink_to("../../outside")
    code, _, err = ran(ELSEWHERE["images"].replace("PATH", "photos"), "--safe")
    assert code == 2
    assert "`photos/a/1.png` leads outside" in err
    assert "`photos/b` leads outside" in err


def test_a_config_that_is_a_link_elsewhere(ran: Ran, folder: Path) -> None:
    Path("../outside/other.yaml").write_text(MODEL + "the secret: 1\n", encoding="utf-8")
    Path("other.yaml").symlink_to("../outside/other.yaml")
    code, out, err = ran(MODEL + SPLIT, str(folder / "other.yaml"), "--safe")
    assert code == 2
    assert "other.yaml is a link that leads outside of its folder" in err
    assert "the secret" not in out + err


def test_names_in_code_elsewhere_are_not_told(ran: Ran) -> None:
    _, _, err = ran("model: {factory: '../outside/evil.py:none'}\n" + SPLIT, "--safe")
    assert "Evil" not in err
    _, _, err = ran("model: {factory: '../outside/evil.py:none'}\nsplit: {evry: layer}\n", "--safe")
    assert "Evil" not in err


@pytest.mark.parametrize("weights", ["imagenet", "none", "x.weights.h5", "https://example.org/w.h5"])
def test_weights_of_an_application(ran: Ran, nothing_ran: Callable[[], bool], weights: str) -> None:
    text = f"model: {{application: MobileNet, kwargs: {{weights: '{weights}'}}}}\n{SPLIT}"
    code, _, err = ran(text, "--safe")
    assert code == 2
    assert "error[GC029]: `weights`" in err
    assert nothing_ran()


def test_large_files(ran: Ran) -> None:
    with Path("x.npz").open("wb") as file:
        file.truncate(2**30 + 1)  # takes no space
    code, _, err = ran(ELSEWHERE["arrays"].replace("PATH", "x.npz"), "--safe")
    assert code == 2
    assert "error[GC009]: `x.npz` is larger than 1 GiB, packed or unpacked, which --safe refuses" in err


def test_what_is_harmless_passes_and_writes_nothing_but_the_report(
    ran: Ran, nothing_ran: Callable[[], bool], saved: Path, folder: Path
) -> None:
    for name in ("model.keras", "model.weights.h5"):
        Path(name).write_bytes((saved / name).read_bytes())
    np.savez("x.npz", x=np.ones((2, 4)), y=np.ones((2, 1)))
    text = "model: {file: model.keras, weights: model.weights.h5}\ndata: {npz: x.npz}\nloss: MSE\n" + SPLIT
    Path("config.yaml").touch()
    before = {path.name for path in folder.rglob("*")}
    code, _, err = ran(text, "--safe", "--output", "report.txt")
    assert code == 0, err
    assert {path.name for path in folder.rglob("*")} - before == {"report.txt"}
    assert nothing_ran()
