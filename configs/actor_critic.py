"""The loss of an advantage actor-critic, and its gradients by a tape for the trunk and one for the heads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable


def batch(count: int) -> tuple[Any, list[Any]]:
    """States; the actions that were taken there, and the returns."""
    rng = np.random.default_rng(0)
    states, returns = rng.normal(size=(count, 4)), rng.normal(size=(count, 1))
    return states.astype("float32"), [rng.integers(0, 3, size=(count, 1)), returns.astype("float32")]


def make_loss(*, stop: bool = True, entropy: float = 0.01) -> Callable[[Any, Any], Any]:
    """The policy's loss, half of the value's, less the policy's entropy times `entropy`."""

    def loss(y: Any, outputs: Any) -> Any:
        (action, returns), (policy, value) = y, outputs
        advantage = tf.cast(returns, value.dtype) - value
        weight = tf.stop_gradient(advantage) if stop else advantage
        log_probability = tf.nn.log_softmax(policy)
        taken = tf.gather(log_probability, tf.cast(action, tf.int32), batch_dims=1)
        disorder = -tf.reduce_sum(tf.exp(log_probability) * log_probability, axis=-1)
        of_policy = -tf.reduce_mean(taken * weight) - entropy * tf.reduce_mean(disorder)
        return of_policy + 0.5 * tf.reduce_mean(tf.square(advantage))

    return loss


def gradients(check: Any, **options: Any) -> Any:
    """The loss and its gradients; the trunk gets the sum of what comes back from both heads."""
    trunk, heads = check.segments
    loss_of = make_loss(**options)
    with tf.GradientTape() as of_trunk:
        features = trunk(check.x, training=check.training)
    with tf.GradientTape() as of_heads:
        of_heads.watch(features)
        outputs = dict(zip(heads.output_names, heads(features, training=check.training), strict=True))
        loss = loss_of(check.y, [outputs["policy"], outputs["value"]])
    cotangent, *found = of_heads.gradient(loss, [features, *heads.trainable_variables])
    found += of_trunk.gradient(features, trunk.trainable_variables, output_gradients=cotangent)
    variables = [*heads.trainable_variables, *trunk.trainable_variables]
    return loss, {variable.path: gradient for variable, gradient in zip(variables, found, strict=True)}
