"""Knowledge distillation: a small student imitates the softened outputs of a frozen teacher."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers


class Distiller:
    def __init__(self, student, teacher, temperature=3.0, alpha=0.3):
        self.student = student
        self.teacher = teacher
        self.temperature = temperature
        self.alpha = alpha
        self.optimizer = keras.optimizers.AdamW(5e-3, weight_decay=1e-2)
        self.hard_loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.soft_loss = keras.losses.KLDivergence()

    def train_step(self, x, y):
        teacher_logits = self.teacher(x, training=False)
        soft_targets = tf.nn.softmax(teacher_logits / self.temperature)
        with tf.GradientTape() as tape:
            logits = self.student(x, training=True)
            hard = self.hard_loss(y, logits)
            soft = self.soft_loss(soft_targets, tf.nn.softmax(logits / self.temperature)) * self.temperature**2
            loss = self.alpha * hard + (1 - self.alpha) * soft
        gradients = tape.gradient(loss, self.student.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.student.trainable_variables))
        return {"loss": loss, "hard": hard, "soft": soft}


def classifier(width, depth, rate, name):
    inputs = keras.Input((9,))
    x = inputs
    for _ in range(depth):
        x = layers.Dense(width, activation="relu")(x)
        x = layers.Dropout(rate)(x)
    return keras.Model(inputs, layers.Dense(4)(x), name=name)


def main():
    keras.utils.set_random_seed(55)
    rng = np.random.default_rng(14)
    teacher = classifier(32, 3, 0.4, "teacher")
    teacher.set_weights([w * 1.7 for w in teacher.get_weights()])  # a confident one
    distiller = Distiller(classifier(12, 1, 0.1, "student"), teacher)
    x = rng.normal(size=(32, 9)).astype("float32")
    y = rng.integers(0, 4, size=32)
    dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    for epoch in range(2):
        for xb, yb in dataset:
            logs = distiller.train_step(xb, yb)
        print(f"epoch {epoch}", {k: round(float(v), 4) for k, v in logs.items()})
    return distiller


if __name__ == "__main__":
    distiller = main()
