"""One reporter for each format, imported when it is first used: only some of them need rich or jinja2."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from gradcheck.reporters.interface import RenderOptions, Reporter, Show

if TYPE_CHECKING:
    from gradcheck.results.report import Report

__all__ = ["REPORTERS", "RenderOptions", "Reporter", "Show"]


def _reporter(module: str) -> Reporter:
    """Return the `render` function of a module of this package, which is imported at the first call."""

    def render(report: Report, options: RenderOptions) -> str:
        return cast("Reporter", import_module(f"{__name__}.{module}").render)(report, options)

    return render


#: The formats of `--format`, by name.
REPORTERS: dict[str, Reporter] = {
    "table": _reporter("table"),
    "concise": _reporter("concise"),
    "json": _reporter("json_report"),
    "junit": _reporter("junit"),
    "github": _reporter("github"),
    "markdown": _reporter("markdown"),
    "html": _reporter("html"),
}
