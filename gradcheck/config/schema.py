"""The config as a whole: frozen pydantic models, one field for each key of the contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema, field_validator

from gradcheck.config.findings import Finding, received
from gradcheck.config.sections.base import Section, Written, refusal, single_key
from gradcheck.config.sections.data import DataConfig
from gradcheck.config.sections.loss import Losses, LossSpec
from gradcheck.config.sections.methods import ALL, DEFAULT, METHODS, STEPS_OF_ALL, MethodConfig, MethodOptions, with_all
from gradcheck.config.sections.model import ModelSource  # noqa: TC001 - pydantic reads the annotations
from gradcheck.config.sections.scalars import (
    ByteSize,
    Count,
    Flag,
    NameOrIndex,
    Number,
    Text,
    ToleranceOrAuto,
    ToleranceOrNone,
    expecting,
)
from gradcheck.phrases import suggestion

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

Precision = Literal["float32", "float64", "float16", "bfloat16", "mixed_float16", "mixed_bfloat16"]
Execution = Literal["eager", "graph", "xla"]


class TimeSplit(Section):
    """Cuts along the time axis: a number of equal chunks, or their lengths."""

    exclusive: ClassVar[tuple[str, ...]] = ("chunks", "lengths")
    needs_one: ClassVar[bool] = True

    chunks: Annotated[int, Field(ge=2, strict=True)] | None = Field(default=None, description="How many chunks.")
    lengths: Annotated[tuple[Count, ...], Field(min_length=2)] | None = Field(
        default=None, description="How many time steps each chunk has."
    )


class SplitConfig(Section):
    """Where the model is cut: exactly one way."""

    exclusive: ClassVar[tuple[str, ...]] = ("after", "every", "parts", "time")
    needs_one: ClassVar[bool] = True

    after: Annotated[tuple[NameOrIndex, ...], Field(min_length=1)] | None = Field(
        default=None, description="Layer or operation names, paths into nested models, or indices of calls."
    )
    every: Literal["layer"] | None = Field(default=None, description="A cut after every call and operation.")
    parts: Annotated[int, Field(ge=2, strict=True)] | None = Field(
        default=None, description="How many contiguous parts of about the same cost."
    )
    time: TimeSplit | None = Field(default=None, description="Cuts along the time axis of recurrent layers.")

    @field_validator("after", mode="before")
    @classmethod
    def _one_is_a_list(cls, raw: Any) -> Any:
        return [raw] if isinstance(raw, (str, int)) and not isinstance(raw, bool) else raw

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        after = handler.resolve_ref_schema(schema)["properties"]["after"]
        after["anyOf"] = [*after["anyOf"], {"type": "string", "minLength": 1}, {"type": "integer"}]
        return schema


class OptimizerSpec(Section):
    """A Keras optimizer: `Name` or `Name: {arguments}`."""

    name: Text
    kwargs: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the fields for `Adam` or `SGD: {learning_rate: 0.1}`."""
        if isinstance(raw, str):
            return Written({"name": raw}, {"name": ()})
        if isinstance(raw, dict) and "name" in raw:
            return Written(raw)
        found = single_key(raw)
        if found is None:
            raise refusal(
                Finding(message=f"expected an optimizer: Name or Name: {{arguments}}. Received: {received(raw)}")
            )
        name, kwargs = found
        return Written({"name": name, "kwargs": {} if kwargs is None else kwargs}, {"name": (), "kwargs": (name,)})

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        arguments = {"type": ["object", "null"]}
        named = {"type": "object", "additionalProperties": arguments, "minProperties": 1, "maxProperties": 1}
        return {
            "title": "Optimizer",
            "description": cls.__doc__ or "",
            "anyOf": [{"type": "string", "minLength": 1}, named],
        }


class TrainConfig(Section):
    """Training parity: how many steps, with what optimizer."""

    steps: Annotated[int, Field(ge=0, strict=True)] = Field(default=0, description="Training steps; 0: none.")
    optimizer: OptimizerSpec = Field(
        default=OptimizerSpec(name="SGD", kwargs={"learning_rate": 0.1}),
        description="What applies the gradients. Leave it out for a `train_step` with optimizers of its own: the "
        "gradients that it hands to them are compared.",
        json_schema_extra={"default": {"SGD": {"learning_rate": 0.1}}},
    )


class Override(Section):
    """Tolerances for the tensors whose path matches; what is left out stays as it was."""

    rtol: ToleranceOrNone = Field(default=None, description="Relative.")
    atol: ToleranceOrAuto = Field(default=None, description="Absolute.")


class ToleranceConfig(Section):
    """How much a gradient may differ: |c - r| <= atol + rtol * |r|."""

    rtol: ToleranceOrNone = Field(
        default=None, description="Relative tolerance. Default: by the dtype.", json_schema_extra={"default": "auto"}
    )
    atol: ToleranceOrAuto = Field(default="auto", description="Absolute tolerance; auto scales with the tensor.")
    noise: Annotated[
        Literal["auto", "off"],
        # YAML 1.1 reads a bare `off` as false.
        BeforeValidator(lambda raw: "off" if raw is False else raw),
        expecting("auto or off"),
        WithJsonSchema({"enum": ["auto", "off", False]}),
    ] = Field(default="auto", description="Whether the noise floor may excuse a difference.")
    overrides: dict[str, Override] = Field(
        default_factory=dict, description="Tolerances by patterns over tensor paths; the later wins."
    )

    @field_validator("atol", mode="before")
    @classmethod
    def _nothing_is_auto(cls, raw: Any) -> Any:
        return "auto" if raw is None else raw


