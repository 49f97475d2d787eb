"""Mismatches made of a few arrays, without a model."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gradcheck.problem.problem import TensorKey
from gradcheck.results.report import TensorReport
from gradcheck.results.tensor import Required


def weight(path: str) -> TensorKey:
    return TensorKey("weight", path)


def row(path: str, *, failed: bool, kind: Any = "weight", segment: int | None = 0) -> TensorReport:
    return TensorReport(
        kind=kind,
        segment=segment,
        layer=path.rpartition("/")[0],
        name=path.rpartition("/")[2],
        path=path,
        shape=(2,),
        dtype="float32",
        status="mismatch" if failed else "exact",
        allclose=not failed,
        max_abs_error=float(failed),
        max_rel_error=float(failed),
        max_ulp_error=0.0,
        cosine=1.0,
        norm_ratio=1.0,
        noise_floor=None,
        elements=2,
        mismatched_elements=int(failed),
        worst=None,
        rtol=1e-5,
        atol=0.0,
        required=Required(rtol=0.0, atol=0.0),
    )


@pytest.fixture
def mismatch() -> Any:
    """What patterns look at: the right gradients, and those that were found where they differ."""

    def make(right: dict[str, Any], found: dict[str, Any]) -> Any:
        expected = {weight(path): None if g is None else np.asarray(g, np.float32) for path, g in right.items()}
        wrong = {weight(path): None if g is None else np.asarray(g, np.float32) for path, g in found.items()}
        return SimpleNamespace(
            problem=SimpleNamespace(weights=[SimpleNamespace(key=key) for key in expected]),
            expected=expected,
            arrays={**expected, **wrong},
            wrong_gradients=tuple(wrong),
        )

    return make


@pytest.fixture
def rows() -> Any:
    """Rows of a report: `(path, failed)`, with the kind and the segment where they matter."""

    def make(*given: tuple[Any, ...]) -> Any:
        made = [row(path, failed=failed, **dict(zip(("kind", "segment"), more))) for path, failed, *more in given]  # noqa: B905 - either may be left out
        return SimpleNamespace(rows=made, failing={TensorKey(r.kind, r.path): r for r in made if r.failed})

    return make
