"""The pages in a real browser: nothing is loaded, nothing goes wrong or is cut off, and the script does its work."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
import subprocess
from html import unescape
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from gradcheck.reporters import REPORTERS, RenderOptions
from gradcheck.reporters.mutation import MUTATION_REPORTERS
from gradcheck.results.by_step import StepReport
from gradcheck.results.mutation import FaultReport, MutationReport, Mutations
from gradcheck.results.report import Environment, Tool
from gradcheck.results.tensor import Spread

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.results.report import Report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed (Debian's package chromium)")

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--enable-logging=stderr", "--dump-dom",
)  # fmt: skip

#: What holds for every page: no request, and at any width nothing sticks out, but within what can be scrolled.
ALWAYS = """
  const wide = document.documentElement.clientWidth;
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  result.requests = performance.getEntriesByType("resource").map((entry) => entry.name);
  result.cut = [...document.body.querySelectorAll("*")]
    .filter((one) => !one.closest(".scroll, svg[width='0']") && one.getBoundingClientRect().right > wide + 1)
    .map((one) => one.outerHTML.slice(0, 120));
  result.overlong = [...document.querySelectorAll("main svg")].flatMap((svg) => [...svg.querySelectorAll("text")]
    .filter((one) => one.getBoundingClientRect().right > svg.getBoundingClientRect().right + 1)
    .map((one) => one.textContent));
"""


class Browse(Protocol):
    """Opens a page, runs a script in it that fills `result`, and returns that; console messages fail the test."""

    def __call__(self, page: str, script: str = "", *, width: int = 1280) -> dict[str, Any]: ...


@pytest.fixture(scope="module")
def profile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all tests: to make one costs more than a page."""
    return tmp_path_factory.mktemp("profile")


