"""GC001 to GC049: the command line or a config is wrong (exit 2). Nothing was run."""

from __future__ import annotations

from gradcheck.catalogue.entry import Entry

ENTRIES = (
    Entry(
        code="GC001",
        title="file cannot be read",
        explanation="A file or folder that the command line or the config names does not exist or cannot be opened.",
        fix="Correct the path. Paths inside a config are relative to the config file, not to the working directory.",
    ),
    Entry(
        code="GC002",
        title="not valid YAML",
        explanation=(
            "The file is empty, is not UTF-8 text, does not parse, or does not hold a mapping of keys to values."
        ),
        causes=(
            "a tab used for indentation",
            "an unquoted value that contains `: ` or begins with `*`, `&`, `%` or `@`",
            "a bracket or quote that is never closed; the reported line is where the parser noticed",
        ),
        fix="Mend the line that the message shows, or start from `gradcheck init`.",
    ),
    Entry(
        code="GC003",
        title="unknown key",
        explanation=(
            "The config has a key that does not exist at this place. Unknown keys are errors, since a misspelt option "
            "that is ignored would change what is checked."
        ),
        fix="Use the key that the message suggests. `gradcheck schema` gives editors the full list with completion.",
    ),
    Entry(
        code="GC004",
        title="wrong value",
        explanation="A value has the wrong type, is out of range, or is not one of the names that the key accepts.",
        fix="Write a value of the kind that the message asks for.",
    ),
    Entry(
        code="GC005",
        title="missing key",
        explanation="A key that is needed is not there, or none of several of which exactly one is needed.",
        fix="Add the key that the message names.",
    ),
    Entry(
        code="GC006",
        title="duplicate key",
        explanation="One mapping has the same key twice. YAML lets the second one win silently; here it is an error.",
        fix="Remove one of the two.",
    ),
    Entry(
        code="GC007",
        title="keys that exclude each other",
        explanation="Two keys say different things about the same matter, such as `split` beside `model.segments`.",
        fix="Keep the one that is meant and remove the other.",
    ),
    Entry(
        code="GC008",
        title="no config found",
        explanation="A folder was given, and no `*.yaml` or `*.yml` below it has a top-level `model:` key.",
        fix="Name the file itself or another folder. `gradcheck init` writes a config to begin with.",
    ),
    Entry(
        code="GC009",
        title="too large",
        explanation=(
            "The file, what its aliases expand to, its nesting, or the number of layers is over the limit that "
            "protects against configs which exhaust memory."
        ),
        fix="Make it smaller; a large model belongs into Python code, named with `model: {factory: ...}`.",
    ),
    Entry(
        code="GC010",
        title="wrong command line",
        explanation=(
            "A command, option or argument is unknown, has a wrong value, or names a file that cannot be written."
        ),
        fix="See `gradcheck COMMAND --help`.",
    ),
    Entry(
        code="GC020",
        title="unknown layer, loss, application or optimizer",
        explanation="Keras has no class of this name.",
        causes=(
            "a misspelt name; Keras's spelling is case-sensitive",
            "a layer of your own written without its file",
        ),
        fix='Use the name that the message suggests, or write your own class as `"./layers.py:MyLayer"`.',
    ),
    Entry(
        code="GC021",
        title="layer cannot be built as written",
        explanation=(
            "Keras refused to make or to call a layer with the arguments and input shapes that the config gives. The "
            "message holds Keras's own reason and what it received."
        ),
        fix="Correct the layer's arguments or its `inputs`.",
    ),
    Entry(
        code="GC022",
        title="name in the layers section not defined",
        explanation=(
            "`inputs`, `outputs`, `call` or `call_kwargs` names a layer or tensor that no earlier entry defines."
        ),
        fix="Give the layer a `name`, or move it above its first use: layers are built in the order of the list.",
    ),
    Entry(
        code="GC023",
        title="unknown name in split",
        explanation=(
            "`split.after` names no call of the model. Accepted are names of layers and operations, paths into nested "
            "models (`backbone/block_2`), `name:N` for the N-th call, and indices of calls."
        ),
        fix="`gradcheck plan` on the config without `split` lists every name that is accepted.",
    ),
    Entry(
        code="GC024",
        title="cut that adds nothing",
        explanation=(
            "A cut leaves one of its segments empty: all that the named call needs lies before an earlier cut, or no "
            "call follows it."
        ),
        fix="Remove the cut, or name a call further on.",
    ),
    Entry(
        code="GC025",
        title="model cannot be cut",
        explanation=(
            "Only graphs of layers can be cut: functional, Sequential, and nestings of them. A subclassed model hides "
            "what its `call` does."
        ),
        causes=(
            "a subclassed model, or a layer that contains the part to be cut",
            "a layer whose call depends on Python state, so that its graph cannot be replayed",
        ),
        fix="Give the parts themselves with `model: {segments: [...]}`, or use methods of the whole model.",
    ),
    Entry(
        code="GC026",
        title="method needs a split",
        explanation="The method hands gradients from segment to segment, and the config has only one segment.",
        fix="Add `split: {every: layer}`, or name only methods of the whole model: `forward`, `numeric`, `hvp`.",
    ),
    Entry(
        code="GC027",
        title="method does not apply to this split",
        explanation=(
            "`stateful` and `scan` need a time split; `graph_scalar` needs a dense chain; `scan` over a layer needs "
            "chunks of equal length."
        ),
        fix="Choose another method, or the split that the message asks for.",
    ),
    Entry(
        code="GC028",
        title="user code not found",
        explanation=(
            'A reference such as `"./model.py:build"` or `"package.module:build"` names a file, module or attribute '
            "that is not there."
        ),
        fix="Correct the name. Files are looked up relative to the config, modules as `import` finds them.",
    ),
    Entry(
        code="GC029",
        title="refused in safe mode",
        explanation=(
            "The config would run code of its own (a factory, a layer class, a candidate, a Lambda in a `.keras` "
            "file), and `--safe` refuses that before anything is imported."
        ),
        fix="Read the code first; run it without `--safe` if you trust it.",
    ),
    Entry(
        code="GC030",
        title="data do not fit the model",
        explanation=(
            "The batch has the wrong number of arrays, shape, dtype, names or rows for the model's inputs and outputs, "
            "or the requested distribution cannot be made for them."
        ),
        fix="Match `data` to the model; the message shows what the model takes and what it received.",
    ),
    Entry(
        code="GC031",
        title="loss does not fit the outputs",
        explanation="There are more or fewer losses or weights than outputs, or a name among them is no output.",
        fix="Give one loss, or one for each output: a list in order, or a mapping by output name.",
    ),
    Entry(
        code="GC032",
        title="method not available",
        explanation=(
            "The config asks for a method or key that this version of the program does not provide for this kind of "
            "model."
        ),
        fix="Remove it, or choose one that `gradcheck schema` lists.",
    ),
)
