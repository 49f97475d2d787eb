"""Every layer of Keras in a small model, with something that trains in front of it and behind it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.methods.directional.test_numeric_layers import IMAGE, ONE_INPUT, SEQUENCE, SEVERAL_INPUTS, VOLUME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Table = Iterable[tuple[str, dict[str, Any], list[list[int]]]]

COLOUR = [8, 8, 3]
SIGNAL = [256]
UNIT = {"value_range": [0, 1]}

#: Public layer classes that no model is made of, and why.
EXCLUDED = {
    "Layer": "the base class: its call is not implemented",
    "Wrapper": "the base class of wrappers: its call is not implemented",
    "InputLayer": "makes no tensor from others: it is every model's input",
    "FlaxLayer": "runs JAX code: needs Keras's JAX backend",
    "JaxLayer": "runs JAX code: differentiates only with Keras's JAX backend",
    "TFSMLayer": "loads a SavedModel from disk: a forward pass without trainable weights of its own",
    "TorchModuleWrapper": "runs PyTorch code: needs Keras's PyTorch backend",
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the zoo: a model that holds `layer`, cut after each of `after`, the last of which is the layer.

    No gradient reaches what stands before a layer that stops it (it rounds, counts or looks up), in Keras itself.
    """

    layer: str
    name: str
    model: dict[str, Any]
    after: tuple[str, ...]
    stops: bool = False
    data: dict[str, Any] = field(default_factory=dict)


#: (layer, its arguments, the shapes of its inputs), beside those that finite differences judge as well.
SMOOTH: list[tuple[str, dict[str, Any], list[int]]] = [
    *((f"AdaptiveAveragePooling{len(s) - 1}D", {"output_size": 2}, s) for s in (SEQUENCE, IMAGE, VOLUME)),
    *((f"AdaptiveMaxPooling{len(s) - 1}D", {"output_size": 2}, s) for s in (SEQUENCE, IMAGE, VOLUME)),
    ("EinsumDense", {"equation": "abc,cd->abd", "output_shape": [5, 4], "bias_axes": "d"}, SEQUENCE),
    ("BatchNormalization", {"momentum": 0.5, "synchronized": False}, SEQUENCE),
    ("ConvLSTM3D", {"filters": 2, "kernel_size": 2}, [2, 3, 3, 3, 2]),
    ("GRUCell", {"units": 3, "dropout": 0.5}, SEQUENCE),
    ("LSTMCell", {"units": 3, "recurrent_dropout": 0.5}, SEQUENCE),
    ("SimpleRNNCell", {"units": 3}, SEQUENCE),
    ("StackedRNNCells", {"cells": [{"GRUCell": {"units": 3}}, {"LSTMCell": {"units": 2}}]}, SEQUENCE),
    ("LSTM", {"units": 3, "dropout": 0.5, "recurrent_dropout": 0.5, "return_sequences": True}, SEQUENCE),
    ("Bidirectional", {"layer": {"GRU": {"units": 2, "return_sequences": True}}, "merge_mode": "sum"}, SEQUENCE),
    ("TimeDistributed", {"layer": {"BatchNormalization": {}}}, [3, *IMAGE]),
    ("SpectralNormalization", {"layer": {"Conv2D": {"filters": 3, "kernel_size": 2}}, "power_iterations": 2}, IMAGE),
    ("MelSpectrogram", {"num_mel_bins": 4, "sampling_rate": 8000, "sequence_stride": 64, "fft_length": 128}, SIGNAL),
    ("STFTSpectrogram", {"mode": "log", "frame_length": 64, "frame_step": 32}, [*SIGNAL, 1]),
]

#: Augmentation: images in, images of the same range out.
AUGMENTING: list[tuple[str, dict[str, Any]]] = [
    ("AugMix", UNIT),
    ("AutoContrast", UNIT),
    ("CutMix", {}),
    ("MixUp", {}),
    ("Pipeline", {"layers": [{"RandomFlip": {}}, {"RandomZoom": {"height_factor": 0.2}}]}),
    ("RandAugment", UNIT),
    ("RandomBrightness", {"factor": 0.2, **UNIT}),
    ("RandomColorDegeneration", {"factor": 0.5, **UNIT}),
    ("RandomColorJitter", {"brightness_factor": 0.2, "contrast_factor": 0.2, **UNIT}),
    ("RandomContrast", {"factor": 0.2, **UNIT}),
    ("RandomCrop", {"height": 5, "width": 5}),
    ("RandomElasticTransform", {"factor": 1.0, **UNIT}),
    ("RandomErasing", {"factor": 1.0, **UNIT}),
    ("RandomFlip", {}),
    ("RandomGaussianBlur", {"factor": 1.0, **UNIT}),
    ("RandomGrayscale", {"factor": 0.5}),
    ("RandomInvert", {"factor": 0.5, **UNIT}),
    ("RandomPerspective", {"factor": 1.0}),
    ("RandomRotation", {"factor": 0.2}),
    ("RandomSharpness", {"factor": 0.5, **UNIT}),
    ("RandomShear", {"x_factor": 0.2, "y_factor": 0.2}),
    ("RandomTranslation", {"height_factor": 0.2, "width_factor": 0.2}),
    ("RandomZoom", {"height_factor": 0.2}),
    ("Solarization", UNIT),
]

