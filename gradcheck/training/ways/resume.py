"""`resume`: training that is saved, loaded in a new process, and continued there."""

from __future__ import annotations

import tempfile
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gradcheck.comparing.keys import LOSS, as_array
from gradcheck.comparing.tape import monolithic
from gradcheck.config.keyed import KeyedError, at
from gradcheck.errors import NotApplicable
from gradcheck.handoff.execute import Execution, batch_tensors
from gradcheck.problem.optimizer import innermost
from gradcheck.problem.prepare import session
from gradcheck.problem.problem import TensorKey
from gradcheck.training.steps import Trainee, slots_like
from gradcheck.training.ways.elsewhere import Departure, result_elsewhere, told
from gradcheck.training.ways.interface import WayRun, taken
from gradcheck.training.ways.lost import Interruption, generator_places, is_kept, same, seed_holders
from gradcheck.training.ways.saved_formats import FORMATS, loading, saving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.config.sections.methods import ResumeOptions
    from gradcheck.handoff.interface import Gradients
    from gradcheck.problem.problem import Problem
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Step


@dataclass(frozen=True, eq=False, kw_only=True)
class Saved:
    """What the new process needs to continue; it can be pickled.

    Attributes:
        departure: describes model and optimizer.
        form: the name of the format.
        folder: where it was saved.
        steps: how many are left.
    """

    departure: Departure
    form: str
    folder: Path
    steps: int


def resume(training: ReferenceTraining, options: ResumeOptions) -> WayRun:
    """Train some steps, save model and optimizer, and take the other steps in a process that has loaded them.

    After the last step here the values are compared as they are loaded.
    """
    count = training.problem.config.train.steps
    after = _after(options, count)
    form = FORMATS[options.format]
    with tempfile.TemporaryDirectory(prefix="gradcheck-") as name:
        with training.replica.entered() as problem, problem.state.preserved():
            trainee = training.trainee(problem, [weight.variable for weight in problem.weights])
            places, start = generator_places(), problem.state.read(split=False)
            before = list(_steps(trainee, after))
            drawn = tuple(what for what, place in generator_places().items() if place != places[what])
            with saving(form), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                form.save(trainee, Path(name))
            holders, rate, averages = seed_holders(problem), _rate(trainee.optimizer), _averages(trainee.optimizer)
        saved = Saved(
            departure=Departure.of(training),
            form=options.format,
            folder=Path(name),
            steps=count - after,
        )
        loaded_rate, loaded, *others = result_elsewhere("resume:continued", saved)
    last = before[-1].tensors
    # A seed that nothing draws from may have any value.
    idle = {key for path in holders if same(as_array(start[path]), last[key := TensorKey("state", path)])}
    lacking: dict[TensorKey, Any] = {key: None for key in last if is_kept(key)}
    loaded = replace(loaded, tensors={**last, **lacking, **loaded.tensors}, gradients=before[-1].gradients)
    steps = [*before[:-1], loaded, *(replace(step, tensors={**lacking, **step.tensors}) for step in others)]
    steps = [replace(step, tensors={k: v for k, v in step.tensors.items() if k not in idle}) for step in steps]
    interruption = Interruption(
        saved=last,
        loaded=steps[after - 1].tensors,
        rates=(rate, loaded_rate),
        losses=[(there[LOSS], here.tensors[LOSS]) for there, here in zip(training.steps, steps, strict=True)],
        after=after,
        by=form.name,
        averaged=averages and form.after_fit,
        holders=holders,
        drawn=drawn,
    )
    return WayRun(training=training, steps=steps, found=interruption.found())


def continued(saved: Saved, stage: Callable[[str], None]) -> list[Any]:
    """Return the learning rate and the values as they are loaded, and the steps that are taken after that.

    Runs in the new process. `stage` is called with the name of what comes next.
    """
    stage("loading the training that was saved")
    departure, form = saved.departure, FORMATS[saved.form]
    with session(departure.config), told(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with loading(form):
            found = form.load(departure, saved.folder)
        problem = departure.named(replace(found.problem, batch=departure.batch))
        new = departure.trainee(problem)
        optimizer = found.optimizer or new.optimizer
        if not optimizer.built:
            optimizer.build(new.variables)
        trainee = _Resumed(**{**vars(new), "optimizer": optimizer}, like=new.optimizer)
        problem.state.restore()  # generators that no layer holds start anew, as they do in a process
        loaded = taken(trainee.values(), loss=None, state=problem.state.read(split=False), seconds=0.0)
        stage("continuing the training")
        return [_rate(optimizer), loaded, *_steps(trainee, saved.steps)]


@dataclass(frozen=True, eq=False, kw_only=True)
class _Resumed(Trainee):
    """A model that is trained with a loaded optimizer; `like` is a new one, whose variables stand for missing ones."""

    like: Any

    @property
    def slots(self) -> Sequence[Any]:
        """The loaded optimizer's variables, in the order of a new one's."""
        return slots_like(self.like, self.optimizer)


def _after(options: ResumeOptions, count: int) -> int:
    """Return the number of steps before saving.

    Raises:
        KeyedError: GC031 if the config asks for more steps than leave one to continue with.
        NotApplicable: if there is but one step.
    """
    if options.after is not None and options.after >= count:
        with at("after"):
            message = f"no step is left to continue with. Received: after {options.after} of train.steps: {count}"
            raise KeyedError(message, code="GC031", help="save after fewer steps, or raise train.steps")
    if count < 2:  # noqa: PLR2004 - one before saving, one after it
        raise NotApplicable("it takes a step to save after, and another one to continue with, and train.steps is 1")
    return options.saved_after(count)


def _steps(trainee: Trainee, count: int) -> Iterator[Step]:
    """Take steps of the plain loop, in the config's execution; they can be pickled."""
    made: list[Execution] = []

    def compute(problem: Problem) -> Gradients:
        made[:] = made or [Execution(trainee.problem, monolithic, split=False)]
        return made[0].run_as_it_is(batch_tensors(problem))

    for step in trainee.steps(trainee.applying(compute), count):
        found = step.gradients
        yield taken(step.tensors, loss=found.loss, state=found.state, seconds=found.seconds)


def _averages(optimizer: Any) -> bool:
    """Whether the optimizer keeps averages of the weights."""
    return bool(innermost(optimizer).use_ema)


def _rate(optimizer: Any) -> float | None:
    """Return the learning rate of the next step; None for an optimizer of several."""
    if hasattr(optimizer, "optimizers"):
        return None
    return float(np.asarray(keras.ops.convert_to_tensor(optimizer.learning_rate)))
