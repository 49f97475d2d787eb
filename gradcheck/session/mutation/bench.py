"""The correct splits of a problem, eager and traced, and the comparisons of faults that are injected into them."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from gradcheck.building.precision import compute_dtype
from gradcheck.comparing.keys import named_tensors, places
from gradcheck.comparing.reference import Reference
from gradcheck.comparing.tensorwise import compare_all, compared_tensors, is_value, tolerance_of
from gradcheck.diagnose import Replayed
from gradcheck.faults import FAULTS
from gradcheck.faults.state.recomputation import OfRecomputation
from gradcheck.numerics import PRECISIONS, TolerancePolicy
from gradcheck.problem.problem import TensorKey
from gradcheck.session.method_check import tolerance_policy

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck.comparing.keys import TensorPlace
    from gradcheck.config.schema import Config
    from gradcheck.faults.injection import Replay, Replays
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import TensorReport
    from gradcheck.results.tensor import Comparison

#: The faults of a recomputation: they apply only if the config asks for `recompute`.
RECOMPUTATION = frozenset(fault.code for fault in FAULTS if isinstance(fault, OfRecomputation))


class Bench:
    """The correct splits of a problem, compared with the reference, and comparisons for faults in them."""

    def __init__(self, problem: Problem, config: Config) -> None:
        """Compute nothing yet. `config` gives the tolerances and the faults that apply."""
        self.problem, self.policy = problem, tolerance_policy(config.tolerance)
        self.noise = config.tolerance.noise == "auto"
        self._baselines: dict[Replays, Mapping[TensorKey, TensorReport]] = {}
        self.replayed = Replayed(problem, without=excluded(config), repeats=True, traced_agrees=self._agrees)

    @cached_property
    def reference(self) -> Reference:
        """The gradients of the whole model."""
        return Reference(self.problem)

    def baseline(self, replays: Replays | None = None) -> Mapping[TensorKey, TensorReport]:
        """Return the records of the correct split of `replays`, by default the eager ones, in report order."""
        replays = replays or self.replayed.replays.eager
        if replays not in self._baselines:
            self._baselines[replays] = by_key(self._compare(replays.right))
        return self._baselines[replays]

    def compared(self, replay: Replay) -> tuple[TensorReport, ...]:
        """Compare `replay` with the reference. Tensors that the fault left alone keep the correct split's record."""
        changed = by_key(self._compare(_apart(replay, replay.beside.right)))
        return tuple(changed.get(key, row) for key, row in self.baseline(replay.beside).items())

    def moved(self, gradients: Gradients, right: Gradients) -> dict[TensorKey, Comparison]:
        """Compare what differs from the correct split with that, at the default tolerances."""
        tolerance = partial(tolerance_of, self.problem, TolerancePolicy())
        found = named_tensors(self.problem, _apart(gradients, right))
        return compared_tensors(self._places, named_tensors(self.problem, right), found, tolerance, brief=True)

    def _agrees(self, traced: Replays) -> bool:
        """Whether the traced correct split passes as the eager one does, and differs from that by rounding alone."""
        rows, eps = by_key(self._compare(traced.right)), PRECISIONS[compute_dtype(self.problem.precision)].eps
        moved = self.moved(traced.right, self.replayed.replays.right)
        agrees = not any(row.failed for row in rows.values()) and only_rounding(moved, eps)
        if agrees:  # else nothing of it is kept
            self._baselines[traced] = rows
        return agrees

    @cached_property
    def _places(self) -> Mapping[TensorKey, TensorPlace]:
        return places(self.problem)

    def _compare(self, gradients: Gradients) -> tuple[TensorReport, ...]:
        of, against, policy = self.problem, self.reference, self.policy
        return compare_all(of, against, gradients, policy, noise=self.noise, known=self._places, brief=True)


def by_key(rows: Sequence[TensorReport]) -> dict[TensorKey, TensorReport]:
    """Return records by the key of their tensor."""
    return {TensorKey(row.kind, row.path): row for row in rows}


def _apart(gradients: Gradients, right: Gradients) -> Gradients:
    """Return `gradients` without the tensors that are identical objects in `right`."""

    def others(found: Mapping[Any, Any], known: Mapping[Any, Any]) -> dict[Any, Any]:
        return {key: tensor for key, tensor in found.items() if key not in known or tensor is not known[key]}

    return replace(
        gradients, tensors=others(gradients.tensors, right.tensors), state=others(gradients.state, right.state)
    )


#: A gradient below this share of the largest is measured against that share: it may be rounding alone.
SMALL = 1e-3
#: The statuses of a tensor that is the same on both sides.
UNCHANGED = frozenset({"exact", "dead", "absent"})


def only_rounding(moved: Mapping[TensorKey, Comparison], eps: float) -> bool:
    """Whether no element moved by more than the root of `eps` times its tensor's largest element; NaN is more."""
    largest = max((c.max_abs_reference for key, c in moved.items() if not is_value(key)), default=0.0)

    def size(key: TensorKey, c: Comparison) -> float:
        return c.max_abs_reference if is_value(key) else max(c.max_abs_reference, SMALL * largest)

    return all(c.status in UNCHANGED or c.max_abs_error <= eps**0.5 * size(key, c) for key, c in moved.items())


def excluded(config: Config) -> frozenset[str]:
    """Return the codes of faults that do not apply to the config: those of a recomputation, unless it has one."""
    return frozenset() if any(method.method == "recompute" for method in config.methods) else RECOMPUTATION
