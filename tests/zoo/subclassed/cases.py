"""The subclassed models: the batch of each, its loss, and how far it can be cut inside."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from tests.zoo.subclassed import (
    generative,
    patches,
    recommend,
    science,
    sequences,
    structure,
    text,
    traps,
    untraceable,
    vision,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = Callable[[np.random.Generator], NDArray[Any]]

BATCH_SIZE = 4


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model, unbuilt, and what it is trained on.

    Attributes:
        build: a function of a module beside this one; its name is the name of the case.
        x, y: structures of arrays to draw; without `y`, targets that fit the loss.
        loss: as in a config.
        cut: whether, while training, every layer becomes a call, an inner one stays one call, or the whole model does.
        stays: for "partly", the path of the layer that stays one call.
        reason: what in it cannot be traced.
        surrogate: its gradients are not the derivatives, on purpose, so that finite differences cannot confirm them.
        twin: the same model as a functional one, its layers named as the attributes are.
    """

    build: Callable[[], keras.Model]
    x: Any
    loss: Any
    y: Any = None
    cut: Literal["all", "partly", "none"] = "all"
    stays: str = ""
    reason: str = ""
    surrogate: bool = False
    twin: Callable[[], keras.Model] | None = None

    @property
    def name(self) -> str:
        """The builder's name."""
        return self.build.__name__

    def batch(self) -> tuple[Any, Any]:
        """The same x and y at every call, as the model and the loss take them; y may be None."""
        rng = np.random.default_rng(len(self.name))
        return drawn(self.x, rng), drawn(self.y, rng)

    def config(self, split: dict[str, Any], methods: list[Any], *, twin: bool = False) -> dict[str, Any]:
        """The config that checks the model, or its twin, cut as `split` says."""
        model = self.twin if twin else self.build
        assert model is not None
        return {
            "model": {"factory": f"{inspect.getfile(model)}:{model.__name__}"},
            "split": split,
            "loss": self.loss,
            "data": {
                "batch_size": BATCH_SIZE,
                "factory": f"{Path(__file__).resolve()}:batch",
                "kwargs": {"name": self.name},
            },
            "training": True,
            "methods": methods,
            "verify_reference": "never" if self.surrogate else "auto",
        }


def batch(name: str) -> tuple[Any, Any]:
    """The batch of one case, for `data: {factory: ...}`."""
    return BY_NAME[name].batch()


def drawn(structure: Any, rng: np.random.Generator) -> Any:
    """The structure with an array in place of each function that draws one."""
    return keras.tree.map_structure(lambda draw: None if draw is None else draw(rng), structure)


def normal(*shape: int) -> Array:
    """Normal numbers."""
    return lambda rng: rng.normal(size=(BATCH_SIZE, *shape)).astype("float32")


def uniform(*shape: int) -> Array:
    """Numbers from 0 to 1, as pixels are."""
    return lambda rng: rng.uniform(size=(BATCH_SIZE, *shape)).astype("float32")


def integers(high: int, *shape: int) -> Array:
    """Whole numbers below `high`."""
    return lambda rng: rng.integers(high, size=(BATCH_SIZE, *shape)).astype("int32")


def links(nodes: int) -> Array:
    """Which nodes of a graph are neighbours, as zeros and ones."""
    return lambda rng: rng.integers(2, size=(BATCH_SIZE, nodes, nodes)).astype("float32")


def sentences(length: int, vocabulary: int = 17) -> Array:
    """Sentences of tokens from 1 on, of one word and more, padded with zeros."""

    def draw(rng: np.random.Generator) -> NDArray[Any]:
        tokens = rng.integers(1, vocabulary, size=(BATCH_SIZE, length))
        ends = rng.integers(1, length + 1, size=(BATCH_SIZE, 1))
        return np.where(np.arange(length) < ends, tokens, 0).astype("int32")

    return draw


