"""Records of a lower stage and an upper one, with an activation `H` between them whose cotangent is `C`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.auditing.records.record import Came, Left, Record, activation_of
from gradcheck.results.report import CheckReport, RunReport, TensorReport

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = np.ndarray[Any, Any]


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape or (6, 5)).astype(np.float32)


def known(value: Array, update: int, dtype: str = "float32") -> dict[str, Any]:
    found = activation_of(value, dtype, update)
    assert found is not None
    return found


def left(h: Array, seed: Array | None, *, update: int = 1, line: str = "lower.py:9", **more: Any) -> Left:
    return Left(**known(h, update), seed=seed, line=line, update_line="lower.py:10", **{"paths": ("w",), **more})


def came(h: Array, c: Array | None, *, update: int = 1, **more: Any) -> Came:
    return Came(**known(h, update), **{"reference": c, "computed": c, "line": "upper.py:5", **more})


def own_run(name: str, status: str = "exact") -> RunReport:
    weight = TensorReport(
        kind="weight", segment=None, layer="", name="w", path="w", shape=(3,), dtype="float32", status=status,  # type: ignore[arg-type]
        allclose=True, max_abs_error=0.0, elements=3, mismatched_elements=0, rtol=1e-5, atol=1e-8,
        lines=("lower.py:9",),
    )  # fmt: skip
    check = CheckReport(
        method="audit", expect="match", outcome="match", as_expected=True, loss=math.nan, loss_abs_error=math.nan,
        max_abs_error=0.0, max_rel_error=0.0, seconds=2.0, tensors=(weight,), rests_on="the script",
    )  # fmt: skip
    return RunReport(
        name=name, config=f"{name}.py", seed=0, precision="float32", execution="eager", verdict="pass", checks=(check,)
    )


def two(lefts: Sequence[Left], cames: Sequence[Came], **more: Any) -> list[Record]:
    return [
        Record(name="lower", run=own_run("lower"), left=tuple(lefts), **more),
        Record(name="upper", run=own_run("upper"), came=tuple(cames)),
    ]


H, C = normal(1), normal(2)