@pytest.fixture
def browse(tmp_path: Path, profile: Path) -> Browse:
    def opened(page: str, script: str = "", *, width: int = 1280) -> dict[str, Any]:
        file = tmp_path / "report.html"
        asks = f"<script>const result = {{}}; {script} {ALWAYS} document.body.dataset.result = JSON.stringify(result)"
        file.write_text(page.replace("</body>", f"{asks}</script></body>"), encoding="utf-8")
        command = [
            str(CHROMIUM),
            *FLAGS,
            f"--user-data-dir={profile}",
            f"--window-size={width},900",
            file.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
        found = re.search(r'data-result="([^"]*)"', done.stdout)
        assert found is not None, "the script did not reach its end"
        return dict(json.loads(unescape(found[1])))

    return opened


def complete(report: Report) -> Report:
    """The report with everything that is drawn: errors of elements, norms, steps."""
    errors = Spread(
        edges=(0.5, 1.0, 2.0), counts=(3, 3), equal=5, nonfinite=2, reference=(1.0, -2.0), candidate=(2.0, 4.0)
    )
    steps = tuple(StepReport(step=n, compared=6, failing=1, weights=10.0**-n, loss=0.1) for n in range(1, 30))

    def drawn(check: Any) -> Any:
        rows = (
            dataclasses.replace(t, spread=errors if t.failed else None, reference_norm=2.0, candidate_norm=3.0)
            for t in check.tensors
        )
        return dataclasses.replace(check, tensors=tuple(rows), by_step=steps)

    runs = (dataclasses.replace(run, checks=tuple(map(drawn, run.checks))) for run in report.runs)
    return dataclasses.replace(report, runs=tuple(runs))


def page(report: Report) -> str:
    return REPORTERS["html"](complete(report), RenderOptions())


@pytest.mark.parametrize(("name", "width"), [("several", 1280), ("several", 420), ("large", 420), ("hostile", 420)])
def test_nothing_is_loaded_or_cut_off(name: str, width: int, browse: Browse, request: pytest.FixtureRequest) -> None:
    found = browse(page(request.getfixturevalue(name)), width=width)
    assert found == {"requests": [], "cut": [], "overlong": []}


def test_a_mutation_fits_a_narrow_screen(browse: Browse) -> None:
    faults = tuple(
        FaultReport(code=f"GC{code}", title="cotangent missing", place="boundary 0 → 1", effect="it was ones",
                    status="missed" if code == 104 else "caught", named=code != 105, margin=float(code))
        for code in range(101, 113)
    )  # fmt: skip
    run = MutationReport(name="cnn", config="configs/cnn.yaml", verdict="fail", faults=faults)
    report = Mutations(tool=Tool(name="gradcheck", version="1"), environment=Environment(), runs=(run,))
    sort = """
      const table = document.querySelector("table.data");
      [...table.querySelectorAll("thead button")].at(-2).click();
      result.first = table.tBodies[0].rows[0].cells[0].textContent;
    """
    found = browse(MUTATION_REPORTERS["html"](report, RenderOptions()), sort, width=420)
    assert found == {"first": "GC112", "requests": [], "cut": [], "overlong": []}


def test_tables_are_sorted_and_filtered(large: Report, browse: Browse) -> None:
    script = """
      const table = document.querySelector("table.tensors");
      const head = [...table.tHead.rows[0].cells].find((one) => one.textContent === "max rel");
      const rows = () => [...table.querySelectorAll("tr.fine, tr.failing")].filter((row) => !row.hidden);
      const errors = () => rows().map((row) => parseFloat(row.cells[head.cellIndex].textContent));
      const before = errors();
      head.querySelector("button").click();
      result.sort = head.getAttribute("aria-sort");
      result.descends = errors().every((one, n, all) => n === 0 || one <= all[n - 1]);
      result.largest = errors().slice(0, 4);
      head.querySelector("button").click();
      result.ascends = errors().every((one, n, all) => n === 0 || one >= all[n - 1]);
      head.querySelector("button").click();
      result.restored = JSON.stringify(errors()) === JSON.stringify(before) && head.getAttribute("aria-sort") === null;
      const bar = table.closest("details").querySelector(".controls");
      const [words, failing] = bar.querySelectorAll("input");
      const set = (input, change) => { change(); input.dispatchEvent(new Event("input")); };
      set(failing, () => { failing.checked = true; });
      result.failing = [errors().length, bar.querySelector("output").value];
      result.headings = [...table.tBodies].filter((body) => !body.hidden).length;
      set(words, () => { words.value = "CONV7_"; });
      result.both = errors().length;
      set(failing, () => { failing.checked = false; });
      result.words = errors().length;
    """
    found = browse(page(large), script)
    assert found == {
        "sort": "descending", "descends": True, "largest": [1.5, 1.5, 1.5, 1e-3], "ascends": True, "restored": True,
        "failing": [3, "3 of 600"], "headings": 2, "both": 1, "words": 10, "requests": [], "cut": [], "overlong": [],
    }  # fmt: skip


def test_a_link_unfolds_what_it_points_to(failing: Report, browse: Browse) -> None:
    script = """
      const fold = document.getElementById("run-1-check-1"), code = document.getElementById("GC101");
      result.folded = [fold.open, code.open];
      location.hash = "#run-1-check-1";
      reveal();
      location.hash = "#GC101";
      reveal();
      result.unfolded = [fold.open, code.open];
    """
    found = browse(page(failing), script)
    assert (found["folded"], found["unfolded"]) == ([False, False], [True, True])


def test_the_page_is_complete_without_its_script(large: Report, browse: Browse) -> None:
    whole = re.sub(r"<script>.*?</script>", "", page(large), flags=re.DOTALL)
    script = """
      result.rows = document.querySelectorAll("table.tensors tr.fine, table.tensors tr.failing").length;
      result.controls = [...document.querySelectorAll(".controls")].filter((one) => one.getClientRects().length).length;
    """
    found = browse(whole, script)
    assert (found["rows"], found["controls"]) == (600, 0)


def test_what_is_cut_off_is_seen(passing: Report, browse: Browse) -> None:
    planted = page(passing).replace("<main>", '<main><p style="width: 900px">wide</p><img src="file:///none.png">')
    with pytest.raises(AssertionError, match=r"none\.png"):  # the page's own policy refuses it, and says so
        browse(planted, width=420)
    assert "wide" in browse(planted.replace('<img src="file:///none.png">', ""), width=420)["cut"][0]
