"""GC101 to GC109: what goes wrong where one segment hands over to the next."""

from __future__ import annotations

from gradcheck.catalogue.entry import Entry, code

ENTRIES = (
    Entry(
        code="GC101",
        title="cotangent missing",
        explanation=(
            "The earlier segment was differentiated without dLoss/dBoundary. `tape.gradient(target, sources)` seeds "
            "every element of `target` with one, silently, so it returns the gradient of the boundary's sum, which has "
            "nothing to do with the loss. The last segment is right, all before it are wrong; or all are, where the "
            "model's outputs were differentiated in place of the loss. Nothing raises: outputs and loss are those of "
            "the whole model."
        ),
        causes=(
            "`output_gradients` left out, or a variable passed that is still None",
            "a dummy loss such as `tf.reduce_sum(boundary)` for the earlier model",
            "the cotangent computed, and then used for the last segment's input only",
            "a tape of its own for the loss: Keras reads the logits behind a softmax, whose output then has None",
        ),
        fix=(
            "Differentiate the loss with respect to the boundary in the later segment, and pass the result as "
            "`output_gradients` to the tape of the earlier one."
        ),
        example=code("""
            with tf.GradientTape() as tape_0:
                boundary = front(x, training=True)
            with tf.GradientTape() as tape_1:
                tape_1.watch(boundary)
                loss = loss_fn(y, back(boundary, training=True))

            cotangent, *of_back = tape_1.gradient(loss, [boundary, *back.trainable_variables])
            of_front = tape_0.gradient(boundary, front.trainable_variables, output_gradients=cotangent)
            gradients = [*of_front, *of_back]
        """),
    ),
    Entry(
        code="GC102",
        title="boundary detached",
        explanation=(
            "The boundary lost its connection to what made it or what uses it, so that gradients upstream are None (or "
            "zero, where None was replaced). A tape follows TensorFlow operations on the tensors themselves; a copy of "
            "the values is a new constant."
        ),
        causes=(
            "`.numpy()`, `tf.constant(boundary)` of an array, a file or a socket between forward and backward pass",
            "`tf.stop_gradient`, or an assignment to a `tf.Variable` in between",
            "an operation without a gradient: a cast to an integer type, `tf.round`, `tf.argmax`, `tf.numpy_function`",
            "the received tensor not watched: only trainable variables are watched by themselves",
        ),
        fix=(
            "Where the values leave TensorFlow, treat what arrives as a new leaf: `watch` it, send its cotangent back, "
            "and give that to the tape that made the original tensor."
        ),
        example=code("""
            with tf.GradientTape() as tape_0:
                boundary = front(x, training=True)
            received = tf.constant(boundary.numpy())  # as it arrives in another process
            with tf.GradientTape() as tape_1:
                tape_1.watch(received)
                loss = loss_fn(y, back(received, training=True))

            cotangent, *of_back = tape_1.gradient(loss, [received, *back.trainable_variables])
            of_front = tape_0.gradient(boundary, front.trainable_variables, output_gradients=cotangent)
            gradients = [*of_front, *of_back]
        """),
    ),
    Entry(
        code="GC103",
        title="cotangent of the wrong shape",
        explanation=(
            "The cotangent was reduced, mostly over the batch, and spread over the boundary again. Every example then "
            "gets the same share, and what told the examples apart is lost. TensorFlow checks no shapes here: some "
            "gradient functions raise, others broadcast and go on."
        ),
        causes=(
            "`tf.reduce_mean` or `reduce_sum` over axis 0 to save bandwidth, multiplied by `tf.ones_like(boundary)`",
            "a gradient of the loss's mean per feature, or of one example, reused for the batch",
            "a squeezed axis that broadcasting puts back elsewhere",
        ),
        fix=(
            "Hand over the cotangent as `tape.gradient` returns it, in the boundary's own shape, and assert that shape."
        ),
        example=code("""
            with tf.GradientTape() as tape_0:
                boundary = front(x, training=True)
            with tf.GradientTape() as tape_1:
                tape_1.watch(boundary)
                loss = loss_fn(y, back(boundary, training=True))

            cotangent, *of_back = tape_1.gradient(loss, [boundary, *back.trainable_variables])
            cotangent = tf.ensure_shape(cotangent, boundary.shape)
            of_front = tape_0.gradient(boundary, front.trainable_variables, output_gradients=cotangent)
            gradients = [*of_front, *of_back]
        """),
    ),
    Entry(
        code="GC104",
        title="boundary cast to a lower precision",
        explanation=(
            "The boundary, its cotangent or both went through float16 or bfloat16 on their way. All gradients are off "
            "by about that dtype's eps (1e-3 for float16, 8e-3 for bfloat16), and small cotangents underflow to zero "
            "in float16. A boundary that is float16 in the whole model too is no fault."
        ),
        causes=(
            "compression of what is sent between stages",
            "a mixed-precision policy in one part only",
            "an intermediate format with its own default: NumPy arrays made with `dtype=`, images, protocol buffers",
        ),
        fix=(
            "Send both in the dtype in which they were computed; if bandwidth forces a cast, loosen `tolerance` to "
            "that dtype knowingly."
        ),
        example=code("""
            sent = tf.io.serialize_tensor(boundary)  # keeps dtype and shape
            received = tf.io.parse_tensor(sent, out_type=boundary.dtype)
            assert received.dtype == boundary.dtype
        """),
    ),
    Entry(
        code="GC105",
        title="cotangent of one boundary tensor dropped",
        explanation=(
            "Several tensors cross the cut (a skip connection, a mask-aware output, a recurrent state), and the "
            "cotangent of one of them never came back. Gradients upstream lack that path's share; those fed by the "
            "other tensors alone are right."
        ),
        causes=(
            "`tape.gradient(loss, boundaries[0])` with the main path only",
            "a skip tensor that passes a stage unchanged, whose cotangent that stage does not return",
            "a cotangent that is None for one batch and was left out of the list, which shifts the others",
        ),
        fix=(
            "Differentiate with respect to every tensor that crosses, give all of them as targets with their "
            "cotangents, and add up the cotangents of a tensor that several later segments use. A tensor that the loss "
            "does not reach needs zeros: None in `output_gradients` is an error."
        ),
        example=code("""
            with tf.GradientTape() as tape_0:
                boundaries = encoder(x, training=True)  # [hidden, skip]
            with tf.GradientTape() as tape_1:
                tape_1.watch(boundaries)
                loss = loss_fn(y, decoder(boundaries, training=True))

            cotangents, of_decoder = tape_1.gradient(loss, [boundaries, decoder.trainable_variables])
            pairs = zip(boundaries, cotangents, strict=True)
            cotangents = [tf.zeros_like(boundary) if c is None else c for boundary, c in pairs]
            of_encoder = tape_0.gradient(boundaries, encoder.trainable_variables, output_gradients=cotangents)
            gradients = [*of_encoder, *of_decoder]
        """),
    ),
    Entry(
        code="GC106",
        title="cotangents of boundary tensors swapped",
        explanation=(
            "Several tensors cross the cut, and their cotangents came back in another order. Where the shapes are "
            "equal nothing raises: each path upstream is trained with the other's gradient."
        ),
        causes=(
            "outputs of one segment and inputs of the next in different orders",
            "a dict turned into a list: `tf.nest` sorts keys, `dict.values()` does not",
            "a `[h, c]` that became `[c, h]`",
        ),
        fix="Carry boundaries and cotangents by name; `tape.gradient` takes and returns mappings.",
        example=code("""
            with tf.GradientTape() as tape_0:
                boundaries = dict(zip(encoder.output_names, encoder(x, training=True), strict=True))
            with tf.GradientTape() as tape_1:
                tape_1.watch(boundaries)
                loss = loss_fn(y, decoder([boundaries[name] for name in encoder.output_names], training=True))

            cotangents, of_decoder = tape_1.gradient(loss, (boundaries, decoder.trainable_variables))
            of_encoder = tape_0.gradient(boundaries, encoder.trainable_variables, output_gradients=cotangents)
            gradients = [*of_encoder, *of_decoder]
        """),
    ),
    Entry(
        code="GC107",
        title="Keras mask lost at the boundary",
        explanation=(
            "Keras carries the mask of `Embedding(mask_zero=True)` or `Masking` as an attribute of the tensor object, "
            "`_keras_mask`. Any copy of the tensor is another object without it. The later segment then treats padding "
            "as data, so that already the forward pass differs, and with it every gradient."
        ),
        causes=(
            "`tf.identity`, `.numpy()`, slicing or serialisation between the segments",
            "a `tf.function` in between: attributes pass neither in nor out",
            "a loss that averages over the mask, given unmasked outputs",
        ),
        fix="Treat the mask as a boundary tensor of its own, and pass it to the layers that use it.",
        example=code("""
            mask = embedding.compute_mask(tokens)
            with tf.GradientTape() as tape_0:
                boundary = embedding(tokens)
            received = tf.identity(boundary)  # boundary._keras_mask stays behind
            with tf.GradientTape() as tape_1:
                tape_1.watch(received)
                loss = loss_fn(y, head(lstm(received, mask=mask)))

            late = [*lstm.trainable_variables, *head.trainable_variables]
            cotangent, *of_late = tape_1.gradient(loss, [received, *late])
            of_embedding = tape_0.gradient(boundary, embedding.trainable_variables, output_gradients=cotangent)
            gradients = [*of_embedding, *of_late]
        """),
    ),
    Entry(
        code="GC108",
        title="training flag lost at a segment",
        explanation=(
            "A Keras layer that is called outside `fit` without `training=` runs in inference mode. In that segment "
            "dropout is off, batch normalisation uses its moving statistics, and these are not updated. The forward "
            "pass differs, and the loss often looks better than it should."
        ),
        causes=(
            "`segment(x)` instead of `segment(x, training=True)`",
            "a wrapper layer or `call` that takes no `training` and passes none on",
            "`predict` used for the forward pass of an earlier stage",
        ),
        fix="Pass the same `training` to every segment, in the recomputation too.",
        example=code("""
            boundary = front(x, training=True)
            outputs = back(boundary, training=True)
        """),
    ),
    Entry(
        code="GC109",
        title="inputs and targets misaligned",
        explanation=(
            "The last segment compared its outputs with the targets of other examples. The loss differs; every "
            "gradient is that of a problem which nobody posed, and training still converges to something."
        ),
        causes=(
            "inputs and targets shuffled or batched separately",
            "a pipeline that is off by one: micro-batch k meets the targets of k + 1",
            "sample weights or masks sliced differently from the inputs",
        ),
        fix="Slice inputs, targets and weights together, once, and let the targets travel with their micro-batch.",
        example=code("""
            for x_part, y_part in tf.data.Dataset.from_tensor_slices((x, y)).batch(2):
                loss = loss_fn(y_part, back(front(x_part, training=True), training=True))
        """),
    ),
)
