"""The layers of a model with their largest error, and the gradient norms of both sides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck.reporters.charts.scales import LogScale, log_scale
from gradcheck.reporters.parts.exempt import status_label
from gradcheck.reporters.parts.text import inline, number
from gradcheck.reporters.parts.words import status_tone

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from gradcheck.reporters.parts.words import Tone
    from gradcheck.results.report import CheckReport, TensorReport

#: The most layers that are drawn at once.
MOST = 16
_SEVERITY: tuple[Tone, ...] = ("bad", "neutral", "warn", "good", "unknown")


@dataclass(frozen=True, kw_only=True)
class LayerBars:
    """One layer. Lengths are percentages of the axis; None where there is nothing to draw.

    Attributes:
        name: the layer.
        tone, status: those of its worst tensor.
        error: its largest relative error, in words.
        length: the same on the scale of errors.
        tolerance: the place of that tensor's rtol on it.
        norms: the gradient norms of both sides, in words and on the scale of norms; empty if neither has one.
    """

    name: str
    tone: Tone
    status: str
    error: str
    length: float | None
    tolerance: float | None
    norms: tuple[tuple[str, float | None], ...]


@dataclass(frozen=True, kw_only=True)
class LayerChart:
    """The layers in the order of the model.

    Attributes:
        rows: all of them.
        shown: at most `MOST` of them: the worst, and those around wrong ones.
        errors, norms: the scales; None where there is nothing to draw.
        sides: the names of the two sides whose norms are drawn; empty if no gradient was compared.
    """

    rows: tuple[LayerBars, ...]
    shown: tuple[LayerBars, ...]
    errors: LogScale | None
    norms: LogScale | None
    sides: tuple[str, ...]


def by_layer(check: CheckReport) -> LayerChart:
    """Return the layers of `check`; in training as they are in the first failing step, or else in the last."""
    layers = _tensors_of_layers(check)
    worst = {name: _worst(rows, check) for name, rows in layers.items()}
    errors = log_scale(e for t in worst.values() if t.max_rel_error > 0 for e in (t.max_rel_error, t.rtol))
    norms = {name: tuple(_norms(rows)) for name, rows in layers.items()}
    scale = log_scale(norm for pair in norms.values() for norm in pair)
    rows = [_bars(name, worst[name], norms[name], (errors, scale), check) for name in layers]
    shown = _worth_seeing([_rank(tensor, check) for tensor in worst.values()])
    sides = check.sides.of("weight") if scale else ()
    return LayerChart(rows=tuple(rows), shown=tuple(rows[n] for n in shown), errors=errors, norms=scale, sides=sides)


def _worth_seeing(ranks: Sequence[tuple[int, float]]) -> list[int]:
    """Return the places of the worst layers, and of their neighbours, in order."""
    if len(ranks) <= MOST:
        return list(range(len(ranks)))
    by_rank = sorted(range(len(ranks)), key=ranks.__getitem__)
    wrong = [n for n in by_rank if ranks[n][0] == 0]
    chosen = wrong[:MOST] or by_rank[:MOST]
    around = [n + step for step in (-1, 1, -2, 2) for n in wrong if 0 <= n + step < len(ranks)]
    return sorted(list(dict.fromkeys([*chosen, *around]))[:MOST])


def severity(tone: Tone) -> int:
    """Return the rank of a tone, 0 for the worst."""
    return _SEVERITY.index(tone)


def _tensors_of_layers(check: CheckReport) -> dict[str, list[TensorReport]]:
    """Return what belongs to each layer, without the values that an optimizer or a pass leaves behind."""
    step = check.first_failing_step or (check.steps or None)
    layers: dict[str, list[TensorReport]] = {}
    for tensor in check.tensors:
        if tensor.step == step and tensor.layer and tensor.kind in ("weight", "boundary", "jacobian"):
            layers.setdefault(tensor.layer, []).append(tensor)
    return layers


def _rank(tensor: TensorReport, check: CheckReport) -> tuple[int, float]:
    error = math.inf if tensor.differs and math.isnan(tensor.max_rel_error) else tensor.max_rel_error
    return severity(status_tone(tensor, check)), -error if error > 0 else 0.0


def _worst(tensors: Iterable[TensorReport], check: CheckReport) -> TensorReport:
    return min(tensors, key=lambda tensor: _rank(tensor, check))


def _norms(tensors: Sequence[TensorReport]) -> Iterator[float]:
    """Yield the 2-norm of the gradients of a layer's weights, of the reference and of the candidate."""
    gradients = [tensor for tensor in tensors if tensor.kind == "weight" and tensor.quantity != "value"]
    for side in ("reference_norm", "candidate_norm"):
        known = [norm for norm in (getattr(tensor, side) for tensor in gradients) if not math.isnan(norm)]
        yield math.hypot(*known) if known else math.nan


def _bars(
    name: str,
    worst: TensorReport,
    norms: Sequence[float],
    scales: tuple[LogScale | None, LogScale | None],
    check: CheckReport,
) -> LayerBars:
    errors, scale = scales
    full = worst.differs and not math.isfinite(worst.max_rel_error)
    known = any(not math.isnan(norm) for norm in norms)
    drawn = errors is not None and (full or worst.max_rel_error > 0)
    return LayerBars(
        name=inline(name),
        tone=status_tone(worst, check),
        status=status_label(worst),
        error=number(worst.max_rel_error),
        length=(100.0 if full else percent(errors, worst.max_rel_error)) if drawn and errors else None,
        tolerance=percent(errors, worst.rtol) if drawn and errors and worst.rtol > 0 else None,
        norms=tuple((number(n), percent(scale, n) if scale and n > 0 else None) for n in norms) if known else (),
    )


def percent(scale: LogScale, value: float) -> float:
    """Return the place of `value` in percent; what is drawn at all is at least a sliver."""
    return max(round(100 * scale.at(value), 1), 1.0)
