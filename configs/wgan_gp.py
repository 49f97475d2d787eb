"""A critic's loss with gradient penalty, for real and made images, whole and by hand over a cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

PENALTY = 10.0


def batch(count: int) -> tuple[Any, Any]:
    """Real images, and as targets those of a generator."""
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(2, count, 6, 6, 1)).astype("float32")
    return real, 0.5 * fake


def between(real: Any, fake: Any) -> Any:
    """A point on the line from each real image to a made one; in training a random one."""
    share = tf.reshape(tf.linspace(tf.cast(0.2, real.dtype), 0.8, real.shape[0]), [-1, 1, 1, 1])
    return real + share * (fake - real)


def penalty(slopes: Any) -> Any:
    """How far the slopes' norms are from 1."""
    norms = tf.sqrt(tf.reduce_sum(tf.square(slopes), axis=[1, 2, 3]))
    return PENALTY * tf.reduce_mean(tf.square(norms - 1.0))


def critic_loss(critic: Any, real: Any, fake: Any) -> Any:
    """What the critic minimises: the score of made images, less that of real ones, and the penalty."""
    points = between(real, fake)
    with tf.GradientTape() as tape:
        tape.watch(points)
        score = critic(points)
    slopes = tape.gradient(score, points)
    return tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real)) + penalty(slopes)


def gradients(check: Any, *, second_order: bool = True) -> Any:
    """The loss and its gradients, with a tape for each part: the slope at the cut is handed to the first one."""
    front, back = check.segments
    points = between(check.x, check.y)
    with tf.GradientTape() as outer:
        with tf.GradientTape() as of_front:
            of_front.watch(points)
            boundary = front(points)
        with tf.GradientTape() as of_back:
            of_back.watch(boundary)
            score = back(boundary)
        slope = of_back.gradient(score, boundary)
        if not second_order:
            slope = tf.stop_gradient(slope)
        slopes = of_front.gradient(boundary, points, output_gradients=slope)
        scores = [tf.reduce_mean(back(front(images))) for images in (check.y, check.x)]
        loss = scores[0] - scores[1] + penalty(slopes)
    return loss, outer.gradient(loss, check.variables)
