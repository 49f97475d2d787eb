"""Models that look at images, as people write them."""

from __future__ import annotations

from typing import Any

import keras
from keras import Input, Model, layers


def _double_conv(x: Any, filters: int) -> Any:
    for _ in range(2):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        x = layers.Activation("relu")(x)
    return x


def unet() -> Model:
    """U-Net: each level of the way down is joined to the same level of the way up, across everything between."""
    inputs = Input((16, 16, 3))
    x, skips = inputs, []
    for filters in (4, 8):
        x = _double_conv(x, filters)
        skips.append(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dropout(0.3)(_double_conv(x, 16))
    for filters in (8, 4):
        x = layers.Conv2DTranspose(filters, 2, strides=2, padding="same")(x)
        x = layers.Concatenate()([skips.pop(), x])
        x = _double_conv(x, filters)
    return Model(inputs, layers.Conv2D(1, 1, activation="sigmoid", name="mask")(x), name="unet")


def _residual_block(x: Any, filters: int, stride: int = 1) -> Any:
    shortcut = x
    if stride > 1 or x.shape[-1] != filters:
        shortcut = layers.Conv2D(filters, 1, strides=stride, use_bias=False)(x)
        shortcut = layers.BatchNormalization()(shortcut)
    x = layers.Conv2D(filters, 3, strides=stride, padding="same", use_bias=False)(x)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_regularizer=keras.regularizers.L2(1e-2))(x)
    x = layers.BatchNormalization()(x)
    return layers.ReLU()(layers.add([x, shortcut]))


def resnet() -> Model:
    """Residual blocks with batch norm, weight decay, and a projection where the shape changes."""
    inputs = Input((16, 16, 3))
    x = layers.RandomFlip("horizontal", seed=3)(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(16, 3, padding="same", use_bias=False)(x)))
    for filters, stride in ((16, 1), (32, 2), (32, 1)):  # under 16 channels TensorFlow 2.21 crashes: 1x1, stride 2
        x = _residual_block(x, filters, stride)
    x = layers.GlobalAveragePooling2D(name="pooled")(x)
    return Model(inputs, layers.Dense(5, activation="softmax", name="classes")(x), name="small_resnet")


def _inception_block(x: Any, width: int) -> Any:
    def conv(x: Any, size: int) -> Any:
        return layers.Conv2D(width, size, padding="same", activation="relu")(x)

    pooled = layers.AveragePooling2D(3, strides=1, padding="same")(x)
    return layers.Concatenate()([conv(x, 1), conv(conv(x, 1), 3), conv(conv(x, 1), 5), conv(pooled, 1)])


def inception() -> Model:
    """Branches of several kernel sizes, and a second classifier in the middle."""
    inputs = Input((12, 12, 3))
    x = layers.Conv2D(6, 3, strides=2, activation="relu")(inputs)
    x = _inception_block(x, 4)
    early = layers.Dense(4, activation="softmax", name="early")(layers.GlobalAveragePooling2D()(x))
    x = _inception_block(layers.SpatialDropout2D(0.2)(x), 4)
    late = layers.Dense(4, activation="softmax", name="late")(layers.GlobalMaxPooling2D()(x))
    return Model(inputs, [late, early], name="inception")


def autoencoder() -> Model:
    """An encoder and a decoder, each a model of its own, with noise on the way in and a sparse code."""
    image = Input((8, 8, 1))
    x = layers.Conv2D(4, 3, strides=2, padding="same", activation="relu")(image)
    code = layers.Dense(6, activity_regularizer="l1", name="code")(layers.Flatten()(x))
    encoder = Model(image, code, name="encoder")

    decoder = keras.Sequential(
        [
            Input((6,)),
            layers.Dense(4 * 4 * 4, activation="relu"),
            layers.Reshape((4, 4, 4)),
            layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="relu"),
            layers.Conv2D(1, 3, padding="same", activation="sigmoid"),
        ],
        name="decoder",
    )
    noisy = layers.GaussianNoise(0.1)(image)
    return Model(image, decoder(encoder(noisy)), name="autoencoder")


def fine_tuned() -> Model:
    """A backbone of which the first half is frozen, batch norm called with training=False, under a new head."""
    image = Input((12, 12, 3))
    x = layers.Conv2D(4, 3, name="stem")(image)
    x = layers.ReLU()(layers.BatchNormalization(name="stem_bn")(x))
    x = layers.Conv2D(6, 3, name="block")(x)
    x = layers.ReLU()(layers.BatchNormalization(name="block_bn")(x))
    backbone = Model(image, x, name="backbone")
    for layer in backbone.layers:
        layer.trainable = layer.name == "block"

    inputs = Input((12, 12, 3))
    x = layers.Rescaling(2.0, offset=-1.0)(inputs)
    x = layers.GlobalAveragePooling2D()(backbone(x, training=False))
    x = layers.Dropout(0.2)(x)
    return Model(inputs, layers.Dense(3, name="head")(x), name="fine_tuned")


def frozen_backbone() -> Model:
    """Feature extraction: all of a nested model frozen by `trainable = False`, so that only the head trains."""
    model = fine_tuned()
    model.get_layer("backbone").trainable = False
    return model


def models_in_models() -> Model:
    """A block used twice by a stage, and the stage used twice by the model: sharing two levels down."""
    x = Input((6, 6, 4))
    y = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")(x)
    block = Model(x, layers.Add(name="sum")([x, layers.BatchNormalization(name="norm")(y)]), name="block")

    x = Input((6, 6, 4))
    stage = Model(x, layers.Dropout(0.1, name="drop")(block(block(x))), name="stage")

    x = Input((6, 6, 3))
    y = stage(stage(layers.Conv2D(4, 1, name="stem")(x)))
    return Model(x, layers.Dense(2, activation="softmax")(layers.Flatten()(y)), name="models_in_models")
