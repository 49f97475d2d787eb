"""Training code as other people write it: each mistake gets its name, and right code gets none.

The files lie in `names/`. Right above each wrong function stands what the first diagnosis must be:

    # expect: GC110 segment_1          the code, and words that occur in place, evidence or fix
    # expect: GC302|GC303              either is right
    # expect: GC900 + GC201 + GC105    two mistakes at once: that none explains, and what the two are

A function of `check` alone is a candidate; one whose name begins with `right` matches. In the files of parts, a
function without arguments builds the part whose name its own begins with, and takes its place.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.results.report import CheckReport, RunReport

    Runs = Callable[[str], dict[str, tuple[RunReport, CheckReport]]]

NAMES = Path(__file__).parent / "names"
MODELS = sorted(path.stem for path in NAMES.glob("*.yaml"))


@dataclass(frozen=True, kw_only=True)
class Written:
    """A function of a file, and what is expected of it.

    Attributes:
        model: the name of the file.
        name: of the function.
        codes: of the first diagnosis, any of which is right; empty where there must be none.
        behind: the codes of the diagnoses after it.
        words: in the first diagnosis.
    """

    model: str
    name: str
    codes: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    words: str = ""

    @property
    def text(self) -> str:
        return f"{self.model}:{self.name}"


def config(model: str) -> dict[str, Any]:
    return dict(yaml.safe_load((NAMES / f"{model}.yaml").read_text(encoding="utf-8")))


def parts(model: str) -> list[str]:
    """The names of the factories of the parts; none where the config has a whole model alone."""
    segments = config(model)["model"].get("segments", [])
    return [segment["factory"].partition(":")[2] for segment in segments]


def written(model: str) -> Iterator[Written]:
    """The functions of a file that are run."""
    source = (NAMES / f"{model}.py").read_text(encoding="utf-8")
    tree, lines, own = ast.parse(source), source.splitlines(), parts(model)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for function in tree.body:
        if not isinstance(function, ast.FunctionDef):
            continue
        first = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
        code, _, said = lines[first - 2].partition("# expect: ")
        arguments = [argument.arg for argument in function.args.args]
        if said and not code:
            yield expected(model, function.name, said)
        elif function.name.startswith("right") and (own or arguments == ["check"]):
            yield Written(model=model, name=function.name)
        else:
            assert function.name in used or arguments != ["check"], f"{model}:{function.name} has no `# expect:`"


def expected(model: str, name: str, said: str) -> Written:
    codes, _, rest = said.partition(" ")
    if rest.startswith("+"):
        return Written(model=model, name=name, codes=(codes,), behind=tuple(rest[1:].replace(" ", "").split("+")))
    return Written(model=model, name=name, codes=tuple(codes.split("|")), words=rest.strip())


ALL = [function for model in MODELS for function in written(model)]
RIGHT = [function for function in ALL if not function.codes]
WRONG = [function for function in ALL if function.codes]


def run(model: str) -> dict[str, tuple[RunReport, CheckReport]]:
    """The report on each function of a file."""
    names = [function.name for function in written(model)]
    return of_parts(model, names) if parts(model) else of_candidates(model, names)


def of_candidates(model: str, names: list[str]) -> dict[str, tuple[RunReport, CheckReport]]:
    from gradcheck import check

    kind = "train_step" if "train" in config(model) else "factory"
    methods = [{"candidate": {kind: f"./{model}.py:{name}", "name": name}} for name in names]
    (report,) = check(NAMES / f"{model}.yaml", methods=methods).runs
    assert [found.method for found in report.checks] == names, report.error
    return {found.method: (report, found) for found in report.checks}


def of_parts(model: str, names: list[str]) -> dict[str, tuple[RunReport, CheckReport]]:
    from gradcheck import check

    reports = {}
    for name in names:
        chain = [name if name.startswith(f"{part}_") else part for part in parts(model)]
        segments = [{"factory": f"./{model}.py:{part}"} for part in chain]
        (report,) = check(NAMES / f"{model}.yaml", model={**config(model)["model"], "segments": segments}).runs
        (reports[name],) = ((report, found) for found in report.checks)
    return reports


@pytest.fixture(scope="module")
def reports() -> Any:
    """The reports on the functions of a file, made once."""
    return cache(run)


def text(function: Written) -> str:
    return function.text


#: The codes that are asked for in three ways at least, whether first or behind GC900.
IN_THREE_WAYS = (
    *("GC101", "GC104", "GC109", "GC110", "GC111", "GC112", "GC113", "GC201", "GC204"),
    *("GC301", "GC302", "GC303", "GC304", "GC305", "GC310", "GC311", "GC404", "GC407"),
    *("GC501", "GC503", "GC505", "GC506", "GC507", "GC601", "GC606", "GC609", "GC900"),
)


def test_each_mistake_is_written_in_three_ways() -> None:
    assert {right.model for right in RIGHT} == set(MODELS)
    codes = Counter(code for function in WRONG for code in (*function.codes, *function.behind))
    assert [code for code in IN_THREE_WAYS if codes[code] < 3] == []


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take a third of the files, unless `--families all` asks for every one."""
    if "function" in metafunc.fixturenames:
        models = MODELS if metafunc.config.getoption("--families") == "all" else MODELS[1::3]
        functions = RIGHT if metafunc.function is test_right_code_matches else WRONG
        metafunc.parametrize("function", [found for found in functions if found.model in models], ids=text)


@pytest.mark.third
def test_right_code_matches(reports: Runs, function: Written) -> None:
    _, check = reports(function.model)[function.name]
    assert check.outcome == "match", check.failures
    assert check.diagnoses == ()


def test_a_mistake_gets_its_name(reports: Runs, function: Written) -> None:
    report, check = reports(function.model)[function.name]
    assert (report.verdict, report.exit_code, check.outcome) == ("fail", 1, "mismatch"), report.error
    first, *more = check.diagnoses
    assert first.code in function.codes, check.diagnoses
    assert function.words in f"{first.place}, {first.layer}: {first.evidence} {first.fix}", first
    if function.behind:
        assert {found.code for found in more} == set(function.behind), check.diagnoses
        assert "together" in first.evidence
        assert {found.confidence for found in more} == {"likely"}
