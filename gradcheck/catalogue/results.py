"""GC701 to GC900: what a result is worth, and what no fault explains."""

from __future__ import annotations

from gradcheck.catalogue.entry import Entry, code

VACUITY = (
    Entry(
        code="GC701",
        title="dead gradients",
        explanation=(
            "The gradients are zero on both sides. They are equal whatever the split does, so they prove nothing; if "
            "all are dead the run ends with exit 4."
        ),
        causes=(
            "a loss that the outputs cannot change: the mean of a softmax is always 1/classes",
            "ReLUs that are all off, saturated activations, weights or inputs of zero",
            "targets that the model meets exactly, or a `sample_weight` of zero",
        ),
        fix=(
            "Leave `loss` out: the default `random_cotangent`, the sum of y times the output with a fixed random y, "
            "cannot vanish behind a normalising layer. Or change `seed`, `data` or `weights`."
        ),
        example=code("""
            with tf.GradientTape() as tape:
                outputs = model(x, training=True)
                loss = tf.reduce_sum(tf.random.stateless_normal(tf.shape(outputs), seed=[0, 1]) * outputs)
            gradients = tape.gradient(loss, model.trainable_variables)
        """),
    ),
    Entry(
        code="GC702",
        title="nothing compared",
        explanation=(
            "No gradient was compared at all: nothing trains, or the method supplies none for what does. Equal "
            "outputs, loss and state are no proof about gradients. Exit 4."
        ),
        causes=(
            "every layer frozen: `trainable=False`, as loaded or for fine-tuning",
            "a candidate that returns None everywhere, beside a reference that has none either",
            "a loss that does not depend on any weight",
        ),
        fix="Unfreeze what is to be checked, name another method, or another `split`.",
        example=code("""
            for layer in model.layers:
                layer.trainable = True
            assert model.trainable_variables
        """),
    ),
    Entry(
        code="GC703",
        title="not finite",
        explanation=(
            "A gradient, an output or the loss contains NaN or infinity, on either side. That is never `close`, even "
            "where both sides agree: the comparison says nothing about such elements."
        ),
        causes=(
            "`log(0)`, `sqrt` or a norm at zero, whose derivative is infinite, division by a zero count",
            "overflow of `exp`, or of float16 beyond 65504; a loss scale that is too high",
            "`tf.where` over a branch that is not finite: its gradient is 0 times infinity, which is NaN",
            "`tf.maximum(norm, epsilon)`, which guards the division by the norm and not the root in it",
        ),
        fix=(
            "Guard before the root, the logarithm or the division, not after it: give the function a safe argument "
            "where it has no finite slope, and choose the result afterwards (a double `tf.where`), or add a small "
            "number under the root."
        ),
        example=code("""
            squared = tf.reduce_sum(tf.square(x), -1, keepdims=True)
            safe = tf.where(squared > 0, squared, tf.ones_like(squared))
            norm = tf.where(squared > 0, tf.sqrt(safe), tf.zeros_like(squared))
        """),
    ),
    Entry(
        code="GC704",
        title="the reference does not repeat itself",
        explanation=(
            "The whole model gives other gradients when it is run a second time with the same weights, batch, state "
            "and seeds. No candidate can equal it, and a mismatch means nothing until this is mended."
        ),
        causes=(
            "random numbers from outside the layers' seed generators: `tf.random`, NumPy, Python's `random`",
            "a layer that keeps state in Python attributes: a counter, a cache",
            "operations that are not deterministic on a GPU",
        ),
        fix=(
            "Draw from a `keras.random.SeedGenerator` that the layer owns, keep state in variables, and on a GPU turn "
            "on `tf.config.experimental.enable_op_determinism()`."
        ),
        example=code("""
            class Noise(keras.layers.Layer):
                def __init__(self, **kwargs):
                    super().__init__(**kwargs)
                    self.seed_generator = keras.random.SeedGenerator(0)

                def call(self, inputs, training=False):
                    if not training:
                        return inputs
                    return inputs + keras.random.normal(keras.ops.shape(inputs), seed=self.seed_generator)
        """),
    ),
)
DIFFERENCES = (
    Entry(
        code="GC801",
        title="finite difference inconclusive",
        explanation=(
            "The error bar of the finite difference contains both the tape's value and values that would be wrong. The "
            "gradient is neither confirmed nor refuted; no check fails by it."
        ),
        causes=(
            "a gradient that is tiny beside the loss, so that rounding in the loss drowns it",
            "a function that is rough at every step size: rounding operations, float16 inside a layer",
        ),
        fix=(
            "Use inputs nearer to 1 in size, a smaller model or one layer by itself (`gradcheck layer`), or `numeric: "
            "{mode: full}`."
        ),
    ),
    Entry(
        code="GC802",
        title="finite difference at a kink",
        explanation=(
            "The function has no derivative here: left and right slopes differ, as for ReLU, max pooling or an "
            "absolute value at a tie. The tape returns one of them, or something between; that is a convention, not a "
            "mistake."
        ),
        causes=(
            "inputs or biases that are exactly zero in front of a ReLU",
            "ties in max pooling or `top_k`, as constant or integer-valued data make them",
        ),
        fix=(
            "Move off the kink: random inputs instead of constant ones, another `seed`, a bias initialiser that is not "
            "zero."
        ),
    ),
    Entry(
        code="GC803",
        title="gradient wrong at one point alone",
        explanation=(
            "The function is smooth here: the slopes on both sides agree, and the gradients nearby are what they say. "
            "The tape gives something else at this very point: zero, a tie of two inputs, equal elements. Random data "
            "never meets such a point; padding, one-hot inputs, masks and zero initialisers do."
        ),
        causes=(
            "a branch that is right for the value and wrong for its derivative: `where(x == 0, 0, ...)`",
            "a maximum taken out for stability (logaddexp): at a tie it loses one of two equal terms",
            "`abs` or `sign` on the way to a smooth result: their derivative at zero is zero",
        ),
        fix="Write the function without the branch, or give it a `tf.custom_gradient` that is right at the point too.",
    ),
    Entry(
        code="GC804",
        title="gradient outside of both slopes of a kink",
        explanation=(
            "The slopes on the two sides differ, so that either of them, or anything between, could be given here. The "
            "tape's value is none of these. The gradients nearby are right."
        ),
        causes=(
            "a custom gradient with `x > 0` and `x < 0`, in which zero itself falls through",
            "two operations with a kink in the same place, each with a convention of its own: relu(x) - relu(-x)/4",
        ),
        fix="Let one of the two branches include the point: `x >= 0`.",
    ),
    Entry(
        code="GC805",
        title="infinite slope, or a jump",
        explanation=(
            "The function has no finite slope here: it is infinite, as that of a square root at zero, or the value "
            "itself jumps, as that of rounding does. Infinity, or a value between the two slopes, is no mistake; a "
            "finite number where both slopes are infinite is."
        ),
        causes=("a root, a norm or a logarithm at zero", "rounding, `sign`, a threshold, exactly at its edge"),
        fix=(
            "Keep the argument away from the point: add a small number before the root, not after it. Where another "
            "gradient is meant (straight-through), declare it as a `surrogate`."
        ),
    ),
)
UNEXPLAINED = (
    Entry(
        code="GC900",
        title="mismatch that no known fault explains",
        explanation=(
            "The gradients differ, and none of the faults that could be replayed on this model gives the observed "
            "ones. The report says what was ruled out, and which tensor is the first wrong one in the order of the "
            "backward pass: everything behind it is a consequence. Where a correct split of the user's own parts "
            "differs from `model.reference` as well, the parts are another model: then the layer is named in which "
            "they differ, forward or backward, and a candidate is held against that split."
        ),
        causes=(
            "two mistakes at once",
            "parts whose layers are not those of the whole: another argument, a stopped gradient, a missing penalty",
            "a mistake inside your own arithmetic, not in how segments are joined",
            "a fault that needs M, chunks or steps which the config does not have",
        ),
        fix=(
            "Begin at the first wrong tensor, and make the config smaller around it: one cut, one micro-batch, no "
            "dropout. `gradcheck run` with `vjp` beside the candidate gives the right value of every boundary's "
            "cotangent."
        ),
    ),
)
