"""GC301 to GC306: what is remembered between calls: statistics, seeds, recurrent states, weights, the optimizer."""

from __future__ import annotations

from gradcheck.catalogue.entry import Entry, code

#: One forward pass without its activations, then the same pass again under a tape: for GC302, GC303 and GC605.
_RECOMPUTE = code("""
    state = front.non_trainable_variables  # moving statistics and the seeds of random layers
    at_start = [tf.identity(v) for v in state]
    boundary = front(x, training=True)  # no tape: only the boundary is kept
    at_end = [tf.identity(v) for v in state]

    with tf.GradientTape() as tape_1:
        tape_1.watch(boundary)
        loss = loss_fn(y, back(boundary, training=True))
    cotangent, *of_back = tape_1.gradient(loss, [boundary, *back.trainable_variables])

    for v, value in zip(state, at_start, strict=True):
        v.assign(value)  # rewind
    with tf.GradientTape() as tape_0:
        again = front(x, training=True)
    for v, value in zip(state, at_end, strict=True):
        v.assign(value)  # the step has happened once
    of_front = tape_0.gradient(again, front.trainable_variables, output_gradients=cotangent)
    gradients = [*of_front, *of_back]
""")

ENTRIES = (
    Entry(
        code="GC301",
        title="batch statistics per micro-batch",
        explanation=(
            "In training, batch normalisation takes mean and variance from the batch that it sees. Over micro-batches "
            "these are others than over the whole batch, and so are the gradients; the moving statistics are updated M "
            "times a step. This is what micro-batches mean for such a model, not a mistake in the split: gradcheck "
            "compares slices with slices, and reports the distance to the full batch as a note."
        ),
        causes=(
            "`BatchNormalization` with `microbatches` above 1",
            (
                "any loss or layer that couples examples: contrastive losses, batch-wise attention, capacity limits of "
                "experts"
            ),
        ),
        fix=(
            "Live with it, take larger micro-batches, or normalise without the batch: `LayerNormalization`, "
            "`GroupNormalization`, or batch normalisation in inference mode. `synchronized=True` does not help: it "
            "joins replicas, not micro-batches."
        ),
        example=code("""
            inputs = keras.Input([8, 8, 16])
            outputs = keras.layers.GroupNormalization(groups=4)(inputs)  # each example by itself
            block = keras.Model(inputs, outputs)
        """),
    ),
    Entry(
        code="GC302",
        title="state updated twice",
        explanation=(
            "The forward pass ran twice in one step, and both passes updated the state: moving statistics moved two "
            "steps, seeds were advanced twice. The gradients are right; the next step, and the exported model, are "
            "not."
        ),
        causes=(
            "recomputation in the backward pass without rewinding (`tf.recompute_grad` does not rewind either)",
            "an extra call with `training=True`, to look at shapes or metrics",
        ),
        fix=(
            "Note the state before the forward pass and after it; rewind to the first for the recomputation, and put "
            "the second back when it is done."
        ),
        example=_RECOMPUTE,
    ),
    Entry(
        code="GC303",
        title="dropout mask drawn afresh",
        explanation=(
            "The pass that was differentiated drew other random numbers than the one that made the outputs. Its "
            "gradients belong to another network than the cotangent. A fixed `seed` does not help: a Keras layer "
            "advances its seed generator with every call."
        ),
        causes=(
            "recomputation, or a second call of the segment, without rewinding the seed",
            "`tf.random` or NumPy noise inside a layer, which no Keras state controls",
            "one mask drawn by each stage that a layer is shared between",
        ),
        fix="Rewind the layers' seed states, which are among `non_trainable_variables`, before the second pass.",
        example=_RECOMPUTE,
    ),
    Entry(
        code="GC304",
        title="recurrent state detached",
        explanation=(
            "The state went from one chunk of the sequence to the next as a value, not as part of the computation. "
            "Nothing later reaches the earlier chunk through the recurrence: the gradient is that of truncated "
            "backpropagation through time. The forward pass is right."
        ),
        causes=(
            (
                "`stateful=True`: the layer assigns its state to variables, and what is read back is a constant to the "
                "tape"
            ),
            "states kept as NumPy arrays between chunks, or passed through `tf.stop_gradient`",
            "one tape per chunk without handing back the states' cotangents",
        ),
        fix="Return the states, pass them on as `initial_state`, and carry their cotangents back from chunk to chunk.",
        example=code("""
            with tf.GradientTape() as tape_0:
                _, *states = lstm(sequence[:, :3])  # return_state=True
            with tf.GradientTape() as tape_1:
                tape_1.watch(states)
                output, *_ = lstm(sequence[:, 3:], initial_state=states)
                loss = loss_fn(y, head(output))

            sources = [states, lstm.trainable_variables, head.trainable_variables]
            cotangents, late, of_head = tape_1.gradient(loss, sources)
            early = tape_0.gradient(states, lstm.trainable_variables, output_gradients=cotangents)
            of_lstm = [a + b for a, b in zip(early, late, strict=True)]
            gradients = [*of_lstm, *of_head]
        """),
    ),
    Entry(
        code="GC305",
        title="stale weights",
        explanation=(
            "The gradients were computed with the weights of an earlier step: step k applies what belongs to step k - "
            "1. The first step is wrong or missing, the loss lags one step behind, and with momentum training becomes "
            "unstable at learning rates that used to work."
        ),
        causes=(
            "an asynchronous pipeline that updates a stage while later micro-batches are still on their way",
            "a copy of the weights on another worker that is refreshed before the update, not after it",
            "gradients computed at the end of the loop and applied at the start of the next turn",
        ),
        fix=(
            "Finish the backward pass of all micro-batches of a step, update once, and only then begin the next "
            "forward pass."
        ),
        example=code("""
            variables = model.trainable_variables
            for _ in range(2):
                with tf.GradientTape() as tape:  # forward pass with the weights of this step
                    loss = loss_fn(y, model(x, training=True))
                optimizer.apply(tape.gradient(loss, variables), variables)
        """),
    ),
    Entry(
        code="GC306",
        title="optimizer stepped once per segment",
        explanation=(
            "`apply` was called for each segment with one optimizer, so its iteration count advances by the number of "
            "segments in each step. Adam's bias correction and every learning-rate schedule run ahead; plain SGD with "
            "a constant rate hides it."
        ),
        causes=(
            "`optimizer.apply(of_front, ...)` and `optimizer.apply(of_back, ...)` one after the other",
            "an update for each micro-batch where one per step was meant",
            "two places that both apply all gradients: the training loop, and what it calls",
        ),
        fix=(
            "Collect the gradients of all segments and call `optimizer.apply` once; or give each segment an optimizer "
            "of its own, and then none that looks at all gradients, such as `global_clipnorm`."
        ),
        example=code("""
            variables = [*front.trainable_variables, *back.trainable_variables]
            optimizer.apply([*of_front, *of_back], variables)
        """),
    ),
)
