"""Messages for exceptions that the user's code raised, or Keras on its behalf."""

from __future__ import annotations

import linecache
import re
import sysconfig
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck.building.refused_variables import CODE as REFUSED_VARIABLES
from gradcheck.building.refused_variables import refusal
from gradcheck.errors import GradcheckError, Location, RunError
from gradcheck.phrases import listed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
#: Lines that Keras puts before the message proper.
_KERAS_HEAD = re.compile(r"^(Exception encountered when calling |Could not automatically infer the output )")
#: What Keras writes before the reason why an object, or one inside it, cannot be loaded: the last is the reason proper.
_KERAS_LOADING = re.compile(r"^(Exception encountered|Error encountered during deserialization): ")
#: The first paragraph of messages on traced code; lines of code follow, and the message proper is the last.
_TRACED_HEADS = frozenset({"in user code:", "Graph execution error:"})
_KERAS_TAIL = "Arguments received by "
#: TensorFlow's message on an operation without an XLA kernel: the first such operation, and its node.
_XLA_HEAD = re.compile(
    r"^Detected unsupported operations when trying to compile graph .*?: (\w+) \(.*?node (\S+?)\}\}.*"
)
#: The beginning of TensorFlow's own stack traces.
_TENSORFLOW_TAIL = re.compile(r" (The op is created at|Stack trace for op definition): ?.*")
#: Names that TensorFlow gives to its own functions and nodes, around the message proper.
_NODES = re.compile(
    r"\{\{function_node \S+\}\} ?| ?\[\[\{\{node [^\]]*\]\]| for '\{\{node [^']*'| ?\[Op:\w+\]( name:( \S*)?)?$"
)
#: TensorFlow's message on a dtype that an operation has no kernel for: the dtype, the others, and the operation.
_NO_KERNEL = re.compile(
    r"Value for attr '\w+' of (?P<dtype>\w+) is not in the list of allowed values: (?P<others>[^;]*\w)"
    r".*?Op<name=(?P<op>\w+);.*"
)
#: What stands before the message of an error in a compiled function without a stack trace.
_DETECTED = re.compile(r"^Detected at node .*?<stack traces unavailable>", re.DOTALL)
_MAX_LENGTH = 600
_INSTALLED = frozenset({"site-packages", "dist-packages"})


def gist(error: BaseException) -> str:
    """Return the message of `error` on one line, without Keras's head, argument dump and colours."""
    paragraphs = _ANSI.sub("", str(error)).split("\n\n")
    telling = [p.strip() for p in paragraphs if p.strip() and not p.strip().startswith(_KERAS_TAIL)]
    if telling and telling[0] in _TRACED_HEADS:
        telling = telling[-1:]
    while len(telling) > 1 and _KERAS_HEAD.match(telling[0]):
        telling.pop(0)
    telling = [_KERAS_LOADING.sub("", p) for p in telling if _KERAS_LOADING.match(p)][-1:] or telling
    first = _DETECTED.sub("", telling[0]) if telling else ""
    line = " ".join(first.split()) or "(no message)"
    line = _TENSORFLOW_TAIL.sub("", _XLA_HEAD.sub(r"XLA cannot compile \1 (\2)", line))
    line = _NO_KERNEL.sub(_without_kernel, _NODES.sub("", line))
    return line if len(line) <= _MAX_LENGTH else f"{line[: _MAX_LENGTH // 2]} … {line[-_MAX_LENGTH // 2 :]}"


#: TensorFlow's names of dtypes in messages, beside their usual names.
_DTYPES = {"double": "float64", "float": "float32", "half": "float16"}


def _without_kernel(found: re.Match[str]) -> str:
    others = (_DTYPES.get(name, name) for name in found["others"].split(", "))
    return f"{found['op']} takes no {_DTYPES.get(found['dtype'], found['dtype'])}, only {listed(others)}"


