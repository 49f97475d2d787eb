# ruff: noqa: ANN001, ANN201, ANN202, ERA001 - training code as people write it
"""A backbone and a head in which every forward pass moves the statistics."""

import tensorflow as tf


def right(check):
    backbone, head = check.segments
    with tf.GradientTape() as tape_0:
        pooled = backbone(check.x, training=True)
    with tf.GradientTape() as tape_1:
        tape_1.watch(pooled)
        loss = check.loss(check.y, head(pooled, training=True))
    d_pooled, *of_head = tape_1.gradient(loss, [pooled, *head.trainable_variables])
    return loss, tape_0.gradient(pooled, backbone.trainable_variables, output_gradients=d_pooled) + of_head


# expect: GC302
def model_built_by_a_call(check):
    """`model(x)` to create the weights, before the step; it was written with `training=True`."""
    x = check.x
    for model in check.segments:
        x = model(x, training=True)
    return right(check)


# expect: GC302 segment_0
def features_for_the_plot(check):
    """The features are computed once for the log, and then for training."""
    features = check.segments[0](check.x, training=True)
    log = {"mean": tf.reduce_mean(features), "std": tf.math.reduce_std(features)}
    loss, grads = right(check)
    log["loss"] = loss
    return log["loss"], grads


# expect: GC302 segment_1
def loss_before_and_gradient_after(check):
    """`loss()` is a function, and is called once for the number and once under the tape."""
    backbone, head = check.segments
    with tf.GradientTape() as tape_0:
        pooled = backbone(check.x, training=True)

    def loss():
        return check.loss(check.y, head(pooled, training=True))

    value = loss()
    with tf.GradientTape() as tape_1:
        tape_1.watch(pooled)
        of = loss()
    found = tape_1.gradient(of, {"pooled": pooled, "head": head.trainable_variables})
    g0 = tape_0.gradient(pooled, backbone.trainable_variables, output_gradients=found["pooled"])
    return value, [*g0, *found["head"]]
