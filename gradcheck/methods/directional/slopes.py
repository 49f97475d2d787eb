"""The tape's derivatives compared with measured slopes: their standings, codes for wrong ones, and notes for a report.

A gradient that is wrong at one point alone (zero, a tie) differs from the slopes there and agrees with them beside it.
So does a right one where several kinks coincide; the gradients nearby distinguish the two (`numerics.standing`).
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np

from gradcheck.handoff.interface import Gradients, Wrong
from gradcheck.numerics import convicts, nearest_slope, standing, too_coarse
from gradcheck.phrases import and_more

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from gradcheck.methods.directional.directions import Array
    from gradcheck.numerics import Derivative, Standing
    from gradcheck.problem.problem import TensorKey

#: What a tensor is told apart by.
Key = TypeVar("Key", bound=Hashable)
#: An error bar of at most this share of the gradient's size needs no more steps.
GOAL = 1e-7
#: A difference of at most this share of the gradient's size does not count.
AGREE = 1e-5
#: A slope of at most this share of the steepest quotient around the point is zero.
FLAT = 1e-6
#: A slope of more than this many times its error is not zero.
SURE = 4
#: The distances of the point at which a gradient is measured again, and of the gradients nearby: shares of an element.
BESIDE, NEARBY = 1e-2, 2.0**-20
#: The number of gradients nearby.
NEIGHBOURS = 10
#: The codes of gradients that are wrong around the point, at the point alone, outside both slopes, at an infinite
#: slope, and not finite where the slopes are.
AROUND, AT_POINT, OUTSIDE, INFINITE, NOT_FINITE = "GC601", "GC803", "GC804", "GC805", "GC703"
#: The code of a gradient that is None although the differentiated function changes with its tensor.
NONE = "GC403"
#: Differences in float64 keep about as many digits as float32 has: the dtype whose tolerance applies.
DIGITS = "float32"


@dataclass(frozen=True, eq=False, kw_only=True)
class Probe:
    """The tape's derivatives along the directions in which a tensor is moved.

    Attributes:
        tape: one derivative per direction.
        direction: from an index to the direction.
        shape: of the results: the tensor's own if the directions are its elements.
    """

    tape: Array
    shape: tuple[int, ...]
    direction: Callable[[int], Array]

    @property
    def size(self) -> float:
        """The largest finite absolute derivative."""
        return float(np.max(np.abs(self.tape), initial=0.0, where=np.isfinite(self.tape)))

    def index(self, i: int) -> str:
        """Return direction `i` in words."""
        return f"[{', '.join(map(str, np.unravel_index(i, self.shape)))}]"


@dataclass(frozen=True, eq=False, kw_only=True)
class Slopes:
    """The measured slopes of one tensor.

    Attributes:
        probe: the tape's derivatives that they are compared with.
        found: the differences, in the order of the probe.
        elements: whether the directions are the tensor's elements.
        excused: the directions whose disagreement several kinks explain.
        codes: the codes of the directions that are wrong.
        assigned: whether the forward pass assigns this weight itself, so that tape and differences are of different
            functions.
        connected: whether the tape has a gradient; the probe's is zero if not.
        agree: the share of the probe's size that a difference may have and not count.
        rounding: a difference that does not count whatever the size.
    """

    probe: Probe
    found: tuple[Derivative, ...]
    elements: bool
    excused: frozenset[int] = frozenset()
    codes: Mapping[int, str] = field(default_factory=dict)
    assigned: bool = False
    connected: bool = True
    agree: float = AGREE
    rounding: float = 0.0

    @cached_property
    def least(self) -> float:
        """The largest difference that does not count."""
        return max(self.agree * self.probe.size, self.rounding)

    @cached_property
    def standings(self) -> tuple[Standing, ...]:
        """The standing of the tape along each direction."""
        return tuple(standing(float(t), d, self.least) for t, d in zip(self.probe.tape, self.found, strict=True))

    def which(self, *standings: Standing) -> list[int]:
        """Return the directions with these standings."""
        return [i for i, found in enumerate(self.standings) if found in standings and i not in self.excused]

    @property
    def tape(self) -> Array:
        """The tape's derivatives; zeros for infinite ones, which only state that the slope is infinite."""
        tape = self.probe.tape.copy()
        tape[self.which("infinite")] = 0.0
        return tape

    @property
    def values(self) -> Array:
        """The differences; the tape's own value where they do not contradict it."""
        # Infinite, unknown and excused ones keep the tape's value: no difference is reported for them.
        values = self.tape.copy()
        for i, (tape, found) in enumerate(zip(self.probe.tape, self.found, strict=True)):
            if self.standings[i] == "denied" and i not in self.excused:
                values[i] = nearest_slope(float(tape), found)[0]
            elif self.standings[i] in ("agrees", "kink", "nonfinite"):
                values[i] = found.value
        values[self._flat] = 0.0
        return values

    @cached_property
    def _flat(self) -> list[int]:
        """The directions in which the tape is zero, and the slope a tiny share of the slopes around the point."""
        return [
            i
            for i in self.which("agrees")
            if self.probe.tape[i] == 0
            and (abs((d := self.found[i]).value) + d.error <= FLAT * d.steepest or not d.steepest)
        ]

    @property
    def bars(self) -> Array:
        """The error bars of the differences; infinite where they do not determine the tape's derivative."""
        bars = np.array([found.error for found in self.found], np.float64)
        for i in self.which("denied"):
            bars[i] = nearest_slope(float(self.probe.tape[i]), self.found[i])[1]
        bars[self._flat] = 0.0
        bars[self.which("infinite", "unknown") + sorted(self.excused)] = math.inf
        if self.assigned:
            bars[:] = math.inf
        return bars

    @property
    def moves(self) -> bool:
        """Whether the loss changes with the tensor, beyond doubt: a jump is no slope."""
        sides = [side for d in self.found if not d.jump for side in ((d.left, d.left_error), (d.right, d.right_error))]
        return not self.assigned and any(math.isfinite(slope) and abs(slope) > SURE * e for slope, e in sides)