def advice(error: BaseException) -> str | None:
    """Return what to do about an operation that TensorFlow does not have in a dtype; None for any other error."""
    found = _NO_KERNEL.search(" ".join(str(error).split()))
    if found is None:
        return None
    if found["op"] == "Qr":  # of no layer, but of the default initializer of recurrent ones
        return "an Orthogonal initializer needs it: write `recurrent_initializer: glorot_uniform` (or whichever it is)"
    return f"TensorFlow has no such kernel of {found['op']}: take another `precision`"


def described(error: BaseException) -> str:
    """Return the type and the message of `error`: `ValueError: units must be positive`."""
    known = refusal(error)
    return f"{type(error).__name__}: {(known and known.says) or gist(error)}"


def raised(
    message: str,
    error: BaseException,
    code: str,
    *,
    location: Location | None = None,
    help_: str | None = None,
    kind: type[RunError] = RunError,
) -> RunError:
    """Return the error of ours for an exception of the user's code.

    TensorFlow's refusal of variables in a custom gradient has a code, a help line and a place of its own instead.
    """
    known = refusal(error)
    if known is not None:
        code, location, help_ = REFUSED_VARIABLES, location or user_location(error), known.help
    return kind(message, code=code, location=location, help=advice(error) or help_)


def as_first_raised(error: GradcheckError) -> GradcheckError:
    """Return the error that Keras repeats in `error`, as text alone, where it infers the outputs of a layer."""
    repeated = error.__context__
    if isinstance(repeated, type(error)) and error.message != repeated.message and repeated.message in error.message:
        return as_first_raised(repeated)
    return error


def user_location(error: BaseException, reference: str = "") -> Location | None:
    """Return the line of the user's own code that raised `error`: the last frame outside installed packages.

    Args:
        error: an exception that was raised; for a SyntaxError the place that it names.
        reference: `package.module:Name`: an installed package counts as the user's own if it is the one named here.

    Returns:
        The file, line and columns with the line's text; None if no frame is the user's.
    """
    if isinstance(error, SyntaxError) and error.filename and not is_foreign(error.filename):
        return place_of(error.filename, error.lineno or 1, (error.offset or 1) - 1, None)
    frames = list(_frames(error))
    package = reference.partition(":")[0].partition(".")[0]
    own = [f for frame, f in frames if not is_foreign(f.filename)] or [
        f for frame, f in frames if package and frame.f_globals.get("__name__", "").partition(".")[0] == package
    ]
    if not own:
        return None
    last = own[-1]
    # Columns are known from Python 3.11 on.
    return place_of(last.filename, last.lineno or 1, getattr(last, "colno", None), getattr(last, "end_colno", None))


def _frames(error: BaseException) -> Iterator[tuple[FrameType, traceback.FrameSummary]]:
    """Yield every frame of the traceback, as an object and as text, the outermost first."""
    walked = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return zip(walked, traceback.extract_tb(error.__traceback__), strict=True)


def is_foreign(filename: str) -> bool:
    """Whether `filename` belongs to gradcheck, the standard library or an installed package, or is no file at all."""
    path = Path(filename)
    ours = Path(__file__).resolve().parents[1]
    library = Path(sysconfig.get_paths()["stdlib"])
    return (
        not path.is_file()
        or not _INSTALLED.isdisjoint(path.parts)
        or path.resolve().is_relative_to(ours)
        or path.resolve().is_relative_to(library.resolve())
        or path.name.startswith("__autograph_generated_file")
    )


def place_of(filename: str, line: int, start: int | None = None, end: int | None = None) -> Location:
    """Return a Location with its excerpt; without columns the whole statement is underlined."""
    linecache.checkcache(filename)
    excerpt = linecache.getline(filename, line).rstrip("\n")
    indent = len(excerpt) - len(excerpt.lstrip())
    first = indent if start is None else start
    last = end if end is not None and end > first else len(excerpt)
    return Location(
        path=Path(filename), line=line, column=first + 1, length=max(1, last - first), excerpt=excerpt or None
    )
