"""The reports of several runs as one: of the shards of a list of configs, or of any other configs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from itertools import chain, islice, zip_longest
from typing import TYPE_CHECKING

from gradcheck.phrases import and_more, listed
from gradcheck.results.report import Report, Summary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gradcheck.results.report import RunReport

#: What results depend on: reports that differ in it can be joined, and that is said.
_DEPENDED_ON = ("python", "tensorflow", "keras", "numpy", "device", "commit")

_MOST = 20  # the most shards that an error names


def joined(reports: Mapping[str, Report]) -> Report:
    """Return one report of all runs: those of shards in the order of the whole list, others one after another.

    Args:
        reports: each report by the name of its file.

    Raises:
        ValueError: if a shard is missing or there twice, if they are not of one list, or if two have the same config.
    """
    sharded = {file: report for file, report in reports.items() if report.shard is not None}
    if sharded and len(sharded) < len(reports):
        others = listed(file for file in reports if file not in sharded)
        raise ValueError(f"{others}: no report of a shard, as {listed(sharded)} are: join these alone")
    runs = _in_order(sharded) if sharded else tuple(chain.from_iterable(report.runs for report in reports.values()))
    _require_once(reports)
    first = next(iter(reports.values()))
    return replace(first, runs=runs, summary=Summary.of(runs), shard=None)


def unlike(reports: Mapping[str, Report]) -> Iterator[str]:
    """Yield what differs between the reports and does not keep them from being one: versions, commits, missing ends."""
    for name in _DEPENDED_ON:
        found = {str(getattr(report.environment, name)): file for file, report in reports.items()}
        if len(found) > 1:
            yield f"{name} differs: {listed(f'{value} in {file}' for value, file in found.items())}"
    versions = {report.tool.version: file for file, report in reports.items()}
    if len(versions) > 1:
        yield f"gradcheck differs: {listed(f'{value} in {file}' for value, file in versions.items())}"
    for file, report in reports.items():
        due = 0 if report.shard is None else len(report.shard.share(range(report.shard.configs)))
        if len(report.runs) < due:
            yield f"{file} ended early: it has {len(report.runs)} of the {due} configs of shard {report.shard}"


def _in_order(reports: Mapping[str, Report]) -> tuple[RunReport, ...]:
    """Return the runs of all shards in the order of the list that they share.

    Raises:
        ValueError: as `joined` does.
    """
    files = defaultdict[int, list[str]](list)
    lists = defaultdict[str, list[str]](list)
    count = 0
    for file, report in reports.items():
        if (shard := report.shard) is not None:
            files[shard.index].append(file)
            lists[f"{shard.configs} configs in {shard.count} shards"].append(file)
            count = shard.count
    if len(lists) > 1:
        raise ValueError(
            f"shards of different lists: {'; '.join(f'{one} in {listed(of)}' for one, of in lists.items())}"
        )
    twice = [f"shard {index}/{count} ({listed(of)})" for index, of in sorted(files.items()) if len(of) > 1]
    if twice:
        raise ValueError(f"there twice: {listed(twice)}")
    if len(files) < count:
        missing = (f"{index}/{count}" for index in range(1, count + 1) if index not in files)
        raise ValueError(f"missing: shard {listed([*islice(missing, _MOST), *and_more(count - len(files) - _MOST)])}")
    of_shards = [reports[files[index][0]].runs for index in range(1, count + 1)]
    return tuple(run for row in zip_longest(*of_shards) for run in row if run is not None)


def _require_once(reports: Mapping[str, Report]) -> None:
    seen: dict[str, str] = {}
    for file, report in reports.items():
        for run in report.runs:
            other = seen.setdefault(run.config, file)
            if other != file:
                raise ValueError(f"{run.config} is in {other} and in {file}")
