"""Models that see images as sets of patches or as channels of parts, as subclasses."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops


class Patches(layers.Layer):
    """Cuts an image into a sequence of flat patches."""

    def __init__(self, patch_size: int) -> None:
        super().__init__()
        self.patch_size = patch_size

    def call(self, images: Any) -> Any:
        batch_size, height, width, channels = ops.shape(images)
        rows, columns = height // self.patch_size, width // self.patch_size
        x = ops.reshape(images, (batch_size, rows, self.patch_size, columns, self.patch_size, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return ops.reshape(x, (batch_size, rows * columns, self.patch_size**2 * channels))


class ClassTokenAndPosition(layers.Layer):
    """Puts a learned token before the sequence, and adds a learned position to each."""

    def build(self, input_shape: Any) -> None:
        _, length, width = input_shape
        self.cls_token = self.add_weight(shape=(1, 1, width), name="cls_token")
        self.positions = self.add_weight(shape=(1, length + 1, width), name="positions")

    def call(self, x: Any) -> Any:
        batch_size, _, width = ops.shape(x)
        token = ops.broadcast_to(self.cls_token, (batch_size, 1, width))
        return ops.concatenate([token, x], axis=1) + self.positions


class ViTBlock(layers.Layer):
    """Attention and a multilayer perceptron, normalised before each."""

    def __init__(self, width: int, num_heads: int, rate: float = 0.1) -> None:
        super().__init__()
        self.norm1 = layers.LayerNormalization(epsilon=1e-6)
        self.attention = layers.MultiHeadAttention(num_heads, width // num_heads, dropout=rate)
        self.norm2 = layers.LayerNormalization(epsilon=1e-6)
        self.mlp = [layers.Dense(2 * width, activation="gelu"), layers.Dropout(rate), layers.Dense(width)]

    def call(self, x: Any) -> Any:
        y = self.norm1(x)
        x = x + self.attention(y, y)
        y = self.norm2(x)
        for layer in self.mlp:
            y = layer(y)
        return x + y


class ViT(keras.Model):
    """Classifies by the class token."""

    def __init__(self, patch_size: int, width: int, depth: int, num_classes: int) -> None:
        super().__init__()
        self.patches = Patches(patch_size)
        self.projection = layers.Dense(width)
        self.tokens = ClassTokenAndPosition()
        self.blocks = [ViTBlock(width, 2) for _ in range(depth)]
        self.norm = layers.LayerNormalization(epsilon=1e-6)
        self.head = layers.Dense(num_classes)

    def call(self, images: Any) -> Any:
        x = self.tokens(self.projection(self.patches(images)))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def vit() -> keras.Model:
    return ViT(patch_size=4, width=8, depth=2, num_classes=3)


class TiledViT(keras.Model):
    """The class token is the model's own weight, repeated for every image."""

    def __init__(self, patch_size: int, width: int, num_classes: int) -> None:
        super().__init__()
        self.patch_embed = layers.Conv2D(width, patch_size, strides=patch_size)
        self.flatten = layers.Reshape((-1, width))
        self.cls_token = self.add_weight(shape=(1, 1, width), name="cls_token")
        self.block = ViTBlock(width, 2)
        self.head = layers.Dense(num_classes)

    def call(self, images: Any) -> Any:
        x = self.flatten(self.patch_embed(images))
        token = ops.tile(self.cls_token, (ops.shape(x)[0], 1, 1))
        x = self.block(ops.concatenate([token, x], axis=1))
        return self.head(x[:, 0])


def vit_tiled() -> keras.Model:
    return TiledViT(patch_size=4, width=8, num_classes=3)


