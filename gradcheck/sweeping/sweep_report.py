"""The sweep of a function as the record of a run: a check for each way, a row for each derivative that is wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gradcheck.catalogue import CATALOGUE
from gradcheck.engines.asking import TITLES
from gradcheck.errors import ExitCode
from gradcheck.methods.directional.slopes import AROUND
from gradcheck.numerics import Tolerance, compare, largest_finite
from gradcheck.results.point_counts import PointCounts
from gradcheck.results.report import CheckReport, Coverage, Diagnosis, RunReport, Sides, TensorReport
from gradcheck.sweeping.call_bench import DOUBLE, SINGLE, TRIALS, WAYS
from gradcheck.sweeping.reproducer import reproducer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.results.report import Outcome
    from gradcheck.sweeping.sweep import Swept, WrongDerivative

#: What each check holds beside the finite differences.
SIDES = {
    "numeric": "tape",
    SINGLE: "tape in float32",
    "forward": "forward mode",
    "graph": "compiled",
    "xla": "compiled by XLA",
    **TITLES,
    "second": "tape of tape",
    "forward_over_reverse": "forward over reverse",
    "reverse_over_forward": "reverse over forward",
    "forward_over_forward": "forward over forward",
}
#: The code of a gradient that is wrong wherever it is measured is that of a custom gradient.
_TITLES = {AROUND: "gradient wrong"}
_RESTS_ON = "the forward pass alone"
_RESTS_ON_FIRST = "the forward pass, and the first derivatives by the tape"


def run_report(swept: Swept) -> RunReport:
    """Return the record of a sweep."""
    checks = [_check(way.name, swept, second=way.second) for way in WAYS if swept.tried.get(way.name)]
    failed = any(check.outcome == "mismatch" for check in checks)
    proven = any(check.outcome == "match" for check in checks)
    return RunReport(
        name=swept.function.name,
        config=swept.function.reference,
        seed=TRIALS[0][0],
        precision=DOUBLE,
        execution="eager",
        verdict="fail" if failed else "pass" if proven else "vacuous",
        exit_code=int(ExitCode.MISMATCH if failed else ExitCode.OK if proven else ExitCode.VACUOUS),
        coverage=Coverage(
            trainable=max((len(call.leaves) for call in swept.calls), default=0), compared=0, absent=0, dead=0
        ),
        checks=tuple(checks),
        notes=tuple(f"{where}: {why}" for where, why in swept.left.items()),
        inputs=tuple(call.code(call.names) for call in swept.calls),
    )


def _check(name: str, swept: Swept, *, second: bool) -> CheckReport:
    found = [one for one in swept.found if one.check == name]
    tensors, counts = tuple(_row(swept, one) for one in found), swept.tried[name]
    conventions = {why for call in swept.calls for check, why in call.case.convention.items() if check in (name, "all")}
    outcome: Outcome = "mismatch" if found else "match" if counts["match"] else "inconclusive"
    return CheckReport(
        method=name,
        expect="match",
        outcome=outcome,
        as_expected=not found,
        loss=math.nan,
        loss_abs_error=math.nan,
        max_abs_error=largest_finite(tensor.max_abs_error for tensor in tensors),
        max_rel_error=largest_finite(tensor.max_rel_error for tensor in tensors),
        seconds=math.nan,
        tensors=tensors,
        diagnoses=tuple(_diagnoses(swept, found)),
        notes=tuple(f"by convention: {why}" for why in sorted(conventions)) if counts["convention"] else (),
        rests_on=_RESTS_ON_FIRST if second else _RESTS_ON,
        sides=Sides(reference=SIDES[name], candidate="finite differences"),
        points=PointCounts(**counts),
    )


def _row(swept: Swept, found: WrongDerivative) -> TensorReport:
    """Return the row of one tensor at one point: what TensorFlow gives, beside the slopes."""
    call, slopes = swept.calls[found.case], found.slopes
    shape = slopes.probe.shape
    got = slopes.probe.tape.reshape(shape) if slopes.connected else None
    compared = compare(got, slopes.values.reshape(shape), Tolerance(rtol=slopes.agree, atol=0.0))
    name = call.names[found.leaf]
    code = call.code(call.names)
    return TensorReport(
        **{**vars(compared), "note": f"{found.wrong.code}: {found.wrong.says}"},
        kind="input",
        segment=None,
        layer=code,
        name=name,
        path=f"{name} at {found.point} of {code}",
    )


def _says(found: WrongDerivative) -> str:
    """Return the mistake in words."""
    return found.wrong.says.replace("the tape", TITLES.get(found.check, "the tape"))


def _diagnoses(swept: Swept, found: Sequence[WrongDerivative]) -> Iterator[Diagnosis]:
    """Yield one diagnosis for all points that have one mistake in common, with a script that shows it."""
    kinds: dict[tuple[int, str], list[WrongDerivative]] = {}
    for one in found:
        kinds.setdefault((one.case, one.wrong.code), []).append(one)
    for (case, code), alike in kinds.items():
        call = swept.calls[case]
        shown = next((s for one in alike if (s := reproducer(call, one, swept.function.own_module))), None)
        points = ", ".join(dict.fromkeys(one.point for one in alike))
        tensors = ", ".join(dict.fromkeys(call.names[one.leaf] for one in alike))
        figures = f"got {shown.got}, right {shown.right}" if shown else _says(alike[0])
        yield Diagnosis(
            code=code,
            title=_TITLES.get(code, CATALOGUE[code].title),
            segment=None,
            layer=call.code(call.names),
            confidence="exact",
            evidence=f"{figures}; by {tensors} at {points}",
            fix=CATALOGUE[code].fix,
            place=call.code(call.names),
            reproducer=shown.code if shown else None,
        )
