"""Configs as a person might write them, right and wrong, and what `gradcheck validate` says of each."""

from __future__ import annotations

import io
import re
from collections import Counter
from contextlib import redirect_stderr
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st

from gradcheck.catalogue import CATALOGUE
from gradcheck.cli.main import main
from gradcheck.errors import ExitCode
from tests.generated import damage, from_schema, graphs
from tests.generated.driving import Judged, Kind

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = [*ROOT.glob("configs/*.yaml"), *ROOT.glob("tests/examples/passing/*.yaml")]
#: What the terminal would take for a command: anything below a space but a line break.
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")


@cache
def shipped() -> list[Any]:
    """The configs of the repository."""
    return [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(SHIPPED)]


@st.composite
def any_config(draw: st.DrawFn) -> Any:
    """From the schema, one that is shipped, or a random model beside keys from the schema."""
    source = draw(st.integers(0, 2))
    if source == 0:
        return draw(from_schema.configs())
    if source == 1:
        return draw(st.sampled_from(shipped()))
    config, more = draw(graphs.configs()), draw(from_schema.configs())
    return {**{key: value for key, value in more.items() if key != "model"}, **config} | {
        key: more[key] for key in ("loss", "data", "tolerance", "methods") if key in more
    }


def files(folder: Path) -> None:
    """The files that generated configs name."""
    for name in from_schema.FILES:
        (folder / name).touch()


def judge(path: Path) -> Judged:
    """The codes of the mistakes that `validate` prints, `valid` for none. Anything but a list of mistakes fails."""
    printed = io.StringIO()
    with redirect_stderr(printed):
        exit_code = main(["validate", "-v", "--color", "never", str(path)])
    text = printed.getvalue()
    codes = re.findall(r"^error\[(GC\d{3})\]: \S", text, re.MULTILINE)
    counts = Counter(set(codes) or ["valid"])
    wrong = None
    if exit_code not in (ExitCode.OK, ExitCode.USAGE):
        raised = re.findall(r"^\w*(?:Error|Exception|Exit)\b", text, re.MULTILINE)
        wrong = f"validate ended with {exit_code}: {(raised or ['?'])[-1]}"
    elif bool(codes) != (exit_code == ExitCode.USAGE) or not CATALOGUE.keys() >= set(codes):
        wrong = f"validate ended with {exit_code} and {len(codes)} mistakes"
    elif CONTROL.search(text):
        wrong = "validate printed a control character"
    return Judged(counts=counts, failure=wrong, about=text)


VALIDATE = Kind(
    name="validate",
    texts=damage.texts(any_config()),
    judge=judge,
    rerun="gradcheck validate -v {}",
    prepare=files,
)
