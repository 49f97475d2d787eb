"""Wrong candidates, drawn at random from the models of the zoo, and whether what is said of them is true."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import tensorflow as tf

from gradcheck.comparing.keys import as_array, named_tensors
from gradcheck.comparing.reference import GRADIENT_KINDS, Reference
from gradcheck.comparing.tensorwise import compare_all
from gradcheck.config.load import load_given
from gradcheck.diagnose import Observed, Replayed, diagnose
from gradcheck.diagnose.replaying.replays import suspected_in
from gradcheck.faults import FAULTS
from gradcheck.faults.boundary.rows_reordered import in_order
from gradcheck.faults.injection import Replays
from gradcheck.faults.interface import ScalingFault
from gradcheck.faults.places import handed_on
from gradcheck.handoff.execute import Execution
from gradcheck.handoff.split import HandOff, split
from gradcheck.handoff.tensors import dense
from gradcheck.numerics import TolerancePolicy, largest, to_array
from gradcheck.problem import prepare as preparing
from tests.zoo.models.cases import CASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.faults.interface import Injection
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis

    Random = np.random.Generator

#: Small models, of every structure: chains, skips, pairs, several outputs, masks, dropout, statistics, attention.
MODELS = (
    "wide_and_deep",
    "siamese",
    "multi_output",
    "graph_network",
    "autoencoder",
    "two_tower",
    "vae",
    "seq2seq",
    "transformer_encoder",
    "models_in_models",
)
#: How long one diagnosis may replay.
SECONDS = 20.0


@contextmanager
def problem_of(
    model: str, change: Callable[[preparing.Outline], preparing.Outline] | None = None, **more: Any
) -> Iterator[Problem]:
    """A model of the zoo, cut where a person would; `change` makes something else of what is built."""
    case = next(case for case in CASES if case.name == model)
    loaded = load_given({**case.config({"after": list(case.after)}, ["vjp"]), **more}, {})
    cut_up = preparing._cut_up

    def changed(*args: Any, **kwargs: Any) -> preparing.Outline:
        outline = cut_up(*args, **kwargs)
        return outline if change is None else change(outline)

    with preparing.session(loaded.config), mock.patch.object(preparing, "_cut_up", changed):
        yield preparing.prepare(loaded.config, loaded.base)


def weights(gradients: Gradients) -> Gradients:
    """What a candidate returns of them: the gradients of weights alone."""
    of_weights = {key: tensor for key, tensor in gradients.tensors.items() if key.kind == "weight"}
    return replace(gradients, tensors=of_weights, outputs=(), loss=None)


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """What is wrong, as a word and the code that it has in the catalogue; None for one that is not in it."""

    kind: str
    code: str | None
    gradients: Gradients


@dataclass(eq=False)
class Bench:
    """One problem, and what every mistake in it starts from."""

    problem: Problem
    reference: Reference = field(init=False)
    replayed: Replayed = field(init=False)

    def __post_init__(self) -> None:
        self.reference, self.replayed = Reference(self.problem), Replayed(self.problem)

    @property
    def right(self) -> Gradients:
        return self.replayed.replays.right

    def observed(self, gradients: Gradients) -> Observed:
        rows = compare_all(self.problem, self.reference, gradients, TolerancePolicy(), noise=True)
        return Observed(problem=self.problem, reference=self.reference, gradients=gradients, rows=rows)

    def diagnosed(self, observed: Observed) -> tuple[Diagnosis, ...]:
        return diagnose(observed, seconds=SECONDS, replayed=self.replayed)

    def mistake(self, rng: Random) -> Mistake:
        """One at random: half from the catalogue, at any of its places, half that nobody has heard of."""
        while True:
            kinds = [self._fault, self._unheard_of, self._nearly, self._two]
            found = kinds[rng.choice(len(kinds), p=[0.45, 0.35, 0.1, 0.1])](rng)
            gradients = weights(found.gradients)
            if rng.random() < 0.5:
                gradients = replace(gradients, loss=found.gradients.loss)
            if self.observed(gradients).wrong_gradients:
                return replace(found, gradients=gradients)

    def _fault(self, rng: Random) -> Mistake:
        suspects = self.replayed.suspects(own_slices=True)
        code = rng.choice(sorted({injection.code for injection in suspects}))
        injection = rng.choice(np.array([i for i in suspects if i.code == code], dtype=object))
        found = self.replayed.replays.gradients(injection)
        return Mistake(kind=f"{code} at {injection.place.text}", code=str(code), gradients=found)

    def _nearly(self, rng: Random) -> Mistake:
        """A known mistake, and noise beside it that is small against what it does; or a part of it."""
        fault = self._fault(rng)
        share, noise = (
            (float(rng.choice([0.5, 1.1])), 0.0) if rng.random() < 0.5 else (1.0, 10.0 ** -rng.integers(2, 5))
        )

        def moved(key: Any, tensor: Any) -> Any:
            right = dense(self.right.tensors[key])
            if tensor is None or right is None or tensor.shape != right.shape:
                return tensor
            by = dense(tensor) - right
            more = noise * float(tf.reduce_max(tf.abs(by))) * rng.normal(size=tuple(by.shape))
            return right + tf.cast(share, by.dtype) * by + tf.cast(more, by.dtype)

        tensors = {key: moved(key, tensor) for key, tensor in fault.gradients.tensors.items() if key.kind == "weight"}
        return Mistake(kind=f"nearly {fault.kind}", code=None, gradients=replace(fault.gradients, tensors=tensors))

    def _two(self, rng: Random) -> Mistake:
        """A known mistake, and then another one of finished gradients."""
        first = self._fault(rng)
        finishing = [i for i in self.replayed.suspects(own_slices=True) if i.finish is not None]
        second = finishing[rng.integers(len(finishing))]
        changed = second.finish(dict(first.gradients.tensors)) if second.finish else {}
        gradients = replace(first.gradients, tensors={**first.gradients.tensors, **changed})
        return Mistake(kind=f"{first.kind} and {second.code} at {second.place.text}", code=None, gradients=gradients)

    def _unheard_of(self, rng: Random) -> Mistake:
        name = str(rng.choice([*COTANGENTS, *GRADIENTS]))
        if name in COTANGENTS:
            makers = [s.plan.index for s in self.problem.segments if handed_on(self.problem, s.plan.index)]
            steps = Changed(self.problem, int(rng.choice(makers)), COTANGENTS[name], int(rng.integers(1 << 30)))
            found = self.replayed.replays._backward(None, steps)
        else:
            key = self.problem.weights[rng.integers(len(self.problem.weights))].key
            tensor = dense(self.right.tensors[key])
            wrong = tensor if tensor is None else GRADIENTS[name](tensor, np.random.default_rng(rng.integers(1 << 30)))
            found = replace(self.right, tensors={**self.right.tensors, key: wrong})
        return Mistake(kind=name, code=None, gradients=found)

    def is_true(self, observed: Observed, diagnosis: Diagnosis) -> bool:
        """Whether what an exact diagnosis says is so: made from scratch, its mistake gives what was observed.

        And it changes what is wrong. What no replay says is held against its own definition.
        """
        suspects = [*suspected_in(self.problem, own_slices=True), *self._read_off(diagnosis)]
        meant = [i for i in suspects if (i.code, i.place.text) == (diagnosis.code, diagnosis.place)]
        meant = [i for i in meant if diagnosis.evidence.startswith(i.effect)]
        if not meant:
            return by_definition(observed, diagnosis)
        return any(self._gives(from_scratch(self.problem, injection), observed) for injection in meant)

    def _read_off(self, diagnosis: Diagnosis) -> Iterator[Injection]:
        """The mistakes whose number or order is not known before: those that the evidence tells."""
        number = re.search(r"(?:multiplied by|loss scale) (-?[\d.e+-]+)", diagnosis.evidence)
        for fault in FAULTS:
            if number and isinstance(fault, ScalingFault) and fault.code == diagnosis.code:
                yield from fault.injections_with(self.problem, float(number[1].rstrip(".")))
        moved = re.findall(r"(\d+) got that of (\d+)", diagnosis.evidence)
        if diagnosis.code == "GC111" and moved and diagnosis.segment is not None:
            rows = {int(to): int(of) for to, of in moved}
            yield in_order(self.problem, diagnosis.segment, [rows.get(i, i) for i in range(self.problem.batch.size)])

    def _gives(self, made: Gradients, observed: Observed) -> bool:
        """Whether gradients are those that were observed, and differ from the right ones by what is wrong with them."""
        found = {key: as_array(tensor) for key, tensor in named_tensors(self.problem, made).items()}
        right = {key: as_array(tensor) for key, tensor in self.right.tensors.items()}
        for key in (key for key in observed.arrays if key.kind in GRADIENT_KINDS):
            here, floor = observed.arrays[key], self.reference.noise_floors[key]
            if not near(found[key], here, floor):
                return False
            wrong = distance(here, observed.expected[key])
            if key in observed.wrong_gradients and distance(found[key], right[key]) < 0.9 * wrong:
                return False
        return True


def from_scratch(problem: Problem, injection: Injection) -> Gradients:
    """The whole split with the one step changed, forward and backward, sharing nothing with another replay."""
    steps = injection.steps() if injection.steps else HandOff()
    steps.persistent = True  # some ask a tape more than once
    sliced = Replays(problem)._problem_in(injection.slices)
    found = Execution(sliced, lambda p, tensors: split(p, tensors, steps), execution="eager")()
    if injection.finish is None:
        return found
    return replace(found, tensors={**found.tensors, **injection.finish(dict(found.tensors))})


def near(one: Any, other: Any, floor: float) -> bool:
    """Whether two gradients are equal but for rounding; None is zero."""
    return distance(one, other) <= 2e-5 * largest(other) + 8 * floor


def distance(one: Any, other: Any) -> float:
    """The largest difference of two gradients; None is zero."""
    if one is None or other is None:
        return largest(one if other is None else other)
    a, b = (to_array(tensor).astype(np.float64) for tensor in (one, other))
    return float(np.abs(a - b).max(initial=0.0)) if a.shape == b.shape else np.inf


def by_definition(observed: Observed, diagnosis: Diagnosis) -> bool:
    """Whether a diagnosis of figures alone is true of them."""
    pairs = [(key, observed.expected[key], observed.arrays[key]) for key in observed.wrong_gradients]
    if diagnosis.code == "GC402":
        sources = [observed.expected[w.key] for w in observed.problem.weights]
        return all(any(s is not e and near(found, s, 0.0) for s in sources) for _, e, found in pairs)
    if diagnosis.code == "GC406":
        return all(near(found, np.swapaxes(to_array(expected), -1, -2), 0.0) for _, expected, found in pairs)
    if diagnosis.code in ("GC503", "GC504"):
        factor = (
            -1.0
            if diagnosis.code == "GC504"
            else 2.0 ** int(diagnosis.evidence.partition("2 to the ")[2].split(":")[0])
        )
        return all(found is not None and near(to_array(found) / factor, expected, 0.0) for _, expected, found in pairs)
    if diagnosis.code == "GC703":
        return any(found is not None and not np.isfinite(to_array(found)).all() for _, _, found in pairs)
    return False


class Changed(HandOff):
    """The cotangents of what one segment hands on are changed in a way that is in no catalogue."""

    def __init__(self, problem: Problem, at: int, change: Callable[[Any, Random], Any], seed: int) -> None:
        self._refs, self._change, self._seed = set(handed_on(problem, at)), change, seed

    def cotangent(self, segment: Any, ref: Any, output: Any, cotangent: Any) -> Any:  # noqa: ARG002 - the step's own
        if ref not in self._refs or cotangent is None or not cotangent.dtype.is_floating:
            return cotangent
        return self._change(cotangent, np.random.default_rng(self._seed))


def noisy(tensor: Any, rng: Random) -> Any:
    noise = rng.normal(size=tuple(tensor.shape)) * 10.0 ** -rng.integers(1, 5)
    return tensor + tf.cast(noise, tensor.dtype) * tf.reduce_max(tf.abs(tensor))


def one_element(tensor: Any, rng: Random) -> Any:
    flat = np.asarray(tensor).ravel().copy()
    flat[rng.integers(flat.size)] += np.abs(flat).max() * rng.choice([0.01, -0.5, 3.0])
    return tf.reshape(tf.constant(flat, tensor.dtype), tensor.shape)


def shuffled(tensor: Any, rng: Random) -> Any:
    return tf.gather(tensor, rng.permutation(int(tensor.shape[0]))) if tensor.shape.rank else tensor


#: By name, what is done to a cotangent that comes back to a segment.
COTANGENTS: dict[str, Callable[[Any, Random], Any]] = {
    "a cotangent times 1.3": lambda t, _: 1.3 * t,
    "a cotangent times 0.999": lambda t, _: 0.999 * t,
    "a cotangent with noise": noisy,
    "a cotangent clipped": lambda t, _: tf.clip_by_value(t, -0.3 * tf.reduce_max(tf.abs(t)), tf.reduce_max(tf.abs(t))),
    "a cotangent's rows in another order": shuffled,
    "a cotangent without its negative part": lambda t, _: tf.nn.relu(t),
    "a cotangent with the slope of tanh": lambda t, _: t * (1 - tf.tanh(t) ** 2) * 0.8,
    "a cotangent of the last example only": lambda t, _: tf.concat([tf.zeros_like(t[:-1]), t[-1:]], 0),
}
#: By name, what is done to the gradient of one weight.
GRADIENTS: dict[str, Callable[[Any, Random], Any]] = {
    "a gradient times 1.3": lambda t, _: 1.3 * t,
    "a gradient with noise": noisy,
    "one element of a gradient": one_element,
    "a gradient's rows in another order": shuffled,
    "a gradient's sign": lambda t, _: -t,
    "a gradient rounded": lambda t, _: tf.round(t * 8) / 8,
}
