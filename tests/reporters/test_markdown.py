# ruff: noqa: E501 - the expected texts are exact
from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from inline_snapshot import snapshot
from markdown_it import MarkdownIt

from gradcheck.reporters import RenderOptions
from gradcheck.reporters.markdown import code, prose, render
from gradcheck.reporters.parts.text import inline

if TYPE_CHECKING:
    from gradcheck.results.report import Report


def to_html(markdown: str) -> str:
    return str(MarkdownIt("commonmark").enable("table").enable("strikethrough").render(markdown))


def test_failure(failing: Report) -> None:
    assert render(failing, RenderOptions(show="failed")) == snapshot("""\
## gradcheck: 1 config: 1 failed

| config | verdict | check | outcome |
| --- | --- | --- | --- |
| `configs/cnn.yaml` | **FAIL** | `vjp` | match |
| `configs/cnn.yaml` | **FAIL** | `candidate` | MISMATCH |

### FAIL cnn

`configs/cnn.yaml`: float32, eager, seed 0; reference tape: loss 0.253412, gradient norm 1.25

vjp: all 6 of 6 trainable variables, 2 boundaries, 1 input, 1 output, 1 loss match the reference (worst: conv\\_0/kernel, max rel 3e-08). 10 exact, 1 close, 0 dead, 0 absent.

rests on: the model's forward code, shared with the reference

candidate: 2 of 6 trainable variables do NOT match: conv\\_0/kernel, conv\\_0/bias. 9 exact, 0 close, 0 dead, 0 absent, 1 mismatch, 1 missing.

rests on: the model's forward code, shared with the reference

float64 sides with the reference: at conv\\_0/kernel it is off by 3.0e-08 of its size

**GC101 at boundary 0 → 1, layer conv\\_0:** with the cotangent of boundary 0 set to ones, every gradient equals the candidate's. Fix: pass output\\_gradients=cotangent to tape.gradient of segment 0.

| tensor | status | max abs | max rel | worst | reference | candidate | elements | note |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
| `conv_0/kernel` | **mismatch** | 1.23e-02 | 1.5e+00 | `[0,0,0,3]` | 0.0082 | 0.0205 | 24/24 |  |
| `conv_0/bias` | **missing** | - | - | - | - | - | 0/6 | the candidate gives no gradient |

First wrong in backward order: `conv_0/kernel`

**warning:** the candidate changed weights; they were put back\
""")


def test_error(invalid: Report) -> None:
    assert render(invalid, RenderOptions()) == snapshot("""\
## gradcheck: 1 config: 1 error

| config | verdict | check | outcome |
| --- | --- | --- | --- |
| `configs/invalid.yaml` | **ERROR** |  |  |

### ERROR invalid

`configs/invalid.yaml`: float32, eager, seed 0

```text
error[GC003]: unknown key: los
  --> configs/invalid.yaml:7:3
      los: MSE
      ^^^
help: did you mean loss?
```

```text
error[GC005]: missing key: model
  --> configs/invalid.yaml:1:1
```\
""")


def test_every_row_is_folded_away(passing: Report) -> None:
    text = render(passing, RenderOptions())
    before, _, folded = text.partition("<details><summary><code>vjp</code>: all 11 tensors</summary>\n\n")
    assert "conv_0/bias" not in before
    assert "| `conv_0/bias` | segment 0: segment\\_0 (conv\\_0) | weight | exact | `(6)` | 0 | 0 | - | 0 |" in folded
    assert folded.endswith("\n\n</details>")


def test_summary_has_no_tensors(failing: Report) -> None:
    text = render(failing, RenderOptions(show="summary"))
    assert "| `conv_0/kernel`" not in text
    assert "do NOT match: conv\\_0/kernel" in text


def test_a_control_has_no_failures(control: Report) -> None:
    assert "**mismatch**" not in render(control, RenderOptions())


def test_tables_have_as_many_cells_in_every_row(sample: Report) -> None:
    html = to_html(render(sample, RenderOptions()))
    for table in html.split("<table>")[1:]:
        rows = table.split("</table>")[0].split("<tr>")[1:]
        cells = {row.count("<td>") + row.count("<th>") for row in rows}
        assert len(cells) == 1


def test_hostile_text_is_rendered_literally(hostile: Report) -> None:
    html = to_html(render(hostile, RenderOptions()))
    assert "<script" not in html
    assert "<em>" not in html
    assert html.count("<details>") == html.count("</details>") == 2  # the schedule, the rows
    outside_code = re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL)
    assert "@<!-- -->me" in outside_code
    assert "@me" not in outside_code


