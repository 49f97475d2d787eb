"""Models that see, as subclasses: blocks made of layers, stages made of blocks."""

from __future__ import annotations

from typing import Any

import keras
from keras import Input, layers, ops


class ResidualBlock(layers.Layer):
    """Two convolutions and a shortcut, projected where the shape changes."""

    def __init__(self, filters: int, stride: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.conv1 = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)
        self.bn1 = layers.BatchNormalization()
        self.conv2 = layers.Conv2D(filters, 3, padding="same", use_bias=False)
        self.bn2 = layers.BatchNormalization()
        self.downsample = None
        if stride != 1:
            self.downsample = keras.Sequential(
                [layers.Conv2D(filters, 1, strides=stride, use_bias=False), layers.BatchNormalization()]
            )

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = ops.relu(self.bn1(self.conv1(inputs), training=training))
        x = self.bn2(self.conv2(x), training=training)
        identity = inputs if self.downsample is None else self.downsample(inputs, training=training)
        return ops.relu(identity + x)


class ResNet(keras.Model):
    """Stages of residual blocks, as lists in a list."""

    def __init__(self, num_blocks: list[int], num_classes: int, width: int = 4) -> None:
        super().__init__()
        self.stem = layers.Conv2D(width, 3, padding="same", use_bias=False)
        self.bn = layers.BatchNormalization()
        self.stages = [
            [ResidualBlock(width * 2**i, stride=2 if i > 0 and j == 0 else 1) for j in range(n)]
            for i, n in enumerate(num_blocks)
        ]
        self.avg_pool = layers.GlobalAveragePooling2D()
        self.fc = layers.Dense(num_classes)

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = ops.relu(self.bn(self.stem(x), training=training))
        for stage in self.stages:
            for block in stage:
                x = block(x, training=training)
        return self.fc(self.avg_pool(x))


def resnet() -> keras.Model:
    return ResNet([2, 1], num_classes=5)


class UNet(keras.Model):
    """Down, up, and what was seen on the way down beside what comes up."""

    def __init__(self, filters: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.down1 = layers.Conv2D(filters, 3, padding="same", activation="relu")
        self.pool1 = layers.MaxPooling2D()
        self.down2 = layers.Conv2D(2 * filters, 3, padding="same", activation="relu")
        self.pool2 = layers.MaxPooling2D()
        self.bottom = layers.Conv2D(4 * filters, 3, padding="same", activation="relu")
        self.up2 = layers.Conv2DTranspose(2 * filters, 2, strides=2)
        self.concat2 = layers.Concatenate()
        self.conv2 = layers.Conv2D(2 * filters, 3, padding="same", activation="relu")
        self.up1 = layers.Conv2DTranspose(filters, 2, strides=2)
        self.concat1 = layers.Concatenate()
        self.conv1 = layers.Conv2D(filters, 3, padding="same", activation="relu")
        self.mask = layers.Conv2D(1, 1, activation="sigmoid")

    def call(self, inputs: Any) -> Any:
        d1 = self.down1(inputs)
        d2 = self.down2(self.pool1(d1))
        x = self.bottom(self.pool2(d2))
        x = self.conv2(self.concat2([self.up2(x), d2]))
        x = self.conv1(self.concat1([self.up1(x), d1]))
        return self.mask(x)


def unet() -> keras.Model:
    return UNet()


def unet_twin() -> keras.Model:
    inputs = Input((8, 8, 3))
    d1 = layers.Conv2D(4, 3, padding="same", activation="relu", name="down1")(inputs)
    d2 = layers.MaxPooling2D(name="pool1")(d1)
    d2 = layers.Conv2D(8, 3, padding="same", activation="relu", name="down2")(d2)
    x = layers.MaxPooling2D(name="pool2")(d2)
    x = layers.Conv2D(16, 3, padding="same", activation="relu", name="bottom")(x)
    x = layers.Conv2DTranspose(8, 2, strides=2, name="up2")(x)
    x = layers.Concatenate(name="concat2")([x, d2])
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv2")(x)
    x = layers.Conv2DTranspose(4, 2, strides=2, name="up1")(x)
    x = layers.Concatenate(name="concat1")([x, d1])
    x = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv1")(x)
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x))


