"""Whatever names and messages hold, every output stays what it is to a program or a terminal."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from junitparser import JUnitXml
from markdown_it import MarkdownIt

from gradcheck.cli.main import main
from gradcheck.reporters import REPORTERS
from gradcheck.workers import VARIABLE

NASTY = (
    "\x1b[31mred\x9b1m\u202eback\u200bzero\ufeff\x7f\x07[bold]x[/] <script>alert(1)</script>"
    "<img src=x onerror=alert(1)>"
    " \"'&amp; a|b `c` *d* @me #1 ${{ secrets.x }} ]]> --> </pre></code></details></system-out>"
    "\r\n::error file=x::pwned\n  ::add-mask::x\n%0A::stop-commands::y\u2028::warning::z\x85end"
)
LAYER = NASTY.replace("/", "")
CONFIG = f"""
name: {json.dumps(NASTY)}
description: {json.dumps(NASTY)}
model:
  input: {{shape: [4]}}
  layers: [Dense: {{units: 3, activation: tanh, name: {json.dumps(LAYER)}}}, Dense: 2]
split: {{every: layer}}
methods:
  - naive
  - candidate: {{factory: "./code.py:raises", name: {json.dumps(NASTY)}}}
"""
CODE = f"def raises(*args, **kwargs):\n    raise ValueError({NASTY!r})\n"
#: What a file system holds of it.
FILE = NASTY.replace("/", "")[:80] + "\n::error::x.yaml"
#: Elements that run nothing and fetch nothing.
TAGS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "footer", "section", "article", "nav"),
    *("h1", "h2", "h3", "h4", "p", "div", "span", "ul", "ol", "li", "dl", "dt", "dd", "pre", "code", "strong", "em"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "br", "hr", "details", "summary", "figure", "input"),
    *("svg", "g", "rect", "line", "polyline", "path", "text", "defs", "marker", "polygon", "label", "figcaption"),
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, str]]:
    """By format, standard output and standard error of a run where everything has such names, in one process."""
    folder = tmp_path_factory.mktemp("nasty")
    (folder / FILE).write_text(CONFIG, encoding="utf-8")
    (folder / "code.py").write_text(CODE, encoding="utf-8")
    program = f"""
import os, sys
from gradcheck.cli.main import main
for name in {list(REPORTERS)}:
    main(["run", {FILE!r}, "--format", name, "--output", name, "-v"])
    sys.stderr.write("\\n=====\\n")
    os.environ[{VARIABLE!r}] = "0"  # the first has a worker, which loads TensorFlow; the others share one
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    errors = done.stderr.split("\n=====\n")
    return {
        name: ((folder / name).read_text(encoding="utf-8"), err) for name, err in zip(REPORTERS, errors, strict=False)
    }


def harmless(text: str, *, commands: bool = False) -> None:
    """No character that a terminal, or a reader's eye, takes for anything but itself, and no command to GitHub."""
    assert {c for c in text if not c.isprintable()} <= {"\n"}
    if not commands:
        assert [line for line in text.split("\n") if line.strip().startswith("::")] == []


@pytest.mark.parametrize("name", REPORTERS)
def test_nothing_but_characters_that_print(outputs: dict[str, tuple[str, str]], name: str) -> None:
    report, errors = outputs[name]
    harmless(report, commands=name == "github")
    harmless(errors)