#: What has no gradient: it counts, looks up or sorts into bins, or TensorFlow cannot differentiate its colour space.
STOPPING: list[tuple[str, dict[str, Any], list[int]]] = [
    ("CategoryEncoding", {"num_tokens": 4}, [4]),
    ("Discretization", {"bin_boundaries": [0.3, 0.5, 0.7]}, [4]),
    ("Embedding", {"input_dim": 9, "output_dim": 2}, [4]),
    ("ContrastLimitedAdaptiveHistogramEqualization", {"tile_grid_size": [2, 2], **UNIT}, COLOUR),
    ("Equalization", UNIT, COLOUR),
    ("RandomColorJitter", {"saturation_factor": 0.2, "hue_factor": 0.2, **UNIT}, COLOUR),
    ("RandomHue", {"factor": 0.5, **UNIT}, COLOUR),
    ("RandomPosterization", {"factor": 4, **UNIT}, COLOUR),
    ("RandomSaturation", {"factor": 0.5, **UNIT}, COLOUR),
]

#: Models that a list of layers does not say: (layer, what is special, the function in layer_models, where it is cut).
BUILT: list[tuple[str, str, str, tuple[str, ...]]] = [
    ("Attention", "masks, causal", "attention_with_masks", ("before", "layer")),
    ("AdditiveAttention", "masks", "additive_attention_with_masks", ("before", "layer")),
    ("MultiHeadAttention", "masked by Embedding, causal, scores", "masked_self_attention", ("before", "layer")),
    ("MultiHeadAttention", "twice over one masked memory", "a_memory_read_twice", ("before", "layer")),
    ("GroupQueryAttention", "causal", "grouped_attention", ("before", "layer")),
    ("LSTM", "stateful", "stateful_lstm", ("before", "layer")),
    ("GRU", "stateful, dropout", "stateful_gru", ("before", "layer")),
    ("SimpleRNN", "stateful", "stateful_simple_rnn", ("before", "layer")),
    ("Bidirectional", "stateful", "stateful_both_ways", ("before", "layer")),
    ("LSTM", "states out and in", "handed_on_states", ("before", "layer")),
    ("GRUCell", "called by itself", "a_cell_by_itself", ("before", "layer")),
    ("TimeDistributed", "a model", "a_model_at_each_step", ("before", "layer")),
    ("BatchNormalization", "called twice", "norm_called_twice", ("before", "layer:1", "layer")),
    ("Dropout", "called twice", "dropout_called_twice", ("before", "layer:1", "layer")),
    ("SpectralNormalization", "called twice", "spectral_called_twice", ("before", "layer:1", "layer")),
    ("Normalization", "adapted", "adapted_normalization", ("before", "layer")),
    ("Lambda", "", "a_lambda", ("before", "layer")),
    ("MixUp", "images and labels", "mixed_with_labels", ("before", "layer")),
    ("CutMix", "images and labels", "cut_with_labels", ("before", "layer")),
    ("MaxNumBoundingBoxes", "", "padded_boxes", ("before", "layer")),
    ("Softmax", "a mask", "masked_softmax", ("before", "layer")),
    ("ReversibleEmbedding", "tied", "reversed_embedding", ("layer:1", "between", "layer")),
    ("HashedCrossing", "", "crossed_features", ("layer",)),
    ("Hashing", "", "hashed_integers", ("layer",)),
    ("IntegerLookup", "", "looked_up_integers", ("layer",)),
    ("StringLookup", "", "looked_up_strings", ("layer",)),
    ("TextVectorization", "", "vectorized_text", ("layer",)),
]

#: Text has no default data: the function in layer_models that makes it.
TEXT = {"looked_up_strings": "colours", "vectorized_text": "sentences"}


def cases() -> tuple[Case, ...]:
    """Every row. A layer that is there several times goes by its arguments from the second time on."""
    colours = [(layer, kwargs, [COLOUR]) for layer, kwargs in AUGMENTING]
    chained = [(layer, kwargs, [shape]) for layer, kwargs, shape in (*ONE_INPUT, *SMOOTH) if _is_sized(kwargs)]
    stopping = [(layer, kwargs, [shape]) for layer, kwargs, shape in STOPPING]
    seen: Counter[str] = Counter()
    return (
        *_in_chains((*chained, *SEVERAL_INPUTS, *colours), seen),
        *_in_chains(stopping, seen, stops=True),
        *MASKED,
        *map(_built, BUILT),
    )


