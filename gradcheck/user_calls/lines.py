"""The lines of the user's code that an event belongs to."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import keras
import tensorflow as tf
from tensorflow.python.util import tf_stack  # maps lines that AutoGraph has generated to those of the user

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Code below these folders is not the user's.
_LIBRARIES = tuple(
    {
        str(Path(folder).resolve())
        for folder in (
            *(str(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
            *(str(Path(str(vars(package)["__file__"])).parent) for package in (tf, keras)),
            str(Path(__file__).parents[1]),
        )
    }
)


class ScriptLine(NamedTuple):
    """A line of a file."""

    file: str
    number: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.number}"


def user_line() -> ScriptLine:
    """Return the innermost line of the user's that is being executed, or traced; `?:0` if there is none."""
    return next(_user_lines(), ScriptLine("?", 0))


def _user_lines() -> Iterator[ScriptLine]:
    if not tf.executing_eagerly():
        for frame in reversed(tf_stack.extract_stack()):
            if is_users(frame.filename):
                yield ScriptLine(frame.filename, frame.lineno)
    now = sys._getframe(1)  # noqa: SLF001 - walking the stack is what is wanted, without reading source files
    while now is not None:
        if is_users(now.f_code.co_filename):
            yield ScriptLine(now.f_code.co_filename, now.f_lineno)
        now = now.f_back  # type: ignore[assignment]


def is_users(file: str) -> bool:
    """Whether a file is the user's: none of Python's, of installed packages, or of this one."""
    known = _SEEN.get(file)
    if known is None:
        generated = file.startswith("<") and not file.startswith("<ipython")
        known = not generated and "__autograph_generated_file" not in file
        known = known and not str(Path(file).resolve()).startswith(_LIBRARIES)
        _SEEN[file] = known
    return known


_SEEN: dict[str, bool] = {}
