"""Models as subclasses whose structure is what is special: shared, nested, repeated, recursive, mixed."""

from __future__ import annotations

from typing import Any

import keras
from keras import Input, layers, ops


class Siamese(keras.Model):
    """One encoder for both of a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = keras.Sequential(
            [
                layers.Conv2D(4, 3, activation="relu"),
                layers.MaxPooling2D(),
                layers.Flatten(),
                layers.Dense(5, activation="tanh"),
            ],
            name="encoder",
        )
        self.same = layers.Dense(1, activation="sigmoid")

    def call(self, inputs: Any) -> Any:
        left, right = self.encoder(inputs["left"]), self.encoder(inputs["right"])
        return self.same(ops.abs(left - right))


def siamese() -> keras.Model:
    return Siamese()


class Highway(layers.Layer):
    """A gate between what is new and what came in."""

    def __init__(self, activation: str = "relu", bias: float = -1.0) -> None:
        super().__init__()
        self.activation = activation
        self.bias = bias

    def build(self, input_shape: Any) -> None:
        units = input_shape[-1]
        bias = keras.initializers.Constant(self.bias)
        self.transform = layers.Dense(units, activation=self.activation)
        self.gate = layers.Dense(units, activation="sigmoid", bias_initializer=bias)
        self.transform.build(input_shape)
        self.gate.build(input_shape)

    def call(self, x: Any) -> Any:
        t = self.gate(x)
        return t * self.transform(x) + (1 - t) * x


class HighwayNetwork(keras.Model):
    """Highways in a row, each set as an attribute by its number."""

    def __init__(self, width: int, depth: int, num_classes: int) -> None:
        super().__init__()
        self.depth = depth
        self.inlet = layers.Dense(width)
        for i in range(depth):
            setattr(self, f"highway_{i}", Highway())
        self.outlet = layers.Dense(num_classes, activation="softmax")

    def call(self, x: Any) -> Any:
        x = self.inlet(x)
        for i in range(self.depth):
            x = getattr(self, f"highway_{i}")(x)
        return self.outlet(x)


def highway() -> keras.Model:
    return HighwayNetwork(width=5, depth=3, num_classes=3)


class DenseStack(keras.Model):
    """Dense layers of given widths."""

    def __init__(self, widths: list[int], activation: str | None = None) -> None:
        super().__init__()
        self.hidden = [layers.Dense(width, activation="relu") for width in widths[:-1]]
        self.out = layers.Dense(widths[-1], activation=activation)

    def call(self, x: Any) -> Any:
        for layer in self.hidden:
            x = layer(x)
        return self.out(x)


class Autoencoder(keras.Model):
    """Two subclassed models of one class, one after the other; the code is sparse, and noise makes it robust."""

    def __init__(self, latent_dim: int, dim: int) -> None:
        super().__init__()
        self.noise = layers.GaussianNoise(0.1)
        self.encoder = DenseStack([6, latent_dim], activation="relu")
        self.sparsity = layers.ActivityRegularization(l1=0.01)
        self.decoder = DenseStack([6, dim], activation="sigmoid")

    def call(self, x: Any, training: bool | None = None) -> Any:
        encoded = self.sparsity(self.encoder(self.noise(x, training=training)))
        return self.decoder(encoded)


def autoencoder() -> keras.Model:
    return Autoencoder(latent_dim=3, dim=8)


class DecisionNode(layers.Layer):
    """A gate between two subtrees, kept in a list; without subtrees, an answer."""

    def __init__(self, depth: int, units: int) -> None:
        super().__init__()
        self.children = [DecisionNode(depth - 1, units) for _ in range(2)] if depth else []
        self.router = layers.Dense(1, activation="sigmoid") if depth else layers.Dense(units)

    def call(self, x: Any) -> Any:
        if not self.children:
            return self.router(x)
        p = self.router(x)
        left, right = [child(x) for child in self.children]
        return p * left + (1 - p) * right


class SoftDecisionTree(keras.Model):
    """A tree of nodes made of nodes."""

    def __init__(self, depth: int, units: int) -> None:
        super().__init__()
        self.norm = layers.BatchNormalization()
        self.root = DecisionNode(depth, units)

    def call(self, x: Any) -> Any:
        return self.root(self.norm(x))


def decision_tree() -> keras.Model:
    return SoftDecisionTree(depth=2, units=3)


class PairwiseFold(layers.Layer):
    """Joins neighbours, and calls itself on what is left until one remains."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.combine = layers.Dense(units, activation="tanh")

    def call(self, x: Any) -> Any:
        if x.shape[1] == 1:
            return x[:, 0]
        pairs = ops.concatenate([x[:, 0::2], x[:, 1::2]], axis=-1)
        return self(self.combine(pairs))


class RecursiveNet(keras.Model):
    """A sequence folded to one vector."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.embed = layers.Dense(units)
        self.fold = [PairwiseFold(units)]
        self.head = layers.Dense(2)

    def call(self, x: Any) -> Any:
        return self.head(self.fold[0](self.embed(x)))


def recursive() -> keras.Model:
    return RecursiveNet(units=4)


class PromptedAttention(keras.Model):
    """Layers called by keyword, and blocks that take more than tensors."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query_proj = layers.Dense(width)
        self.value_proj = layers.Dense(width)
        self.att = layers.Attention(use_scale=True, dropout=0.1)
        self.mix = Mix(width)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        query, value = self.query_proj(inputs=inputs[0]), self.value_proj(inputs=inputs[1])
        attended = self.att([query, value], training=training)
        mixed = self.mix(query, other=attended, mode="gated", power=2)
        plain = self.mix(query, other=None)
        return mixed, plain


