"""Writing the report to standard output, and streams that cannot be written."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from gradcheck.errors import RunError
from gradcheck.phrases import os_reason

_STDOUT, _STDERR = 1, 2


def write_report(text: str) -> None:
    """Write `text` to standard output. If the reader has closed the pipe (`| head`), the rest is discarded.

    Raises:
        RunError: if it cannot be written, for example to a full disk.
    """
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
    except OSError as error:
        discard_output()
        message = f"the report cannot be written to standard output: {os_reason(error)}"
        raise RunError(message, help="-o FILE writes it to a file") from None


def discard_output() -> None:
    """Discard the pending output of closed streams, which Python would otherwise report when it exits."""
    _discard_if_closed(sys.stdout, _STDOUT)
    _discard_if_closed(sys.stderr, _STDERR)


def _discard_if_closed(stream: TextIO, descriptor: int) -> None:
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - only its descriptor is wanted
            os.dup2(nowhere.fileno(), descriptor)