class Page(HTMLParser):
    """The elements of a page, their attributes, and the text of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        if self.cdata_elem == "script":
            self.scripts.append(data)


def test_html_has_no_foreign_element(outputs: dict[str, tuple[str, str]]) -> None:
    page = Page(outputs["html"][0])
    assert page.tags <= {*TAGS, "a", "script", "tspan"}
    assert len(page.scripts) == 1  # its own
    assert "alert" not in page.scripts[0]
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "src"]
    assert not [value for name, value in page.attributes if name == "href" and not str(value).startswith("#")]


def test_markdown_has_no_foreign_element(outputs: dict[str, tuple[str, str]]) -> None:
    found = MarkdownIt("commonmark").enable("table").render(outputs["markdown"][0])
    assert set(re.findall(r"</?([a-z0-9]+)", found)) <= TAGS
    assert "@me" not in re.sub(r"<(code|pre)[ >].*?</\1>", "", found, flags=re.DOTALL)


def test_junit_has_the_names_as_data(outputs: dict[str, tuple[str, str]]) -> None:
    (suite,) = JUnitXml.fromstring(outputs["junit"][0].encode())
    names = {case.classname for case in suite}
    assert any("<script>alert(1)</script>" in name and r"\x1b[31mred\x9b1m\u202eback" in name for name in names)


def test_json_has_the_names_as_data(outputs: dict[str, tuple[str, str]]) -> None:
    (run,) = json.loads(outputs["json"][0])["runs"]
    assert run["name"] == NASTY


def test_github_has_one_annotation_for_each_failure(outputs: dict[str, tuple[str, str]]) -> None:
    lines = outputs["github"][0].splitlines()
    assert [line for line in lines if not re.match(r"::(error|warning|notice) (file|title)=", line)] == []
    (run,) = json.loads(outputs["json"][0])["runs"]
    failed = [check for check in run["checks"] if not check["as_expected"]]
    assert len([line for line in lines if line.startswith("::error ")]) == len(failed) == 2


def test_the_errors_say_what_it_is_about(outputs: dict[str, tuple[str, str]]) -> None:
    errors = outputs["table"][1]
    assert r"raised ValueError: \x1b" not in errors  # colours of messages are left out
    assert "error[GC054]" in errors
    assert "code.py:2:" in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate", "bad.yaml"],
        ["validate", NASTY],
        ["run", "bad.yaml"],
        ["run", NASTY],
        ["run", "good.yaml", "--set", f"{NASTY}=1"],
        ["run", "good.yaml", "--seed", NASTY],
        ["run", "good.yaml", "--format", NASTY],
        ["plan", "good.yaml"],
        ["plan", "good.yaml", "--format", "json"],
        ["plan", "good.yaml", "--set", f"split={{after: [{json.dumps(NASTY)}]}}"],
        ["layer", NASTY, "--input-shape", "3"],
        ["layer", "Dense", "--input-shape", NASTY],
        ["explain", NASTY],
        ["schema", "-o", f"none/{NASTY}"],
        ["init", f"none/{NASTY}"],
        [NASTY],
        ["run", f"--{NASTY}"],
    ],
    ids=lambda arguments: " ".join(a if a.isprintable() else "..." for a in arguments),
)
@pytest.mark.parametrize("color", [[], ["--color", "always"]], ids=["", "color"])
def test_commands(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    arguments: list[str],
    color: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    Path("good.yaml").write_text(CONFIG, encoding="utf-8")
    Path("code.py").write_text(CODE, encoding="utf-8")
    nasty = json.dumps(NASTY)
    bad = f"{CONFIG}\n::error file=x::pwned: 1\n? {nasty}\n: 1\nprecision: {nasty}\nloss: {{{nasty}: {{factory: 3}}}}\n"
    Path("bad.yaml").write_text(bad, encoding="utf-8")
    main([*arguments[:1], *(color if arguments[0] != NASTY else []), *arguments[1:]])
    out, err = capfd.readouterr()
    ours = re.compile(r"\x1b\[[0-9;]*m") if color else re.compile("(?!)")
    harmless(ours.sub("", out))
    harmless(ours.sub("", err))


def test_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    Path("good.yaml").write_text(CONFIG, encoding="utf-8")
    Path("code.py").write_text(CODE, encoding="utf-8")
    main(["run", "good.yaml", "--method", "candidate"])
    assert not set(capfd.readouterr().err) & set("\x9b\u202e\u200b\x07\x85\u2028")
