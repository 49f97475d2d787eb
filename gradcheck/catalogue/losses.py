"""GC501 to GC504: what is added to the data loss, and what it is multiplied by."""

from __future__ import annotations

from gradcheck.catalogue.entry import Entry, code

ENTRIES = (
    Entry(
        code="GC501",
        title="auxiliary or regularisation loss dropped",
        explanation=(
            "The training loss of a Keras model is the data loss plus everything in `model.losses`: weight penalties, "
            "activity regularisers, `add_loss`. What the earlier segments add was left out; the gradient is short of "
            "exactly that term's gradient."
        ),
        causes=(
            "only `loss_fn(y, outputs)` differentiated: `fit` adds `model.losses` by itself, a custom loop must do it",
            "`segment.losses` of the last segment added, those of the earlier ones forgotten",
            "`segment.losses` read after the tape has ended: weight penalties are computed when they are read",
        ),
        fix=(
            "Add each segment's `losses` under that segment's tape, and differentiate them along with the boundary, "
            "with one as their cotangent."
        ),
        example=code("""
            with tf.GradientTape() as tape_0:
                boundary = front(x, training=True)
                penalty = tf.add_n(front.losses)
            with tf.GradientTape() as tape_1:
                tape_1.watch(boundary)
                loss = loss_fn(y, back(boundary, training=True)) + sum(back.losses)

            cotangent, *of_back = tape_1.gradient(loss, [boundary, *back.trainable_variables])
            of_front = tape_0.gradient(
                [boundary, penalty], front.trainable_variables, output_gradients=[cotangent, tf.ones_like(penalty)]
            )
            gradients = [*of_front, *of_back]
        """),
    ),
    Entry(
        code="GC502",
        title="auxiliary loss counted several times",
        explanation=(
            "A term that belongs into the loss once was differentiated k times: the residual is a multiple of its "
            "gradient. Too strong a weight decay is the usual result."
        ),
        causes=(
            "`model.losses` of the whole model added in every segment",
            "weight penalties added for every micro-batch with weight 1",
            "the penalty of a shared layer added by each segment that holds the layer",
        ),
        fix=(
            "Count the penalty of each weight once per step: in one segment, and in one micro-batch or with the "
            "micro-batches' shares. What layers add from their activations belongs to its micro-batch, with that "
            "share."
        ),
        example=code("""
            variables = model.trainable_variables
            with tf.GradientTape() as tape:
                penalty = tf.add_n(model.losses)  # of the weights: once, outside the loop
            pairs = zip(variables, tape.gradient(penalty, variables), strict=True)
            gradients = [tf.zeros_like(v) if g is None else g for v, g in pairs]
            for start in range(0, len(x), 4):
                x_part, y_part = x[start : start + 4], y[start : start + 4]
                with tf.GradientTape() as tape:
                    loss = loss_fn(y_part, model(x_part, training=True))
                share = len(x_part) / len(x)
                found = tape.gradient(loss, variables)
                gradients = [total + share * g for total, g in zip(gradients, found, strict=True)]
        """),
    ),
    Entry(
        code="GC503",
        title="loss scale not undone",
        explanation=(
            "Under float16 the loss is multiplied by a large power of two, so that small gradients do not underflow, "
            "and the gradients are divided by it before the update. Here they were not: all of them, or those of some "
            "segments, are too large by that power. The other way round, an optimizer that divides by the scale of a "
            "loss that nobody multiplied makes all of them too small."
        ),
        causes=(
            "`optimizer.scale_loss(loss)`, and the update by another optimizer than the `LossScaleOptimizer`",
            "the last segment unscales its own gradients, and the cotangent still carries the scale, or the reverse",
            "clipping or accumulation of gradients that are still scaled",
            "a `LossScaleOptimizer`, which Keras makes under `mixed_float16`, and no `scale_loss` of the loss",
        ),
        fix=(
            "Scale the loss once, let the cotangents carry the scale, and hand all gradients to one "
            "`LossScaleOptimizer`, whose `apply` divides by it and skips the step if any is not finite."
        ),
        example=code("""
            optimizer = keras.mixed_precision.LossScaleOptimizer(keras.optimizers.SGD(0.1))
            with tf.GradientTape() as tape_0:
                boundary = front(x, training=True)
            with tf.GradientTape() as tape_1:
                tape_1.watch(boundary)
                loss = loss_fn(y, back(boundary, training=True))
                scaled = optimizer.scale_loss(loss)

            cotangent, *of_back = tape_1.gradient(scaled, [boundary, *back.trainable_variables])
            of_front = tape_0.gradient(boundary, front.trainable_variables, output_gradients=cotangent)
            optimizer.apply([*of_front, *of_back], [*front.trainable_variables, *back.trainable_variables])
        """),
    ),
    Entry(
        code="GC504",
        title="sign flipped",
        explanation="The gradient has the right size and the wrong direction: the loss is maximised.",
        causes=(
            "a reward or a likelihood taken for a loss, in one of the parts",
            (
                "a hand-written update `w.assign_add(rate * g)`, or a gradient negated for it and then given to an "
                "optimizer"
            ),
            "a gradient-reversal layer that is applied twice, or in one part only",
        ),
        fix="Differentiate the quantity to be minimised; optimizers subtract by themselves.",
        example=code("""
            with tf.GradientTape() as tape:
                loss = loss_fn(y, model(x, training=True))
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)  # w <- w - rate * gradient
        """),
    ),
)