class Around(Protocol[Key]):
    """The differentiated function at points around the one where it was measured."""

    def nearby(self, rng: np.random.Generator) -> Mapping[Key, Array]:
        """Return the tape's derivatives at a random point at the distance `NEARBY`, in the order of the slopes."""
        ...

    def denied_beside(self, rng: np.random.Generator, left: Mapping[Key, list[int]]) -> Mapping[Key, frozenset[int]]:
        """Return which of those `left` differ from the slopes at a random point at the distance `BESIDE` as well."""
        ...


def judged(around: Around[Key], found: Mapping[Key, Slopes], *, seed: int) -> dict[Key, Slopes]:
    """Give every denied derivative a code, by the derivatives nearby or the slopes a little beside, or excuse it."""
    suspects = {key: slopes for key, slopes in found.items() if slopes.which("denied") and slopes.connected}
    if not suspects:
        return dict(found)
    rng = np.random.default_rng(seed)
    # All tensors move at once, so that one gradient of the model serves every suspect.
    nearby = [around.nearby(rng) for _ in range(NEIGHBOURS)]
    codes = {key: _at_point(slopes, [there[key] for there in nearby]) for key, slopes in suspects.items()}
    left = {key: [i for i in slopes.which("denied") if i not in codes[key]] for key, slopes in suspects.items()}
    left = {key: indices for key, indices in left.items() if indices}
    wrong = around.denied_beside(rng, left) if left else {}  # a wrong gradient is wrong there, too
    ruled = {
        key: replace(
            slopes,
            codes=codes[key] | dict.fromkeys(wrong.get(key, ()), AROUND),
            excused=frozenset(left.get(key, ())) - wrong.get(key, frozenset()),
        )
        for key, slopes in suspects.items()
    }
    return {**found, **ruled}


def _at_point(slopes: Slopes, nearby: Sequence[Array]) -> dict[int, str]:
    """Return the codes of the derivatives that are wrong at the point alone."""
    codes = {}
    for i in slopes.which("denied"):
        found = slopes.found[i]
        if convicts(found, float(slopes.probe.tape[i]), [float(there[i]) for there in nearby], slopes.least):
            codes[i] = INFINITE if found.infinite else OUTSIDE if found.kink else AT_POINT
    return codes