MSE = "MeanSquaredError"
BINARY = "BinaryCrossentropy"
SCORES = {"BinaryCrossentropy": {"from_logits": True}}
IDS = "SparseCategoricalCrossentropy"
LOGITS = {"SparseCategoricalCrossentropy": {"from_logits": True}}
IMAGES = uniform(8, 8, 3)
GREY = uniform(8, 8, 1)

VECTORS = normal(6)

CASES = [
    Case(build=text.text_classifier, x=sentences(7), loss=IDS),
    Case(
        build=text.bert,
        x={"input_ids": sentences(7), "token_type_ids": integers(2, 7)},
        loss={"sequence_output": MSE, "pooled_output": MSE},
    ),
    Case(build=text.translator, x=(sentences(6), sentences(5)), y=sentences(5), loss=LOGITS),
    Case(build=text.gpt, x=integers(17, 6), loss=LOGITS),
    Case(build=text.gpt_transposed, x=integers(17, 6), loss=LOGITS),
    Case(build=vision.resnet, x=IMAGES, loss=LOGITS),
    Case(build=vision.unet, x=IMAGES, y=uniform(8, 8, 1), loss=BINARY, twin=vision.unet_twin),
    Case(build=vision.densenet, x=IMAGES, loss=IDS),
    Case(build=vision.inception, x=IMAGES, loss=[LOGITS, LOGITS]),
    Case(build=vision.squeeze_excite, x=IMAGES, loss=LOGITS),
    Case(build=vision.fine_tuned, x=IMAGES, loss=LOGITS),
    Case(build=patches.vit, x=IMAGES, loss=LOGITS),
    Case(build=patches.vit_tiled, x=IMAGES, loss=LOGITS),
    Case(build=patches.mlp_mixer, x=IMAGES, loss=LOGITS),
    Case(build=patches.convnext, x=IMAGES, loss=IDS),
    Case(build=patches.capsules, x=IMAGES, loss=MSE),
    Case(build=generative.vae, x=GREY, y=GREY, loss=BINARY),
    Case(build=generative.vae_that_draws, x=uniform(10), y=uniform(10), loss=BINARY),
    Case(build=generative.vae_that_adds_its_loss, x=GREY, y=GREY, loss=BINARY),
    Case(build=generative.vqvae, x=GREY, y=GREY, loss=MSE, surrogate=True),
    Case(build=generative.dcgan_generator, x=normal(5), loss=MSE, twin=generative.dcgan_generator_twin),
    Case(build=generative.dcgan_discriminator, x=GREY, loss=SCORES, twin=generative.dcgan_discriminator_twin),
    Case(build=generative.spectral_discriminator, x=GREY, loss=SCORES),
    Case(build=generative.real_nvp, x=normal(4), loss={"z": MSE, "log_det": MSE}),
    Case(build=generative.diffusion, x={"image": IMAGES, "time": uniform(1)}, loss=MSE),
    Case(build=sequences.tagger, x=sentences(6), loss=LOGITS, twin=sequences.tagger_twin),
    Case(build=sequences.seq2seq, x={"source": sentences(6), "target": sentences(5)}, loss=LOGITS),
    Case(build=sequences.gru_forecaster, x=normal(7, 3), loss=MSE, twin=sequences.gru_forecaster_twin),
    Case(build=sequences.feedback, x=normal(6, 2), loss=MSE),
    Case(build=sequences.stateful_gru, x=normal(5, 2), loss=MSE),
    Case(build=sequences.wavenet, x=normal(10, 1), loss=LOGITS),
    Case(
        build=recommend.two_tower,
        x={
            "user_id": integers(9),
            "user_features": normal(2),
            "item_id": integers(11),
            "item_features": normal(3),
        },
        loss=MSE,
    ),
    Case(build=recommend.deepfm, x=integers(13, 5), loss=BINARY, twin=recommend.deepfm_twin),
    Case(build=recommend.deep_cross, x=VECTORS, loss=SCORES),
    Case(build=recommend.mixture_of_experts, x=VECTORS, loss=MSE),
    Case(build=recommend.multi_task, x=VECTORS, loss={"click": SCORES, "like": SCORES}),
    Case(build=science.nerf, x=normal(3), loss={"rgb": MSE, "sigma": MSE}),
    Case(
        build=science.deeponet,
        x={"sensors": normal(8), "location": uniform(2)},
        loss=MSE,
        twin=science.deeponet_twin,
    ),
    Case(
        build=science.pinn,
        x=uniform(2),
        loss={"u": MSE, "residual": MSE},
        cut="none",
        reason="`tf.GradientTape` in the model's `call`",
    ),
    Case(
        build=science.force_field,
        x=normal(3),
        loss=[MSE, MSE],
        cut="partly",
        stays="forces",
        reason="`tf.GradientTape` in a layer's `call`",
    ),
    Case(build=science.graph_convolution, x=(normal(5, 3), links(5)), loss=LOGITS),
    Case(build=science.siren, x=uniform(2), loss=MSE),
    Case(build=science.neural_ode, x=VECTORS, loss=MSE),
    Case(build=structure.siamese, x={"left": IMAGES, "right": IMAGES}, loss=BINARY),
    Case(build=structure.highway, x=VECTORS, loss=IDS),
    Case(build=structure.autoencoder, x=uniform(8), loss=BINARY, y=uniform(8)),
    Case(build=structure.decision_tree, x=VECTORS, loss=MSE),
    Case(build=structure.recursive, x=normal(4, 3), loss=MSE),
    Case(build=structure.keywords, x=[normal(3, 5), normal(4, 6)], loss=[MSE, MSE]),
    Case(build=structure.hybrid, x=IMAGES, loss={"kind": IDS, "box": MSE}, twin=structure.hybrid_twin),
    Case(build=structure.scaled_residual, x=normal(5), loss=MSE),
    Case(build=structure.shared_layers, x=[VECTORS, VECTORS], loss=MSE, twin=structure.shared_layers_twin),
    Case(build=structure.mixed_dtypes, x=VECTORS, loss=MSE, twin=structure.mixed_dtypes_twin),
    Case(build=traps.kept_attention, x=normal(5, 4), loss={"logits": LOGITS}),
    Case(build=traps.closure, x=VECTORS, loss=MSE),
    Case(
        build=traps.gradient_reversal,
        x=VECTORS,
        loss={"label": LOGITS, "domain": SCORES},
        surrogate=True,
        twin=traps.gradient_reversal_twin,
    ),
    Case(build=traps.array_on_the_left, x=VECTORS, loss=MSE),
    Case(build=traps.passing_through, x=VECTORS, loss=MSE),
    Case(
        build=untraceable.custom_gradient,
        x=VECTORS,
        loss=MSE,
        cut="partly",
        stays="inner",
        reason="a custom gradient beside a layer",
        surrogate=True,
    ),
    *(
        Case(build=build, x=VECTORS, loss=MSE, cut="partly", stays="inner", reason=reason)
        for build, reason in (
            (untraceable.variable_on_the_left, "a variable on the left of an operator"),
            (untraceable.tensorflow_inside, "functions of TensorFlow"),
            (untraceable.variational_dropout, "random numbers drawn beside a layer"),
            (untraceable.warmup, "a variable that counts the calls"),
            (untraceable.early_exit, "layers in the branches of `ops.cond`"),
            (untraceable.running_average, "a variable that takes a symbolic value"),
        )
    ),
    *(
        Case(build=build, x=VECTORS, loss=MSE, cut="none", reason=reason)
        for build, reason in (
            (untraceable.branch_on_values, "a branch on values"),
            (untraceable.tensorflow_noise, "functions of TensorFlow"),
            (untraceable.tensorflow_noise_by_shape, "random numbers of TensorFlow's, drawn without a tensor"),
            (untraceable.numpy_noise, "random numbers of NumPy's"),
            (untraceable.compiled_call, "`call` is a `tf.function`"),
        )
    ),
]
BY_NAME = {case.name: case for case in CASES}
