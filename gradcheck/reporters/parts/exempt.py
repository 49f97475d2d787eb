"""Words for the exemptions of a config. Plain text, safe on one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.reporters.parts.text import inline, named
from gradcheck.results.report import PROVEN

if TYPE_CHECKING:
    from gradcheck.results.report import CheckReport, TensorReport


def excused(tensor: TensorReport) -> bool:
    """Whether `tensor` differs, as the config expects."""
    return tensor.differs and not tensor.failed


def status_label(tensor: TensorReport) -> str:
    """Return the status: `mismatch, exempt` if the config expects it, `close, rounding` if only that is the reason."""
    why = "exempt" if excused(tensor) else "rounding" if tensor.within_rounding else ""
    return f"{tensor.status}, {why}" if why else tensor.status


def expectation(check: CheckReport) -> str:
    """Return the expectation: `match`, `mismatch`, or `match but for quant/*`."""
    return check.expect + (f" but for {inline(', '.join(check.exempt))}" if check.exempt else "")


def unneeded(check: CheckReport) -> str:
    """Return the patterns whose tensors all match: `quant/*, gate/*`."""
    return inline(", ".join(check.unneeded))


def unexpected(check: CheckReport) -> str:
    """Return `MATCHES, but the config expects a mismatch: ` for a check that matches unexpectedly; otherwise ""."""
    expected = "a mismatch" if check.expect == "mismatch" else f"a mismatch of {unneeded(check)}"
    return f"MATCHES, but the config expects {expected}: " if check.expect == "mismatch" or check.unneeded else ""


def exemptions(check: CheckReport) -> str:
    """Return which exempt tensors differ and which are equal: a sentence for each kind, after a space."""
    exempt = [tensor for tensor in check.tensors if tensor.exempt]
    differ = [tensor.path for tensor in exempt if excused(tensor)]
    equal = [tensor.path for tensor in exempt if tensor.status in PROVEN]
    sentences = (("Exempt, and different as expected", differ), ("Exempt, yet equal", equal))
    return "".join(f" {text}: {named(list(dict.fromkeys(paths)))}." for text, paths in sentences if paths)
