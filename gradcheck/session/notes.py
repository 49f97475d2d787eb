"""Warnings and notes on a run as a whole. A warning asks the reader to change something, a note does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from gradcheck.building.sources.subclassed import wraps_one
from gradcheck.comparing.batch_coupling import full_batch_note
from gradcheck.comparing.keys import as_array
from gradcheck.numerics import NOISE_FACTOR, largest
from gradcheck.phrases import first, listed, some

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.comparing.reference import Reference
    from gradcheck.config.schema import Config
    from gradcheck.numerics import TolerancePolicy
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import CheckReport

#: Above this share of the tensors' size, the noise floor hides faults that a reader would expect to be seen.
NOISY = 0.01
#: The most places that one warning names.
_MOST_PLACES = 5
#: The methods of keras.Model that a model may override for training, and that gradcheck does not call.
OWN_TRAINING = ("train_step", "compute_loss")


def warnings_of(
    problem: Problem, reference: Reference, checks: Sequence[CheckReport], policy: TolerancePolicy
) -> tuple[str, ...]:
    """Return the warnings about the config, the model and the figures."""
    paths = [tensor.path for check in checks for tensor in check.tensors]
    twice = problem.config.verify_reference == "always"
    unmatched = policy.unmatched(paths) if paths else ()
    return (
        *_without_effect(problem.config),
        *(problem.plan.warnings if problem.plan else ()),
        *_constants(problem),
        *(f"tolerance.overrides: {pattern!r} matches no tensor" for pattern in unmatched),
        *(_rounding_warning(problem, reference) if reference.only_rounding else _noise_warning(reference)),
        *(_repeat_warning(reference) if twice or reference.noise_measured else ()),
    )


def notes_of(problem: Problem, reference: Reference) -> tuple[str, ...]:
    """Return the notes: facts about the run that need no change."""
    return (
        *(closed.note for closed in problem.graph.closed),
        *(problem.plan.notes if problem.plan else ()),
        *_own_training(problem),
        *_slices(problem, reference),
    )


def _without_effect(config: Config) -> Iterator[str]:
    """Yield a warning for each key of the config that has no effect."""
    if "schedule" in config.model_fields_set and config.microbatches == 1:
        yield f"schedule: {config.schedule} has no effect: there is one micro-batch (`microbatches` says how many)"
    if "optimizer" in config.train.model_fields_set and not config.train.steps:
        yield "train.optimizer has no effect: there are no training steps (`train.steps` says how many)"


def _constants(problem: Problem) -> Iterator[str]:
    """Yield a warning about weights whose value became a constant while the model was built."""
    places: dict[tuple[str, ...], list[str]] = {}
    for path, holders in problem.captured_in.items():
        places.setdefault(holders, []).append(path)
    said = [f"{listed(paths)} ({listed(holders)})" for holders, paths in places.items()]
    if said:
        yield (
            f"captured as a constant while the model was built: {'; '.join(first(said, _MOST_PLACES))}. No gradient "
            "passes through it, and training does not change it; compute it in `call`"
        )


def _own_training(problem: Problem) -> Iterator[str]:
    """Yield a note on a model that overrides `OWN_TRAINING`: only its forward pass and the config's loss are used."""
    cls = type(wraps_one(problem.model) or problem.model)
    own = [name for name in OWN_TRAINING if getattr(cls, name, None) not in (None, getattr(keras.Model, name))]
    if own and not any(method.info.way for method in problem.config.methods):
        yield (
            f"{cls.__name__} has its own {' and '.join(own)}, which {'is' if len(own) == 1 else 'are'} not used: the "
            "gradients are those of its layers and of the config's loss. To check a training step of your own, give it "
            "as candidate: {train_step: ...}"
        )


def _slices(problem: Problem, reference: Reference) -> Iterator[str]:
    """Yield notes on the micro-batches: their number, and their gradients beside those of the whole batch."""
    if not problem.slices:
        return
    asked, made, first = problem.config.microbatches, len(problem.slices), problem.slices[0]
    if made < asked:
        yield f"microbatches: {asked} slices of {first.stop} examples are {made} for a batch of {first.batch_size}"
    if problem.reference_file is None:
        yield full_batch_note(problem, reference)


def _noise_warning(reference: Reference) -> Iterator[str]:
    """Yield a warning with the smallest fault that would be seen, if rounding hides more than a reader would expect."""
    share = reference.noise_share
    if share is not None and share > NOISY:
        yield (
            f"rounding alone moves half of the weight gradients by {share:.1%} of their size or more: "
            f"a fault that changes them by less than {NOISE_FACTOR * share:.1%} would not be seen"
        )


def _rounding_warning(problem: Problem, reference: Reference) -> Iterator[str]:
    """Yield a warning about gradients that are rounding alone: they agree, and prove nothing."""
    size = max((largest(as_array(reference.tensors[weight.key])) for weight in problem.weights), default=0.0)
    loss = float(reference.gradients.loss)
    yield (
        f"GC701: every gradient is zero but for rounding (of a weight at most {size:.1e}, at a loss of {loss:.3g}): "
        "nothing that the layers do changes the loss, as with the mean of what a softmax or a normalising layer gives. "
        "Leave `loss` out: the default random_cotangent has no such blind spot"
    )


def _repeat_warning(reference: Reference) -> Iterator[str]:
    """Yield a warning that names the tensors that differ in a second run of the reference."""
    moved = [key.path for key in reference.unrepeatable]
    if moved:
        yield (
            "GC704: the reference does not repeat itself: a second run from the same weights, state and seeds "
            f"differs in {some(moved, 5)}; nothing can be held against it"
        )
