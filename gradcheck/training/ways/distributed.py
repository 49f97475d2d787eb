"""Training under a strategy of `tf.distribute`, in a process that was started for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.training.ways.keras_training import StepRecorder, compiled_model, dataset, fitted, own_training

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import keras

    from gradcheck.batch import Batch
    from gradcheck.training.steps import Step
    from gradcheck.training.ways.elsewhere import Departure


def fit_begins(batch: Batch, count: int) -> bool:
    """Whether `fit` begins with `batch`: to build the model, it takes the mean of the parts of `count` replicas."""
    tensors = [*batch.x, *batch.y, *(batch.sample_weight or ())]
    adding = all(t is None or (tf.is_tensor(t) and t.dtype not in {tf.string, tf.bool}) for t in tensors)
    return adding and not batch.size % count


def mirrored(departure: Departure, count: int, by_fit: bool, stage: Callable[[str], None]) -> list[Step]:  # noqa: FBT001
    """Train over `count` devices of this process, and return what each step left behind."""
    stage("training on several devices")
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus if len(gpus) >= count else tf.config.list_logical_devices("CPU")
    strategy = _Mirrored([device.name for device in devices[:count]])
    return trained(departure, strategy, by_fit=by_fit)


def trained(departure: Departure, strategy: tf.distribute.Strategy, *, by_fit: bool) -> list[Step]:
    """Train on one batch, which the replicas of `strategy` divide, by Keras's `fit` or by a loop over `train_step`."""
    with departure.entered(strategy.scope()) as problem:
        trainee = departure.trainee(problem)
        model = compiled_model(problem, trainee.optimizer, jit_compile=False)
        recorder = StepRecorder(trainee, with_loss=not own_training(model))
        if by_fit:
            fitted(model, dataset(problem), recorder, epochs=departure.config.train.steps)
        else:
            _looped(model, dataset(problem), recorder, strategy, count=departure.config.train.steps)
    return recorder.steps


def _looped(
    model: keras.Model, data: tf.data.Dataset, recorder: StepRecorder, strategy: tf.distribute.Strategy, *, count: int
) -> None:
    """Take `count` steps over the one batch of `data`, as the guides of TensorFlow do by hand."""
    for x, y, *weight in data:
        model.compute_loss(x, y, model(x), *weight)  # it makes the metrics, which no replica can

    step = tf.function(lambda batch: strategy.run(model.train_step, args=(batch,)), autograph=False)
    divided = strategy.experimental_distribute_dataset(data)
    recorder.set_model(model)
    for index in range(count):
        recorder.on_train_batch_begin(index)
        for batch in divided:
            step(batch)
        recorder.on_train_batch_end(index, model.get_metrics_result())


class _Mirrored(tf.distribute.MirroredStrategy):  # type: ignore[misc]  # TensorFlow has no types
    """A strategy whose collectives have keys of their own: those of another one in the same process stay known."""

    #: Where the keys of the next one begin; TensorFlow has it for its own tests, which do the same.
    _collective_key_base = 0

    def __init__(self, devices: Sequence[str]) -> None:
        type(self)._collective_key_base += 100_000  # noqa: SLF001 - ours
        super().__init__(devices)
