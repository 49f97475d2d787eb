"""`python -m gradcheck`, and the `gradcheck` command."""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

_INTERRUPTED = 130


def run() -> NoReturn:
    """Run the program, and end the process with its exit code."""
    try:
        from gradcheck.cli.main import main  # noqa: PLC0415 - Ctrl-C while it is imported is one like any other

        code = main()
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        # An interrupt that was caught may still make Python end itself by SIGINT: one in code that `exec` had compiled.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # all is done: while Python ends, it would turn them into its own end
        signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


if __name__ == "__main__":
    run()
