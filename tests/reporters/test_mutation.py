"""The three formats of `gradcheck mutate`, from sample reports."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest
from markdown_it import MarkdownIt

from gradcheck.errors import Mistake
from gradcheck.reporters.interface import RenderOptions
from gradcheck.reporters.mutation import MUTATION_REPORTERS, render_json, render_markdown, render_table
from gradcheck.results.mutation import FaultReport, MutationReport, Mutations, Score
from gradcheck.results.report import Environment, Tool

HOSTILE = "[red]x[/red] <script>\x1b[31m a|b `c` *d* @me\n\u202e\ud800 </details>"


def fault(code: str = "GC101", **changes: Any) -> FaultReport:
    """Caught and named, unless `changes` say otherwise."""
    fields: dict[str, Any] = {
        "code": code, "title": "cotangent missing", "place": "boundary 0 → 1", "effect": "it was ones",
        "status": "caught", "named": True, "margin": 1234.5, "diagnosed": (code,),
    }  # fmt: skip
    return FaultReport(**fields | changes)


def unnamed(**changes: Any) -> FaultReport:
    fields = {"named": False, "reason": "the diagnosis says GC900 (possible): so", "diagnosed": ("GC900",)}
    return fault(**fields | changes)


def silent(status: str, code: str = "GC101", **changes: Any) -> FaultReport:
    return fault(code, **{"status": status, "named": False, "margin": math.nan, "diagnosed": ()} | changes)


NOWHERE = silent("not-applicable", "GC105", title="dropped", place="", effect="", reason="no such boundary")
SAME = silent("equivalent", "GC106", title="swapped", reason="it changes nothing")
LEFT = silent("not-applicable", "GC403", title="no gradient", reason="not tried: out of time")
MISSED = silent("missed", "GC104", title="lower precision", reason="within rtol 3")


def run(*faults: FaultReport, **changes: Any) -> MutationReport:
    fields: dict[str, Any] = {"name": "cnn", "config": "configs/cnn.yaml", "verdict": "pass", "seconds": 1.5}
    return MutationReport(faults=faults, **fields | changes)


def envelope(*runs: MutationReport) -> Mutations:
    return Mutations(tool=Tool(name="gradcheck", version="0.1.0"), environment=Environment(python="3.11"), runs=runs)


MIXED = envelope(
    run(
        fault(),
        fault(place="boundary 1 → 2", margin=math.inf),
        unnamed(place="every boundary", margin=20.0),
        MISSED,
        NOWHERE,
        SAME,
        fault("GC403", title="no gradient", margin=math.inf),
        LEFT,
        verdict="fail",
        exit_code=1,
        notes=("execution: graph",),
    )
)
TABLE = """\
FAIL cnn (configs/cnn.yaml)
  float32, seed 0, 1.5s
    fault                     places  caught  named  smallest margin
    GC101  cotangent missing       3       3      2            2e+01
    GC104  lower precision         1       0      0                -
    GC403  no gradient             1       1      1              inf  1 not tried
    GC106 swapped: 1 equivalent: it changes nothing
    not applicable: 1 fault (--show all says why): GC105

  places: where a fault was injected: at how many, caught at, and named at
  smallest margin: of what was caught: the smallest (difference / allowed)
  NOT NAMED GC101 at every boundary: it was ones; the diagnosis says GC900 (possible): so
  MISSED GC104 at boundary 0 → 1: it was ones; within rtol 3
  note: execution: graph
  1 of 5 injected faults is MISSED at the tolerances of this config."""


def table(report: Mutations, **options: Any) -> str:
    return render_table(report, RenderOptions(**{"show": "failed"} | options))


def test_the_table() -> None:
    assert table(MIXED) == TABLE


@pytest.mark.parametrize("options", [{"show": "all"}, {"verbose": True}])
def test_every_place_on_a_line_of_its_own(options: dict[str, Any]) -> None:
    text = table(MIXED, **options)
    assert "           boundary 0 → 1 (it was ones): caught, named, margin 1.23e+03\n" in text
    assert "           boundary 1 → 2 (it was ones): caught, named, margin inf\n" in text
    assert "           boundary 0 → 1 (it was ones): missed: within rtol 3\n" in text
    assert "           boundary 0 → 1 (it was ones): equivalent: it changes nothing\n" in text
    assert "           boundary 0 → 1 (it was ones): not tried: out of time\n" in text
    assert "           not applicable: no such boundary\n" in text
    folded = "    not applicable: 1 fault (--show all says why): GC105"
    assert [line for line in TABLE.split("\n") if line not in text.split("\n")] == [folded]
    assert folded.replace(" (--show all says why)", "") in text.split("\n")


def test_the_summary_is_the_score_alone() -> None:
    lines = table(MIXED, show="summary").split("\n")
    assert [line for line in TABLE.split("\n") if line in lines] == lines
    assert len(lines) == 4


def test_faults_without_a_place_take_one_line_however_many() -> None:
    codes = [f"GC{number}" for number in range(201, 241)]
    nowhere = [silent("not-applicable", code, title="none", place="", reason="no such thing") for code in codes]
    for text in (
        table(envelope(run(fault(), *nowhere))),
        render_markdown(envelope(run(*nowhere)), RenderOptions(show="failed")),
    ):
        (line,) = [line for line in text.splitlines() if "not applicable" in line]
        assert "40 faults" in line
        assert all(code in line for code in codes)
        assert "no such thing" not in text


def test_what_an_interrupted_run_had_found_is_shown() -> None:
    error = Mistake(code="GC060", message="interrupted")
    report = envelope(run(fault(), MISSED, verdict="error", errors=(error,), exit_code=130))
    for text in (table(report), render_markdown(report, RenderOptions(show="failed"))):
        assert "error[GC060]: interrupted" in text
        assert "MISSED GC104 at boundary 0 → 1" in text


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (run(fault()), "the one injected fault is caught, and named with its own code."),
        (run(fault(), fault()), "all 2 injected faults are caught, and named with their own codes."),
        (run(fault(), unnamed()), "all 2 injected faults are caught, 1 of them named."),
        (run(fault(), LEFT), "the one injected fault is caught, and named with its own code; 1 was not tried."),
        (run(fault(), LEFT, LEFT), "the one injected fault is caught, and named with its own code; 2 were not tried."),
        (run(MISSED, MISSED), "2 of 2 injected faults are MISSED at the tolerances of this config."),
        (
            run(SAME, NOWHERE, verdict="vacuous"),
            "Nothing was proven: no fault could be injected that changes anything.",
        ),
        (run(verdict="fail", baseline="the split is wrong"), "nothing was injected: the split is wrong."),
    ],
)
def test_what_the_score_means(report: MutationReport, words: str) -> None:
    assert table(envelope(report)).split("\n")[-1].strip() == words
    assert words in render_markdown(envelope(report), RenderOptions())


def test_several_configs_end_with_the_sum() -> None:
    text = table(envelope(run(fault()), run(fault(), MISSED, verdict="fail")))
    assert text.endswith("\n\n2 configs: 3 faults injected, 2 caught, 2 named")


def test_an_error_in_place_of_faults() -> None:
    error = Mistake(code="GC051", message="the factory raised", file="model.py", line=3, column=5, help="mend it")
    report = envelope(run(verdict="error", errors=(error,), exit_code=3))
    expected = "ERROR cnn (configs/cnn.yaml)\n  error[GC051]: the factory raised\n    --> model.py:3:5\n  help: mend it"
    assert table(report) == expected
    assert "error[GC051]: the factory raised" in render_markdown(report, RenderOptions())


def test_a_terminal_wraps_titles_and_cuts_nothing() -> None:
    title = "ragged last micro-batch weighted like a full one, as people write"
    lines = table(envelope(run(fault("GC203", title=title), NOWHERE)), width=70).split("\n")
    assert max(map(len, lines)) <= 70
    assert any("ragged" in line and "1.23e+03" in line for line in lines)
    assert all(word in " ".join(lines) for word in title.split())
    assert "..." not in " ".join(lines)


def test_colour_only_where_it_is_asked_for() -> None:
    assert "\x1b[" not in table(MIXED)
    assert "\x1b[" in table(MIXED, color=True)


def test_json_has_the_keys_of_the_contract() -> None:
    found = json.loads(render_json(MIXED, RenderOptions()))
    assert found["score"] == {"injected": 5, "caught": 4, "named": 3}
    assert found["schema_version"] == "1"
    first = found["faults"][0]
    assert list(first)[:6] == ["code", "place", "status", "named", "margin", "reason"]
    assert first == {
        "code": "GC101", "place": "boundary 0 → 1", "status": "caught", "named": True, "margin": 1234.5, "reason": "",
        "title": "cotangent missing", "effect": "it was ones", "diagnosed": ["GC101"], "config": "configs/cnn.yaml",
    }  # fmt: skip
    assert [fault["margin"] for fault in found["faults"][1:5]] == [None, 20.0, None, None]
    (only,) = found["runs"]
    assert (only["verdict"], only["exit_code"], only["score"]) == ("fail", 1, found["score"])


def test_the_score_counts_what_was_injected() -> None:
    assert Score.of([fault(), unnamed(), MISSED, SAME, NOWHERE, LEFT]) == Score(injected=3, caught=2, named=1)


def test_markdown() -> None:
    text = render_markdown(MIXED, RenderOptions(show="failed"))
    assert text.startswith("## gradcheck mutate: 5 faults injected, 4 caught, 3 named\n\n### FAIL cnn\n")
    assert "| GC101 | cotangent missing | 3 | 3 | 2 | 2e+01 |  |" in text
    assert "**MISSED GC104 at boundary 0 → 1:** it was ones; within rtol 3" in text
    assert "<details>" not in text
    everything = render_markdown(MIXED, RenderOptions(show="all"))
    assert "| GC101 | boundary 0 → 1 | it was ones | caught | yes | 1.23e+03 |  |" in everything
    assert "GC101" not in render_markdown(MIXED, RenderOptions(show="summary"))


def test_names_act_on_nothing() -> None:
    bad = dataclasses.replace(MISSED, place=HOSTILE, effect=HOSTILE, reason=HOSTILE, title=HOSTILE)
    report = envelope(run(bad, name=HOSTILE, config=HOSTILE, notes=(HOSTILE,)))
    texts = {name: render(report, RenderOptions(show="all")) for name, render in MUTATION_REPORTERS.items()}
    for text in texts.values():
        text.encode("utf-8")
        assert "\x1b" not in text
    assert json.loads(texts["json"])["faults"][0]["status"] == "missed"
    tokens = [
        t for block in MarkdownIt().enable("table").parse(texts["markdown"]) for t in (block, *(block.children or ()))
    ]
    raw = [token.content for token in tokens if token.type in ("html_inline", "html_block")]
    assert [html for html in raw if "<script>" in html] == []
    assert all(html.startswith(("<details>", "</details>", "<!-- -->")) for html in raw)
    assert sum(token.type == "table_open" for token in tokens) == 2
