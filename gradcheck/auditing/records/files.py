"""Records as files: a zip of one JSON index and the arrays that it names, written completely or not at all."""

from __future__ import annotations

import io
import json
import os
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.auditing.records.record import Array, Record
from gradcheck.errors import UsageError
from gradcheck.phrases import os_reason
from gradcheck.results.json_types import json_text, plain_of, record_from

if TYPE_CHECKING:
    from pathlib import Path

VERSION = 1
_INDEX = "index.json"


def write(path: Path, record: Record) -> None:
    """Write a record.

    Raises:
        UsageError: if the file cannot be written.
    """
    arrays: list[Array] = []
    index = json_text({"gradcheck_record": VERSION, "record": _stored(plain_of(record), arrays)})
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr(_INDEX, index)
            for i, array in enumerate(arrays):
                held = io.BytesIO()
                np.save(held, array, allow_pickle=False)
                file.writestr(f"{i}.npy", held.getvalue())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UsageError(f"{path} cannot be written: {os_reason(error)}", code="GC010") from None


def read(path: Path) -> Record:
    """Read a record.

    Raises:
        UsageError: if the file cannot be read, is no record, or one of another version.
    """
    try:
        with zipfile.ZipFile(path) as file:
            index = json.loads(file.read(_INDEX))
            version = index["gradcheck_record"]
            if version == VERSION:
                return record_from(Record, _loaded(index["record"], file))
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {os_reason(error)}", code="GC001") from None
    except (zipfile.BadZipFile, KeyError, TypeError, ValueError, EOFError):
        help_ = "`gradcheck audit --record FILE SCRIPT` writes one"
        raise UsageError(f"{path} is no record of an audit", code="GC010", help=help_) from None
    help_ = f"this version of gradcheck reads version {VERSION}: record again"
    raise UsageError(f"{path} is a record of another version. Received: {version!r}", code="GC010", help=help_)


def read_with_children(path: Path) -> list[Record]:
    """Read a record, and those of the processes that its process started, as far as these have written any."""
    record = read(path)
    below = [path.with_name(name) for name in record.children]
    return [record, *(one for child in below if child.exists() for one in read_with_children(child))]


def _stored(value: Any, arrays: list[Array]) -> Any:
    """Return plain types with the place of each array in `arrays`, which is added there."""
    if isinstance(value, np.ndarray):
        arrays.append(value)
        return {"array": len(arrays) - 1}
    if isinstance(value, dict):
        return {key: _stored(item, arrays) for key, item in value.items()}
    return [_stored(item, arrays) for item in value] if isinstance(value, list) else value


def _loaded(value: Any, file: zipfile.ZipFile) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            return np.load(io.BytesIO(file.read(f"{value['array']}.npy")), allow_pickle=False)
        return {key: _loaded(item, file) for key, item in value.items()}
    return [_loaded(item, file) for item in value] if isinstance(value, list) else value
