"""Nothing that a config names runs code or makes the process fall over, unless the config says that it is code."""

from __future__ import annotations

import base64
import json
import marshal
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Ran = Callable[..., tuple[int, str, str]]

MODEL = "model: {input: {shape: [4]}, layers: [{Dense: {units: 3, name: a}}, {Dense: {units: 1, name: b}}]}\n"
SPLIT = "split: {every: layer}\n"
OF_FILE = "model: {file: model.keras}\n" + SPLIT
OF_WEIGHTS = MODEL.replace("model: {", "model: {weights: model.weights.h5, ") + SPLIT
OF_NPZ = MODEL + SPLIT + "data: {npz: x.npz}\n"
OF_IMAGES = (
    "model: {input: {shape: [8, 8, 3]}, layers: [Flatten, Dense: 2]}\n"
    "split: {every: layer}\n"
    "data: {images: {directory: photos, image_size: [8, 8]}}\n"
)


def refused(code: int, err: str, *, codes: str) -> None:
    """One error, at a place in a file, and no traceback."""
    found = re.findall(r"^error\[(GC\d+)\]: .*\n +--> \S+:\d+:\d+$", err, re.MULTILINE)
    assert code in (2, 3), err
    assert found, err
    assert set(found) <= set(codes.split()), err
    assert "Traceback" not in err


class _Payload:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("../marker"),)


def code_of(statement: str) -> dict[str, Any]:
    """A lambda as Keras saves it."""
    source = compile(f"lambda x: [{statement}, x][1]", "evil", "eval")
    inner = next(item for item in source.co_consts if hasattr(item, "co_code"))
    code = base64.b64encode(marshal.dumps(inner)).decode()
    value = {"code": code, "defaults": None, "closure": None}
    return {"class_name": "__lambda__", "config": {**value, "value": [code, None, None]}}


TOUCH = "__import__('pathlib').Path('../marker').touch()"
LAMBDA = {
    "class_name": "Lambda",
    "module": "keras.layers",
    "registered_name": None,
    "config": {"name": "b", "function": code_of(TOUCH), "arguments": {}, "output_shape": [3]},
}


def of(kind: str, module: str | None, config: Any = None, **others: Any) -> dict[str, Any]:
    """A serialised object of Keras."""
    config = {"name": "b"} if config is None else config
    return {"class_name": kind, "module": module, "registered_name": None, "config": config, **others}


def function(name: str, module: str) -> dict[str, Any]:
    """A Dense layer whose activation is a function by its name."""
    activation = of("function", module, name, registered_name=name)
    return of("Dense", "keras.layers", {"name": "b", "units": 1, "activation": activation})


#: Layers in place of the last one of a saved model.
LAYERS = {
    "a lambda": LAMBDA,
    "a lambda within": of("TimeDistributed", "keras.layers", {"name": "b", "layer": LAMBDA}),
    "a lambda as a value": of("Dense", "keras.layers", {"name": "b", "units": 1, "activation": code_of(TOUCH)}),
    "a lambda without a module": {**LAMBDA, "module": None},
    "a lambda of keras.src": {**LAMBDA, "module": "keras.src.layers.core.lambda_layer"},
    "a class of a module": of("Evil", "evil"),
    "a class by its registered name": of("Evil", "evil", registered_name="evil>Evil"),
    "a class of the standard library": of("Popen", "subprocess", {"args": ["touch", "../marker"]}),
    "a class with an odd module": of("Dense", ["keras.layers"]),
    "a function of a module": function("make", "evil"),
    "a function of the standard library": function("system", "os"),
    "exec": function("exec", "builtins"),
    "a download": function("get_file", "keras.utils"),
    "a setting": function("enable_unsafe_deserialization", "keras.config"),
    "a loader": of("load_model", "keras.models", {"filepath": "model.h5"}),
    "a type": of("__typespec__", "evil", [], spec_name="Evil"),
    "a model of TensorFlow": of("TFSMLayer", "keras.layers", {"name": "b", "filepath": "../outside"}),
    "a model of PyTorch": of("TorchModuleWrapper", "keras.layers", {"name": "b", "module": "AAAA"}),
    "a file of words": of("StringLookup", "keras.layers", {"name": "b", "vocabulary": "../outside/secret.txt"}),
    "a layer of later": of("Laterlayer", "keras.layers"),
}


