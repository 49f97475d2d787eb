"""Records of a report, as the tests of what is made of them need them."""

from __future__ import annotations

from typing import Any

from gradcheck.results.report import CheckReport, TensorReport
from gradcheck.results.tensor import Required


def row(path: str, status: Any = "exact", kind: Any = "weight", **more: Any) -> TensorReport:
    """One compared tensor."""
    fields: dict[str, Any] = {
        "segment": None, "layer": "", "name": "", "shape": (1,), "dtype": "float32", "allclose": True,
        "max_abs_error": 0.0, "max_rel_error": 0.0, "max_ulp_error": 0.0, "cosine": 1.0, "norm_ratio": 1.0,
        "noise_floor": None, "elements": 1, "mismatched_elements": 0, "worst": None, "rtol": 0.0, "atol": 0.0,
        "required": Required(rtol=0.0, atol=0.0),
    }  # fmt: skip
    return TensorReport(kind=kind, path=path, status=status, **{**fields, **more})


def check(*tensors: TensorReport, method: str = "vjp", outcome: Any = "match", **more: Any) -> CheckReport:
    """One check that is as expected, unless it is said otherwise."""
    fields: dict[str, Any] = {
        "expect": "match", "as_expected": True, "loss": 0.0, "loss_abs_error": 0.0, "max_abs_error": 0.0,
        "max_rel_error": 0.0, "seconds": 0.0,
    }  # fmt: skip
    return CheckReport(method=method, outcome=outcome, tensors=tensors, **{**fields, **more})
