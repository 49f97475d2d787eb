"""The subclassed models: the batch of each, its loss, and how far it can be cut inside."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import keras
import numpy as np

from tests.zoo.subclassed import text, vision

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
        cut: whether every layer becomes a call, an inner layer stays one call, or the whole model does.
        stays: for "partly", the path of the layer that stays one call.
        reason: what in it cannot be traced.
        twin: the same model as a functional one, its layers named as the attributes are.
    """

    build: Callable[[], keras.Model]
    x: Any
    loss: Any
    y: Any = None
    cut: Literal["all", "partly", "none"] = "all"
    stays: str = ""
    reason: str = ""
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

CASES = [
    Case(build=text.text_classifier, x=sentences(7), loss=IDS),
    Case(
        build=text.bert,
        x={"input_ids": sentences(7), "token_type_ids": integers(2, 7)},
        loss={"sequence_output": MSE, "pooled_output": MSE},
    ),
    Case(build=text.translator, x=(sentences(6), sentences(5)), y=sentences(5), loss=LOGITS),
    Case(build=text.gpt, x=integers(17, 6), loss=LOGITS),
    Case(
        build=text.gpt_transposed,
        x=integers(17, 6),
        loss=LOGITS,
        cut="none",
        reason="an operation on a variable alone, in the model's `call`",
    ),
    Case(build=vision.resnet, x=IMAGES, loss=LOGITS),
    Case(build=vision.unet, x=IMAGES, y=uniform(8, 8, 1), loss=BINARY, twin=vision.unet_twin),
    Case(build=vision.densenet, x=IMAGES, loss=IDS),
    Case(build=vision.inception, x=IMAGES, loss=[LOGITS, LOGITS]),
    Case(build=vision.squeeze_excite, x=IMAGES, loss=LOGITS),
    Case(build=vision.fine_tuned, x=IMAGES, loss=LOGITS),
]
BY_NAME = {case.name: case for case in CASES}
