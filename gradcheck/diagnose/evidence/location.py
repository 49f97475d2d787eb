"""The place where a mismatch begins: within a segment, or in the cotangent that the segment received."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.comparing.tensorwise import first_wrong

if TYPE_CHECKING:
    from gradcheck.diagnose.evidence.observed import Observed
    from gradcheck.results.report import TensorReport


def located(observed: Observed) -> tuple[TensorReport | None, str]:
    """Return the first wrong tensor in the order of the backward pass, and what the tensors around it show."""
    row = first_wrong(observed.rows)
    if row is None:
        return None, "nothing that was compared is wrong"
    if row.kind == "output":
        return row, f"the forward pass is wrong: {row.path} differs, so every gradient may"
    if row.kind == "loss":
        return row, "the loss differs, so every gradient may: the forward pass or the loss itself is another"
    if row.kind == "state":
        return row, f"gradients are right, and the state afterwards is not: {row.path} differs"
    what = _kind_of_wrong(row)
    return (
        row,
        f"the first wrong gradient in the order of the backward pass is {row.path}{what}{_around(observed, row)}",
    )


def _kind_of_wrong(row: TensorReport) -> str:
    """Return what is wrong besides the values: NaN or infinity, or the note of the row."""
    if row.status == "nonfinite":
        return ", which is not finite,"
    return f" ({row.note})" if row.note else ""


def _around(observed: Observed, row: TensorReport) -> str:
    """Return where the row belongs, and whether its segment or the cotangent that it received is wrong, in words."""
    if row.segment is None or row.segments:
        shared = f", which segments {', '.join(map(str, row.segments or ()))} use"
        return shared if row.segments else ", of the model's input: all that follows it is right"
    beside = [r for r in observed.rows if r.segment == row.segment and r.kind == "weight"]
    before = [r for r in observed.rows if r.kind == "weight" and r.segment is not None and r.segment < row.segment]
    wrong_beside, wrong_before = (sum(r.failed for r in rows) for rows in (beside, before))
    verb = "is" if wrong_beside == 1 else "are"
    text = f" in segment {row.segment} ({wrong_beside} of its {len(beside)} weights {verb} wrong"
    text += f", and {wrong_before} of {len(before)} before it)" if before else ")"
    # Only some methods supply boundaries; for the others the weights on both sides of the boundary must tell.
    handed = [r for r in observed.rows if r.kind == "boundary" and r.segment == row.segment]
    if row.kind == "boundary":
        return f"{text}: the cotangent that was handed back to it is wrong"
    if handed and not any(r.failed for r in handed):
        return f"{text}: the cotangent that was handed to it is right, so the mistake is inside the segment"
    if before and not wrong_before:
        return f"{text}: what it hands back is right, so only its own weights' gradients are"
    if beside and wrong_beside == len(beside) and wrong_before == len(before):
        return f"{text}: what is handed back to it, or its own backward pass, is wrong"
    return text
