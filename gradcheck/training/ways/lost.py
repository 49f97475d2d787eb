"""What training loses when it is saved and loaded: seeds (GC307), variables of the optimizer (GC308), or others."""

from __future__ import annotations

import pickle
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.building.draws import Draws
from gradcheck.keras_private import all_layers, global_seed
from gradcheck.phrases import some
from gradcheck.training.ways.interface import seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck.problem.problem import Problem, TensorKey
    from gradcheck.results.report import Diagnosis

#: How far, relatively, a loss moves at least by other random numbers; rounding moves it less.
_OTHER_LOSS = 1e-3


def is_kept(key: TensorKey) -> bool:
    """Whether training must find the tensor again: a weight, the state, or a variable of the optimizer."""
    return key.kind in ("state", "optimizer") or key.quantity == "value"


def generator_places() -> dict[str, Any]:
    """Return the place that each generator has reached that no layer holds, by what people call it."""
    return {
        "keras.random without a seed": global_seed().numpy().tobytes(),
        "tf.random": Draws(),
        "NumPy": pickle.dumps(np.random.get_state()),  # noqa: NPY002 - the global one is meant
        "Python's random": random.getstate(),
    }


def seed_holders(problem: Problem) -> dict[str, str]:
    """Return the layer that draws from each seed, by the seed's path: the innermost one that has it."""
    layers = sorted(all_layers([problem.model]), key=lambda layer: len(layer.variables), reverse=True)
    held = {id(variable): layer.path or layer.name for layer in layers for variable in layer.non_trainable_variables}
    return {s.path: held.get(id(s.variable), s.layer) for s in problem.state.variables if "seed" in s.name}


@dataclass(frozen=True, kw_only=True)
class Interruption:
    """Training before and after it was saved and loaded.

    Attributes:
        saved: the tensors when training was saved.
        loaded: the same ones as they are loaded; None if they are not.
        rates: the learning rate of the next step before and after; None if there are several.
        losses: of each step, without an interruption and with it.
        after: the number of steps before it.
        by: what saved.
        averaged: whether averages of the weights took their place before.
        holders: the layers that draw from the seeds.
        drawn: the generators that no layer holds, and that training has drawn from.
    """

    saved: Mapping[TensorKey, Any]
    loaded: Mapping[TensorKey, Any]
    rates: tuple[float | None, float | None]
    losses: Sequence[tuple[Any, Any]]
    after: int
    by: str
    averaged: bool
    holders: Mapping[str, str]
    drawn: tuple[str, ...]

    def found(self) -> tuple[Diagnosis, ...]:
        """Return a diagnosis for each kind of what is lost, or seems to be."""
        return tuple(self._found())

    def _found(self) -> Iterator[Diagnosis]:
        lost = [key for key in self.loaded if is_kept(key) and not same(self.saved[key], self.loaded[key])]
        seeds = [key.path for key in lost if key.path in self.holders]
        slots = [key.path for key in lost if key.kind == "optimizer"]
        others = [key.path for key in lost if key.path not in {*seeds, *slots}]
        after, following = f"after {self.by} and loading in a new process", f"step {self.after + 1}"
        if seeds:
            layers = list(dict.fromkeys(self.holders[path] for path in seeds))
            text = f"{after}, the random numbers of {some(layers)} start anew: {some(seeds)} not restored"
            yield seen("GC307", text, layer=layers[0] if len(layers) == 1 else None)
        if slots:
            yield seen("GC308", f"{after}, variables of the optimizer are not restored: {some(slots)}")
        elif self.rates[0] != self.rates[1]:
            was, now = self.rates
            yield seen("GC308", f"{after}, the learning rate of {following} is {now:g}, and was {was:g}")
        weights = [key.path for key in lost if key.quantity == "value" and key.kind == "weight"]
        if self.averaged and weights:
            text = f"`fit` ends by putting the averages in the place of the weights, and {self.by} keeps these alone"
            advice = "Save while `fit` runs, by ModelCheckpoint or BackupAndRestore, or keep the weights beside them."
            yield seen("GC308", f"{text}: {some(weights)} are not what they were", fix=advice)
            others = [path for path in others if path not in weights]
        if others:
            text = f"{after}, these are not what they were: {some(others)}"
            yield seen("GC900", text, fix="Save them beside the model, and assign them after loading.")
        if not lost and self._other_loss:
            text = f"{after}, all that was saved is there again, and the loss of {following} is another: "
            if self.drawn:
                yield seen("GC307", f"{text}its random numbers are from {some(self.drawn)}", confidence="likely")
            elif self.rates[0] == self.rates[1]:
                yield seen("GC307", f"{text}what it draws, or remembers, is in no variable", confidence="possible")

    @property
    def _other_loss(self) -> bool:
        """Whether the first loss that is another is the first one after the interruption."""
        same = [np.allclose(there, here, rtol=_OTHER_LOSS, atol=0, equal_nan=True) for there, here in self.losses]
        return all(same[: self.after]) and not same[self.after]


def same(saved: Any, loaded: Any) -> bool:
    """Whether two arrays are equal, bit for bit."""
    return loaded is not None and saved.shape == loaded.shape and saved.tobytes() == loaded.tobytes()
