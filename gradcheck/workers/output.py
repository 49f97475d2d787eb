"""Standard output is for the report alone: TensorFlow's chatter is dropped, what user code prints goes to stderr."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STDOUT, _STDERR = 1, 2


def quiet_tensorflow(*, verbose: bool) -> None:
    """Import TensorFlow without its start-up chatter, unless `verbose`."""
    if "tensorflow" not in sys.modules:
        with startup_held_back(verbose=verbose):
            import tensorflow  # noqa: F401, ICN001, PLC0415 - imported for its effect, and only when it is needed


@contextlib.contextmanager
def startup_held_back(*, verbose: bool) -> Iterator[None]:
    """Hold back what TensorFlow prints while it is imported inside, unless `verbose`.

    Some of it is logged while the import runs, before TensorFlow looks at TF_CPP_MIN_LOG_LEVEL, and straight to the
    file descriptor: that is held back for the length of the import, and shown if the import fails.
    """
    if verbose:
        yield
        return
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _stderr_held_back():
        yield


@contextlib.contextmanager
def _stderr_held_back() -> Iterator[None]:
    """Hold back all output to standard error; write it after all if the body raises, and is not just interrupted."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        try:
            with _redirected(_STDERR, held.fileno()):
                yield
                sys.stderr.flush()
        except Exception:
            sys.stderr.flush()
            held.seek(0)
            os.write(_STDERR, held.read())
            raise


@contextlib.contextmanager
def user_output_to_stderr() -> Iterator[None]:
    """Send all output to standard output to standard error: by `print`, by C code, by child processes."""
    sys.stdout.flush()
    with contextlib.redirect_stdout(sys.stderr), _redirected(_STDOUT, _STDERR):
        original = sys.__stdout__
        try:
            yield
        finally:
            # What was buffered under the redirection belongs to it: by C code, and by who kept the first sys.stdout.
            flush_c()
            if original is not None:
                original.flush()


def flush_c() -> None:
    """Write the output that C code has buffered, if its library is found: on Windows it has another name."""
    with contextlib.suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL("ucrtbase" if os.name == "nt" else None).fflush(None)


@contextlib.contextmanager
def _redirected(descriptor: int, target: int) -> Iterator[None]:
    """Make `descriptor` another name of `target` for a while."""
    saved = os.dup(descriptor)
    try:
        os.dup2(target, descriptor)
        yield
    finally:
        os.dup2(saved, descriptor)
        os.close(saved)
