"""The reference that a run saves for others, and the one that is read from a file in place of the whole model's run."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from gradcheck.comparing.keys import LOSS, as_array
from gradcheck.comparing.reference import Reference
from gradcheck.comparing.saved.belonging import differences, fingerprint
from gradcheck.comparing.saved.gradient_file import write
from gradcheck.comparing.tape import monolithic
from gradcheck.errors import ConfigErrors, Mistake, UsageError
from gradcheck.handoff.execute import Execution
from gradcheck.handoff.interface import Gradients
from gradcheck.phrases import plural, some

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gradcheck.comparing.saved.gradient_file import GradientFile
    from gradcheck.problem.problem import Problem, TensorKey


def save(problem: Problem, reference: Reference, path: Path, about: Mapping[str, Any]) -> str:
    """Write the reference of `problem` to `path`, with its noise floors, and return a note that says so.

    The noise floors are measured for it, and the reference is run a second time: a later run cannot do either.

    Args:
        problem: the problem.
        reference: its reference.
        path: the file.
        about: what else is to be known of it, in JSON's types.

    Raises:
        UsageError: if the file cannot be written.
    """
    floors = reference.noise_floors
    index = {
        **about,
        "fingerprint": fingerprint(problem),
        "execution": problem.execution,
        "seconds": reference.gradients.seconds,
        "noise_floors": [floors[key] for key in reference.tensors],
        "unrepeatable": list(reference.unrepeatable),
    }
    size = write(path, index, ((key, as_array(tensor)) for key, tensor in reference.tensors.items()))
    return f"saved as a reference: {path}, {plural(len(reference.tensors), 'tensor')}, {size} bytes"


class SavedReference(Reference):
    """The reference that an earlier run has saved: its tensors are read one at a time, and kept by nobody."""

    def __init__(self, problem: Problem, file: GradientFile) -> None:
        """Hold the file against `problem`.

        Raises:
            ConfigErrors: GC033, all that shows that it is the reference of something else.
        """
        self.file = file
        _require_same(problem, file)
        self._problem = problem
        self.execution = Execution(problem, monolithic, split=False)  # refused: it is what the file stands for
        self.tensors = file
        self.notes = _notes(problem, file)
        self.gradients = Gradients(
            loss=file[LOSS], outputs=(), tensors={}, state={}, seconds=float(file.about["seconds"])
        )

    @cached_property
    def noise_floors(self) -> Mapping[TensorKey, float]:
        """The noise floors that were measured when it was saved."""
        return dict(zip(self.file, self.file.about["noise_floors"], strict=True))

    @cached_property
    def unrepeatable(self) -> tuple[TensorKey, ...]:
        """The tensors that did not repeat themselves when it was saved."""
        moved = {tuple(key) for key in self.file.about["unrepeatable"]}
        return tuple(key for key in self.file if tuple(key) in moved)

    @property
    def verified(self) -> float | None:
        """How far it was from a finite difference when it was saved; None if that was not measured."""
        share = self.file.about["verified"]
        return None if share is None else float(share)


def _notes(problem: Problem, file: GradientFile) -> tuple[str, ...]:
    """Return where the reference comes from, and which boundaries of this split it does not have."""
    of = file.about["environment"]
    made = f"{of['time']}, TensorFlow {of['tensorflow']}, Keras {of['keras']}, {of['device']}"
    found = [f"the reference is read from {file.path} ({made}): the whole model was not differentiated"]
    crossing = map(problem.boundary_key, problem.whole_boundaries)
    lacking = [key.path for key in crossing if key not in file]
    if lacking:
        others = f"{plural(len(lacking), 'boundary', 'boundaries')} ({some(lacking)})"
        found.append(f"not compared: {others}; the reference was saved with other cuts")
    return tuple(found)


def _require_same(problem: Problem, file: GradientFile) -> None:
    found = differences(file.about["fingerprint"], fingerprint(problem))
    there = file.about["execution"]
    if not found and problem.draws and there != problem.execution and "xla" in (there, problem.execution):
        said = f"execution: {there} there, {problem.execution} here, and under XLA random layers draw other numbers"
        found = [(said, f"give this run --execution {there}")]
    if found:
        origin = f"{file.path} is no reference for this config"
        raise ConfigErrors([Mistake(code="GC033", message=f"{origin}: {said}", help=help_) for said, help_ in found])


def refuse_training(steps: int) -> None:
    """Refuse training steps, which a saved reference does not have.

    Raises:
        UsageError: if there are any.
    """
    if steps:
        message = f"--reference holds the gradients of one step, and the config asks for train.steps: {steps}"
        raise UsageError(message, code="GC033", help="leave --reference out, or give --set train.steps=0")
