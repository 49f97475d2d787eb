"""One HTML file without external scripts, styles, fonts or images."""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gradcheck.errors import RunError
from gradcheck.reporters.parts import charts, text, training, words
from gradcheck.reporters.parts.exempt import expectation, status_label
from gradcheck.reporters.parts.required import shortfall, shortfall_lines
from gradcheck.reporters.parts.selection import config_name, fails, grouped, run_errors, shown

if TYPE_CHECKING:
    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.results.report import CheckReport, Report


def render(report: Report, options: RenderOptions) -> str:
    """Render the page; every value is made printable, then escaped by jinja2.

    Raises:
        RunError: GC058, if jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: PLC0415 - an extra that only this format needs
    except ImportError as error:
        message = "the html format needs the package jinja2"
        raise RunError(message, code="GC058", help="pip install 'gradcheck[html]'") from error
    environment = jinja2.Environment(
        autoescape=True, finalize=_safe, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    environment.globals.update(
        words=words, text=text, charts=charts, training=training, config_name=config_name, fails=fails,
        grouped=grouped, has_floor=_has_floor, run_errors=run_errors, shown=shown, status_label=status_label,
        expectation=expectation, shortfall=shortfall, shortfall_lines=shortfall_lines,
    )  # fmt: skip
    source = files("gradcheck.reporters").joinpath("report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(report=report, options=options).rstrip("\n")


def _has_floor(check: CheckReport) -> bool:
    return any(tensor.noise_floor is not None for tensor in check.tensors)


def _safe(value: Any) -> Any:
    """Return a string with control characters escaped; markup from the template's own macros is unchanged."""
    return text.multiline(value) if type(value) is str else value
