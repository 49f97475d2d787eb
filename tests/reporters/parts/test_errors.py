from __future__ import annotations

from typing import TYPE_CHECKING

from inline_snapshot import snapshot

from gradcheck.reporters.parts.errors import error_lines

if TYPE_CHECKING:
    from gradcheck.results.report import Report


def test_error_with_its_line(invalid: Report) -> None:
    assert error_lines(invalid.runs[0].errors[0]) == snapshot(
        [
            "error[GC003]: unknown key: los",
            "  --> configs/invalid.yaml:7:3",
            "      los: MSE",
            "      ^^^",
            "help: did you mean loss?",
        ]
    )