def repacked(source: Path, target: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Copies a `.keras` file with another description of its model."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            new.writestr(name, json.dumps(change(json.loads(content))) if name == "config.json" else content)


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("options", [(), ("--safe",), ("--precision", "float64")], ids=" ".join)
def test_saved_models(
    ran: Ran, nothing_ran: Callable[[], bool], saved: Path, layer: dict[str, Any], options: tuple[str, ...]
) -> None:
    def with_layer(config: dict[str, Any]) -> dict[str, Any]:
        config["config"]["layers"][-1] = layer
        return config

    repacked(saved / "model.keras", Path("model.keras"), with_layer)
    code, _, err = ran(OF_FILE, *options)
    refused(code, err, codes="GC051")
    assert "model.keras cannot be loaded: it contains" in err
    assert "trust: true" in err
    assert nothing_ran()


def test_the_payload_would_run(ran: Ran, nothing_ran: Callable[[], bool], saved: Path) -> None:
    def with_layer(config: dict[str, Any]) -> dict[str, Any]:
        config["config"]["layers"][-1] = LAMBDA
        return config

    repacked(saved / "model.keras", Path("model.keras"), with_layer)
    ran("model: {file: model.keras, trust: true}\n" + SPLIT)
    assert not nothing_ran()


def test_a_legacy_file(ran: Ran, nothing_ran: Callable[[], bool], saved: Path) -> None:
    text = OF_FILE.replace("model.keras", "model.h5")
    Path("model.h5").write_bytes((saved / "model.h5").read_bytes())
    assert ran(text, "--method", "vjp")[0] == 0
    with h5py.File("model.h5", "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][-1] = {**LAMBDA, "module": None}
        file.attrs["model_config"] = json.dumps(config)
    code, _, err = ran(text)
    refused(code, err, codes="GC051")
    assert "Lambda" in err
    assert nothing_ran()


def declared(archive: zipfile.ZipFile, name: str, content: bytes, size: int) -> None:
    """Adds a member that says it is larger than it is."""
    archive.writestr(name, content, zipfile.ZIP_DEFLATED)
    archive.getinfo(name).file_size = size


def bomb(path: str, name: str, size: int = 2**32 - 2) -> None:
    """An archive whose member expands to `size`, as far as its directory says."""
    with zipfile.ZipFile(path, "w") as archive:
        declared(archive, name, b"{}", size)


def keras_with(name: str, content: bytes) -> None:
    with zipfile.ZipFile("model.keras", "w") as archive:
        archive.writestr(name, content)


def h5_link(link: Any) -> None:
    with h5py.File("model.weights.h5", "w") as file:
        file["layers"] = link


def h5_external() -> None:
    with h5py.File("model.weights.h5", "w") as file:
        file.create_dataset("x", (10,), "u1", external=[("../outside/secret.txt", 0, 10)])


def h5_virtual() -> None:
    layout = h5py.VirtualLayout((10,), "f4")
    layout[:] = h5py.VirtualSource("../outside/other.h5", "x", (10,))
    with h5py.File("model.weights.h5", "w") as file:
        file.create_virtual_dataset("x", layout)


def h5_huge() -> None:
    with h5py.File("model.weights.h5", "w") as file:
        file.create_dataset("x", (2**40,), "f4", chunks=(2**20,))


def h5_cycle() -> None:
    with h5py.File("model.weights.h5", "w") as file:
        file["layers"] = file.create_group("a")
        file["a/again"] = file["a"]


def npy() -> None:
    np.save("x.npy", np.ones(3))
    Path("x.npy").rename("x.npz")


def npz_header(shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    with zipfile.ZipFile("x.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little") + header.encode())


def picture(content: bytes) -> None:
    for name in "ab":
        Path("photos", name).mkdir(parents=True)
        Path("photos", name, "1.png").write_bytes(content)


def pipe_of_pictures() -> None:
    picture(b"")
    for name in "ab":
        Path("photos", name, "1.png").unlink()
        os.mkfifo(f"photos/{name}/1.png")


def png(width: int, height: int) -> bytes:
    """The beginning of an image of this size."""
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", b"")
    )


def deep() -> None:
    keras_with("config.json", b'{"config": ' * 100_000 + b"1" + b"}" * 100_000)


def at(path: str, make: Callable[[str], Any]) -> Callable[[], Any]:
    return lambda: make(path)


#: What makes the files, the config that names them, and the codes that it may be refused with, with --safe or without.
FILES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "a pickle in an array": (lambda: np.savez("x.npz", x=np.array([_Payload()])), OF_NPZ, "GC030"),
    "a pickle for an archive": (lambda: Path("x.npz").write_bytes(pickle.dumps(_Payload())), OF_NPZ, "GC030"),
    "an array that is no archive": (npy, OF_NPZ, "GC030"),
    "a huge array": (lambda: npz_header("(1099511627776,)"), OF_NPZ, "GC030"),
    "an array of many axes": (lambda: npz_header("(" + "2," * 5000 + ")"), OF_NPZ, "GC030"),
    "an archive of arrays that expands": (lambda: bomb("x.npz", "x.npy"), OF_NPZ, "GC009"),
    "a folder of arrays": (at("x.npz", os.mkdir), OF_NPZ, "GC001"),
    "a pipe of arrays": (at("x.npz", os.mkfifo), OF_NPZ, "GC001"),
    "a model that expands": (lambda: bomb("model.keras", "model.weights.h5"), OF_FILE, "GC009"),
    "a description that expands": (lambda: bomb("model.keras", "config.json", 2**27), OF_FILE, "GC009"),
    "a deep description": (deep, OF_FILE, "GC051"),
    "a description that is none": (lambda: keras_with("config.json", b"\xff"), OF_FILE, "GC051"),
    "a model without one": (lambda: keras_with("other", b""), OF_FILE, "GC051"),
    "a model that is no archive": (lambda: Path("model.keras").write_bytes(b"PK\3\4"), OF_FILE, "GC051"),
    "a pickle for a model": (lambda: Path("model.keras").write_bytes(pickle.dumps(_Payload())), OF_FILE, "GC051"),
    "a folder for a model": (at("model.keras", os.mkdir), OF_FILE, "GC001"),
    "a pipe for a model": (at("model.keras", os.mkfifo), OF_FILE, "GC001"),
    "a link to other weights": (
        lambda: h5_link(h5py.ExternalLink("../outside/other.h5", "/layers")),
        OF_WEIGHTS,
        "GC051",
    ),
    "a link within weights": (lambda: h5_link(h5py.SoftLink("/layers")), OF_WEIGHTS, "GC051"),
    "weights that are in another file": (h5_external, OF_WEIGHTS, "GC051"),
    "weights that are parts of others": (h5_virtual, OF_WEIGHTS, "GC051"),
    "weights that are huge": (h5_huge, OF_WEIGHTS, "GC009"),
    "weights in a circle": (h5_cycle, OF_WEIGHTS, "GC051"),
    "a pickle for weights": (
        lambda: Path("model.weights.h5").write_bytes(pickle.dumps(_Payload())),
        OF_WEIGHTS,
        "GC051",
    ),
    "a folder for weights": (at("model.weights.h5", os.mkdir), OF_WEIGHTS, "GC001"),
    "a program for a printer": (
        lambda: picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"),
        OF_IMAGES,
        "GC052",
    ),
    "a picture that expands": (lambda: picture(png(100_000, 100_000)), OF_IMAGES, "GC052"),
    "a pipe for a picture": (pipe_of_pictures, OF_IMAGES, "GC030"),
    "a huge picture": (
        lambda: picture(png(8, 8)),
        OF_IMAGES.replace("[8, 8]}", "[100000, 1000000]}"),
        "GC056",
    ),
}


