# ruff: noqa: E501 - the expected texts are exact
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from inline_snapshot import snapshot
from markdown_it import MarkdownIt

from gradcheck.reporters import RenderOptions
from gradcheck.reporters.difference import DIFFERENCE_REPORTERS, render_json, render_markdown, render_table
from gradcheck.results.difference import difference
from gradcheck.results.origin import Environment, Tool
from gradcheck.results.report import Diagnosis, Report, RunReport, Summary
from tests.records import check, row

if TYPE_CHECKING:
    from gradcheck.results.difference import ReportDifference
    from gradcheck.results.report import CheckReport

HOSTILE = '[red]x[/red] <script>alert("1")</script> \x1b[31m a|b `c` *d* @me\r\n::error::\x00\u202e\ud800'


def report(*checks: CheckReport, name: str = "cnn", **environment: Any) -> Report:
    run = RunReport(
        name=name,
        config=f"configs/{name}.yaml",
        seed=0,
        precision="float32",
        execution="eager",
        verdict="pass",
        checks=checks,
    )
    tool = Tool(name="gradcheck", version="0.1.0")
    return Report(tool=tool, environment=Environment(**environment), summary=Summary.of((run,)), runs=(run,))


@pytest.fixture
def found() -> ReportDifference:
    """One change of every direction."""
    diagnosis = Diagnosis(code="GC101", title="", segment=0, layer=None, confidence="exact", evidence="", fix="")
    old = report(
        check(row("a/kernel"), row("a/bias", "close", max_abs_error=1e-8, atol=1e-9), row("old", kind="boundary")),
        check(row("w", "mismatch"), method="hand", outcome="mismatch", as_expected=False),
        check(row("w", "mismatch"), method="naive", outcome="mismatch", expect="mismatch"),
        check(row("w"), method="gone"),
        time="2026-01-01T10:00:00Z",
        commit="0123456789abcdef",
        keras="3.14.0",
    )
    new = report(
        check(
            row("a/kernel", "mismatch", max_abs_error=2.5),
            row("a/bias", "close", max_abs_error=3e-8, atol=1e-9),
            row("new", kind="boundary"),
            outcome="mismatch",
            as_expected=False,
            diagnoses=(diagnosis,),
        ),
        check(row("w"), method="hand"),
        check(row("w"), method="naive", expect="mismatch", as_expected=False),
        time="2026-01-02T10:00:00Z",
        commit="fedcba9876543210",
        dirty=True,
        keras="3.15.0",
    )
    return difference(old, new, old_file="old.json", new_file="new.json")


def test_the_table(found: ReportDifference) -> None:
    assert render_table(found, RenderOptions()) == snapshot("""\
old: old.json (2026-01-01T10:00:00Z, commit 0123456789, gradcheck 0.1.0)
new: new.json (2026-01-02T10:00:00Z, commit fedcba9876 with changes, gradcheck 0.1.0)
note: keras 3.14.0 → 3.15.0

newly failing (3)
  configs/cnn.yaml
    vjp: match → mismatch (GC101)
      weight a/kernel: exact → mismatch, max abs 0 → 2.5e+00
    naive: mismatch, as expected → match, a mismatch was expected

newly passing (2)
  configs/cnn.yaml
    hand: mismatch → match
      weight w: mismatch → exact

drifted (2)
  configs/cnn.yaml
    vjp
      weight a/bias: close, max abs 1e-08 → 3e-08, rounding explains 1e-09
    naive
      weight w: mismatch → exact

appeared (1)
  configs/cnn.yaml
    vjp
      boundary new: exact, max abs 0

vanished (2)
  configs/cnn.yaml
    vjp
      boundary old: exact, max abs 0
    gone: match

3 newly failing (2 checks, 1 tensor), 2 newly passing (1 check, 1 tensor), 2 drifted (2 tensors), 1 appeared (1 tensor), 2 vanished (1 tensor, 1 check), 1 unchanged\
""")


