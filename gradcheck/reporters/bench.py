"""What methods cost, as a table for a terminal, as Markdown or JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.phrases import plural
from gradcheck.reporters.markdown import code, error_block, prose
from gradcheck.reporters.markdown import table as markdown_table
from gradcheck.reporters.parts.errors import error_lines
from gradcheck.reporters.parts.page import Page
from gradcheck.reporters.parts.text import inline, seconds, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.results.bench import BenchedConfig, BenchReport, MethodCost

_HEAD = ("method", "beside", "time", "ratio", "from - to", "memory", "ratio", "first call")
_RIGHT = frozenset(range(2, len(_HEAD)))
_LEGEND = (
    "time: the median of the calls after the first; ratio: to what it is beside, measured in turn; from - to: the "
    "least and the most; memory: how far it rose during a call, without a ratio below 1 MiB"
)


def render_table(report: BenchReport, options: RenderOptions) -> str:
    """Return a table for each config, without a final line break."""
    page = Page(options.width, color=options.color)
    for number, run in enumerate(report.runs):
        if number:
            page.line()
        page.heading(f"{inline(run.name)} ({inline(run.config)})", "bold", indent=0)
        for error in run.errors:
            for line in error_lines(error):
                page.paragraph(line, indent=2)
        if run.methods:
            page.paragraph(_ran(run), indent=2)
            page.table(_HEAD, map(_cells, _measured(run)), right=_RIGHT, indent=4)
        for name, reason in _left_out(run):
            page.block(inline(name), inline(reason), indent=4)
    if any(run.methods for run in report.runs):
        page.line()
        page.paragraph((_LEGEND, "dim"), indent=2)
    return page.text()


def render_markdown(report: BenchReport, options: RenderOptions) -> str:  # noqa: ARG001 - every reporter takes the options
    """Return a section for each config."""
    sections = ["\n\n".join(_section(run)) for run in report.runs]
    return "\n\n".join([*sections, prose(_LEGEND)])


def _section(run: BenchedConfig) -> Iterator[str]:
    yield f"### {prose(run.name)}"
    yield from map(error_block, run.errors)
    if run.methods:
        yield f"{code(run.config)}: {prose(_ran(run))}"
        yield markdown_table(_HEAD, ([prose(cell) for cell in _cells(cost)] for cost in _measured(run)))
    for name, reason in _left_out(run):
        yield f"**{prose(name)}:** {prose(reason)}"


def render_json(report: BenchReport, options: RenderOptions) -> str:  # noqa: ARG001 - as above
    """Return the records as JSON."""
    return report.to_json()


#: The formats of `gradcheck bench --format`, by name.
BENCH_REPORTERS: dict[str, Callable[[BenchReport, RenderOptions], str]] = {
    "table": render_table,
    "json": render_json,
    "markdown": render_markdown,
}


def _ran(run: BenchedConfig) -> str:
    size_ = f"{plural(run.parameters, 'parameter')}, {plural(run.batch_size, 'example')}"
    return f"{inline(run.precision)}, {inline(run.execution)}, {size_}"


def _measured(run: BenchedConfig) -> list[MethodCost]:
    return [*run.references, *(cost for cost in run.methods if cost.status == "measured")]


def _left_out(run: BenchedConfig) -> list[tuple[str, str]]:
    """Return the methods without figures, each with the reason."""
    says = {"not-applicable": "does not apply: ", "error": "ERROR: "}
    return [(cost.method, says[cost.status] + cost.reason) for cost in run.methods if cost.status in says]


def _cells(cost: MethodCost) -> list[str]:
    low_high = " - ".join(f"{ratio:.2f}" for ratio in cost.time_ratio_range)
    return [
        inline(cost.method),
        cost.against or "(reference)",
        _or_dash(cost.seconds, seconds),
        _or_dash(cost.time_ratio, "{:.2f}".format),
        low_high or "-",
        "-" if cost.peak_bytes is None else size(cost.peak_bytes),
        _or_dash(cost.memory_ratio, "{:.2f}".format),
        _or_dash(cost.first_seconds, seconds),
    ]


def _or_dash(value: float | None, written: Callable[[float], str]) -> str:
    return "-" if value is None else written(value)
