"""The interface of a way of training, and the run that it returns."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import tensorflow as tf

from gradcheck.catalogue import CATALOGUE
from gradcheck.comparing.keys import LOSS, as_array
from gradcheck.handoff.interface import Gradients
from gradcheck.problem.problem import TensorKey
from gradcheck.results.report import Diagnosis
from gradcheck.training.steps import Step

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.results.report import Confidence
    from gradcheck.training.reference_run import ReferenceTraining


@dataclass(frozen=True, kw_only=True)
class WayRun:
    """The run of a way of training, and the run of the plain loop that it must agree with.

    Attributes:
        training: the reference's run: on the same slices and with the same learning rates as the way.
        steps: what each step left behind, in order; a step that nobody could look at has no tensors.
        remarks: what is worth knowing, and nothing to mend.
        found: mistakes that the way itself has seen happen, which need no replay.
        tried: looks for others by an experiment of its own, if the run differs.
        said: says in words what it can see of a difference that nothing explains.
    """

    training: ReferenceTraining
    steps: Sequence[Step]
    remarks: tuple[str, ...] = ()
    found: tuple[Diagnosis, ...] = ()
    tried: Callable[[], tuple[Diagnosis, ...]] = tuple
    said: Callable[[], str] = str


@contextmanager
def tensorflow_quiet() -> Iterator[None]:
    """Hold back TensorFlow's warnings: of a function that is traced often, or of integers on a tape."""
    logger = tf.get_logger()
    level = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(level)


class Way(Protocol):
    """Trains the model in another way than the plain loop."""

    def __call__(self, training: ReferenceTraining, options: Any) -> WayRun:
        """Train a copy of the model.

        Args:
            training: the plain loop's run on the whole batch, with the copy of the model in `replica`.
            options: the options of the way in the config.

        Raises:
            NotApplicable: with the reason why the way is no way to train this model.
            RunError: if training raises.
        """
        ...


def seen(
    code: str, evidence: str, *, layer: str | None = None, confidence: Confidence = "exact", fix: str | None = None
) -> Diagnosis:
    """Return the diagnosis of what a way has seen happen; `fix` in place of the catalogue's."""
    entry = CATALOGUE[code]
    return Diagnosis(
        code=code,
        title=entry.title,
        segment=None,
        layer=layer,
        confidence=confidence,
        evidence=evidence,
        fix=fix or entry.fix,
    )


def taken(values: Mapping[TensorKey, Any], *, loss: Any, state: Mapping[str, Any], seconds: float) -> Step:
    """Return a step by the values of weights and optimizer after it, its loss (None: unknown), and the state.

    All tensors become NumPy arrays: a step can be pickled.
    """
    state = {path: as_array(value) for path, value in state.items()}
    tensors = {**values, **{TensorKey("state", path): value for path, value in state.items()}}
    if loss is not None:
        tensors[LOSS] = loss = as_array(loss)
    return Step(tensors=tensors, gradients=Gradients(loss=loss, outputs=(), tensors={}, state=state, seconds=seconds))
