"""Files that a config names and that are not there, and user code whose file does not define the name."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any

from gradcheck.config.findings import Finding, KeyPath, nearest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Keys whose value is a file, and keys whose value is user code, by the section that they stand in.
_FILES = frozenset({"file", "weights", "npz"})
_CODE = frozenset({"factory", "train_step", "class"})
_IN_A_FILE = re.compile(r"^(?P<file>[^:]+\.py):(?P<name>[A-Za-z_]\w*)")


def missing_files(data: dict[Any, Any], base: Path) -> Iterator[Finding]:
    """Findings for files, folders and user code that the config names and `base`, its folder, does not lead to."""
    for path, value in _strings(data, ()):
        code = _IN_A_FILE.match(value)
        if code is not None:
            yield from _code(path, base / code["file"], code["name"])
        elif "://" not in value:
            yield from _file(path, base / value)
