"""Faults: ways in which a split goes wrong. A new one is one class in a file here and one entry in `FAULTS`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.faults.cotangent_missing import CotangentMissing

if TYPE_CHECKING:
    from gradcheck.faults.interface import Fault

#: Every fault that can be injected. Of several that give the same gradients the earlier is named first.
FAULTS: tuple[Fault, ...] = (CotangentMissing(),)
