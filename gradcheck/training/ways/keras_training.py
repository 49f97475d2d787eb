"""Training by Keras: the model compiled with the config's loss and optimizer, and `fit` with what it left behind."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.batch.loss import RANDOM_COTANGENT
from gradcheck.building.endpoints import flat_values
from gradcheck.building.messages import described
from gradcheck.building.sources.subclassed import wraps_one
from gradcheck.config.sections.live import LiveOptimizer
from gradcheck.errors import NotApplicable
from gradcheck.handoff.tensors import total_loss
from gradcheck.numerics import movement
from gradcheck.training.steps import LiveTrainee, slots_like, value_key
from gradcheck.training.ways.interface import seen, taken, tensorflow_quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from gradcheck.batch.loss import Loss, Term
    from gradcheck.problem.problem import Problem
    from gradcheck.results.report import Diagnosis
    from gradcheck.training.reference_run import ReferenceTraining
    from gradcheck.training.steps import Step, Trainee

#: How much nearer to the plain loop the eager run must be for the compilation to be the cause.
_NEARER = 0.01
#: The methods of keras.Model that a model may override for training.
OWN_TRAINING = ("train_step", "compute_loss", "fit", "make_train_function")


class AsLoss(keras.losses.Loss):  # type: ignore[misc]  # Keras has no types
    """A function of (y, output, sample_weight) to a scalar as a Keras loss, for functions that `compile` cannot take.

    Keras divides neither a scalar nor a sum among replicas.
    """

    def __init__(self, function: Callable[[Any, Any, Any], Any], *, averages: bool) -> None:
        """Take the function; whether it `averages` values that are each an example's."""
        super().__init__(reduction="sum")
        self._function, self._averages = function, averages

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Return the function's value; a mean is divided by the number of replicas, as Keras does with its own."""
        value = self._function(y_true, y_pred, sample_weight)
        return value / tf.distribute.get_strategy().num_replicas_in_sync if self._averages else value


def keras_losses(loss: Loss) -> list[Any]:
    """Return the losses as `compile` takes them, one for each output; None for an output without one."""
    return [_keras_loss(term) for term in loss.terms]


def _keras_loss(term: Term | None) -> Any:
    if term is None or (term.compiled is not None and term.name != RANDOM_COTANGENT):
        return None if term is None else term.compiled
    return AsLoss(term.function, averages=term.reduction == "mean")


def compiled_model(problem: Problem, optimizer: Any, **arguments: Any) -> keras.Model:
    """Compile the user's own object with the problem's loss and `optimizer`, and return it.

    Args:
        problem: the problem whose model it is.
        optimizer: built on the model's variables, or not at all.
        **arguments: of `compile`.

    Raises:
        NotApplicable: if the model's own `compile` takes other arguments, or the config trains in inference mode.
    """
    if not problem.training:
        raise NotApplicable("Keras trains with training=True, and the config says training: false")
    model = own_model(problem)
    losses = keras_losses(problem.loss)
    weights = [1.0 if term is None else float(term.weight) for term in problem.loss.terms]
    several = {"loss": losses, "loss_weights": weights} if len(losses) > 1 or weights[0] != 1 else {"loss": losses[0]}
    if problem.loss.joint is not None:
        several = {}
        _compute_loss_over_all(model, problem)
    try:
        model.compile(optimizer=optimizer, **several, **arguments)
    except TypeError as error:
        raise NotApplicable(f"the model's own compile takes other arguments: {described(error)}") from error
    return model


def _compute_loss_over_all(model: keras.Model, problem: Problem) -> None:
    """Let `model` compute the one loss over all of its outputs; `compile` takes one for each. Its own code stays.

    Raises:
        NotApplicable: if the loss calls the model itself, and calls move its state.
    """
    loss = problem.loss
    if loss.of_model is not None and problem.state.variables:
        raise NotApplicable("Keras calls the model before the loss, which calls it again: its state would move twice")

    def compute_loss(x: Any, y: Any, y_pred: Any, sample_weight: Any = None, training: bool = True) -> Any:  # noqa: FBT001, FBT002 - as Keras's
        if loss.of_model is None:
            found = loss(y, y_pred, sample_weight)
        else:
            targets = flat_values(y, loss.positions, len(loss.terms))
            weight = None if sample_weight is None else flat_values(sample_weight, loss.positions, len(loss.terms))
            found = loss.by_model(model, x, targets, weight, training=training)
        return total_loss(found, model.losses) / tf.distribute.get_strategy().num_replicas_in_sync

    if "compute_loss" not in own_training(model):
        vars(model)["compute_loss"] = compute_loss  # past Keras's tracking of attributes


def own_training(model: keras.Model) -> list[str]:
    """Return the methods for training that the model's class overrides."""
    return [name for name in OWN_TRAINING if getattr(type(model), name, None) is not getattr(keras.Model, name)]


def own_model(problem: Problem) -> keras.Model:
    """Return the user's own object: the one inside, if `problem` put a functional model around it."""
    inner = wraps_one(problem.model)
    return inner if isinstance(inner, keras.Model) else problem.model


