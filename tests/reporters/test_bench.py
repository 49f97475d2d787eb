"""The figures of `gradcheck bench` in every format."""

from __future__ import annotations

import json

from inline_snapshot import snapshot

from gradcheck.errors import Mistake
from gradcheck.reporters.bench import BENCH_REPORTERS
from gradcheck.reporters.interface import RenderOptions
from gradcheck.results.bench import BenchedConfig, BenchReport, MethodCost
from gradcheck.results.origin import Environment, Tool

TAPE = MethodCost(
    method="tape", rounds=2, first_seconds=0.5, seconds=0.01, seconds_range=(0.01, 0.02), peak_bytes=2**20
)
COSTS = (
    MethodCost(
        method="vjp", against="tape", rounds=2, first_seconds=1.0, seconds=0.0123, seconds_range=(0.012, 0.013),
        time_ratio=1.21, time_ratio_range=(1.1, 1.3), peak_bytes=3 * 2**19, memory_ratio=1.5,
    ),
    MethodCost(method="scan", status="not-applicable", reason="it needs a time split"),
    MethodCost(method="a|b", status="error", reason="raised <ValueError>\nand more"),
)  # fmt: skip
REPORT = BenchReport(
    tool=Tool(name="gradcheck", version="1"),
    environment=Environment(),
    runs=(
        BenchedConfig(
            name="cnn", config="cnn.yaml", precision="float32", execution="eager", verdict="error", exit_code=3,
            batch_size=3, parameters=565, references=(TAPE,), methods=COSTS,
        ),
        BenchedConfig(
            name="bad", config="bad.yaml", precision="float32", execution="eager", verdict="error", exit_code=2,
            errors=(Mistake(code="GC003", message="unknown key"),),
        ),
    ),
)  # fmt: skip


def rendered(format_: str) -> str:
    return BENCH_REPORTERS[format_](REPORT, RenderOptions())


def test_the_table() -> None:
    assert rendered("table").rpartition("\n\n")[0] == snapshot("""\
cnn (cnn.yaml)
  float32, eager, 565 parameters, 3 examples
    method  beside          time  ratio    from - to   memory  ratio  first call
    tape    (reference)    0.01s      -            -    1 MiB      -        0.5s
    vjp     tape         0.0123s   1.21  1.10 - 1.30  1.5 MiB   1.50          1s
    scan: does not apply: it needs a time split
    a|b: ERROR: raised <ValueError>\\nand more

bad (bad.yaml)
  error[GC003]: unknown key\
""")


def test_markdown() -> None:
    assert rendered("markdown").rpartition("\n\n")[0] == snapshot("""\
### cnn

`cnn.yaml`: float32, eager, 565 parameters, 3 examples

| method | beside | time | ratio | from - to | memory | ratio | first call |
| --- | --- | --- | --- | --- | --- | --- | --- |
| tape | (reference) | 0.01s | - | - | 1 MiB | - | 0.5s |
| vjp | tape | 0.0123s | 1.21 | 1.10 - 1.30 | 1.5 MiB | 1.50 | 1s |

**scan:** does not apply: it needs a time split

**a\\|b:** ERROR: raised &lt;ValueError&gt;\\\\nand more

### bad

```text
error[GC003]: unknown key
```\
""")


def test_the_legend_ends_both() -> None:
    for format_ in ("table", "markdown"):
        assert (
            rendered(format_)
            .rpartition("\n\n")[2]
            .lstrip()
            .startswith("time: the median of the calls after the first;")
        )


def test_json_has_every_figure_and_null_for_what_was_not_measured() -> None:
    found = json.loads(rendered("json"))
    assert found["schema_version"] == "1"
    cnn, bad = found["runs"]
    assert cnn["methods"][0]["time_ratio"] == 1.21
    assert cnn["methods"][0]["time_ratio_range"] == [1.1, 1.3]
    assert cnn["methods"][1]["seconds"] is None
    assert cnn["references"][0]["peak_bytes"] == 2**20
    assert bad["errors"][0]["code"] == "GC003"


def test_a_narrow_terminal_cuts_nothing() -> None:
    text = BENCH_REPORTERS["table"](REPORT, RenderOptions(width=60))
    assert "1.21" in text
    assert "needs" in text
