"""Semi-supervised mean teacher: the teacher's weights follow the student's as a moving average."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

EMA_DECAY = 0.9
CONSISTENCY = 2.0


def net():
    return keras.Sequential(
        [
            layers.Input((6,)),
            layers.Dense(16, use_bias=False),
            layers.BatchNormalization(),
            layers.Activation("relu"),
            layers.Dropout(0.2),
            layers.Dense(3),
        ]
    )


keras.utils.set_random_seed(90)
student, teacher = net(), net()
teacher.set_weights(student.get_weights())
optimizer = keras.optimizers.Adam(1e-2)
cross_entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
rng = np.random.default_rng(19)


def perturb(x):
    return x + 0.1 * rng.normal(size=x.shape).astype("float32")


def update_teacher():
    for t, s in zip(teacher.weights, student.weights):
        t.assign(EMA_DECAY * t + (1.0 - EMA_DECAY) * s)


def train_step(x_labelled, y, x_unlabelled):
    x_all = np.concatenate([x_labelled, x_unlabelled])
    with tf.GradientTape() as tape:
        student_logits = student(perturb(x_all), training=True)
        teacher_logits = teacher(perturb(x_all), training=False)
        supervised = cross_entropy(y, student_logits[: len(y)])
        consistency = tf.reduce_mean(tf.square(tf.nn.softmax(student_logits) - tf.nn.softmax(teacher_logits)))
        loss = supervised + CONSISTENCY * consistency
    grads = tape.gradient(loss, student.trainable_variables)
    optimizer.apply_gradients(zip(grads, student.trainable_variables))
    update_teacher()
    return supervised, consistency


for step in range(4):
    x_labelled = rng.normal(size=(6, 6)).astype("float32")
    labels = (x_labelled[:, 0] > 0).astype(int) + (x_labelled[:, 1] > 0).astype(int)
    x_unlabelled = rng.normal(size=(8, 6)).astype("float32")
    supervised, consistency = train_step(x_labelled, labels, x_unlabelled)
    print(f"step {step}: supervised {supervised:.4f} consistency {consistency:.5f}")
