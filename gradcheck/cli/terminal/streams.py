"""Writing the report to standard output, and streams that cannot be written."""

from __future__ import annotations

import io
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from gradcheck.errors import RunError
from gradcheck.phrases import os_reason

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDOUT, _STDERR = 1, 2


@contextmanager
def kept_stdout() -> Iterator[TextIO]:
    """Yield what standard output is now, to write to while `sys.stdout` and its descriptor are redirected."""
    try:
        descriptor = os.dup(sys.stdout.fileno())
    except io.UnsupportedOperation:  # it is no file
        yield sys.stdout
        return
    with os.fdopen(descriptor, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors) as stream:
        yield stream


def write_report(text: str, stream: TextIO | None = None) -> None:
    r"""Write `text` to `stream`, by default standard output.

    If the reader has closed the pipe (`| head`), the rest is discarded. What its encoding lacks is written as `\u2581`.

    Raises:
        RunError: if it cannot be written, for example to a full disk.
    """
    stream = stream or sys.stdout
    try:
        encoding = getattr(stream, "encoding", None) or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()
    except BrokenPipeError:
        discard_output(stream)
    except OSError as error:
        discard_output(stream)
        message = f"the report cannot be written to standard output: {os_reason(error)}"
        raise RunError(message, help="-o FILE writes it to a file") from None


def discard_output(stream: TextIO | None = None) -> None:
    """Discard the pending output of closed streams, which Python would otherwise report when it exits."""
    if stream not in (None, sys.stdout):
        _discard_if_closed(stream, stream.fileno())
    _discard_if_closed(sys.stdout, _STDOUT)
    _discard_if_closed(sys.stderr, _STDERR)


def _discard_if_closed(stream: TextIO, descriptor: int) -> None:
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - only its descriptor is wanted
            os.dup2(nowhere.fileno(), descriptor)