def compared(found: Mapping[TensorKey, Slopes], what: Callable[[Slopes], str], **more: Any) -> Gradients:
    """Return the slopes as a method's gradients, with the tape's to compare them with.

    Args:
        found: by tensor. A tensor without a gradient on the tape that changes the differentiated function is missing
            one.
        what: from a tensor's slopes to the words for what was compared.
        **more: the other fields.
    """
    scale = max((slopes.probe.size for slopes in found.values()), default=0.0)
    held = {key: slopes for key, slopes in found.items() if slopes.connected}
    lost = {key: slopes for key, slopes in found.items() if not slopes.connected}
    missing = {key: np.array([d.value for d in s.found]).reshape(s.probe.shape) for key, s in lost.items() if s.moves}
    return Gradients(
        loss=None,
        outputs=(),
        tensors={key: slopes.values.reshape(slopes.probe.shape) for key, slopes in held.items()}
        | dict.fromkeys(lost)
        | missing
        | more.pop("tensors", {}),
        against={key: slopes.tape.reshape(slopes.probe.shape) for key, slopes in held.items()}
        | dict.fromkeys(lost)
        | more.pop("against", {}),
        error_bars={key: slopes.bars.reshape(slopes.probe.shape) for key, slopes in held.items()},
        notes={key: "; ".join([what(slopes), *_said(slopes, scale)]) for key, slopes in found.items()},
        wrong={key: wrong[0] for key, slopes in found.items() if (wrong := wrong_in(slopes))},
        tolerance_dtype=DIGITS,
        state={},
        way="by finite differences",
        **more,
    )


#: The messages on wrong derivatives, the most important first.
_SAYS = {
    NOT_FINITE: "the tape says {tape}, finite differences {slope}",
    AROUND: "the tape says {tape}, finite differences {slope}",
    AT_POINT: "wrong at this point alone: the tape says {tape}, finite differences {slope}",
    OUTSIDE: "outside of both slopes: the tape says {tape}, the slopes are {left} and {right}",
    INFINITE: "the slope is infinite, and the tape says {tape}",
    NONE: "the tape says None, finite differences {slope}",
}

#: The message on a number that is not finite where the slopes differ.
_AT_KINK = "the tape says {tape}, the slopes are {left} and {right}"


def _codes(slopes: Slopes) -> Mapping[int, str]:
    """Return the code of each derivative that is wrong."""
    if not slopes.connected:
        return dict.fromkeys(range(len(slopes.found)), NONE) if slopes.moves else {}
    return {**dict.fromkeys(slopes.which("nonfinite"), NOT_FINITE), **slopes.codes}


def wrong_in(slopes: Slopes) -> list[Wrong]:
    """Describe the wrong derivatives: of each kind the first one, and the number of others."""
    codes, said = _codes(slopes), []
    for code in (code for code in _SAYS if code in codes.values()):
        of_code = [i for i, c in codes.items() if c == code]
        first, found = of_code[0], slopes.found[of_code[0]]
        slope = slopes.values[first] if slopes.connected else found.value
        figures = {"tape": slopes.probe.tape[first], "slope": slope, "left": found.left, "right": found.right}
        says = (_AT_KINK if code == NOT_FINITE and found.kink else _SAYS[code]).format(
            **{name: f"{figure:.6g}" for name, figure in figures.items()}
        )
        at = f" at {slopes.probe.index(first)}" if slopes.elements and len(slopes.found) > 1 else ""
        said.append(Wrong(code, ", ".join([says + at, *and_more(len(of_code) - 1)])))
    return said


def _said(slopes: Slopes, scale: float) -> Iterator[str]:
    """Yield notes for the reader on derivatives that are wrong, and on those that nothing decides."""
    if slopes.assigned:
        yield "GC801: the forward pass assigns this weight, and the tape starts from what it assigned"
        return
    yield from (f"{wrong.code}: {wrong.says}" for wrong in wrong_in(slopes))
    if slopes.connected:
        yield from _undecided(slopes, scale, _codes(slopes))


def _undecided(slopes: Slopes, scale: float, wrong: Mapping[int, str]) -> Iterator[str]:
    """Yield the reason why some of the slopes decide nothing."""
    finite = np.where(np.isfinite(slopes.tape), slopes.tape, 0.0)
    coarse = [int(i) for i in np.flatnonzero(too_coarse(finite, slopes.bars, scale)) if i not in wrong]
    kinks, infinite = slopes.which("kink"), slopes.which("infinite")
    share = f" ({len(coarse)} of {len(slopes.found)})" if slopes.elements and len(slopes.found) > 1 else ""
    if kinks:
        found = slopes.found[kinks[0]]
        yield f"GC802: at a kink{share}, slopes {found.left:.4g} and {found.right:.4g} on the two sides"
    elif slopes.excused:
        yield f"GC802: at a kink{share}, for right beside this point the gradient agrees"
    elif infinite:
        jump = any(slopes.found[i].jump for i in infinite)
        yield f"GC805: {'the loss jumps here' if jump else 'the slope is infinite'}{share}"
    elif coarse:
        yield f"GC801: known only to within {np.max(slopes.bars[coarse]):.2g}{share}"