class ReportConfig(Section):
    """What else the report shows."""

    jacobians: Flag = Field(default=False, description="Show the Jacobians of the segments.")


class Placement(Section):
    """Which device each segment runs on: a list of devices, or `devices` with a `cluster`."""

    devices: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(description="TensorFlow devices, one a segment.")
    cluster: tuple[Text, ...] = Field(
        default=(), description="host:port of TensorFlow servers, as `gradcheck worker` starts them."
    )

    @field_validator("cluster")
    @classmethod
    def _addresses(cls, cluster: tuple[str, ...]) -> tuple[str, ...]:
        for address in cluster:
            host, _, port = address.rpartition(":")
            if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
                raise ValueError(f"is no address: give host:port, as 127.0.0.1:4000. Received: {received(address)}")
        return cluster

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the fields for a list of devices, or for the mapping."""
        return Written({"devices": raw}, {"devices": ()}) if isinstance(raw, (list, tuple)) else Written(raw)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        mapping = handler.resolve_ref_schema(handler(core_schema))
        devices = mapping["properties"]["devices"]
        return {"title": "Placement", "description": cls.__doc__ or "", "anyOf": [devices, mapping]}


def _default_methods() -> tuple[MethodConfig, ...]:
    return (MethodConfig(method=DEFAULT, options=MethodOptions()),)


def _in_full(methods: Any) -> tuple[Any, ...] | None:
    """Return the entries of `methods` with the names of all ways in place of `all`; None if it is not asked for."""
    entries = (methods,) if isinstance(methods, str) else methods
    if not isinstance(entries, (list, tuple)) or ALL not in entries:
        return None
    return with_all(entries)


def _with_all_methods(schema: dict[str, Any]) -> None:
    """Let `methods` also be `all`, alone or in the list."""
    entries = {"type": "array", "minItems": 1, "items": {"anyOf": [schema.pop("items"), {"const": ALL}]}}
    for key in ("type", "minItems"):
        schema.pop(key)
    schema |= {"anyOf": [{"const": ALL}, entries], "default": ["vjp"]}


class Config(Section):
    """One config file of gradcheck."""

    version: Literal[1] = Field(default=1, description="Of this format.")
    name: Text | None = Field(default=None, description="In reports. Default: the file's stem.")
    description: str | None = Field(default=None, description="What this config is about.")
    seed: Annotated[int, Field(ge=0, lt=2**32, strict=True)] = Field(
        default=0, description="For the weights, the data and everything random."
    )
    precision: Precision = Field(default="float32", description="A float type, or a mixed-precision policy.")
    execution: Execution = Field(default="eager", description="eager, graph (tf.function) or xla.")
    training: Flag = Field(default=True, description="The flag that every layer is called with.")
    model: ModelSource = Field(description="The whole model, from exactly one source.")
    split: SplitConfig | None = Field(default=None, description="Where the model is cut.")
    loss: Losses = Field(
        default=LossSpec(name="random_cotangent"),
        description="A Keras loss; per output a list or a mapping. Default: sum(y * output) with a fixed random y.",
        json_schema_extra={"default": "random_cotangent"},
    )
    loss_weights: Annotated[
        tuple[Number, ...] | dict[str, Number] | None,
        expecting("a list of numbers, or a mapping of outputs to numbers"),
    ] = Field(default=None, description="One weight per output of several.")
    data: DataConfig = Field(default=DataConfig(), description="One batch.", json_schema_extra={"default": {}})
    methods: Annotated[tuple[MethodConfig, ...], Field(min_length=1)] = Field(
        default_factory=_default_methods,
        description="The methods that are compared with the reference; `all` stands for every way of training.",
        json_schema_extra=_with_all_methods,
    )
    microbatches: Count = Field(default=1, description="Slices of the batch.")
    schedule: Literal["gpipe", "1f1b"] = Field(default="gpipe", description="The order of micro-batches.")
    train: TrainConfig = Field(default=TrainConfig(), description="Training parity.", json_schema_extra={"default": {}})
    tolerance: ToleranceConfig = Field(
        default=ToleranceConfig(), description="How much a gradient may differ.", json_schema_extra={"default": {}}
    )
    require: Literal["any", "all"] = Field(
        default="any",
        description="Whether any trainable variable with a gradient is proof enough, or all must have one: under all "
        "one that is absent or dead fails.",
    )
    verify_reference: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether a finite difference of the loss checks the reference: auto does it where it is cheap or "
        "the model has gradients of its own; always also runs the reference twice.",
    )
    report: ReportConfig = Field(
        default=ReportConfig(), description="Extras of the report.", json_schema_extra={"default": {}}
    )
    memory_budget: ByteSize = Field(default="auto", description="Bytes, a size such as 2GiB, or auto.")
    placement: Placement | None = Field(default=None, description="Which device each segment runs on.")

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the fields, with every way of training in place of `all`, and some steps for them."""
        given = raw.get("methods") if isinstance(raw, dict) else None
        if isinstance(given, str) and given != ALL:
            help_ = suggestion(given, (ALL, *METHODS), "known")
            message = f"expected a list of methods, or `{ALL}`. Received: `{given}`"
            raise refusal(Finding(message=message, path=("methods",), help=help_))
        methods = _in_full(given)
        if methods is None:
            return Written(raw)
        train = raw.get("train") or {}
        if isinstance(train, dict) and "steps" not in train:
            train = {**train, "steps": STEPS_OF_ALL}
        return Written({**raw, "methods": methods, "train": train})
