"""What a reader should know of a run as a whole: warnings ask for something to be done, notes do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import keras

from gradcheck.comparing.batch_coupling import full_batch_note
from gradcheck.comparing.keys import as_array
from gradcheck.config.keyed import listed
from gradcheck.numerics import NOISE_FACTOR, largest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.comparing.reference import Reference
    from gradcheck.config.schema import Config
    from gradcheck.numerics import TolerancePolicy
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import CheckReport

#: Above this share of the tensors' size, the noise floor hides faults that a reader would expect to be seen.
NOISY = 0.01
#: How many places one warning names.
_MOST_PLACES = 5
#: What a model may do in training of its own, that gradcheck does not run.
OWN_TRAINING = ("train_step", "compute_loss")


def warnings_of(
    problem: Problem, reference: Reference, checks: Sequence[CheckReport], policy: TolerancePolicy
) -> tuple[str, ...]:
    """What in the config, the model or the figures should be looked at."""
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
    """What is worth knowing and nothing to mend."""
    return (*_own_training(problem), *_slices(problem, reference))


def _without_effect(config: Config) -> Iterator[str]:
    """Keys that were written and change nothing."""
    if "schedule" in config.model_fields_set and config.microbatches == 1:
        yield f"schedule: {config.schedule} has no effect: there is one micro-batch (`microbatches` says how many)"
    if "optimizer" in config.train.model_fields_set and not config.train.steps:
        yield "train.optimizer has no effect: there are no training steps (`train.steps` says how many)"


def _constants(problem: Problem) -> Iterator[str]:
    """Weights of which a constant was made while the model was built."""
    places: dict[tuple[str, ...], list[str]] = {}
    for path, holders in problem.captured_in.items():
        places.setdefault(holders, []).append(path)
    said = [f"{listed(paths)} ({listed(holders)})" for holders, paths in places.items()]
    more = f"; and {len(said) - _MOST_PLACES} more" if len(said) > _MOST_PLACES else ""
    if said:
        yield (
            f"captured as a constant while the model was built: {'; '.join(said[:_MOST_PLACES])}{more}. No gradient "
            "passes through it, and training does not change it; compute it in `call`"
        )


def _own_training(problem: Problem) -> Iterator[str]:
    """A model that trains in a way of its own: gradients are those of its forward pass and of the config's loss."""
    cls = type(problem.model)
    own = [name for name in OWN_TRAINING if getattr(cls, name) is not getattr(keras.Model, name)]
    if own:
        yield (
            f"{cls.__name__} has its own {' and '.join(own)}, which {'is' if len(own) == 1 else 'are'} not used: the "
            "gradients are those of its layers and of the config's loss. To check a training step of your own, give it "
            "as candidate: {train_step: ...}"
        )


def _slices(problem: Problem, reference: Reference) -> Iterator[str]:
    """How the micro-batches compare with the whole batch."""
    if not problem.slices:
        return
    asked, made, first = problem.config.microbatches, len(problem.slices), problem.slices[0]
    if made < asked:
        yield f"microbatches: {asked} slices of {first.stop} examples are {made} for a batch of {first.batch_size}"
    yield full_batch_note(problem, reference)


def _noise_warning(reference: Reference) -> Iterator[str]:
    """How small a fault would still be seen, where rounding hides more than a reader would expect."""
    share = reference.noise_share
    if share is not None and share > NOISY:
        yield (
            f"rounding alone moves half of the weight gradients by {share:.1%} of their size or more: "
            f"a fault that changes them by less than {NOISE_FACTOR * share:.1%} would not be seen"
        )


def _rounding_warning(problem: Problem, reference: Reference) -> Iterator[str]:
    """Gradients that agree and prove nothing."""
    size = max((largest(as_array(reference.tensors[weight.key])) for weight in problem.weights), default=0.0)
    loss = float(reference.gradients.loss)
    yield (
        f"GC701: every gradient is zero but for rounding (of a weight at most {size:.1e}, at a loss of {loss:.3g}): "
        "nothing that the layers do changes the loss, as with the mean of what a softmax or a normalising layer gives. "
        "Leave `loss` out: the default random_cotangent has no such blind spot"
    )


def _repeat_warning(reference: Reference) -> Iterator[str]:
    """Names what a second run of the reference gives differently."""
    moved = [key.path for key in reference.unrepeatable]
    if moved:
        named = ", ".join(moved[:5]) + (" …" if len(moved) > 5 else "")  # noqa: PLR2004 - a line's worth
        yield (
            "GC704: the reference does not repeat itself: a second run from the same weights, state and seeds "
            f"differs in {named}; nothing can be held against it"
        )
