"""The whole report as JSON, for programs. Its content does not depend on the options."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.results.report import Report


def render(report: Report, options: RenderOptions) -> str:  # noqa: ARG001 - every reporter takes the options
    """Render the report with the keys of the JSON contract; numbers that are not finite are null."""
    return report.to_json()
