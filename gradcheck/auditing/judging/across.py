"""Mistakes that show in no single variable: in how updates, calls of models and clippings go together."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from gradcheck.auditing.judging.changes import NEAR
from gradcheck.auditing.observing.layers import acts_otherwise_in_training, training_layers, trains_by_default
from gradcheck.diagnose.wording import named
from gradcheck.phrases import some
from gradcheck.user_calls.tape_calls import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gradcheck.auditing.judging.judgement import Judgement
    from gradcheck.auditing.trial import Trial
    from gradcheck.results.report import Diagnosis
    from gradcheck.user_calls.lines import ScriptLine


def found_across(trial: Trial) -> list[tuple[Diagnosis, ScriptLine]]:
    """Return the mistakes, each once, with their lines."""
    seen: dict[tuple[str, ScriptLine], tuple[Diagnosis, ScriptLine]] = {}
    for rule in RULES:
        for diagnosis, line in rule(trial):
            seen.setdefault((diagnosis.code, line), (diagnosis, line))
    return list(seen.values())


def _clipped_apart(trial: Trial) -> Iterator[tuple[Diagnosis, ScriptLine]]:
    """Clips by a global norm that serve one loss and scale by different factors."""
    together: dict[tuple[int, frozenset[int]], list[tuple[float, Judgement]]] = defaultdict(list)
    for j in trial.judgements:
        q = j.question
        if j.change.clipped is not None:
            losses = frozenset(id(loss) for group in q.groups for loss in group)
            together[q.update.step.number if q.update.step else j.at, losses].append((j.change.clipped, j))
    for of_loss in together.values():
        groups: list[list[tuple[float, Judgement]]] = []
        for factor, j in of_loss:
            same = next((group for group in groups if abs(group[0][0] - factor) < NEAR * factor), None)
            if same is None:
                groups.append(same := [])
            same.append((factor, j))
        several = [group for group in groups if len(group) > 1 and group[0][0] < 1 - NEAR]
        if len(groups) > 1 and several:
            factors = some([f"{group[0][0]:.4g}" for group in groups])
            text = f"groups of variables of one loss were clipped by norms of their own, by factors {factors}"
            last = several[-1][0][1].question
            yield named("GC405", text), last.made_at or last.update.line


def _stepped_twice(trial: Trial) -> Iterator[tuple[Diagnosis, ScriptLine]]:
    """One optimizer that is applied more than once for one loss in a step."""
    for updates in trial.applied_in.values():
        seen: dict[tuple[int, frozenset[int]], int] = {}
        for update, losses in updates:
            key = (id(update.optimizer), losses)
            seen[key] = seen.get(key, 0) + 1
            if seen[key] == 2 and losses:  # noqa: PLR2004 - the second time
                text = "one optimizer is applied several times for one loss, and counts each as a step"
                yield named("GC306", text), update.line


def _training_forgotten(trial: Trial) -> Iterator[tuple[Diagnosis, ScriptLine]]:
    """A call of a model that is being updated without `training`, beside others that have it."""
    by_step = defaultdict(list)
    for call in trial.layers.calls:
        by_step[call.step].append(call)
    updated = {key for key, trained in trial.variables.items() if trained.updates}
    for calls in by_step.values():
        if not any(call.training for call in calls):
            continue
        for call in calls:
            of_layer = {identity(v) for v in call.layer.trainable_variables}
            unsaid = call.training is None and call.tape is not None and bool(updated & of_layer)
            if unsaid and acts_otherwise_in_training(call.layer):
                text = f"{call.layer.name} is called without training=True, while others in this step have it"
                yield named("GC108", text), call.line


def left_in_inference(trial: Trial) -> list[str]:
    """Return a note on models that are trained by calls without `training`, in which some layers do nothing."""
    asked = {call.tape.number for call in trial.serving.calls.values()}
    updated = {key for key, trained in trial.variables.items() if trained.updates}
    calls_of = defaultdict(list)
    for call in trial.layers.calls:
        calls_of[id(call.layer)].append(call)
    idle: dict[str, list[str]] = {}
    for calls in calls_of.values():
        layer = calls[0].layer
        unsaid = any(c.training is None and c.tape in asked for c in calls) and not any(c.trained for c in calls)
        is_trained = not layer.weights or any(identity(v) in updated for v in layer.trainable_variables)
        kinds = [type(one).__name__ for one in training_layers(layer) if one.trainable]
        if unsaid and is_trained and kinds and not trains_by_default(layer):
            idle[layer.name] = kinds
    if not idle:
        return []
    kinds = list(dict.fromkeys(kind for of_layer in idle.values() for kind in of_layer))
    whose = "its" if len(idle) == 1 else "their"
    return [f"no call of {some(list(idle))} had training=True: {whose} {some(kinds)} ran as in inference"]


def _never_updated(trial: Trial) -> Iterator[tuple[Diagnosis, ScriptLine]]:
    """A variable that a tape recorded, of a model whose other variables are updated, that no gradient call names."""
    if trial.watch.updates < 2:  # noqa: PLR2004 - its turn may still come
        return
    updated = {key for key, trained in trial.variables.items() if trained.updates}
    for layer in trial.layers.roots.values():
        of_model = {identity(v): v for v in layer.trainable_variables}
        forgotten = [v for key, v in of_model.items() if key in trial.recorded and key not in trial.variables]
        if forgotten and updated & of_model.keys():
            key = next(iter(updated & of_model.keys()))
            call = next((c for c in trial.serving.calls.values() if key in c.ids), None)
            names = some([v.path for v in forgotten])
            if call is not None:
                yield named("GC403", f"{names}: recorded by a tape, and named by no gradient call"), call.line


def _unscaled_apart(trial: Trial) -> Iterator[tuple[Diagnosis, ScriptLine]]:
    """A loss scale that is undone for some variables and not for others, where they are assigned by hand."""
    by_loss: dict[frozenset[int], list[Judgement]] = defaultdict(list)
    for j in trial.judgements:
        if j.question.update.free_factor and j.scale != 1 and j.factor == j.factor:
            by_loss[frozenset(id(loss) for group in j.question.groups for loss in group)].append(j)
    for of_loss in by_loss.values():
        least = min(abs(j.factor) for j in of_loss)
        for j in of_loss:
            if least and abs(abs(j.factor) / least / abs(j.scale) - 1) < NEAR:
                path = j.question.trained.path
                text = f"the loss was multiplied by {j.scale:g}, and the gradient of {path} never divided"
                yield named("GC503", text), j.question.update.line
                break


def _redrawn(trial: Trial) -> Iterator[tuple[Diagnosis, ScriptLine]]:
    """A forward pass that was run again for its gradients, and drew other random numbers."""
    for call, by_random in trial.serving.redrawn:
        again = next((c for c in trial.layers.calls if c.tape == call.tape.number), None)
        if by_random or (again is not None and acts_otherwise_in_training(again.layer)):
            line = again.line if again else call.tape.line
            yield named("GC303", "the forward pass is run again for its gradients, and gives other values"), line


def _moved_twice(trial: Trial) -> Iterator[tuple[Diagnosis, ScriptLine]]:
    """State that a recomputation moved once more."""
    for line in trial.moved_twice:
        text = "the forward pass is run again for its gradients, and moves the state of layers a second time"
        yield named("GC302", text), line


def _clipped_by_optimizers(trial: Trial) -> Iterator[tuple[Diagnosis, ScriptLine]]:
    """Several optimizers of one loss, each of which clips by the global norm of its own variables."""
    for updates in trial.applied_in.values():
        clipping: dict[frozenset[int], set[int]] = defaultdict(set)
        for update, losses in updates:
            if losses and getattr(update.optimizer, "global_clipnorm", None):
                clipping[losses].add(id(update.optimizer))
                if len(clipping[losses]) > 1:
                    text = "several optimizers serve one loss, and each clips by the global norm of its own variables"
                    yield named("GC405", text), update.line


RULES: tuple[Callable[[Trial], Iterator[tuple[Diagnosis, ScriptLine]]], ...] = (
    _clipped_apart,
    _stepped_twice,
    _redrawn,
    _moved_twice,
    _clipped_by_optimizers,
    _unscaled_apart,
    _training_forgotten,
    _never_updated,
)
