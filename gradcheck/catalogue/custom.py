"""GC601 to GC607: gradients that somebody wrote, recomputation, compilation, and per-example Jacobians."""

from __future__ import annotations

from gradcheck.catalogue.entry import Entry, code

ENTRIES = (
    Entry(
        code="GC601",
        title="custom gradient wrong",
        explanation=(
            "A gradient that is written by hand (`tf.custom_gradient`, a NumPy `backward`) is not the derivative of "
            "its forward pass: finite differences disagree at this layer, or it is not linear in the incoming "
            "gradient, as every vector-Jacobian product is. Whole and split model use the same wrong gradient, so only "
            "these checks see it."
        ),
        causes=(
            "the derivative returned without multiplying it by `upstream`, or the wrong branch of a piecewise function",
            "clipping or normalisation inside the gradient function",
            "a forward pass that was changed later, the gradient not",
        ),
        fix=(
            "Return `upstream` times the derivative at the forward pass's input, and nothing else. Where another "
            "gradient is meant (straight-through, reversal, clipping), say which: `numeric: {surrogate: "
            '"./f.py:rule"}` is compared with that rule. Or exempt the tensors that it reaches, as in `expect: '
            '{mismatch: ["quant/*"]}`; a bare `expect: mismatch` would hide every other mistake too.'
        ),
        example=code("""
            @tf.custom_gradient
            def softplus(z):
                e = tf.exp(-tf.abs(z))

                def grad(upstream):
                    return upstream * tf.sigmoid(z)

                return tf.math.log1p(e) + tf.maximum(z, 0.0), grad
        """),
    ),
    Entry(
        code="GC602",
        title="custom gradient ignored",
        explanation=(
            "TensorFlow attaches a custom gradient to the positional arguments of a call. An argument passed by "
            "keyword gets none: depending on the other arguments its gradient is TensorFlow's own of what the function "
            "does inside, or None."
        ),
        causes=(
            "`softplus(z=hidden)`, or a `functools.partial` with a tensor by keyword",
            "a decorated function with keyword-only tensor arguments",
        ),
        fix="Pass every tensor by position; bind options with a closure.",
        example=code("""
            def scaled_softplus(factor):
                @tf.custom_gradient
                def function(z):
                    return factor * tf.math.softplus(z), lambda upstream: upstream * factor * tf.sigmoid(z)

                return function


            outputs = scaled_softplus(2.0)(x)  # not: function(z=x)
        """),
    ),
    Entry(
        code="GC603",
        title="custom gradient returns variables in the wrong order",
        explanation=(
            "A decorated function that reads variables gets them in `grad(..., variables=None)`, and must return their "
            "gradients in that list's order. In eager mode the list comes from a set, so its order changes from "
            "process to process: a fixed order is right at times."
        ),
        causes=(
            "`return upstream * scale, [d_scale, d_shift]`, in the order in which they were written",
            "`zip` of `variables` with names by hand",
        ),
        fix="Look each gradient up by its variable.",
        example=code("""
            scale, shift = tf.Variable(2.0), tf.Variable(1.0)


            @tf.custom_gradient
            def affine(z):
                def grad(upstream, variables=None):
                    of = {scale.ref(): tf.reduce_sum(upstream * z), shift.ref(): tf.reduce_sum(upstream)}
                    return upstream * scale, [of[variable.ref()] for variable in variables or ()]

                return scale * z + shift, grad
        """),
    ),
    Entry(
        code="GC604",
        title="custom gradient of the wrong shape or dtype",
        explanation=(
            "`grad` must return one gradient for each positional argument, in the argument's shape and dtype. "
            "TensorFlow does not check it: a wrong shape broadcasts in the next operation, or raises far from here."
        ),
        causes=(
            (
                "an argument that was broadcast in the forward pass (a bias, a scalar), whose gradient was not summed "
                "over the broadcast axes"
            ),
            "a gradient in float32 for a float16 input, or float64 from NumPy",
            "fewer gradients than arguments: an integer or constant argument needs a None",
        ),
        fix=(
            "Sum over the axes that were broadcast, cast to the argument's dtype, and return None for arguments "
            "without a gradient."
        ),
        example=code("""
            @tf.custom_gradient
            def add_bias(z, bias):
                def grad(upstream):
                    return upstream, tf.reduce_sum(upstream, axis=0)

                return z + bias, grad
        """),
    ),
    Entry(
        code="GC605",
        title="recomputation differs from the first forward",
        explanation=(
            "The forward pass that was repeated for the backward pass gave other values than the first. The cotangent "
            "belongs to the first one, so the gradients are those of no loss at all."
        ),
        causes=(
            "random layers whose seed was not rewound (then see GC303)",
            "weights updated in between, by another stage or another micro-batch",
            "recurrent states or running statistics that the first pass changed and the second one reads",
            "another `training` flag, precision or compilation in the second pass",
        ),
        fix=(
            "Rewind everything that the first pass read and changed, do not update before the backward pass is over, "
            "and assert that both passes agree."
        ),
        example=code("""
            state = front.non_trainable_variables
            at_start = [tf.identity(v) for v in state]
            boundary = front(x, training=True)
            at_end = [tf.identity(v) for v in state]

            for v, value in zip(state, at_start, strict=True):
                v.assign(value)
            with tf.GradientTape() as tape_0:
                again = front(x, training=True)
            for v, value in zip(state, at_end, strict=True):
                v.assign(value)
            tf.debugging.assert_near(again, boundary)
        """),
    ),
    Entry(
        code="GC606",
        title="compiled differs from eager",
        explanation=(
            "The same code gives other gradients under `tf.function` or XLA. A traced function runs its Python once "
            "per signature; what Python computed then is a constant of the graph. Judged without random layers, since "
            "compilers draw other numbers."
        ),
        causes=(
            "a Python attribute or global that changes between calls: a schedule, a counter, a list of states",
            "NumPy or `random` inside the function, drawn once",
            "`if` on a Python flag that was another one when the function was traced",
            "an operation whose XLA kernel is less precise, or fused into another order of rounding",
        ),
        fix="Pass what changes as an argument or keep it in a `tf.Variable`, and use TensorFlow operations only.",
        example=code("""
            weight = tf.Variable(0.1, trainable=False)  # a Python float would be frozen at its first value


            @tf.function
            def step(x, y):
                with tf.GradientTape() as tape:
                    outputs = model(x, training=True)
                    loss = loss_fn(y, outputs) + weight * tf.reduce_mean(tf.square(outputs))
                return tape.gradient(loss, model.trainable_variables)


            gradients = step(x, y)
            weight.assign(0.2)
        """),
    ),
    Entry(
        code="GC607",
        title="per-example Jacobian used where the batch is coupled",
        explanation=(
            "`tape.batch_jacobian` assumes that example i of the output depends on example i of the input alone; it "
            "sums over the batch, and takes the sum for the one term that it expects. Batch normalisation in training "
            "couples all examples, and the result is wrong, often close to zero, without an error."
        ),
        causes=(
            "`batch_jacobian` over a segment with `BatchNormalization` and `training=True`",
            "losses or layers that mix examples: contrastive losses, batch-wise attention or normalisation",
        ),
        fix=(
            "Take the full `tape.jacobian`, every example by every other, or hand over the cotangent as a VJP, which "
            "needs no Jacobian."
        ),
        example=code("""
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = model(x, training=True)
            jacobian = tape.jacobian(outputs, x)  # (batch, out, batch, in)
            d_x = tf.einsum("bo,boni->ni", cotangent, jacobian)
        """),
    ),
)