@contextmanager
def keras_trainee(training: ReferenceTraining, **arguments: Any) -> Iterator[tuple[keras.Model, Trainee]]:
    """Yield a compiled copy of the model and its trainee, from the start; `arguments` are those of `compile`.

    A model with a `train_step` of its own may hold on to the optimizer that it was compiled with first, as under
    `tf.function`: it is copied anew. A live model keeps the optimizer and the loss that it was compiled with.
    """
    own = own_training(own_model(training.problem))
    copy = training.new_replica() if own else training.replica
    with copy.entered() as problem, problem.state.preserved():
        trainee = training.trainee(problem, [weight.variable for weight in problem.weights])
        model = own_model(problem)
        spec = problem.config.train.optimizer
        if isinstance(spec, LiveOptimizer) and spec.as_compiled and problem.training:
            theirs = model.optimizer
            if not theirs.built:
                theirs.build(list(trainee.variables))
            for first, variable in zip(trainee.optimizer.variables, slots_like(trainee.optimizer, theirs), strict=True):
                variable.assign(first)
            trainee = LiveTrainee(**vars(trainee), theirs=theirs)
            for name, value in {"train_function": None, **arguments}.items():
                setattr(model, name, value)
        else:
            model = compiled_model(problem, trainee.optimizer, **arguments)
        yield model, trainee


def dataset(problem: Problem) -> tf.data.Dataset:
    """Return a dataset of one batch, (x, y) or (x, y, sample_weight), in the structure that `fit` takes."""
    batch = problem.batch
    y = tuple(batch.y)
    parts: tuple[Any, ...] = (_as_tuples(problem.model_inputs(batch.x)), y[0] if len(y) == 1 else y)
    if batch.sample_weight is not None:
        weight = tuple(batch.sample_weight)
        parts = (*parts, weight[0] if len(weight) == 1 else weight)
    return tf.data.Dataset.from_tensors(parts)


def _as_tuples(structure: Any) -> Any:
    """Return a structure with tuples for lists, which a dataset would stack."""
    if isinstance(structure, dict):
        return {key: _as_tuples(value) for key, value in structure.items()}
    return tuple(map(_as_tuples, structure)) if isinstance(structure, (list, tuple)) else structure


class StepRecorder(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """What each call of the training function left behind.

    Attributes:
        steps: one for each training step; those inside one call of several steps have no tensors but after the last.
        rates: the learning rate at each call.
    """

    def __init__(self, trainee: Trainee, *, each: int = 1, with_loss: bool = True) -> None:
        """Record `trainee`; `each` is how many steps one call takes, `with_loss` whether the logs have its loss."""
        super().__init__()
        self._trainee, self._each, self._with_loss = trainee, each, with_loss
        self._count = trainee.problem.config.train.steps
        self._start = 0.0
        self.steps: list[Step] = []
        self.rates: list[float] = []

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - as Keras calls it
        """Let the loss be that of the steps to come alone."""
        self.model.reset_metrics()
        rate = getattr(self.model.optimizer, "learning_rate", None)  # a MultiOptimizer has none
        if rate is not None:
            self.rates.append(float(tf.convert_to_tensor(rate)))
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - as Keras calls it
        """Note what there is after the step."""
        seconds = time.perf_counter() - self._start
        problem, loss = self._trainee.problem, None
        if self._with_loss and self._each == 1 and "loss" in (logs or {}):
            loss = tf.constant(logs["loss"], problem.loss.dtype)
        inside = min(self._each, self._count - len(self.steps)) - 1
        self.steps += [taken({}, loss=None, state={}, seconds=0.0)] * inside
        state = problem.state.read(split=False)
        self.steps.append(taken(self._trainee.values(), loss=loss, state=state, seconds=seconds))


def fitted(
    model: keras.Model,
    data: tf.data.Dataset,
    recorder: StepRecorder,
    *,
    epochs: int,
    callbacks: Sequence[Any] = (),
    **arguments: Any,
) -> None:
    """Call `fit`; the recorder comes after all other callbacks.

    TensorFlow warns of a function that is traced often; here that is one model after another.
    """
    with tensorflow_quiet():
        model.fit(data, epochs=epochs, verbose=0, shuffle=False, callbacks=[*callbacks, recorder], **arguments)


def compilation_alone(
    against: ReferenceTraining, steps: Sequence[Step], eagerly: Callable[[], Sequence[Step]]
) -> tuple[Diagnosis, ...]:
    """Return GC606 if the same steps of `fit`, run eagerly, come to what the plain loop comes to."""
    keys = [value_key(weight) for weight in against.problem.weights]
    expected, eager = against.steps[-1], eagerly()[-1].tensors
    compiled_apart, eager_apart = (
        max((movement(expected[key], tensors[key]) for key in keys), default=0.0)
        for tensors in (steps[-1].tensors, eager)
    )
    if eager_apart > _NEARER * compiled_apart:
        return ()
    evidence = (
        f"the same steps of `fit`, run eagerly, end {eager_apart:.1e} from the plain loop, and compiled "
        f"{compiled_apart:.1e}: it is compiling them that changes what they do"
    )
    return (seen("GC606", evidence),)