class MlpBlock(layers.Layer):
    """Two dense layers that keep the width."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden

    def build(self, input_shape: Any) -> None:
        self.fc1 = layers.Dense(self.hidden, activation="gelu")
        self.fc2 = layers.Dense(input_shape[-1])

    def call(self, x: Any) -> Any:
        return self.fc2(self.fc1(x))


class MixerBlock(layers.Layer):
    """Mixes tokens, then channels."""

    def __init__(self, tokens_dim: int, channels_dim: int) -> None:
        super().__init__()
        self.norm1 = layers.LayerNormalization()
        self.token_mixing = MlpBlock(tokens_dim)
        self.norm2 = layers.LayerNormalization()
        self.channel_mixing = MlpBlock(channels_dim)

    def call(self, x: Any) -> Any:
        y = ops.transpose(self.norm1(x), (0, 2, 1))
        x = x + ops.transpose(self.token_mixing(y), (0, 2, 1))
        return x + self.channel_mixing(self.norm2(x))


class MlpMixer(keras.Model):
    """Multilayer perceptrons alone."""

    def __init__(self, patch_size: int, width: int, depth: int, num_classes: int) -> None:
        super().__init__()
        self.patches = Patches(patch_size)
        self.stem = layers.Dense(width)
        self.mixers = keras.Sequential([MixerBlock(6, 10) for _ in range(depth)])
        self.norm = layers.LayerNormalization()
        self.head = layers.Dense(num_classes)

    def call(self, images: Any) -> Any:
        x = self.norm(self.mixers(self.stem(self.patches(images))))
        return self.head(ops.mean(x, axis=1))


def mlp_mixer() -> keras.Model:
    return MlpMixer(patch_size=4, width=8, depth=2, num_classes=3)


class StochasticDepth(layers.Layer):
    """Drops a branch for some of the examples."""

    def __init__(self, drop_prob: float, seed: int = 7) -> None:
        super().__init__()
        self.drop_prob = drop_prob
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, x: Any, training: bool | None = None) -> Any:
        if training:
            keep_prob = 1 - self.drop_prob
            shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
            kept = ops.floor(keep_prob + keras.random.uniform(shape, 0, 1, seed=self.seed_generator))
            return x / keep_prob * kept
        return x


class ConvNeXtBlock(layers.Layer):
    """A wide depthwise convolution and two pointwise ones, scaled by channel and dropped at times."""

    def __init__(self, width: int, drop_prob: float) -> None:
        super().__init__()
        self.dwconv = layers.DepthwiseConv2D(3, padding="same")
        self.norm = layers.LayerNormalization(epsilon=1e-6)
        self.pwconv1 = layers.Dense(2 * width, activation="gelu")
        self.pwconv2 = layers.Dense(width)
        self.gamma = self.add_weight(shape=(width,), initializer=keras.initializers.Constant(0.5), name="gamma")
        self.drop_path = StochasticDepth(drop_prob)

    def call(self, x: Any, training: bool | None = None) -> Any:
        y = self.pwconv2(self.pwconv1(self.norm(self.dwconv(x)))) * self.gamma
        return x + self.drop_path(y, training=training)


class ConvNeXt(keras.Model):
    """Stages with a downsampling before each."""

    def __init__(self, widths: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.downsample = [layers.Conv2D(width, 2, strides=2) for width in widths]
        self.stages = [ConvNeXtBlock(width, 0.3) for width in widths]
        self.pool = layers.GlobalAveragePooling2D()
        self.head = layers.Dense(num_classes, activation="softmax")

    def call(self, x: Any, training: bool | None = None) -> Any:
        for downsample, stage in zip(self.downsample, self.stages, strict=True):
            x = stage(downsample(x), training=training)
        return self.head(self.pool(x))


def convnext() -> keras.Model:
    return ConvNeXt((4, 6), num_classes=3)


def squash(vectors: Any) -> Any:
    """Vectors of the same direction, shorter than one."""
    norm = ops.sum(ops.square(vectors), axis=-1, keepdims=True)
    return norm / (1 + norm) * vectors / ops.sqrt(norm + 1e-7)


class CapsuleLayer(layers.Layer):
    """Capsules that agree on where to send what they see, in a few rounds."""

    def __init__(self, num_capsules: int, dim: int, routings: int = 3) -> None:
        super().__init__()
        self.num_capsules, self.dim, self.routings = num_capsules, dim, routings

    def build(self, input_shape: Any) -> None:
        _, inputs, width = input_shape
        self.kernel = self.add_weight(shape=(inputs, width, self.num_capsules, self.dim), name="kernel")

    def call(self, u: Any) -> Any:
        votes = ops.einsum("biw,iwcd->bicd", u, self.kernel)
        agreement = ops.zeros_like(votes[..., :1])
        for _ in range(self.routings):
            coupling = ops.softmax(agreement, axis=2)
            v = squash(ops.sum(coupling * votes, axis=1, keepdims=True))
            agreement = agreement + ops.sum(votes * v, axis=-1, keepdims=True)
        return ops.squeeze(v, axis=1)


class PrimaryCapsules(layers.Layer):
    """A convolution whose channels are read as vectors."""

    def __init__(self, num_channels: int, dim: int) -> None:
        super().__init__()
        self.conv = layers.Conv2D(num_channels * dim, 3, strides=2)
        self.reshape = layers.Reshape((-1, dim))

    def call(self, x: Any) -> Any:
        return squash(self.reshape(self.conv(x)))


class CapsNet(keras.Model):
    """The length of a capsule is how sure it is of its class."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.conv = layers.Conv2D(4, 3, activation="relu")
        self.primary = PrimaryCapsules(2, 4)
        self.digits = CapsuleLayer(num_classes, 5)

    def call(self, images: Any) -> Any:
        capsules = self.digits(self.primary(self.conv(images)))
        return ops.sqrt(ops.sum(capsules**2, axis=-1) + 1e-7)


def capsules() -> keras.Model:
    return CapsNet(num_classes=3)