@pytest.mark.parametrize("name", ["a|b", "`x`", "``", "a``b`c", "<b>", "*x*", "\\", "", "a\nb"])
def test_code_spans_show_any_name(name: str) -> None:
    html = to_html(f"| {code(name)} | x |\n| --- | --- |\n| {code(name)} | y |")
    escaped = inline(name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert html.count(f"<code>{escaped or ' '}</code>") == 2


@pytest.mark.parametrize("words", ["*a* _b_ `c`", "[x](y)", "~~a~~", "a | b", "#1 $x$", "<i>", "a & b", "\\*"])
def test_prose_shows_any_words(words: str) -> None:
    escaped = words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert to_html(f"x {prose(words)}") == f"<p>x {escaped}</p>\n"


def test_prose_mentions_nobody() -> None:
    assert prose("ask @team") == "ask @<!-- -->team"


def test_training_steps(training: Report) -> None:
    assert render(training, RenderOptions()) == snapshot("""\
## gradcheck: 1 config: 1 failed

| config | verdict | check | outcome |
| --- | --- | --- | --- |
| `configs/training.yaml` | **FAIL** | `vjp` | MISMATCH |

### FAIL training

`configs/training.yaml`: float32, eager, seed 0; reference tape: loss 0.253412, gradient norm 1.25

vjp: first wrong in step 2 of 5. 1 of 2 trainable variables does NOT match: dense/kernel. 8 exact, 0 close, 0 dead, 0 absent, 4 mismatch.

rests on: the model's forward code, shared with the reference

**GC305 (likely):** with the cotangent of boundary 0 set to ones, every gradient equals the candidate's. Fix: pass output\\_gradients=cotangent to tape.gradient of segment 0.

| tensor | step | status | max abs | max rel | worst | reference | candidate | elements | note |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| `dense/kernel` | 2 gradient | **mismatch** | 1.23e-02 | 1.5e+00 | `[0,2]` | 0.0082 | 0.0205 | 6/6 |  |
| `dense/kernel` | 2 value | **mismatch** | 1.23e-02 | 1.5e+00 | `[0,2]` | 0.0082 | 0.0205 | 6/6 |  |
| `dense/kernel` | 5 gradient | **mismatch** | 1.23e-02 | 1.5e+00 | `[0,2]` | 0.0082 | 0.0205 | 6/6 |  |
| `dense/kernel` | 5 value | **mismatch** | 1.23e-02 | 1.5e+00 | `[0,2]` | 0.0082 | 0.0205 | 6/6 |  |

First wrong in backward order: `dense/kernel`

<details><summary><code>vjp</code>: all 12 tensors</summary>

| tensor | step | group | kind | status | shape | max abs | max rel | noise floor | needs rtol |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| `dense/kernel` | 2 gradient | step 2, segment 2: segment\\_2 (flatten, dense, activation) | weight | mismatch | `(2,3)` | 1.23e-02 | 1.5e+00 | - | 1.5e+00 |
| `dense/bias` | 2 gradient | step 2, segment 2: segment\\_2 (flatten, dense, activation) | weight | exact | `(2,3)` | 0 | 0 | - | 0 |
| `dense/kernel` | 2 value | step 2, segment 2: segment\\_2 (flatten, dense, activation) | weight | mismatch | `(2,3)` | 1.23e-02 | 1.5e+00 | - | 1.5e+00 |
| `dense/bias` | 2 value | step 2, segment 2: segment\\_2 (flatten, dense, activation) | weight | exact | `(2,3)` | 0 | 0 | - | 0 |
| `loss` | 2 | step 2, loss | loss | exact | `()` | 0 | 0 | - | 0 |
| `sgd/iteration` | 2 value | step 2, optimizer | optimizer | exact | `()` | 0 | 0 | - | 0 |
| `dense/kernel` | 5 gradient | step 5, segment 2: segment\\_2 (flatten, dense, activation) | weight | mismatch | `(2,3)` | 1.23e-02 | 1.5e+00 | - | 1.5e+00 |
| `dense/bias` | 5 gradient | step 5, segment 2: segment\\_2 (flatten, dense, activation) | weight | exact | `(2,3)` | 0 | 0 | - | 0 |
| `dense/kernel` | 5 value | step 5, segment 2: segment\\_2 (flatten, dense, activation) | weight | mismatch | `(2,3)` | 1.23e-02 | 1.5e+00 | - | 1.5e+00 |
| `dense/bias` | 5 value | step 5, segment 2: segment\\_2 (flatten, dense, activation) | weight | exact | `(2,3)` | 0 | 0 | - | 0 |
| `loss` | 5 | step 5, loss | loss | exact | `()` | 0 | 0 | - | 0 |
| `sgd/iteration` | 5 value | step 5, optimizer | optimizer | exact | `()` | 0 | 0 | - | 0 |

</details>\
""")


def test_schedule_and_notes(scheduled: Report) -> None:
    text = render(scheduled, RenderOptions())
    assert "**note:** GC301: batch statistics" in text
    folded = text.partition(
        "<details><summary><code>1f1b, 30 micro-batches (F forward, B backward)</code></summary>\n\n"
    )[2]
    assert folded.partition("\n\n</details>")[0].split("\n")[1:] == snapshot(
        ["- stage 1 segment\\_1: F0 F1 B0 B1; at most 2 live", "- stage 2 segment\\_2: F0 B0 F1 B1; at most 1 live"]
    )
    assert "stage 0" not in render(scheduled, RenderOptions(show="failed"))
