"""The config as a whole: frozen pydantic models, one field for each key of the contract."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from gradcheck.config.base import ByteSize, Section
from gradcheck.config.data import DataConfig, Losses, LossSpec, is_loss_spec
from gradcheck.config.methods import MethodConfig, MethodOptions
from gradcheck.config.model import ModelSource, SegmentsSource

Precision = Literal["float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"]
Execution = Literal["eager", "graph", "xla"]

#: Methods that need no split.
WHOLE_MODEL_METHODS = frozenset({"forward", "numeric", "hvp"})


class TimeSplit(Section):
    """Cuts along the time axis: a number of equal chunks, or their lengths."""

    chunks: Annotated[int, Field(ge=2)] | None = None
    lengths: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=2)] | None = None

    @model_validator(mode="after")
    def _one_of(self) -> TimeSplit:
        if (self.chunks is None) == (self.lengths is None):
            raise PydanticCustomError("time_form", "expected exactly one of chunks, lengths", {})
        return self


class SplitConfig(Section):
    """Where the model is cut: exactly one way."""

    after: Annotated[tuple[str | int, ...], Field(min_length=1)] | None = None
    every: Literal["layer"] | None = None
    parts: Annotated[int, Field(ge=2)] | None = None
    time: TimeSplit | None = None

    @field_validator("after", mode="before")
    @classmethod
    def _one_is_a_list(cls, raw: Any) -> Any:
        return [raw] if isinstance(raw, (str, int)) and not isinstance(raw, bool) else raw

    @model_validator(mode="after")
    def _one_of(self) -> SplitConfig:
        present = [key for key in ("after", "every", "parts", "time") if getattr(self, key) is not None]
        if len(present) != 1:
            raise PydanticCustomError(
                "split_form",
                "expected exactly one of after, every, parts, time, received {present}",
                {"present": ", ".join(present) or "none"},
            )
        return self


class OptimizerSpec(Section):
    """A Keras optimizer by name, with its arguments."""

    name: str
    kwargs: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _normal_form(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            return {"name": raw}
        if isinstance(raw, dict) and len(raw) == 1 and "name" not in raw:
            ((name, kwargs),) = raw.items()
            return {"name": name, "kwargs": kwargs or {}}
        return raw


class TrainConfig(Section):
    """Training parity: how many steps, with what optimizer."""

    steps: Annotated[int, Field(ge=0)] = 0
    optimizer: OptimizerSpec = OptimizerSpec(name="SGD", kwargs={"learning_rate": 0.1})


class Override(Section):
    """Tolerances for the tensors whose path matches; what is left out stays as it was."""

    rtol: Annotated[float, Field(ge=0)] | None = None
    atol: Annotated[float, Field(ge=0)] | Literal["auto"] | None = None


class ToleranceConfig(Section):
    """How much a gradient may differ. rtol None: by dtype."""

    rtol: Annotated[float, Field(ge=0)] | None = None
    atol: Annotated[float, Field(ge=0)] | Literal["auto"] = "auto"
    noise: Literal["auto", "off"] = "auto"
    overrides: dict[str, Override] = Field(default_factory=dict)

    @field_validator("rtol", mode="before")
    @classmethod
    def _auto(cls, raw: Any) -> Any:
        return None if raw == "auto" else raw

    @field_validator("noise", mode="before")
    @classmethod
    def _off_is_a_word(cls, raw: Any) -> Any:
        """YAML 1.1 reads a bare `off` as false."""
        return "off" if raw is False else raw


class ReportConfig(Section):
    """What else the report shows."""

    jacobians: bool = False


class Placement(Section):
    """Which device each segment runs on."""

    devices: Annotated[tuple[str, ...], Field(min_length=1)]
    cluster: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _list_of_devices(cls, raw: Any) -> Any:
        return {"devices": raw} if isinstance(raw, (list, tuple)) else raw


def _default_methods() -> tuple[MethodConfig, ...]:
    return (MethodConfig(method="vjp", options=MethodOptions()),)


class Config(Section):
    """One config file."""

    version: Literal[1] = 1
    name: str | None = None
    description: str | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    precision: Precision = "float32"
    execution: Execution = "eager"
    training: bool = True
    model: ModelSource
    split: SplitConfig | None = None
    loss: Losses = LossSpec(name="random_cotangent")
    loss_weights: tuple[float, ...] | dict[str, float] | None = None
    data: DataConfig = DataConfig()
    methods: Annotated[tuple[MethodConfig, ...], Field(min_length=1)] = Field(default_factory=_default_methods)
    microbatches: Annotated[int, Field(ge=1)] = 1
    schedule: Literal["gpipe", "1f1b"] = "gpipe"
    train: TrainConfig = TrainConfig()
    tolerance: ToleranceConfig = ToleranceConfig()
    report: ReportConfig = ReportConfig()
    memory_budget: ByteSize | Literal["auto"] = "auto"
    placement: Placement | None = None

    @field_validator("loss", mode="before")
    @classmethod
    def _one_or_several(cls, raw: Any) -> Any:
        """Decides between one loss and one per output, so that a mistake inside is reported at its own key."""
        return raw if isinstance(raw, (list, tuple)) or not is_loss_spec(raw) else LossSpec.model_validate(raw)

    @model_validator(mode="after")
    def _one_split(self) -> Config:
        if isinstance(self.model, SegmentsSource) and self.split is not None:
            raise PydanticCustomError("split_implied", "model.segments says where the model is cut; remove split", {})
        return self

    @property
    def methods_without_split(self) -> tuple[str, ...]:
        """The methods that need a split, where the config has none. A run needs this empty; `plan` does not."""
        if self.split is not None or isinstance(self.model, SegmentsSource):
            return ()
        return tuple(m.label for m in self.methods if m.method not in WHOLE_MODEL_METHODS)
