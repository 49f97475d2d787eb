"""The difference of two reports: what newly fails or passes, what drifted, what appeared and vanished.

The keys are a contract: add, never rename. Numbers that are not finite are written as null.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, fields
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from gradcheck.errors import ExitCode, most_serious
from gradcheck.results.json_types import json_text, plain_of
from gradcheck.results.report import PROVEN, SCHEMA_VERSION
from gradcheck.results.tensor import NOISE_FACTOR

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    from gradcheck.results.origin import Environment, Tool
    from gradcheck.results.report import CheckReport, Kind, Quantity, Report, RunReport, TensorReport

Direction = Literal["newly_failing", "newly_passing", "drifted", "appeared", "vanished"]
Level = Literal["run", "check", "tensor"]


class Item(NamedTuple):
    """What is found again in another report of the same config: the run itself, a check of it, or a tensor.

    `check` is its method, and its number among the checks of that method. The tensors of a training run are one item
    over all steps.
    """

    level: Level
    check: tuple[str, int] | None = None
    kind: Kind | None = None
    path: str | None = None
    quantity: Quantity | None = None

    @property
    def parent(self) -> Item | None:
        """The item that this one is part of; None for a run."""
        if self.level == "run":
            return None
        return Item("check", self.check) if self.level == "tensor" else Item("run")


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of an item in one of the reports.

    Attributes:
        status: of a tensor its status, of a check its outcome; of a run its verdict if the run as a whole fails (an
            error, nothing proven), else `ran`.
        exit_code: 0 if it does not fail; otherwise the exit code of this failure alone.
        codes: the codes of its errors and diagnoses.
        step: of a training run: the first failing step of the tensor; the last one if it does not fail.
        max_abs_error, max_rel_error: of a tensor: as in its report.
        noise: of a tensor: the largest movement of `max_abs_error` that rounding explains.
        shape, dtype: of a tensor.
    """

    status: str
    exit_code: int = 0
    codes: tuple[str, ...] = ()
    step: int | None = None
    max_abs_error: float = math.nan
    max_rel_error: float = math.nan
    noise: float = math.nan
    shape: tuple[int, ...] = ()
    dtype: str = ""


@dataclass(frozen=True, kw_only=True)
class ReportChange:
    """One item that differs between the reports. `method`, `kind`, `path` and `quantity` are None where it has none."""

    change: Direction
    level: Level
    config: str
    method: str | None
    kind: Kind | None
    path: str | None
    quantity: Quantity | None
    old: Result | None
    new: Result | None


@dataclass(frozen=True, kw_only=True)
class ReportOrigin:
    """One of the two reports: its file (None for the run at hand), the program that wrote it, and its environment."""

    file: str | None
    tool: Tool
    environment: Environment


@dataclass(frozen=True, kw_only=True)
class Counts:
    """The number of changes by direction, and of items that did not change."""

    newly_failing: int
    newly_passing: int
    drifted: int
    appeared: int
    vanished: int
    unchanged: int


@dataclass(frozen=True, kw_only=True)
class ReportDifference:
    """The difference of two reports. `notes` says in what environment and settings they differ."""

    schema_version: str = SCHEMA_VERSION
    old: ReportOrigin
    new: ReportOrigin
    summary: Counts
    changes: tuple[ReportChange, ...]
    notes: tuple[str, ...] = ()

    def of(self, direction: Direction) -> tuple[ReportChange, ...]:
        """Return the changes of this direction, in the order of the new report."""
        return tuple(change for change in self.changes if change.change == direction)

    @property
    def severity(self) -> ExitCode:
        """The most serious exit code of what newly fails; 0 if nothing does."""
        return most_serious(ExitCode(change.new.exit_code) for change in self.of("newly_failing") if change.new)

    @property
    def exit_code(self) -> ExitCode:
        """1 if something newly fails, whatever its own exit code."""
        return ExitCode.MISMATCH if self.summary.newly_failing else ExitCode.OK

    def to_json(self) -> str:
        """Return the difference as JSON text without a final line break."""
        return json_text(plain_of(self))


def difference(
    old: Report, new: Report, *, old_file: str | None = None, new_file: str | None = None
) -> ReportDifference:
    """Compare two reports of the same configs.

    Runs belong together by their config, the checks of a run by their method, the tensors of a check by kind and path.
    """
    changes: list[ReportChange] = []
    notes = [*_other(old.tool, new.tool, "gradcheck "), *_other(old.environment, new.environment, "")]
    unchanged = 0
    for before, after in _matched(old.runs, new.runs):
        found, same = _changes(before, after)
        changes += found
        unchanged += same
        if before and after and not (before.own_errors or after.own_errors):  # which have defaults for settings
            notes += _other(before, after, f"{after.config or after.name}: ")
    counts = Counter(change.change for change in changes)
    every = (field.name for field in fields(Counts))
    return ReportDifference(
        old=ReportOrigin(file=old_file, tool=old.tool, environment=old.environment),
        new=ReportOrigin(file=new_file, tool=new.tool, environment=new.environment),
        summary=Counts(**{name: counts[name] for name in every} | {"unchanged": unchanged}),  # type: ignore[index]
        changes=tuple(changes),
        notes=tuple(notes),
    )


_SETTINGS = ("version", "python", "tensorflow", "keras", "numpy", "device", "seed", "precision", "execution")


def _other(old: Any, new: Any, prefix: str) -> Iterator[str]:
    """Yield `keras 3.14.0 → 3.15.0` for each setting that two records of one class have with other values."""
    for name in _SETTINGS:
        before, after = getattr(old, name, None), getattr(new, name, None)
        if before != after:
            yield f"{prefix}{name} {'-' if before == '' else before} → {'-' if after == '' else after}"