def _is_sized(kwargs: dict[str, Any]) -> bool:
    """Whether the output has a known length, as a Dense behind it needs."""
    return None not in kwargs.get("output_shape", ())


def _in_chains(table: Table, seen: Counter[str], *, stops: bool = False) -> Iterator[Case]:
    for layer, kwargs, shapes in table:
        seen[layer] += 1
        before, model = _chain(layer, kwargs, shapes, positive=stops or shapes == [COLOUR])
        name = layer if seen[layer] == 1 else f"{layer} ({_said(kwargs)})"
        yield Case(layer=layer, name=name, model=model, after=(*before, "layer"), stops=stops)


def _said(kwargs: dict[str, Any]) -> str:
    """Arguments as a row names them: of a layer its class, of an activation what it is."""
    brief = {key: next(iter(value)) if isinstance(value, dict) else value for key, value in kwargs.items()}
    return ", ".join(f"{key}={value}" for key, value in brief.items() if key != "value_range")


def _chain(
    layer: str, kwargs: dict[str, Any], shapes: list[list[int]], *, positive: bool
) -> tuple[list[str], dict[str, Any]]:
    """A Dense for each input, the layer over all of them, and a Dense; a colour or an index is not negative."""
    before = [f"before_{i}" for i in range(len(shapes))]
    activation = "sigmoid" if positive else "linear"
    dense = [
        {"Dense": {"units": shape[-1], "activation": activation, "name": name, "inputs": [f"x_{i}"]}}
        for i, (name, shape) in enumerate(zip(before, shapes, strict=True))
    ]
    called, arguments = _as_called(layer, kwargs)
    entry = {called: {**arguments, "name": "layer", "inputs": before}}
    inputs = {f"x_{i}": {"shape": shape} for i, shape in enumerate(shapes)}
    return before, {"input": inputs, "layers": [*dense, entry, "Flatten", {"Dense": {"units": 2}}]}


def _as_called(layer: str, kwargs: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The layer that is called, and with what: a recurrent layer over a cell, a pipeline of what cannot be chained."""
    if "Cell" in layer:
        return "RNN", {"cell": {layer: kwargs}}
    if layer == "Equalization":  # it returns the very symbol it is given, which Keras takes for a cycle
        return "Pipeline", {"layers": [{layer: kwargs}]}
    return layer, kwargs


def _built(row: tuple[str, str, str, tuple[str, ...]]) -> Case:
    layer, special, function, after = row
    name = f"{layer} ({special})" if special else layer
    model = {"factory": f"tests.zoo.layer_models:{function}"}
    data = {"factory": f"tests.zoo.layer_models:{TEXT[function]}"} if function in TEXT else {}
    return Case(layer=layer, name=name, model=model, after=after, data=data)


def _after_embedding(layer: str, kwargs: dict[str, Any]) -> Case:
    """A layer that takes the mask of padded tokens."""
    embedding = {"Embedding": {"input_dim": 5, "output_dim": 3, "mask_zero": True, "name": "before"}}
    layers = [embedding, {layer: {**kwargs, "name": "layer"}}, {"Dense": {"units": 2}}]
    model = {"input": {"shape": [5], "dtype": "int32"}, "layers": layers}
    return Case(layer=layer, name=f"{layer} (masked by Embedding)", model=model, after=("before", "layer"))


def _after_masking(layer: str, kwargs: dict[str, Any]) -> Case:
    """A layer that takes the mask of steps that are zero in the data."""
    layers = [
        {"Masking": {"name": "masking"}},
        {"Dense": {"units": 3, "name": "before"}},
        {layer: {**kwargs, "name": "layer"}},
        {"Dense": {"units": 2}},
    ]
    model = {"input": {"shape": [6, 1]}, "layers": layers}
    data = {"inputs": {"integers": {"low": 0, "high": 2}}}
    after = ("masking", "before", "layer")
    return Case(layer=layer, name=f"{layer} (masked by Masking)", model=model, after=after, data=data)


MASKED = (
    _after_embedding("LSTM", {"units": 3, "dropout": 0.3}),
    _after_embedding("Bidirectional", {"layer": {"GRU": {"units": 2, "return_sequences": True}}}),
    _after_embedding("BatchNormalization", {"momentum": 0.5}),
    _after_embedding("GlobalAveragePooling1D", {}),
    _after_embedding("TimeDistributed", {"layer": {"Dense": {"units": 2}}}),
    _after_masking("GRU", {"units": 3, "return_sequences": True}),
    _after_masking("SimpleRNN", {"units": 3}),
)

CASES = cases()
