"""`fit`: Keras's own loop, with the `train_step`, the `compute_loss` and the callbacks of the user."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.building import user_code
from gradcheck.phrases import listed
from gradcheck.training.ways.interface import WayRun
from gradcheck.training.ways.keras_training import Recorder, compiled_model, dataset, fitted, own_training

if TYPE_CHECKING:
    from gradcheck.config.sections.methods import FitOptions
    from gradcheck.problem.problem import Problem
    from gradcheck.training.reference_run import ReferenceTraining


def fit(training: ReferenceTraining, options: FitOptions) -> WayRun:
    """Compile and fit the model, one epoch of one batch for each step.

    The plain loop takes over the learning rate that callbacks set: that is what they are for.
    """
    with training.replica.entered() as problem, problem.state.preserved():
        trainee = training.trainee(problem, [weight.variable for weight in problem.weights])
        model = compiled_model(problem, trainee.optimizer)
        own = own_training(model)
        recorder = Recorder(trainee, with_loss=not own)
        fitted(
            model,
            dataset(problem),
            recorder,
            epochs=problem.config.train.steps,
            callbacks=_callbacks(problem, options),
        )
    remarks = (f"trained by {type(model).__name__}'s own {listed(own)}",) if own else ()
    return WayRun(training=training, steps=recorder.steps, remarks=remarks)


def _callbacks(problem: Problem, options: FitOptions) -> list[Any]:
    if options.callbacks is None:
        return []
    return list(user_code.made_by("callbacks", options.callbacks, problem.base, "GC054", {}))