def _matched(old: Sequence[RunReport], new: Sequence[RunReport]) -> list[tuple[RunReport | None, RunReport | None]]:
    """Return each run of `new` with the one of `old` for the same config, then the runs that only `old` has.

    Configs are the same by path. What is left is paired by the last two parts of the path, then by the run's name: a
    report may be from another folder, or from before a file was moved.
    """
    pairs: dict[int, int] = {}
    keys: tuple[Callable[[RunReport], Hashable], ...] = (
        lambda run: (PurePath(run.config), run.name),
        lambda run: PurePath(run.config),
        lambda run: PurePath(run.config).parts[-2:],
        lambda run: run.name,
    )
    for key in keys:
        befores = _by_key(old, key, without=pairs.values())
        for found, places in _by_key(new, key, without=pairs).items():
            if len(places) == len(befores.get(found, ())) == 1:
                pairs[places[0]] = befores[found][0]
    left = [(run, None) for index, run in enumerate(old) if index not in pairs.values()]
    return [*((old[pairs[i]] if i in pairs else None, run) for i, run in enumerate(new)), *left]


def _by_key(runs: Sequence[RunReport], key: Callable[[RunReport], Hashable], without: Any) -> dict[Hashable, list[int]]:
    """Return the places of the runs by their key, without those in `without`."""
    found: dict[Hashable, list[int]] = {}
    for index, run in enumerate(runs):
        if index not in without:
            found.setdefault(key(run), []).append(index)
    return found


def _changes(old: RunReport | None, new: RunReport | None) -> tuple[list[ReportChange], int]:
    """Return what changed in one config, and how many items did not."""
    before, after = _items(old), _items(new)
    run = new or old
    config = "" if run is None else run.config or run.name
    found, unchanged = [], 0
    for item in {**after, **before}:
        direction = _direction(item, before, after)
        unchanged += direction is None and item in before and item in after
        if direction is not None:
            change = ReportChange(
                change=direction,
                level=item.level,
                config=config,
                method=item.check[0] if item.check else None,
                kind=item.kind,
                path=item.path,
                quantity=item.quantity,
                old=before.get(item),
                new=after.get(item),
            )
            found.append(change)
    return found, unchanged


def _direction(item: Item, before: dict[Item, Result], after: dict[Item, Result]) -> Direction | None:
    """Return what became of an item; None if it did not change, or if what it is part of says it already."""
    old, new = before.get(item), after.get(item)
    if new and new.exit_code and not (old and old.exit_code):
        return "newly_failing"
    if old and new:
        if old.exit_code and not new.exit_code:
            return "newly_passing"
        return "drifted" if _drifted(old, new) else None
    if item.parent is not None and not (item.parent in before and item.parent in after):
        return None
    return "appeared" if new else "vanished"


def _drifted(old: Result, new: Result) -> bool:
    """Whether two results differ, of which both fail or neither does: by their kind, or by more than rounding."""
    if old.step != new.step:  # errors of different steps cannot be compared
        return bool(new.exit_code)
    if any(_kind(old, name) != _kind(new, name) for name in ("status", "codes", "shape", "dtype")):
        return True
    return abs(new.max_abs_error - old.max_abs_error) > max(old.noise, new.noise)


def _kind(result: Result, name: str) -> Any:
    """Return a field as far as it matters: equal bit for bit or within the tolerance is the same."""
    value = getattr(result, name)
    return "match" if value in PROVEN else set(value) if name == "codes" else value


def _items(run: RunReport | None) -> dict[Item, Result]:
    """Return the result of each item, in report order."""
    if run is None:
        return {}
    found = {Item("run"): _of_run(run)}
    seen: Counter[str] = Counter()
    for check in run.checks:
        this = (check.method, seen[check.method])
        seen[check.method] += 1
        found[Item("check", this)] = _of_check(check)
        rows: dict[Item, list[TensorReport]] = {}
        for row in check.tensors:
            rows.setdefault(Item("tensor", this, row.kind, row.path, row.quantity), []).append(row)
        found |= {item: _of_tensor(steps, check) for item, steps in rows.items()}
    return found


def _of_run(run: RunReport) -> Result:
    """Return the result of the run as a whole."""
    errors = run.own_errors
    if errors:
        return Result(status=run.verdict, exit_code=errors[0].exit_code, codes=tuple(error.code for error in errors))
    if run.verdict == "vacuous":
        return Result(status=run.verdict, exit_code=ExitCode.VACUOUS)
    return Result(status=run.verdict, exit_code=ExitCode.MISMATCH) if run.unproven else Result(status="ran")


def _of_check(check: CheckReport) -> Result:
    code = ExitCode.OK if check.as_expected else ExitCode.MISMATCH
    codes = dict.fromkeys(diagnosis.code for diagnosis in check.diagnoses)
    if check.error:
        return Result(status=check.outcome, exit_code=check.error.exit_code, codes=(check.error.code,))
    return Result(status=check.outcome, exit_code=code, codes=tuple(codes))


def _of_tensor(rows: Sequence[TensorReport], check: CheckReport) -> Result:
    """Return the result of a tensor: its first failing step, else its last one; outside training it has one row."""
    failing = [row for row in rows if row.failed and check.expect == "match"]
    row = failing[0] if failing else rows[-1]
    return Result(
        status=row.status,
        exit_code=ExitCode.MISMATCH if failing else ExitCode.OK,
        step=row.step,
        max_abs_error=row.max_abs_error,
        max_rel_error=row.max_rel_error,
        # The floor is not measured where the tolerance holds: what its absolute part allows is rounding then.
        noise=NOISE_FACTOR * row.noise_floor if row.noise_floor is not None else row.atol,
        shape=row.shape,
        dtype=row.dtype,
    )
