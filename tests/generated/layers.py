"""Keras layers with small arguments, by the rank of what they take, and the shapes of what they return."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

    Shape = tuple[int, ...]
    #: A layer's name, its arguments, and the shape that it returns.
    Layer = tuple[str, dict[str, Any], Shape]
    Drawn = Callable[[st.DrawFn, Shape], Layer]

ACTIVATIONS = ["tanh", "relu", "sigmoid", "softplus", "gelu", "elu", "swish", "softsign", "linear"]
#: Elements of one example, at most.
LARGEST = 120

#: Of any shape, which they keep.
SAME: list[tuple[str, dict[str, Any]]] = [
    *(("Activation", {"activation": name}) for name in [*ACTIVATIONS[:-1], "softmax", "selu", "hard_sigmoid", "mish"]),
    ("ReLU", {"negative_slope": 0.1, "max_value": 2.0}),
    ("LeakyReLU", {}),
    ("PReLU", {"alpha_initializer": "ones"}),
    ("Rescaling", {"scale": 0.5, "offset": 0.25}),
    ("Normalization", {"mean": 0.5, "variance": 2.0}),
    ("Dropout", {"rate": 0.3}),
    ("GaussianNoise", {"stddev": 0.2}),
    ("GaussianDropout", {"rate": 0.3}),
    ("AlphaDropout", {"rate": 0.2}),
    ("BatchNormalization", {"momentum": 0.6}),
    ("BatchNormalization", {"center": False}),
    ("LayerNormalization", {}),
    ("RMSNormalization", {}),
    ("UnitNormalization", {}),
    ("GroupNormalization", {"groups": 1}),
    ("ActivityRegularization", {"l2": 0.1}),
    ("Identity", {}),
]


def same(draw: st.DrawFn, shape: Shape) -> Layer:
    """A layer that keeps the shape."""
    name, arguments = draw(st.sampled_from(SAME))
    return name, dict(arguments), shape


def dense(draw: st.DrawFn, shape: Shape) -> Layer:
    """A Dense, perhaps with penalties."""
    units = draw(st.integers(1, 5))
    arguments = {"units": units, "activation": draw(st.sampled_from(ACTIVATIONS))}
    more = draw(
        st.sampled_from([{}, {}, {"kernel_regularizer": "l2"}, {"use_bias": False}, {"activity_regularizer": "l2"}])
    )
    return "Dense", {**arguments, **more}, (*shape[:-1], units)


def flatten(_: st.DrawFn, shape: Shape) -> Layer:
    """One row an example."""
    return "Flatten", {}, (math.prod(shape),)


def reshape(draw: st.DrawFn, shape: Shape) -> Layer:
    """The same elements in another shape."""
    total = math.prod(shape)
    first = draw(st.sampled_from([n for n in range(1, total + 1) if total % n == 0]))
    to = draw(st.sampled_from([(first, total // first), (total,), (1, first, total // first)]))
    return "Reshape", {"target_shape": list(to)}, to


def permute(draw: st.DrawFn, shape: Shape) -> Layer:
    """The axes in another order."""
    dims = draw(st.permutations(range(1, len(shape) + 1)))
    return "Permute", {"dims": list(dims)}, tuple(shape[d - 1] for d in dims)


def repeat(draw: st.DrawFn, shape: Shape) -> Layer:
    """A vector, some times."""
    n = draw(st.integers(1, 3))
    return "RepeatVector", {"n": n}, (n, *shape)


def _windows(length: int, size: int, stride: int, padding: str) -> int:
    return math.ceil(length / stride) if padding == "same" else (length - size) // stride + 1


def _window(draw: st.DrawFn, shape: Shape) -> tuple[int, int, str, Shape]:
    """A window, a stride, a padding, and the spatial shape that comes of it."""
    size = draw(st.integers(1, min(3, *shape[:-1])))
    stride, padding = draw(st.integers(1, 2)), draw(st.sampled_from(["valid", "same"]))
    return size, stride, padding, tuple(_windows(n, size, stride, padding) for n in shape[:-1])


def convolution(draw: st.DrawFn, shape: Shape) -> Layer:
    """A convolution: plain, separable or by channel."""
    rank, channels = len(shape) - 1, shape[-1]
    size, stride, padding, space = _window(draw, shape)
    kind = draw(st.sampled_from(["Conv", "SeparableConv", "DepthwiseConv"] if rank < 3 else ["Conv"]))
    filters = draw(st.integers(1, 3))
    arguments: dict[str, Any] = {"kernel_size": size, "strides": stride, "padding": padding}
    if kind == "DepthwiseConv":
        arguments["depth_multiplier"], filters = filters, channels * filters
    else:
        arguments["filters"] = filters
    return f"{kind}{rank}D", {**arguments, "activation": draw(st.sampled_from(ACTIVATIONS))}, (*space, filters)


def transposed(draw: st.DrawFn, shape: Shape) -> Layer:
    """A transposed convolution."""
    size, filters = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    space = tuple(n + size - 1 for n in shape[:-1])
    return f"Conv{len(shape) - 1}DTranspose", {"filters": filters, "kernel_size": size}, (*space, filters)


def pooling(draw: st.DrawFn, shape: Shape) -> Layer:
    """The largest or the mean of each window, or of all."""
    rank, kind = len(shape) - 1, draw(st.sampled_from(["Max", "Average"]))
    if rank == 3 or draw(st.booleans()):  # TensorFlow has no windows of a volume in float64 on a CPU
        keep = draw(st.booleans())
        to = (*(1 for _ in shape[:-1]), shape[-1]) if keep else shape[-1:]
        return f"Global{kind}Pooling{rank}D", {"keepdims": keep}, to
    size, stride, padding, space = _window(draw, shape)
    return f"{kind}Pooling{rank}D", {"pool_size": size, "strides": stride, "padding": padding}, (*space, shape[-1])


def sized(draw: st.DrawFn, shape: Shape) -> Layer:
    """More or fewer positions in space."""
    rank, kind = len(shape) - 1, draw(st.sampled_from(["UpSampling", "ZeroPadding", "Cropping"]))
    if kind == "UpSampling":
        return f"UpSampling{rank}D", {"size": 2}, (*(2 * n for n in shape[:-1]), shape[-1])
    if kind == "Cropping" and min(shape[:-1]) > 2:
        return f"Cropping{rank}D", {"cropping": 1}, (*(n - 2 for n in shape[:-1]), shape[-1])
    return f"ZeroPadding{rank}D", {"padding": 1}, (*(n + 2 for n in shape[:-1]), shape[-1])


def channel_dropout(_: st.DrawFn, shape: Shape) -> Layer:
    """Dropout of whole channels."""
    return f"SpatialDropout{len(shape) - 1}D", {"rate": 0.3}, shape


def recurrent(draw: st.DrawFn, shape: Shape) -> Layer:
    """A recurrent layer, one way or both."""
    units, sequences = draw(st.integers(1, 3)), draw(st.booleans())
    inner: dict[str, Any] = {"units": units, "return_sequences": sequences}
    inner |= draw(st.sampled_from([{}, {}, {"dropout": 0.3}, {"recurrent_dropout": 0.3}, {"go_backwards": True}]))
    name = draw(st.sampled_from(["SimpleRNN", "GRU", "LSTM"]))
    steps = shape[:1] if sequences else ()
    if draw(st.booleans()):
        return name, inner, (*steps, units)
    inner.pop("go_backwards", None)
    how = draw(st.sampled_from(["concat", "sum", "mul", "ave"]))
    width = 2 * units if how == "concat" else units
    return "Bidirectional", {"layer": {name: inner}, "merge_mode": how}, (*steps, width)


def at_each_step(draw: st.DrawFn, shape: Shape) -> Layer:
    """A layer at each step."""
    units = draw(st.integers(1, 3))
    return "TimeDistributed", {"layer": {"Dense": {"units": units, "activation": "tanh"}}}, (*shape[:-1], units)


def masking(_: st.DrawFn, shape: Shape) -> Layer:
    """A mask over the steps that are zero."""
    return "Masking", {}, shape


def over_time_and_space(draw: st.DrawFn, shape: Shape) -> Layer:
    """A convolutional LSTM."""
    filters = draw(st.integers(1, 2))
    arguments = {"filters": filters, "kernel_size": 1, "return_sequences": True}
    return f"ConvLSTM{len(shape) - 2}D", arguments, (*shape[:-1], filters)


#: Layers over tf.nn.moments, which stops a gradient that the first derivative does not need and the second does.
MOMENTS = re.compile("(Batch|Layer|Group)Normalization")
#: Layers whose weights Keras makes with a decomposition that TensorFlow has not in bfloat16.
ORTHOGONAL = ("SimpleRNN", "GRU", "LSTM")
ALWAYS: list[Drawn] = [dense, dense, same, same]
IN_SPACE: list[Drawn] = [convolution, convolution, pooling, sized, channel_dropout, flatten, reshape, permute]
BY_RANK: dict[int, list[Drawn]] = {
    1: [*ALWAYS, reshape, repeat],
    2: [*ALWAYS, *IN_SPACE, recurrent, recurrent, recurrent, at_each_step, masking, transposed],
    3: [*ALWAYS, *IN_SPACE, transposed, at_each_step, over_time_and_space],
    4: [*ALWAYS, *IN_SPACE, over_time_and_space],
}
MERGES = ["Add", "Concatenate", "Multiply", "Average", "Subtract", "Maximum", "Minimum"]
#: Layers whose call takes a query and a value, of shape (steps, features).
ATTENTION: list[tuple[str, dict[str, Any]]] = [
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 2}),
    ("MultiHeadAttention", {"num_heads": 1, "key_dim": 3, "dropout": 0.2}),
    ("Attention", {"use_scale": True}),
    ("AdditiveAttention", {}),
    ("GroupQueryAttention", {"head_dim": 2, "num_query_heads": 2, "num_key_value_heads": 1}),
]
