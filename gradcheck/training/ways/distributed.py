"""Training by `fit` under a strategy of `tf.distribute`, in a process that was started for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.training.ways.keras_training import Recorder, compiled_model, dataset, fitted, own_training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.training.steps import Step
    from gradcheck.training.ways.elsewhere import Departure


def trained_by_fit(departure: Departure, strategy: tf.distribute.Strategy) -> list[Step]:
    """Train, one batch an epoch, which Keras divides among the replicas; return what each step left behind."""
    with departure.entered(strategy.scope()) as problem:
        trainee = departure.trainee(problem)
        model = compiled_model(problem, trainee.optimizer, jit_compile=False)
        recorder = Recorder(trainee, with_loss=not own_training(model))
        fitted(model, dataset(problem), recorder, epochs=departure.config.train.steps)
    return recorder.steps


def mirrored(departure: Departure, count: int, stage: Callable[[str], None]) -> list[Step]:
    """Train over `count` devices of this process."""
    stage("training on several devices")
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus if len(gpus) >= count else tf.config.list_logical_devices("CPU")
    return trained_by_fit(departure, _Mirrored([device.name for device in devices[:count]]))


class _Mirrored(tf.distribute.MirroredStrategy):  # type: ignore[misc]  # TensorFlow has no types
    """A strategy whose collectives have keys of their own: those of another one in the same process stay known."""

    #: Where the keys of the next one begin; TensorFlow has it for its own tests, which do the same.
    _collective_key_base = 0

    def __init__(self, devices: Sequence[str]) -> None:
        type(self)._collective_key_base += 100_000  # noqa: SLF001 - ours
        super().__init__(devices)
