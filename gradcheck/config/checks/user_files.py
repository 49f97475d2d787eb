"""Missing files that a config names, and user code whose file does not define the name."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from gradcheck.config.findings import Finding, KeyPath
from gradcheck.errors import Location
from gradcheck.phrases import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CODE = re.compile(r"^(?P<file>[^:]+\.py):(?P<name>[A-Za-z_]\w*)")
#: Values below these keys are free text or the user's arguments: they are not read as paths.
_FREE = frozenset({"kwargs", "description", "name"})


def missing_files(data: dict[Any, Any], base: Path) -> Iterator[Finding]:
    """Yield a finding for each file, folder or user object that the config names and that does not exist.

    Args:
        data: the config as plain types.
        base: the folder of the config, to which its paths are relative.
    """
    for path, text, at in _texts(data, ()):
        code = _CODE.match(text)
        if code is not None:
            wrong = _wrong_code(base / code["file"], code["name"])
        elif at == "key" or "://" in text:  # a URL: Keras downloads the file itself
            wrong = None
        elif path == ("data", "images", "directory"):
            wrong = None if _exists(base / text, folder=True) else (f"there is no folder {text}", _FROM_HERE)
        elif _names_a_file(path):
            wrong = None if _exists(base / text) else (f"there is no file {text}", _FROM_HERE)
        else:
            wrong = None
        if wrong is not None:
            message, advice = wrong
            yield Finding(message=message, path=path, at=at, code="GC028" if code else "GC001", help=advice)


_FROM_HERE = "paths are relative to the config's folder"


def defined_at(target: str, base: Path) -> Location | None:
    """Return where `./file.py:name` is defined as a function or class; None for any other target.

    The file is parsed, not imported.
    """
    code = _CODE.match(target)
    try:
        body = ast.parse((base / code["file"]).read_bytes()).body if code else []
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    for node in body:
        if code and isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == code["name"]:
            return Location(path=base / code["file"], line=node.lineno)
    return None


def _texts(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str, Any]]:
    """Yield every string with its path, and whether it is a key or a value."""
    if isinstance(value, str):
        yield path, value, "value"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            if isinstance(key, str) and key not in _FREE:
                yield (*path, key), key, "key"
                yield from _texts(item, (*path, key))


def _names_a_file(path: KeyPath) -> bool:
    """Whether the value at `path` names a file: of the model (not of one layer), or of arrays."""
    if path[0] == "model":
        return path[-1] in {"weights", "file"} and "layers" not in path
    return path[0] == "data" and (path[-1] == "npz" or path[-2:] == ("npz", "file"))


def _exists(path: Path, *, folder: bool = False) -> bool:
    """Whether the file or folder exists; False if the system refuses to look."""
    try:
        return path.is_dir() if folder else path.is_file()
    except (OSError, ValueError):
        return False


def _wrong_code(file: Path, name: str) -> tuple[str, str | None] | None:
    """Return why `name` cannot be loaded from `file`, and what to do; None if its source text shows no reason.

    The file is parsed, not imported: importing it would run it.
    """
    if not _exists(file):
        return f"there is no file {file.name} in {file.parent}", _FROM_HERE
    try:
        names = _top_level_names(ast.parse(file.read_bytes()))
    except SyntaxError as error:
        return f"{file.name} is not valid Python: {error.msg} (line {error.lineno})", None
    except (OSError, ValueError, RecursionError, MemoryError) as error:  # the last two: nested too deep
        return f"{file.name} cannot be read: {error or type(error).__name__}", None
    if names is None or name in names.own | names.imported:
        return None
    return f"{file.name} defines no `{name}`", suggestion(name, sorted(names.own), "It defines")


class _Names(NamedTuple):
    """The names at the top of a module: those that it defines, and those that it imports, modules among them."""

    own: set[str]
    imported: set[str]


def _top_level_names(module: ast.Module) -> _Names | None:
    """Return the names of a module; None if they are open (a star import, a module-level `__getattr__`)."""
    names = _Names(set(), set())
    pending: list[ast.AST] = list(module.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.own.add(node.name)  # names inside its body are not the module's
            continue
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names.imported.update((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.own.add(node.id)
        pending.extend(ast.iter_child_nodes(node))
    return None if (names.own | names.imported) & {"*", "__getattr__"} else names
