"""Draws cases of a kind, counts what becomes of each, and shrinks what fails to a small YAML file."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, Phase, given, seed, settings

from gradcheck.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable

    from hypothesis.strategies import SearchStrategy


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What became of one case.

    Attributes:
        counts: outcomes, each with how often it came out.
        failure: what must not be, in a line; None for a case that is as it should be.
        about: the rest of what there is to say of a failure.
    """

    counts: Counter[str]
    failure: str | None = None
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of generated test: the files that are drawn, how one is judged, and the command that does the same."""

    name: str
    texts: SearchStrategy[bytes]
    judge: Callable[[Path], Judged]
    rerun: str
    prepare: Callable[[Path], object] = lambda _: None


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The smallest file that fails in one way."""

    what: str
    about: str
    text: bytes
    path: Path
    rerun: str

    def told(self) -> str:
        """The file, what is wrong with it, and how to see that again."""
        shown = self.text.decode(errors="backslashreplace")
        return f"{self.what}\n{self.about}\n--- {self.path}\n{shown}\n--- rerun: {self.rerun.format(self.path)}\n"


@dataclass(kw_only=True)
class Tally:
    """How many cases of one kind there were, and what became of them."""

    kind: Kind
    cases: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    failures: dict[str, Failure] = field(default_factory=dict)

    def told(self) -> str:
        """A line for each outcome, then every failure."""
        lines = [f"{self.kind.name}: {self.cases} cases, {len(self.failures)} ways to fail"]
        lines += [f"  {count:7} {outcome}" for outcome, count in self.counts.most_common()]
        return "\n".join([*lines, *(failure.told() for failure in self.failures.values())])


class TimeIsOver(BaseException):
    """Ends a run in the middle of a batch; hypothesis takes it for no failing test."""


class _FailedError(AssertionError):
    """The base of one class for each way to fail: hypothesis shrinks each by itself."""


def drive(
    tally: Tally, *, examples: int, start: int, folder: Path | None = None, over: Callable[[], bool] = lambda: False
) -> None:
    """Judges so many cases, the same for the same `start`, and shrinks each new way to fail.

    Args:
        tally: what is counted, and what has failed before: that is counted, and not shrunk again.
        examples: at most how many; fewer where a case fails.
        start: the seed.
        folder: where the smallest failing files are written; by default a new one.
        over: whether to end now.

    Raises:
        TimeIsOver: once `over` says so.
    """
    kind, known = tally.kind, frozenset(tally.failures)
    folder = Path(tempfile.mkdtemp(prefix=f"gradcheck-{kind.name}-")) if folder is None else folder
    kind.prepare(folder)
    current, kinds = folder / "case.yaml", dict[str, type[_FailedError]]()

    @seed(start)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
        print_blob=False,
    )
    @given(kind.texts)
    def case(text: bytes) -> None:
        if over():
            raise TimeIsOver
        current.write_bytes(text)
        judged = kind.judge(current)
        what = judged.failure
        if not kinds:  # what comes after the first failure shrinks it
            tally.cases += 1
            tally.counts += judged.counts
        if what is None or what in known:
            return
        smallest = tally.failures.get(what)
        if smallest is None or len(text) <= len(smallest.text):
            path = folder / f"{kind.name}-{start}-{len(kinds) if what not in kinds else list(kinds).index(what)}.yaml"
            path.write_bytes(text)
            tally.failures[what] = Failure(what=what, about=judged.about, text=text, path=path, rerun=kind.rerun)
        raise kinds.setdefault(what, type("Failed", (_FailedError,), {}))(what)

    try:
        case()
    except Exception:  # also what hypothesis calls flaky, or a group of several
        if not kinds:
            raise
        for what in kinds:
            _trim(tally, what, current, over)
    finally:
        current.unlink(missing_ok=True)


def _trim(tally: Tally, what: str, current: Path, over: Callable[[], bool]) -> None:
    """Takes out of a failing file, line by line with what is indented below it, whatever it fails without."""
    found = tally.failures[what]
    lines, index = found.text.splitlines(keepends=True), 0
    while index < len(lines) and not over():
        shorter = lines[:index] + lines[_end_of_block(lines, index) :]
        current.write_bytes(b"".join(shorter))
        try:
            judged = tally.kind.judge(current)
        except GradcheckError:  # without these lines it is no config
            judged = None
        if judged is not None and judged.failure == what:
            lines, found = shorter, replace(found, text=b"".join(shorter), about=judged.about)
        else:
            index += 1
    found.path.write_bytes(found.text)
    tally.failures[what] = found


def _end_of_block(lines: list[bytes], index: int) -> int:
    """The index of the next line that is indented no more than this one."""
    indents = [len(line) - len(line.lstrip(b" ")) for line in lines]
    return next((i for i in range(index + 1, len(lines)) if indents[i] <= indents[index]), len(lines))
