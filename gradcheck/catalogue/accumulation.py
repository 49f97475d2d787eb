"""GC201 to GC206: how the gradients of micro-batches are added up."""

from __future__ import annotations

from gradcheck.catalogue.entry import Entry, code

#: Each micro-batch's mean, weighed by its share of the examples: the same for GC201, GC203, GC204 and GC206.
_ACCUMULATE = code("""
    variables = model.trainable_variables
    gradients = [tf.zeros_like(v) for v in variables]
    for start in range(0, len(x), 4):  # the last slice may be shorter
        x_part, y_part = x[start : start + 4], y[start : start + 4]
        with tf.GradientTape() as tape:
            loss = loss_fn(y_part, model(x_part, training=True))
        share = len(x_part) / len(x)
        found = tape.gradient(loss, variables)
        gradients = [total + share * g for total, g in zip(gradients, found, strict=True)]
""")

ENTRIES = (
    Entry(
        code="GC201",
        title="micro-batch gradients summed, not averaged",
        explanation=(
            "The loss is a mean over the batch, and the gradients of the micro-batches' means were added without "
            "weights. Every gradient is M times too large, so the learning rate is too. Adam hides it almost entirely, "
            "SGD and clipping do not."
        ),
        causes=(
            "`assign_add` of each micro-batch's gradient, with the usual mean loss",
            "gradients of several workers summed by an all-reduce that was meant to average",
        ),
        fix=(
            "Weigh the gradient of each micro-batch by `n_m / N`, its share of the examples; or use a loss with "
            "`reduction='sum'` and divide once, by N, at the end."
        ),
        example=_ACCUMULATE,
    ),
    Entry(
        code="GC202",
        title="micro-batch gradients averaged twice",
        explanation=(
            "Two places divide by the number of micro-batches, so that every gradient is M times too small: factor 1/M "
            "against the reference."
        ),
        causes=(
            "the loss divided by M, and the accumulated gradients again",
            "an optimizer with `gradient_accumulation_steps`, which averages by itself, given averaged gradients",
            "a mean loss divided by the batch size by hand",
        ),
        fix="Divide at one place only. With summed losses that place is the end, and the divisor is N.",
        example=code("""
            sum_loss = keras.losses.MeanSquaredError(reduction="sum")
            variables = model.trainable_variables
            gradients = [tf.zeros_like(v) for v in variables]
            for start in range(0, len(x), 4):
                with tf.GradientTape() as tape:
                    loss = sum_loss(y[start : start + 4], model(x[start : start + 4], training=True))
                found = tape.gradient(loss, variables)
                gradients = [total + g for total, g in zip(gradients, found, strict=True)]
            gradients = [total / len(x) for total in gradients]
        """),
    ),
    Entry(
        code="GC203",
        title="ragged last micro-batch weighted like a full one",
        explanation=(
            "The batch is not a multiple of the micro-batch, and the shorter last slice got the weight of a full one: "
            "its examples count too much (1/M each), or too little (its mean divided as if it were full). Right "
            "whenever the sizes happen to divide, so tests with round numbers pass."
        ),
        causes=(
            "a plain mean over M losses or M gradients",
            "Keras's `gradient_accumulation_steps`, which divides by the number of steps whatever their sizes",
            "masked sequences: slices of equal length with different numbers of unmasked steps",
        ),
        fix="Weigh by `n_m / N`, counted as the loss counts: examples, or unmasked elements.",
        example=_ACCUMULATE,
    ),
    Entry(
        code="GC204",
        title="only the last micro-batch kept",
        explanation=(
            "The gradients of the earlier micro-batches were overwritten. What is applied is the gradient of the last "
            "slice, perhaps scaled by 1/M: an unbiased but noisier gradient, so training works, only worse."
        ),
        causes=(
            "`gradients = tape.gradient(...)` in the loop instead of an addition",
            "`assign` instead of `assign_add` on the accumulators",
            "`tape.gradient` after the loop, of the `loss` that the last turn left behind",
        ),
        fix="Add each micro-batch's gradient to an accumulator, before the next tape begins.",
        example=_ACCUMULATE,
    ),
    Entry(
        code="GC205",
        title="gradients of the previous steps not cleared",
        explanation=(
            "The accumulators still hold the previous step's gradients when the next step begins. Step 1 is right; "
            "from step 2 on the gradient is the sum over all steps so far."
        ),
        causes=(
            "accumulators created once, outside the step, and never reset",
            "a reset placed before the update, or under a condition that does not hold in the last step",
        ),
        fix="Set the accumulators to zero right after the optimizer has used them.",
        example=code("""
            variables = model.trainable_variables
            accumulators = [tf.Variable(tf.zeros_like(v), trainable=False) for v in variables]
            for _ in range(2):
                with tf.GradientTape() as tape:
                    loss = loss_fn(y, model(x, training=True))
                for total, g in zip(accumulators, tape.gradient(loss, variables), strict=True):
                    total.assign_add(g)
                optimizer.apply([tf.identity(total) for total in accumulators], variables)
                for total in accumulators:
                    total.assign(tf.zeros_like(total))
        """),
    ),
    Entry(
        code="GC206",
        title="last micro-batch left out",
        explanation=(
            "The last slice never reached the accumulators. The gradient is that of the other examples, scaled as if "
            "all were there, or as if the last did not exist."
        ),
        causes=(
            "`range(len(x) // size)`, which drops the remainder, or `batch(size, drop_remainder=True)`",
            "a pipeline whose cool-down ends one backward pass early",
            "an update inside the loop, every M-th micro-batch, when M does not divide their number",
        ),
        fix="Step over the batch with `range(0, len(x), size)`, and update after the loop.",
        example=_ACCUMULATE,
    ),
)
