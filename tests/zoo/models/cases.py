"""The models of the zoo: what each is trained on, and where a person would cut it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent


def here(name: str) -> str:
    """The reference of a function in one of the files beside this one."""
    return f"{FOLDER / name}"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model: its builder as `file.py:function`, its loss and data, and the names to cut after.

    `trainable` is how many weights must train. `needs` is an attribute of `keras.layers`, or an argument of
    `keras.Input`, that not every Keras has.
    """

    model: str
    after: tuple[str, ...]
    loss: Any
    trainable: int
    data: dict[str, Any] = field(default_factory=dict)
    more: dict[str, Any] = field(default_factory=dict)
    needs: str = ""

    @property
    def name(self) -> str:
        """The builder's name."""
        return self.model.partition(":")[2]

    def config(self, split: dict[str, Any], methods: list[Any]) -> dict[str, Any]:
        """The config that checks it, cut as `split` says."""
        data = {"batch_size": 4, **self.data}
        return {
            "model": {"factory": here(self.model)},
            "split": split,
            "loss": self.loss,
            "data": data,
            "training": True,
            "methods": methods,
            **self.more,
        }


IDS = "SparseCategoricalCrossentropy"
LOGITS = {IDS: {"from_logits": True}}
CROSS_ENTROPY = "CategoricalCrossentropy"
BINARY = "BinaryCrossentropy"


def sentences(**lengths: int) -> dict[str, Any]:
    """Padded sentences for inputs of these names and lengths."""
    return {"factory": here("text.py:sentences"), "kwargs": lengths}


CASES = [
    Case(
        model="vision.py:unet",
        after=("activation_1", "activation_3", "dropout", "activation_7"),
        loss=BINARY,
        trainable=36,
    ),
    Case(model="vision.py:resnet", after=("re_lu", "re_lu_2", "re_lu_4"), loss=CROSS_ENTROPY, trainable=26),
    Case(
        model="vision.py:inception",
        after=("conv2d", "concatenate"),
        loss=[IDS, IDS],
        trainable=30,
        more={"loss_weights": [1.0, 0.3]},
    ),
    Case(model="vision.py:autoencoder", after=("encoder",), loss="MeanSquaredError", trainable=10),
    Case(model="vision.py:fine_tuned", after=("backbone/re_lu", "backbone"), loss=LOGITS, trainable=4),
    Case(model="vision.py:frozen_backbone", after=("backbone", "dropout"), loss=LOGITS, trainable=2),
    Case(
        model="vision.py:models_in_models",
        after=("stem", "stage/block:1", "stage:1", "stage/block:3"),
        loss=CROSS_ENTROPY,
        trainable=8,
    ),
    Case(model="generative.py:vae", after=("encoder",), loss=BINARY, trainable=14, data={"inputs": "uniform"}),
    Case(
        model="text.py:transformer_encoder",
        after=("embed", "block_0"),
        loss=CROSS_ENTROPY,
        trainable=36,
        data=sentences(ids=7),
    ),
    Case(
        model="text.py:transformer_decoder",
        after=("encoder", "decoder"),
        loss=LOGITS,
        trainable=48,
        data=sentences(source=7, target=5),
    ),
    Case(
        model="text.py:attention_by_layers",
        after=("layer_normalization", "layer_normalization_1"),
        loss=LOGITS,
        trainable=30,
        data=sentences(source=6, target=5),
    ),
    Case(model="text.py:gpt", after=("add_2", "final_norm"), loss=LOGITS, trainable=36),
    Case(
        model="text.py:gpt_reversible",
        after=("tokens:1", "final_norm"),
        loss=LOGITS,
        trainable=19,
        needs="ReversibleEmbedding",
    ),
    Case(
        model="text.py:seq2seq",
        after=("encoder", "decoder", "attention"),
        loss=IDS,
        trainable=11,
        data=sentences(source=7, target=5),
    ),
    Case(model="text.py:text_classifier", after=("vectorize", "embed", "read"), loss=BINARY, trainable=9),
    Case(
        model="text.py:tagger",
        after=("embedding", "bidirectional"),
        loss={"factory": here("text.py:crf_loss"), "kwargs": {"weight": 0.5}},
        trainable=15,
        data={"factory": here("text.py:tagged")},
    ),
    Case(model="tabular.py:wide_and_deep", after=("wide", "dropout"), loss=BINARY, trainable=7),
    Case(
        model="tabular.py:two_tower",
        after=("items:1", "item_tower"),
        loss="MeanSquaredError",
        trainable=5,
        data={"batch_size": 6},
    ),
    Case(
        model="tabular.py:structured",
        after=("device_hot", "features", "hidden"),
        loss="CategoricalHinge",
        trainable=5,
        data={"batch_size": 8},
    ),
    Case(
        model="tabular.py:multi_output",
        after=("trunk", "batch_normalization"),
        loss={"price": "Huber", "kind": CROSS_ENTROPY, "tags": BINARY},
        trainable=12,
        more={"loss_weights": {"price": 0.5, "kind": 1.0, "tags": 2.0}},
    ),
    Case(
        model="tabular.py:mixture_of_experts",
        after=("stem", "router", "einsum"),
        loss="LogCosh",
        trainable=13,
        data={"batch_size": 32},
    ),
    Case(model="structure.py:siamese", after=("encoder:1", "encoder:2", "l1"), loss=BINARY, trainable=6),
    Case(
        model="structure.py:graph_network",
        after=("gcn_0", "gcn_1"),
        loss=CROSS_ENTROPY,
        trainable=6,
        data={"inputs": {"adjacency": {"integers": 2}}},
    ),
    Case(model="structure.py:wavenet", after=("add", "add_1", "add_2"), loss=LOGITS, trainable=34),
    Case(
        model="structure.py:ragged",
        after=("embed", "mean"),
        loss="MeanAbsoluteError",
        trainable=5,
        data={"batch_size": 3, "factory": here("structure.py:ragged_batch")},
        needs="ragged",
    ),
    Case(model="structure.py:ragged_points", after=("mean",), loss="MeanSquaredError", trainable=4, needs="ragged"),
    Case(
        model="structure.py:sparse",
        after=("hidden",),
        loss=CROSS_ENTROPY,
        trainable=4,
        data={"batch_size": 3, "factory": here("structure.py:sparse_batch")},
    ),
]