class Mix(layers.Layer):
    """What a keyword asks for; the other tensor may be absent."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gate = layers.Dense(width, activation="sigmoid")
        self.out = layers.Dense(width)

    def call(self, x: Any, other: Any = None, mode: str = "sum", *, power: int = 1) -> Any:
        if other is None:
            return self.out(x)
        if mode == "gated":
            other = self.gate(x) ** power * other
        return self.out(x + other)


def keywords() -> keras.Model:
    return PromptedAttention(width=4)


class Hybrid(keras.Model):
    """Functional and sequential models as parts; results by name."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        image = Input((8, 8, 3))
        x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
        skip = layers.Conv2D(4, 1, name="skip")(x)
        self.backbone = keras.Model(image, layers.Add(name="add")([x, skip]), name="backbone")
        self.neck = keras.Sequential(
            [layers.GlobalAveragePooling2D(name="pool"), layers.Dense(6, activation="relu", name="dense")], name="neck"
        )
        self.kind = layers.Dense(num_classes, activation="softmax")
        self.box = layers.Dense(4, activation="sigmoid", activity_regularizer="l2")

    def call(self, images: Any) -> Any:
        features = self.neck(self.backbone(images))
        return {"kind": self.kind(features), "box": self.box(features)}


def hybrid() -> keras.Model:
    return Hybrid(num_classes=3)


def hybrid_twin() -> keras.Model:
    image = Input((8, 8, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    backbone = keras.Model(image, layers.Add(name="add")([x, layers.Conv2D(4, 1, name="skip")(x)]), name="backbone")
    neck = keras.Sequential(
        [layers.GlobalAveragePooling2D(name="pool"), layers.Dense(6, activation="relu", name="dense")], name="neck"
    )
    whole = Input((8, 8, 3))
    features = neck(backbone(whole))
    kind = layers.Dense(3, activation="softmax", name="kind")(features)
    box = layers.Dense(4, activation="sigmoid", activity_regularizer="l2", name="box")(features)
    return keras.Model(whole, {"kind": kind, "box": box})


class ScaledResidual(layers.Layer):
    """A branch, scaled by a weight of the block's own and shifted by another."""

    def __init__(self, width: int) -> None:
        super().__init__()
        regularizer = keras.regularizers.L2(1e-2)
        self.dense = layers.Dense(width, activation="gelu", kernel_regularizer=regularizer)
        self.project = layers.Dense(width, bias_regularizer=regularizer)
        self.scale = self.add_weight(shape=(width,), initializer="ones", regularizer=regularizer, name="scale")
        self.shift = self.add_weight(shape=(width,), initializer="zeros", name="shift")

    def call(self, x: Any) -> Any:
        return x + self.project(self.dense(x)) * self.scale + self.shift


class ScaledNet(keras.Model):
    """Scaled residual blocks, weights regularised."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = [ScaledResidual(width) for _ in range(depth)]
        self.head = layers.Dense(1)

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(x)


def scaled_residual() -> keras.Model:
    return ScaledNet(width=5, depth=2)


class SharedLayers(keras.Model):
    """One normalisation and one dropout for two views, and a dense layer used twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = layers.Dense(width, activation="relu")
        self.norm = layers.BatchNormalization()
        self.dropout = layers.Dropout(0.25)
        self.subtract = layers.Subtract()
        self.head = layers.Dense(1)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        views = []
        for view in inputs:
            x = self.norm(self.dense(view), training=training)
            views.append(self.dropout(x, training=training))
        return self.head(self.subtract(views))


def shared_layers() -> keras.Model:
    return SharedLayers(width=5)


def shared_layers_twin() -> keras.Model:
    inputs = [Input((6,)), Input((6,))]
    dense, norm = layers.Dense(5, activation="relu", name="dense"), layers.BatchNormalization(name="norm")
    dropout = layers.Dropout(0.25, name="dropout")
    views = [dropout(norm(dense(view))) for view in inputs]
    return keras.Model(inputs, layers.Dense(1, name="head")(layers.Subtract(name="subtract")(views)))


class MixedDtypes(keras.Model):
    """A layer in double precision and one in half, between layers in single."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.single = layers.Dense(width, activation="tanh")
        self.double = layers.Dense(width, activation="tanh", dtype="float64")
        self.half = layers.Dense(width, dtype="float16")
        self.head = layers.Dense(1)

    def call(self, x: Any) -> Any:
        x = self.double(self.single(x))
        return self.head(self.half(x))


def mixed_dtypes() -> keras.Model:
    return MixedDtypes(width=4)


def mixed_dtypes_twin() -> keras.Model:
    inputs = Input((6,))
    x = layers.Dense(4, activation="tanh", name="single")(inputs)
    x = layers.Dense(4, activation="tanh", dtype="float64", name="double")(x)
    x = layers.Dense(4, dtype="float16", name="half")(x)
    return keras.Model(inputs, layers.Dense(1, name="head")(x))
