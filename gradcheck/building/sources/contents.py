"""What a saved model or weights hold, looked at before Keras opens them: no file runs code unless it is trusted.

Keras refuses most of this by itself, later versions more than earlier ones. What is promised here holds for them all.
"""

from __future__ import annotations

import builtins
import json
import zipfile
from typing import TYPE_CHECKING, Any

import h5py

from gradcheck.config.checks.files import LARGEST, expands_too_far, is_bomb
from gradcheck.config.checks.keras_layers import KERAS_LAYERS
from gradcheck.config.keyed import KeyedRunError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Bytes of the description of a model's layers.
_LARGEST_CONFIG = 2**26
_WEIGHTS = "model.weights.h5"
#: Values that Keras serialises beside its objects.
_VALUES = frozenset(
    f"__{kind}__" for kind in ("keras_tensor", "tensor", "numpy", "bytes", "ellipsis", "slice")
)  # not "lambda", which is code, nor "typespec", which names any module
_OF_CLASSES = (
    *("keras.models", "keras.initializers", "keras.regularizers", "keras.constraints", "keras.random"),
    *("keras.activations", "keras.dtype_policies", "keras.quantizers", "keras.optimizers", "keras.losses"),
    *("keras.metrics", "keras.ops", "keras.src.models", "keras.src.engine", "keras.src.ops"),
)
_OF_FUNCTIONS = ("builtins", "keras.activations", "keras.ops", "keras.losses", "keras.metrics")


def check_model(path: Path) -> None:
    """Look at the saved model at `path`.

    Raises:
        KeyedRunError: GC051 if it holds anything but Keras's own layers and arrays, GC009 if it expands to more than
            the file can hold.
    """
    if zipfile.is_zipfile(path):
        _check_size(path)
        with zipfile.ZipFile(path) as archive:
            _check_archive(archive, path.name)
    elif h5py.is_hdf5(path):
        check_weights(path)
        with h5py.File(path) as file:
            _check_config(file.attrs.get("model_config", "{}"), path.name)


def check_weights(path: Path) -> None:
    """Look at the weights at `path`, which run no code but could be read from other files. Raises as `check_model`."""
    if zipfile.is_zipfile(path):
        check_model(path)
    elif h5py.is_hdf5(path):
        with h5py.File(path) as file:
            _check_arrays(file, path.name, path.stat().st_size)


def _check_size(path: Path) -> None:
    if is_bomb(path):
        message = f"{path.name} is {path.stat().st_size:,} bytes and expands to more than {LARGEST >> 30} GiB"
        raise KeyedRunError(message, code="GC009", help="save the model again: Keras compresses nothing")


def _check_archive(archive: zipfile.ZipFile, name: str) -> None:
    sizes = {member.filename: member.file_size for member in archive.infolist()}
    if "config.json" in sizes:
        if sizes["config.json"] > _LARGEST_CONFIG:
            message = f"the config.json in {name} is larger than {_LARGEST_CONFIG >> 20} MiB"
            raise KeyedRunError(message, code="GC009", help="save a smaller model")
        _check_config(archive.read("config.json"), name)
    if _WEIGHTS in sizes:
        with archive.open(_WEIGHTS) as opened, h5py.File(opened) as file:
            _check_arrays(file, name, sizes[_WEIGHTS])


def _check_config(text: str | bytes, name: str) -> None:
    """Refuse a description of a model with objects that are not known to run no code."""
    for entry in _entries(json.loads(text)):
        if not _is_known(entry):
            where = f" from {entry['module']}" if entry.get("module") else ""
            message = (
                f"{name} cannot be loaded: it contains {_named(entry)}{where}, which may run code or read other files"
            )
            raise KeyedRunError(message, code="GC051", help="with `trust: true` it is run as yours")


def _named(entry: dict[str, Any]) -> str:
    kind = entry.get("class_name", "a vocabulary in another file")
    return str(entry.get("config")) if kind == "function" else str(kind)


def _entries(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping in `value` that stands for an object, or has a file in place of a vocabulary."""
    pending = [value]
    while pending:
        inner = pending.pop()
        if isinstance(inner, dict):
            if "class_name" in inner or isinstance(inner.get("vocabulary"), str):
                yield inner
            pending.extend(inner.values())
        elif isinstance(inner, list):
            pending.extend(inner)


def _is_known(entry: dict[str, Any]) -> bool:
    kind, module = entry.get("class_name"), entry.get("module")
    if not isinstance(kind, str) or not isinstance(module, (str, type(None))):
        return False
    if kind == "function":
        name = str(entry.get("config"))
        return _lies_in(module, _OF_FUNCTIONS) and not (module == "builtins" and hasattr(builtins, name))
    if module is None:  # a value, or a class of Keras in a legacy file
        return kind in _VALUES or (kind[:1].isupper() and kind not in _OF_OTHERS)
    if _lies_in(module, ("keras.layers", "keras.src.layers")):
        return kind in KERAS_LAYERS
    if module == "keras":
        return kind in _AT_THE_TOP
    return _lies_in(module, _OF_CLASSES) and kind[:1].isupper()


_AT_THE_TOP = frozenset(
    {"DTypePolicy", "DTypePolicyMap", "FloatDTypePolicy", "QuantizedDTypePolicy", "Functional", "Model", "Sequential"}
)
#: Layers that run the code or the models of others.
_OF_OTHERS = frozenset({"FlaxLayer", "JaxLayer", "Lambda", "TFSMLayer", "TorchModuleWrapper"})


def _lies_in(module: str | None, packages: tuple[str, ...]) -> bool:
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def _check_arrays(file: h5py.File, name: str, size: int) -> None:
    """Refuse arrays whose numbers lie in another file, and those that are far larger than theirs."""
    pending, seen, declared = [file], set(), 0
    while pending:
        group = pending.pop()
        for key in group:
            link = group.get(key, getlink=True)
            if not isinstance(link, h5py.HardLink):
                raise _refused(name, f"{key} is a link")
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if isinstance(item, h5py.Group) and address not in seen:
                pending.append(item)
            elif isinstance(item, h5py.Dataset):
                if item.external or item.is_virtual:
                    raise _refused(name, f"the numbers of {key} are in another file")
                declared += (item.size or 0) * item.dtype.itemsize
            seen.add(address)
    if expands_too_far(declared, size):
        message = f"{name} declares arrays of {declared:,} bytes in a file of {size:,}"
        raise KeyedRunError(message, code="GC009", help="save the weights again: Keras compresses nothing")


def _refused(name: str, what: str) -> KeyedRunError:
    message = f"{name} cannot be loaded: {what}, which no model of Keras saves"
    return KeyedRunError(message, code="GC051", help="save the weights again: model.save_weights('name.weights.h5')")
