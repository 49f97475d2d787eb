"""Writing files completely or not at all."""

from __future__ import annotations

import os
import secrets
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from gradcheck.errors import UsageError
from gradcheck.phrases import os_reason

if TYPE_CHECKING:
    from collections.abc import Iterator


def require_writable(path: Path | None) -> None:
    """Refuse a path that cannot be written, before any work; None stands for standard output.

    Raises:
        UsageError: as `write_file` does.
    """
    if path is None or (path.exists() and not path.is_file()):
        return
    try:
        tempfile.TemporaryFile(dir=path.resolve().parent).close()
    except OSError as error:
        raise _unwritable(path, error) from None


def write_file(path: Path, text: str, *, replace: bool = True) -> None:
    """Write `text` to `path`, so that no reader sees half of it.

    Raises:
        UsageError: if `path` cannot be written, or exists and `replace` is false.
    """
    with writing(path, replace=replace) as file:
        file.write(text.encode())


@contextmanager
def writing(path: Path, *, replace: bool = True) -> Iterator[IO[bytes]]:
    """Yield a temporary file beside `path`, which is renamed to `path` after the block; if that raises, it is removed.

    Raises:
        UsageError: as `write_file` does.
    """
    try:
        with _temporary(path, replace=replace) as file:
            yield file
    except FileExistsError:
        raise UsageError(f"{path} exists already", code="GC010", help="--force overwrites it") from None
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path} cannot be written: {os_reason(error)}", code="GC010", help="choose another file")


@contextmanager
def _temporary(path: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    if not replace and path.exists():
        raise FileExistsError(path)
    if path.exists() and not path.is_file():  # such as /dev/stdout: a rename would replace the device
        with path.open("wb") as device:
            yield device
        return
    path = path.resolve()  # replace the target of a link, not the link
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor, named = _opened(temporary)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            if not named:
                _name(descriptor, temporary)
        temporary.chmod(_permissions(path))
        temporary.replace(path) if replace else os.link(temporary, path)  # fails if another process was first
    finally:
        temporary.unlink(missing_ok=True)


def _opened(path: Path) -> tuple[int, bool]:
    """Open a new file for `path`, and return its descriptor and whether it has that name already.

    Linux can name it later (O_TMPFILE), so that a process killed meanwhile leaves no file.
    """
    if hasattr(os, "O_TMPFILE") and Path("/proc/self/fd").exists():
        with suppress(OSError):  # not every file system supports it
            return os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o600), False
    return os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), True


def _name(descriptor: int, path: Path) -> None:
    """Give the name `path` to an open file without a name."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:  # with dir_fd Python calls linkat, which follows the link in /proc to the open file
        os.link(f"/proc/self/fd/{descriptor}", path.name, dst_dir_fd=folder)
    finally:
        os.close(folder)


def _permissions(path: Path) -> int:
    """Return the permissions of the file to replace, or the defaults of a new file.

    Set explicitly, because only the owner may read the temporary file.
    """
    if path.exists():
        return path.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
