"""A student that learns from labels and from a frozen teacher, by a `compute_loss` of its own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

ALPHA, TEMPERATURE, CLASSES = 0.1, 3.0, 5


def network(width: int, name: str, *, normalised: bool) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((12, 12, 1)),
            layers.Conv2D(width, 3, strides=2, padding="same"),
            layers.BatchNormalization() if normalised else layers.Identity(),
            layers.LeakyReLU(0.2),
            layers.Conv2D(2 * width, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(CLASSES),
        ],
        name=name,
    )


def soften(logits: Any) -> Any:
    return ops.softmax(logits / TEMPERATURE, axis=-1)


@keras.saving.register_keras_serializable("published")
class Distiller(keras.Model):
    """Gives the logits of student and teacher side by side, (batch, 2, classes)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.student = network(4, "student", normalised=False)
        self.teacher = network(8, "teacher", normalised=True)
        self.teacher.trainable = False
        self.student_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.distillation_loss = keras.losses.KLDivergence()

    def build(self, _shape: Any = None) -> None:
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        student = self.student(images, training=training)
        return ops.stack([student, self.teacher(images, training=False)], axis=1)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool | None = None
    ) -> Any:
        del x, sample_weight, training
        student, teacher = y_pred[:, 0], y_pred[:, 1]
        soft = self.distillation_loss(soften(teacher), soften(student))
        return ALPHA * self.student_loss(y, student) + (1 - ALPHA) * TEMPERATURE**2 * soft


@keras.saving.register_keras_serializable("published")
class Distillation(keras.losses.Loss):
    """The same loss, for code that has no Distiller at hand."""

    def call(self, y: Any, logits: Any) -> Any:
        student, teacher = logits[:, 0], logits[:, 1]
        hard = keras.losses.sparse_categorical_crossentropy(y, student, from_logits=True)
        return ALPHA * hard + (1 - ALPHA) * TEMPERATURE**2 * keras.losses.kl_divergence(
            soften(teacher), soften(student)
        )


def loss() -> keras.losses.Loss:
    return Distillation()


def build() -> keras.Model:
    model = Distiller(name="distillation")
    model.build()
    return model


def batch() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(7)
    return rng.uniform(0, 1, (9, 12, 12, 1)), rng.integers(0, CLASSES, 9)
