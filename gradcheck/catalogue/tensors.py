"""GC401 to GC406: gradients that are right by themselves, and end up at the wrong variable or in the wrong form."""

from __future__ import annotations

from gradcheck.catalogue.entry import Entry, code

ENTRIES = (
    Entry(
        code="GC401",
        title="a tied weight gets the gradient of one use only",
        explanation=(
            "A weight that several segments use (tied embeddings, a shared encoder, a layer called twice) has one "
            "gradient from each, and its gradient is their sum. Here one of them won."
        ),
        causes=(
            "a mapping filled segment by segment, `of[id(v)] = g`, in which the later overwrites the earlier",
            "a concatenated list in which the variable stands twice, and the optimizer was given one entry",
            "the shared layer cloned into both parts: two copies, which then drift apart",
        ),
        fix="Add the gradients of every use before the update.",
        example=code("""
            total = {}
            for segment, found in ((front, of_front), (back, of_back)):
                for variable, gradient in zip(segment.trainable_variables, found, strict=True):
                    gradient = tf.convert_to_tensor(gradient)  # an embedding's gradient is sparse
                    total[id(variable)] = total.get(id(variable), 0) + gradient
            gradients = [total[id(variable)] for variable in model.trainable_variables]
        """),
    ),
    Entry(
        code="GC402",
        title="gradients and variables out of order",
        explanation=(
            "The list of gradients is a permutation of the right one. Where shapes agree (biases, stacked blocks) the "
            "optimizer applies each to another variable without a word."
        ),
        causes=(
            (
                "gradients in the order of the segments, variables in that of the whole model: they differ as soon as "
                "layers are shared, nested, or built late"
            ),
            "`zip` of two lists of which one was filtered or sorted",
            "weights of a bidirectional or nested layer listed by hand",
            "a mapping by `variable.path`, where two models name their layers alike",
        ),
        fix=(
            "Pair gradients with variables where they are made, and match by the variable itself: `id(variable)`, for "
            "two models may share a path. `zip(..., strict=True)` finds a missing entry, but not another order."
        ),
        example=code("""
            of = {}
            for segment, found in ((front, of_front), (back, of_back)):
                of.update(zip(map(id, segment.trainable_variables), found, strict=True))
            gradients = [of[id(variable)] for variable in model.trainable_variables]
        """),
    ),
    Entry(
        code="GC403",
        title="no gradient for a trainable variable",
        explanation=(
            "The reference has a gradient for this variable, the candidate None. Keras's optimizers skip such a "
            "variable with a warning, so it keeps its initial value."
        ),
        causes=(
            "the layer was called before the tape began, or outside of it",
            "the variable's value was read once, and the copy used: `kernel = layer.kernel.numpy()`",
            "the path goes through an operation without a gradient (then see GC102)",
            "the variable was left out of the `sources`, and None put in its place",
        ),
        fix=(
            "Run every call of the layer under the tape, and ask that tape for all of the segment's "
            "`trainable_variables`. Fill in zeros only for a variable that the loss truly does not use."
        ),
        example=code("""
            with tf.GradientTape() as tape:
                loss = loss_fn(y, model(x, training=True))
            gradients = tape.gradient(loss, model.trainable_variables)
            paths = [v.path for v in model.trainable_variables]
            missing = [path for path, g in zip(paths, gradients, strict=True) if g is None]
            assert not missing, missing
        """),
    ),
    Entry(
        code="GC404",
        title="duplicate sparse indices not summed",
        explanation=(
            "The gradient of an embedding or of `tf.gather` is a `tf.IndexedSlices`: rows, and the index that each "
            "belongs to. An index that occurs twice has two rows, and its gradient is their sum. Code that assigns "
            "rows by index keeps one of them."
        ),
        causes=(
            "`dense[indices] = values` in NumPy, or `tf.tensor_scatter_nd_update`",
            "`gradient.values` sent without the indices, or merged into a dict by index",
        ),
        fix="Convert with `tf.convert_to_tensor`, which sums duplicates; in NumPy use `np.add.at`.",
        example=code("""
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.square(embedding(tokens)))
            (sparse,) = tape.gradient(loss, embedding.trainable_variables)
            dense = tf.convert_to_tensor(sparse)

            received = tf.IndexedSlices(sparse.values, sparse.indices, sparse.dense_shape)  # as sent in three parts
            tf.debugging.assert_near(dense, tf.convert_to_tensor(received))
        """),
    ),
    Entry(
        code="GC405",
        title="clipped per segment, not by the global norm",
        explanation=(
            "Each segment clipped its gradients by its own norm. Clipping by the global norm scales all gradients by "
            "one factor and keeps their direction; per segment the factors differ, and segments with small gradients "
            "are not scaled at all."
        ),
        causes=(
            "`tf.clip_by_global_norm` called once for each segment",
            (
                "an optimizer with `global_clipnorm` applied to one segment at a time, or `clipnorm`, which clips each "
                "variable by itself"
            ),
        ),
        fix=(
            "Collect the gradients of all parts, and clip them together. On several machines, exchange the squared "
            "norms and pass their root as `use_norm`."
        ),
        example=code("""
            gradients, norm = tf.clip_by_global_norm([*of_front, *of_back], clip_norm=1.0)

            # The same in two places:
            squared = tf.linalg.global_norm(of_front) ** 2 + tf.linalg.global_norm(of_back) ** 2
            of_front, _ = tf.clip_by_global_norm(of_front, clip_norm=1.0, use_norm=tf.sqrt(squared))
            of_back, _ = tf.clip_by_global_norm(of_back, clip_norm=1.0, use_norm=tf.sqrt(squared))
        """),
    ),
    Entry(
        code="GC406",
        title="gradient transposed",
        explanation=(
            "The gradient of a matrix is the transpose of what it should be. Only square matrices let this through "
            "without a shape error: recurrent and attention kernels, equal hidden sizes."
        ),
        causes=(
            "a hand-written backward pass with `dy^T x` in place of `x^T dy`",
            "weights exchanged with a framework that stores kernels as (out, in); Keras stores (in, out)",
        ),
        fix="Use the shape of Keras's kernel: for `y = x @ kernel` the gradient is `x^T @ dy`.",
        example=code("""
            d_kernel = tf.matmul(x, dy, transpose_a=True)  # y = x @ kernel + bias
            d_bias = tf.reduce_sum(dy, axis=0)
            d_x = tf.matmul(dy, kernel, transpose_b=True)
        """),
    ),
)
