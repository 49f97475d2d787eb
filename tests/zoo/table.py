"""The table of what the zoo covered: rows that tests record, printed when they are done and kept in docs/zoo.md."""

from __future__ import annotations

from collections import Counter
from dataclasses import astuple, dataclass, fields
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from gradcheck.results.report import RunReport

Group = Literal["application", "layer", "model"]
GROUPS: tuple[str, ...] = get_args(Group)

#: What a test's row is stored under, among the properties of its report.
PROPERTY = "zoo"
#: The table stands behind this line of the document.
MARK = "<!-- written by pytest -m zoo --zoo-table docs/zoo.md -->"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model of the zoo. Weights and boundaries are those whose gradients were compared; nothing here is timed."""

    group: str
    name: str
    segments: int
    weights: int
    boundaries: int
    gradients: str  # how many gradients had which status
    verdict: str

    @classmethod
    def of(cls, group: Group, name: str, report: RunReport) -> Row:
        """The row of one run: counts over the gradients of weights, inputs and boundaries, in every check."""
        tensors = [t for check in report.checks for t in check.of_kind("weight", "input", "boundary")]
        compared = Counter(t.kind for t in tensors if t.status != "absent")
        statuses = Counter(t.status for t in tensors)
        return cls(
            group=group,
            name=name,
            segments=len(report.segments),
            weights=compared["weight"],
            boundaries=compared["boundary"],
            gradients=", ".join(f"{count} {status}" for status, count in sorted(statuses.items())),
            verdict=report.verdict,
        )


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--zoo-table", metavar="FILE", type=Path, help="write the table of the zoo into this document")
    parser.addoption(
        "--zoo-set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="run the zoo with this key of every config: execution=graph, execution=xla, precision=float64",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--zoo-table"):
        config.option.families = "all"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows, path = recorded(terminalreporter), config.getoption("--zoo-table")
    if rows and (path or "zoo" in config.getoption("-m")):  # among all tests it would bury their summary
        terminalreporter.section("the zoo")
        terminalreporter.write_line(aligned(rows))
    if rows and path:
        path.write_text(rewritten(path.read_text(encoding="utf-8"), rows), encoding="utf-8")


def recorded(terminalreporter: pytest.TerminalReporter) -> list[Row]:
    """The rows of all tests that ran, here or in another process, in the order of the document."""
    reports = [report for outcome in ("passed", "failed") for report in terminalreporter.getreports(outcome)]
    rows = [Row(**value) for report in reports for name, value in report.user_properties if name == PROPERTY]
    return sorted(rows, key=lambda row: (GROUPS.index(row.group), row.name.casefold()))


def _cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return [tuple(field.name for field in fields(Row)), *(tuple(map(str, astuple(row))) for row in rows)]


def aligned(rows: Sequence[Row]) -> str:
    """The table as text in columns, the number of rows below it."""
    cells = _cells(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)
    return "\n".join((*lines, f"{len(rows)} in the zoo"))


def rewritten(document: str, rows: Sequence[Row]) -> str:
    """`document` with these rows in its table, for the groups that they are of; other groups keep theirs."""
    head, *body = (f"| {' | '.join(line)} |" for line in _cells(rows))
    ran = {row.group for row in rows}
    by_group = {group: [line for line, (found, _) in documented(document) if found == group] for group in GROUPS}
    by_group |= {group: [line for line, row in zip(body, rows, strict=True) if row.group == group] for group in ran}
    rule = f"|{' --- |' * len(fields(Row))}"
    return "\n".join((document.partition(MARK)[0] + MARK, "", head, rule, *chain.from_iterable(by_group.values()), ""))


def documented(document: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """Every row of the document's table: the line, and the group and name in it."""
    for line in document.partition(MARK)[2].splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > len(fields(Row)) and cells[1] in GROUPS:
            yield line, (cells[1], cells[2])