class DenseBlock(layers.Layer):
    """Every layer reads all that stand before it."""

    def __init__(self, num_layers: int, growth_rate: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.norms = [layers.BatchNormalization() for _ in range(num_layers)]
        self.convs = [layers.Conv2D(growth_rate, 3, padding="same") for _ in range(num_layers)]

    def call(self, x: Any, training: bool | None = None) -> Any:
        features = [x]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            joined = ops.concatenate(features, axis=-1)
            features.append(conv(ops.relu(norm(joined, training=training))))
        return ops.concatenate(features, axis=-1)


class DenseNet(keras.Model):
    """Dense blocks with transitions between them."""

    def __init__(self, growth_rate: int, num_classes: int, blocks: tuple[int, ...] = (2, 2)) -> None:
        super().__init__()
        self.stem = layers.Conv2D(2 * growth_rate, 3, padding="same")
        self.dense_blocks = [DenseBlock(n, growth_rate) for n in blocks]
        self.transitions = [
            keras.Sequential([layers.Conv2D(2 * growth_rate, 1), layers.AveragePooling2D(2)]) for _ in blocks[1:]
        ]
        self.pool = layers.GlobalAveragePooling2D()
        self.classifier = layers.Dense(num_classes, activation="softmax")

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.dense_blocks[0](self.stem(x), training=training)
        for transition, block in zip(self.transitions, self.dense_blocks[1:], strict=True):
            x = block(transition(x), training=training)
        return self.classifier(self.pool(x))


def densenet() -> keras.Model:
    return DenseNet(growth_rate=2, num_classes=4)


class Inception(layers.Layer):
    """Four branches side by side, by name."""

    def __init__(self, filters: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.branches = {
            "1x1": [layers.Conv2D(filters, 1, activation="relu")],
            "3x3": [layers.Conv2D(filters, 1), layers.Conv2D(filters, 3, padding="same", activation="relu")],
            "5x5": [layers.Conv2D(filters, 1), layers.Conv2D(filters, 5, padding="same", activation="relu")],
            "pool": [layers.MaxPooling2D(3, strides=1, padding="same"), layers.Conv2D(filters, 1)],
        }

    def call(self, inputs: Any) -> Any:
        outputs = []
        for branch in self.branches.values():
            x = inputs
            for layer in branch:
                x = layer(x)
            outputs.append(x)
        return ops.concatenate(outputs, axis=-1)


class GoogLeNet(keras.Model):
    """Two inception blocks; the first also feeds an auxiliary classifier."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.block_a = Inception(2)
        self.block_b = Inception(3)
        self.pool = layers.GlobalAveragePooling2D()
        self.auxiliary = layers.Dense(num_classes)
        self.head = layers.Dense(num_classes)

    def call(self, images: Any) -> Any:
        early = self.block_a(images)
        late = self.block_b(early)
        return self.head(self.pool(late)), self.auxiliary(self.pool(early))


def inception() -> keras.Model:
    return GoogLeNet(num_classes=3)


class SqueezeExcite(layers.Layer):
    """Weighs channels by what the whole image holds of them."""

    def __init__(self, ratio: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.ratio = ratio

    def build(self, input_shape: Any) -> None:
        channels = input_shape[-1]
        self.pool = layers.GlobalAveragePooling2D(keepdims=True)
        self.squeeze = layers.Dense(channels // self.ratio, activation="relu")
        self.excite = layers.Dense(channels, activation="sigmoid")

    def call(self, x: Any) -> Any:
        return x * self.excite(self.squeeze(self.pool(x)))


class SENet(keras.Model):
    """Convolutions, each followed by a squeeze and excitation."""

    def __init__(self, widths: tuple[int, ...], num_classes: int) -> None:
        super().__init__()
        self.convs = [layers.Conv2D(width, 3, strides=2, padding="same", activation="swish") for width in widths]
        self.gates = [SqueezeExcite() for _ in widths]
        self.flatten = layers.Flatten()
        self.head = layers.Dense(num_classes)

    def call(self, x: Any) -> Any:
        for conv, gate in zip(self.convs, self.gates, strict=True):
            x = gate(conv(x))
        return self.head(self.flatten(x))


def squeeze_excite() -> keras.Model:
    return SENet((4, 6), num_classes=3)


class FineTuned(keras.Model):
    """A functional backbone, frozen, under a head that trains."""

    def __init__(self, backbone: keras.Model, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.backbone.trainable = False
        self.pool = layers.GlobalAveragePooling2D()
        self.dropout = layers.Dropout(0.2)
        self.head = layers.Dense(num_classes)

    def call(self, x: Any, training: bool | None = None) -> Any:
        x = self.pool(self.backbone(x, training=False))
        return self.head(self.dropout(x, training=training))


def fine_tuned() -> keras.Model:
    image = Input((8, 8, 3))
    x = layers.Conv2D(4, 3, strides=2, name="conv")(image)
    x = layers.ReLU(name="relu")(layers.BatchNormalization(name="bn")(x))
    return FineTuned(keras.Model(image, x, name="backbone"), num_classes=3)
