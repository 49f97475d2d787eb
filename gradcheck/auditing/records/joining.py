"""Records of several processes as one report: what each stage was seeded with, against what its receiver says."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.auditing.audit_report import check_report, seeds_given
from gradcheck.auditing.records.files import read
from gradcheck.auditing.records.handed_back import HandedBack, explained, handed_back
from gradcheck.auditing.records.pairs import crossings
from gradcheck.errors import ExitCode
from gradcheck.numerics import euclidean_norm
from gradcheck.phrases import plural, some
from gradcheck.results.report import Coverage, ReferenceReport, RunReport, TensorReport
from gradcheck.session.verdict import judge

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.auditing.records.pairs import Crossing
    from gradcheck.auditing.records.record import Record
    from gradcheck.results.report import Diagnosis


def join_files(paths: Sequence[Path], options: AuditOptions) -> RunReport:
    """Return the report on the records in some files.

    Raises:
        UsageError: as `read`.
    """
    records = [read(path) for path in paths]
    if max(Counter(record.name for record in records).values()) > 1:
        records = [replace(record, name=path.name) for record, path in zip(records, paths, strict=True)]
    return join(records, options)


def join(records: Sequence[Record], options: AuditOptions) -> RunReport:
    """Return the report on what crosses between the processes, and on the variables of each."""
    runs = [(record, record.run) for record in records if record.run is not None]
    crossed = crossings(records)
    found = [one for crossing in crossed for one in handed_back(crossing, options)]
    allowed = frozenset(options.allow)
    named = [(one, explained(one, found)) for one in found]
    doubtful = {(one.crossing.sender.name, path) for one in found if one.wrong for path in one.left.paths}
    weights = [tensor for record, run in runs for tensor in _weights(record, run, doubtful)]
    tensors = (*_boundaries(named, allowed), *weights)
    own = [_at(record, diagnosis) for record, run in runs for check in run.checks for diagnosis in check.diagnoses]
    across = [diagnosis for _, diagnoses in named for diagnosis in diagnoses]
    distinct = {(d.code, d.line, d.place): d for d in (*across, *own)}
    seconds = max((check.seconds for _, run in runs for check in run.checks), default=0.0)
    check = check_report(
        tensors, list(distinct.values()), allowed, seconds, first=next((t.path for t in tensors if t.failed), None)
    )
    verdict, exit_code = judge((check,), trainable=len(weights))
    errors = tuple(mistake for _, run in runs for mistake in run.errors)
    if errors:
        verdict, exit_code = "error", ExitCode(errors[0].exit_code)
    segments = [
        replace(segment, name=f"{record.name} {segment.name}") for record, run in runs for segment in run.segments
    ]
    return RunReport(
        name=some(list(dict.fromkeys(run.name for _, run in runs))),
        config=some(list(dict.fromkeys(run.config for _, run in runs))),
        seed=0,
        precision=next((run.precision for _, run in runs if run.checks and run.checks[0].tensors), "float32"),
        execution="graph" if any(run.execution == "graph" for _, run in runs) else "eager",
        verdict=verdict,
        error=errors[0] if errors else None,
        errors=errors,
        exit_code=exit_code,
        segments=tuple(replace(segment, index=i) for i, segment in enumerate(segments)),
        reference=ReferenceReport(
            method="tape over the whole step of each process",
            loss=math.nan,
            seconds=math.nan,
            gradient_norm=euclidean_norm([np.asarray(r.gradient_norm) for _, run in runs if (r := run.reference)]),
        ),
        coverage=_coverage([run.coverage for _, run in runs]),
        checks=(check,),
        notes=tuple(dict.fromkeys((*_own_notes(runs, found), *_notes(records, crossed, found)))),
    )


def _boundaries(named: Sequence[tuple[HandedBack, Sequence[Diagnosis]]], allowed: frozenset[str]) -> list[TensorReport]:
    """Return one tensor for each gradient call at a crossing: of the last update that fails, else of the last."""
    shown: dict[str, TensorReport] = {}
    counts: Counter[tuple[str, int]] = Counter()
    for one, diagnoses in named:
        path = f"{one.crossing.place} ({one.left.line})"
        counts[path, one.left.update] += 1
        number = counts[path, one.left.update]
        path += f" #{number}" if number > 1 else ""
        sender = one.crossing.sender
        remark = f"the loss scale {one.undone:g} undone on the way" if one.undone != 1 else None
        tensor = TensorReport(
            kind="boundary",
            segment=None,
            layer=sender.name,
            name=one.left.line,
            path=path,
            **vars(replace(one.comparison, note=one.comparison.note or remark)),
            step=one.left.update,
            quantity="gradient",
            exempt=bool(diagnoses) and all(diagnosis.code in allowed for diagnosis in diagnoses),
            lines=(f"{one.left.line} in {sender.name}", *(f"{came.line} in {r.name}" for r, came in one.crossing.came)),
        )
        if path not in shown or tensor.failed or not shown[path].failed:
            shown[path] = tensor
    return list(shown.values())


def _weights(record: Record, run: RunReport, doubtful: set[tuple[str, str]]) -> Iterator[TensorReport]:
    """Yield the variables of a process, with a remark on those whose own seeds are wrong."""
    for check in run.checks:
        for tensor in check.tensors:
            remark = "judged by the seeds that it was given" if (record.name, tensor.path) in doubtful else None
            yield replace(
                tensor,
                layer=f"{record.name}: {tensor.layer}",
                path=f"{record.name}: {tensor.path}",
                lines=tuple(f"{line} in {record.name}" for line in tensor.lines),
                note="; ".join(filter(None, (tensor.note, remark))) or None,
            )


def _at(record: Record, diagnosis: Diagnosis) -> Diagnosis:
    return replace(diagnosis, place=", ".join(filter(None, (diagnosis.place, record.name))))


def _coverage(parts: Sequence[Coverage]) -> Coverage:
    return Coverage(
        trainable=sum(part.trainable for part in parts),
        compared=sum(part.compared for part in parts),
        absent=sum(part.absent for part in parts),
        dead=sum(part.dead for part in parts),
    )


def _own_notes(runs: Sequence[tuple[Record, RunReport]], found: Sequence[HandedBack]) -> Iterator[str]:
    """Yield the notes of each process, without those on seeds that have been compared now."""
    settled = {(one.crossing.sender.name, seeds_given(one.left.line)) for one in found}
    for record, run in runs:
        yield from (f"{record.name}: {note}" for note in run.notes if (record.name, note) not in settled)


def _notes(records: Sequence[Record], crossed: Sequence[Crossing], found: Sequence[HandedBack]) -> Iterator[str]:
    joined = plural(len(records), "process", "processes")
    yield f"{joined} joined: {plural(len(crossed), 'activation')} of one came into another"
    matched = {id(record) for crossing in crossed for record in (crossing.sender, *(r for r, _ in crossing.came))}
    for record in records:
        if id(record) not in matched and (record.left or record.came):
            yield f"{record.name}: no activation that left it, or came in, is equal to one of another process"
    for crossing in crossed:
        if not any(one.crossing is crossing for one in found):
            line = crossing.left[0].line
            yield f"{crossing.place}: nothing could be compared for the activation of {line}"
