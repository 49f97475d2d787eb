"""GC050 to GC099: something raised or did not fit while running (exit 3). Nothing is said about gradients."""

from __future__ import annotations

from gradcheck.catalogue.entry import Entry

ENTRIES = (
    Entry(
        code="GC050",
        title="unexpected error",
        explanation=(
            "Something raised that was not foreseen. With user code around it may be the user's; else it is a mistake "
            "in gradcheck."
        ),
        fix="Run again with `-v` to see where it was raised; report it if the traceback ends in gradcheck.",
    ),
    Entry(
        code="GC051",
        title="the model could not be built",
        explanation=(
            "A factory, a layer or a saved model raised, or returned something that is not a built Keras model. The "
            "message points at the line of your own code that raised."
        ),
        causes=(
            "the factory returns None, a layer, or a model without symbolic inputs (subclassed, not yet built)",
            "a `.keras` file with a Lambda, which needs `trust: true`",
            "parts whose outputs are not the next part's inputs, or whose weights are not the reference's",
        ),
        fix="Mend the code at the reported line; a factory must return a functional or Sequential `keras.Model`.",
    ),
    Entry(
        code="GC052",
        title="the data could not be made",
        explanation="The data factory raised, or a file of the batch could not be read.",
        fix="Mend the code or the file that the message names.",
    ),
    Entry(
        code="GC053",
        title="the forward pass or the loss raised",
        explanation=(
            "The model was built, and calling it or its loss on the batch raised. The whole model under one tape fails "
            "as well, so this is not about the split."
        ),
        causes=(
            "labels outside the range of a loss or an embedding",
            "a layer that needs a batch or a length that the data do not have",
            "an operation without a gradient of the order that the method asks for",
        ),
        fix="Call the model on the same batch in plain Keras, and mend what raises there.",
    ),
    Entry(
        code="GC054",
        title="a candidate raised",
        explanation="Your function raised while it computed its gradients. The other methods are still compared.",
        fix="Mend the line that the message names; `-v` shows the traceback.",
    ),
    Entry(
        code="GC055",
        title="a candidate returned something unusable",
        explanation=(
            "A candidate returns one gradient for each of `check.variables`: a list in their order, a mapping by "
            "variable path, or a pair (loss, gradients) of a loss and either."
        ),
        causes=(
            "a list of another length than `check.variables`, such as one per segment",
            "a mapping with a key that is no variable's path",
            "a gradient that is no number: a nested list, a string, a symbolic tensor that left its `tf.function`",
        ),
        fix=(
            "Return `{variable.path: gradient}` over the segments' own `trainable_variables`; None where there is none."
        ),
    ),
    Entry(
        code="GC056",
        title="does not fit the memory budget",
        explanation=(
            "The method or the config would need more memory than `memory_budget` allows (by default a share of what "
            "is free). It is refused before anything is allocated."
        ),
        fix=(
            "Lower `data.batch_size` or the input size, cut at other places, use `vjp` instead of whole Jacobians, or "
            "raise `memory_budget`."
        ),
    ),
    Entry(
        code="GC057",
        title="timed out",
        explanation="The config took longer than `--timeout` allows and was given up.",
        fix="Raise `--timeout`, or make the batch or the model smaller.",
    ),
    Entry(
        code="GC058",
        title="a package is missing",
        explanation="An optional package that this format or source needs is not installed.",
        fix="Install the extra that the message names, such as `pip install 'gradcheck[html]'`.",
    ),
    Entry(
        code="GC059",
        title="compilation failed",
        explanation=(
            "`execution: graph` or `xla` was asked for, and TensorFlow could not trace or compile the function, though "
            "it runs eagerly."
        ),
        causes=(
            "Python control flow on tensor values, `.numpy()`, or NumPy code inside a layer",
            "an operation without an XLA kernel, or a shape that is not known when XLA compiles",
        ),
        fix="Use `execution: eager`, or write the layer in TensorFlow operations only.",
    ),
)
