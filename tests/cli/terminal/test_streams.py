from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gradcheck.cli.terminal.streams import write_report
from gradcheck.errors import RunError

ROOT = Path(__file__).parents[3]


def test_what_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, _: str) -> None:
            raise OSError(28, "No space left on device")

        def flush(self) -> None: ...

    monkeypatch.setattr(sys, "stdout", Full())
    with pytest.raises(RunError, match="cannot be written to standard output: no space left on device"):
        write_report("text")


def test_what_an_encoding_lacks_is_escaped() -> None:
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii", write_through=True)
    write_report("0 \u2192 1: \xe9\n", stream)
    assert written.getvalue() == b"0 \\u2192 1: \\xe9\n"


def test_a_reader_that_has_gone_ends_nothing() -> None:
    script = (
        "import sys; from gradcheck.cli.terminal.streams import write_report\n"
        "write_report('x' * 10**6); print('went on', file=sys.stderr)"
    )
    reading, writing = os.pipe()
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=writing, stderr=subprocess.PIPE, text=True, cwd=ROOT
    )
    os.close(writing)
    os.close(reading)
    _, told = process.communicate(timeout=60)
    assert (process.returncode, told) == (0, "went on\n")
