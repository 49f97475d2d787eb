"""What can be said of a file that a config names without opening it as what it claims to be."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: Bytes of a file, or of what an archive expands to.
LARGEST = 2**30
#: How many times its size a larger archive may expand to: weights that were trained compress little.
_MOST_EXPANSION = 100


def leads_outside(path: Path, folder: Path) -> bool:
    """Whether `path`, its links followed, is not below `folder`; so is one that cannot be followed."""
    try:
        return not path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that no file system holds
        return True


def expanded_size(path: Path) -> int:
    """The bytes of a file; of a ZIP archive (`.keras`, `.npz`) those of all its members, if that is more."""
    size = path.stat().st_size
    try:
        with zipfile.ZipFile(path) as archive:
            return max(size, sum(member.file_size for member in archive.infolist()))
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return size


def is_bomb(path: Path) -> bool:
    """Whether an archive expands to far more than its size, and to more than `LARGEST` bytes."""
    return expands_too_far(expanded_size(path), path.stat().st_size)


def expands_too_far(expanded: int, size: int) -> bool:
    """Whether `expanded` bytes are more than `LARGEST`, and far more than the `size` that they are packed in."""
    return expanded > LARGEST and expanded > _MOST_EXPANSION * size
