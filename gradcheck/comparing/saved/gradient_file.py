"""The file of a saved reference: an .npz of one array for each tensor, and of an index, which is JSON.

The arrays are not compressed, and are written and read one at a time: neither side holds more than the largest tensor.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.errors import UsageError
from gradcheck.files import writing
from gradcheck.numerics import SparseRows
from gradcheck.phrases import os_reason
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from typing_extensions import Self

    from gradcheck.numerics import Tensor

VERSION = 1
_INDEX = "gradcheck"
_WRITE_ONE = "`gradcheck run CONFIG --save-gradients FILE.npz` writes one"


def write(path: Path, about: Mapping[str, Any], tensors: Iterable[tuple[TensorKey, Tensor | None]]) -> int:
    """Write the tensors and what is said `about` them, completely or not at all; return the number of bytes.

    Raises:
        UsageError: if the file cannot be written.
    """
    entries = []
    with writing(path) as raw:
        with zipfile.ZipFile(raw, "w") as file:
            for number, (key, tensor) in enumerate(tensors):
                entries.append(_entry(key, tensor))
                for name, array in _arrays(tensor).items():
                    _write(file, f"{number}{name}", _storable(array))
            index = {"gradcheck_reference": VERSION, **about, "tensors": entries}
            _write(file, _INDEX, np.frombuffer(json.dumps(index).encode(), np.uint8))
        return raw.tell()


class GradientFile(Mapping[TensorKey, "Tensor | None"]):
    """A saved reference, whose tensors are read one by one, each time that one is asked for. A context manager.

    Attributes:
        path: the file.
        about: what is said about the tensors.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and read its index.

        Raises:
            UsageError: if it cannot be read, is no saved reference, or one of another version.
        """
        self.path = path
        try:
            self._file = np.load(path, allow_pickle=False)
            index = json.loads(self._file[_INDEX].tobytes())
            version, entries = index["gradcheck_reference"], index["tensors"]
            self._entries = {TensorKey(*entry["key"]): (i, entry) for i, entry in enumerate(entries)}
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {os_reason(error)}", code="GC001", help=_WRITE_ONE) from None
        except (zipfile.BadZipFile, LookupError, TypeError, ValueError, EOFError, AttributeError):
            raise UsageError(f"{path} is no saved reference", code="GC010", help=_WRITE_ONE) from None
        if version != VERSION:
            message = f"{path} is a saved reference of another version. Received: {version!r}"
            raise UsageError(message, code="GC010", help=f"this gradcheck reads version {VERSION}: save it again")
        self.about: Mapping[str, Any] = index

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def __iter__(self) -> Iterator[TensorKey]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: object) -> bool:
        """Whether there is such a tensor, which is not read for it."""
        return key in self._entries

    def __getitem__(self, key: TensorKey) -> Tensor | None:
        """Read a tensor.

        Raises:
            UsageError: if the file is damaged.
        """
        number, entry = self._entries[key]
        if entry["kind"] == "none":
            return None
        dtype = tf.as_dtype(entry["dtype"]).as_numpy_dtype
        try:
            values: np.ndarray[Any, Any] = self._file[f"{number}values"].view(dtype)
            if entry["kind"] == "dense":
                return values
            return SparseRows(self._file[f"{number}indices"], values, tuple(entry["shape"]))
        except (OSError, zipfile.BadZipFile, LookupError, ValueError, EOFError):
            message = f"{self.path} is damaged: {key.kind} {key.path} cannot be read"
            raise UsageError(message, code="GC010", help="save the reference again") from None


def _entry(key: TensorKey, tensor: Tensor | None) -> dict[str, Any]:
    if tensor is None:
        return {"key": key, "kind": "none"}
    kind = "sparse" if isinstance(tensor, SparseRows) else "dense"
    return {"key": key, "kind": kind, "dtype": tensor.dtype.name, "shape": tensor.shape}


def _arrays(tensor: Tensor | None) -> dict[str, np.ndarray[Any, Any]]:
    if isinstance(tensor, SparseRows):
        return {"values": tensor.values, "indices": tensor.indices}
    return {} if tensor is None else {"values": tensor}


def _storable(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return `array` as NumPy can store it: bfloat16 and its like, whose names .npy lacks, as integers of its bits."""
    return array.view(f"u{array.dtype.itemsize}") if array.dtype.kind == "V" else array


def _write(file: zipfile.ZipFile, name: str, array: np.ndarray[Any, Any]) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