def test_markdown(found: ReportDifference) -> None:
    text = render_markdown(found, RenderOptions())
    assert text == snapshot("""\
## gradcheck diff: 3 newly failing (2 checks, 1 tensor), 2 newly passing (1 check, 1 tensor), 2 drifted (2 tensors), 1 appeared (1 tensor), 2 vanished (1 tensor, 1 check), 1 unchanged

- old: old.json (2026-01-01T10:00:00Z, commit 0123456789, gradcheck 0.1.0)
- new: new.json (2026-01-02T10:00:00Z, commit fedcba9876 with changes, gradcheck 0.1.0)

**note:** keras 3.14.0 → 3.15.0

**3 newly failing**

| config | check | tensor | change |
| --- | --- | --- | --- |
| `configs/cnn.yaml` | `vjp` |  | match → mismatch (GC101) |
| `configs/cnn.yaml` | `vjp` | `weight a/kernel` | exact → mismatch, max abs 0 → 2.5e+00 |
| `configs/cnn.yaml` | `naive` |  | mismatch, as expected → match, a mismatch was expected |

<details><summary>newly passing (2)</summary>

| config | check | tensor | change |
| --- | --- | --- | --- |
| `configs/cnn.yaml` | `hand` |  | mismatch → match |
| `configs/cnn.yaml` | `hand` | `weight w` | mismatch → exact |

</details>

<details><summary>drifted (2)</summary>

| config | check | tensor | change |
| --- | --- | --- | --- |
| `configs/cnn.yaml` | `vjp` | `weight a/bias` | close, max abs 1e-08 → 3e-08, rounding explains 1e-09 |
| `configs/cnn.yaml` | `naive` | `weight w` | mismatch → exact |

</details>

<details><summary>appeared (1)</summary>

| config | check | tensor | change |
| --- | --- | --- | --- |
| `configs/cnn.yaml` | `vjp` | `boundary new` | exact, max abs 0 |

</details>

<details><summary>vanished (2)</summary>

| config | check | tensor | change |
| --- | --- | --- | --- |
| `configs/cnn.yaml` | `vjp` | `boundary old` | exact, max abs 0 |
| `configs/cnn.yaml` | `gone` |  | match |

</details>\
""")
    assert MarkdownIt("commonmark").enable("table").render(text).count("<table>") == 5


def test_json_reads_back(found: ReportDifference) -> None:
    plain = json.loads(render_json(found, RenderOptions()))
    assert {change["change"] for change in plain["changes"]} == set(plain["summary"]) - {"unchanged"}


@pytest.mark.parametrize("name", ["table", "markdown"])
def test_what_is_shown(found: ReportDifference, name: str) -> None:
    render = DIFFERENCE_REPORTERS[name]
    failed, summary = (render(found, RenderOptions(show=show)) for show in ("failed", "summary"))  # type: ignore[arg-type]
    assert "kernel" in failed
    assert "bias" not in failed
    assert "kernel" not in summary
    assert "3 newly failing (2 checks, 1 tensor)" in summary


def test_equal_reports() -> None:
    same = difference(report(check(row("w"))), report(check(row("w"))))
    assert render_table(same, RenderOptions(show="summary")) == "0 newly failing, 3 unchanged"


def test_a_narrow_terminal_cuts_nothing_off(found: ReportDifference) -> None:
    text = render_table(found, RenderOptions(width=50))
    assert max(map(len, text.split("\n"))) <= 50
    assert "".join(text.split()).count("exact→mismatch") == 1


def test_colours_only_if_asked_for(found: ReportDifference) -> None:
    assert "\x1b[" in render_table(found, RenderOptions(color=True))
    assert "\x1b[" not in render_table(found, RenderOptions())


def test_names_are_made_safe() -> None:
    old = report(name=HOSTILE)
    new = report(check(row(HOSTILE, "mismatch"), method=HOSTILE, outcome="mismatch", as_expected=False), name=HOSTILE)
    bad = difference(old, new, old_file=HOSTILE)
    table, markdown = (render(bad, RenderOptions()) for render in (render_table, render_markdown))
    for text in (table, markdown, render_json(bad, RenderOptions())):
        text.encode()
        assert all(c.isprintable() or c == "\n" for c in text)
        assert not any(line.lstrip().startswith("::") for line in text.split("\n"))
    html = MarkdownIt("commonmark").enable("table").render(markdown)
    assert "<script" not in html
    assert "<em>" not in html
    assert html.count("<tr>") == 3  # the header, the check and its tensor