@pytest.mark.parametrize("case", FILES.values(), ids=FILES)
@pytest.mark.parametrize("options", [(), ("--safe",)], ids=["", "safe"])
def test_files(
    ran: Ran, nothing_ran: Callable[[], bool], case: tuple[Callable[[], Any], str, str], options: tuple[str, ...]
) -> None:
    make, text, codes = case
    make()
    code, _, err = ran(text, *options)
    refused(code, err, codes=codes)
    assert nothing_ran()


TEXTS = {
    "a tag of Python": ("model: !!python/object/apply:os.system ['touch ../marker']\n", "GC002"),
    "a tag of Python on a key": ("? !!python/name:os.system\n: x\n", "GC002"),
    "aliases": (
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
        "GC009",
    ),
    "an alias of itself": ("model: &a [*a]\n", "GC002"),
    "a deep text": ("model: " + "[" * 10_000 + "\n", "GC009"),
    "a large text": ("# " + "x" * 2**20 + "\n" + MODEL, "GC009"),
    "a huge layer": (MODEL.replace("units: 3", "units: 1000000000000") + SPLIT, "GC021 GC056"),
    "a huge input": (MODEL.replace("[4]", "[1000000000, 1000000000]") + SPLIT, "GC021 GC056"),
    "a huge batch": (MODEL + SPLIT + "data: {batch_size: 1000000000000}", "GC056"),
    "a config of an object": (
        MODEL.replace("units: 3,", "units: 3, activation: {class_name: function, config: make, module: evil},") + SPLIT,
        "GC021 GC029",
    ),
    "a lambda": (MODEL.replace("{Dense: {units: 3, name: a}}", "{Lambda: {function: evil}}") + SPLIT, "GC021 GC029"),
    "an address": ("model: {file: 'https://example.org/model.keras'}\n" + SPLIT, "GC001 GC029"),
    "the address of an image": (MODEL + SPLIT + "data: {npz: 'gs://bucket/x.npz'}\n", "GC001 GC029"),
    "no file at all": (MODEL + SPLIT + "data: {npz: /dev/zero}\n", "GC001 GC029"),
    "a name of nothing": (MODEL + SPLIT + 'data: {npz: "a\\0b"}\n', "GC001 GC029"),
    "weights without an end": (OF_WEIGHTS.replace("model.weights.h5", "/dev/zero"), "GC001 GC029"),
}


@pytest.mark.parametrize(("text", "codes"), TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("options", [(), ("--safe",)], ids=["", "safe"])
def test_texts(ran: Ran, nothing_ran: Callable[[], bool], text: str, codes: str, options: tuple[str, ...]) -> None:
    code, _, err = ran(text, *options)
    refused(code, err, codes=codes)
    assert nothing_ran()


def test_user_code_that_no_parser_can_hold(ran: Ran) -> None:
    Path("deep.py").write_text("x = " + "-" * 100_000 + "1\n", encoding="utf-8")
    code, _, err = ran("model: {factory: './deep.py:x'}\n" + SPLIT)
    refused(code, err, codes="GC028")


def test_a_folder_with_pipes_and_configs_that_cannot_be_read(ran: Ran, folder: Path) -> None:
    os.mkfifo("pipe.yaml")
    Path("loop.yaml").symlink_to("loop.yaml")
    Path("zero.yaml").symlink_to("/dev/zero")
    Path("large.yml").write_bytes(b"\0" * 2**21)
    code, _, err = ran("model: 3\n", command="validate")
    assert code == 2
    from gradcheck.config import discover

    assert discover([folder]) == [folder / "config.yaml"]
    assert "Traceback" not in err
