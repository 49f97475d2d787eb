"""One HTML file without external scripts, styles, fonts or images. The templates are in `pages/`."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

from gradcheck.catalogue import CATALOGUE
from gradcheck.errors import RunError
from gradcheck.phrases import plural
from gradcheck.reporters.charts import by_layer, element_errors, segment_graph, step_lines
from gradcheck.reporters.parts import exempt, overview, required, selection, text, training, words
from gradcheck.reporters.parts.errors import error_lines

if TYPE_CHECKING:
    from gradcheck.reporters.interface import RenderOptions
    from gradcheck.results.report import CheckReport, Report

#: What is more than text in a sentence: code in backticks, and codes of the catalogue.
_MARKED = re.compile(r"`([^`\n]+)`|\b(GC\d{3})\b")


def render(report: Report, options: RenderOptions) -> str:
    """Render the page of a report.

    Raises:
        RunError: GC058, if jinja2 is not installed.
    """
    return page("report.html.j2", report, options)


def page(template: str, report: Any, options: RenderOptions, **more: Any) -> str:
    """Render a template of `pages/`; every value is made printable, then escaped by jinja2.

    Args:
        template: the name of its file.
        report: what it is about.
        options: how much of it is shown.
        more: functions and values that this template alone needs.

    Raises:
        RunError: GC058, if jinja2 is not installed.
    """
    try:
        import jinja2  # noqa: PLC0415 - an extra that only this format needs
    except ImportError as error:
        message = "the html format needs the package jinja2"
        raise RunError(message, code="GC058", help="pip install jinja2") from error
    environment = jinja2.Environment(
        autoescape=True, finalize=_safe, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader("gradcheck.reporters", "pages"),
    )  # fmt: skip
    explained: set[str] = set()  # the codes that the page links to, filled while it is rendered
    environment.filters["prose"] = partial(_prose, explained=explained)
    environment.globals.update(
        words=words, text=text, training=training, selection=selection, exempt=exempt, required=required,
        overview=overview, by_layer=by_layer, element_errors=element_errors,
        segment_graph=segment_graph, step_lines=step_lines, error_lines=error_lines, plural=plural,
        has_floor=_has_floor, explained=explained, catalogue=CATALOGUE,
    )  # fmt: skip
    return environment.get_template(template).render(report=report, options=options, **more).rstrip("\n")


def _has_floor(check: CheckReport) -> bool:
    return any(tensor.noise_floor is not None for tensor in check.tensors)


def _safe(value: Any) -> Any:
    """Return a string with control characters escaped; markup from the template's own macros is unchanged."""
    return text.multiline(value) if type(value) is str else value


def _prose(sentence: str, *, explained: set[str], links: bool = True) -> Any:
    """Return a sentence as markup: code in backticks as such, and each code as a link to its explanation."""
    from markupsafe import Markup, escape  # noqa: PLC0415 - comes with jinja2

    parts, end, sentence = [], 0, text.multiline(sentence)
    for found in _MARKED.finditer(sentence):
        code, name = found.groups()
        known = links and name in CATALOGUE
        explained |= {name} if known else set()
        marked = f"<code>{escape(code)}</code>" if code else f'<a href="#{name}">{name}</a>' if known else name
        parts += [escape(sentence[end : found.start()]), marked]
        end = found.end()
    return Markup("").join(Markup(part) for part in (*parts, escape(sentence[end:])))  # noqa: S704 - escaped above
