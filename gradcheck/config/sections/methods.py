"""The `methods:` section: each candidate by name, what is expected of it, and its own options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import (
    Field,
    TypeAdapter,
    ValidationInfo,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic import ValidatorFunctionWrapHandler as Handler

from gradcheck.config.findings import Finding, received, suggestion
from gradcheck.config.sections.base import Section, Written, misplaced_arguments, refusal, single_key
from gradcheck.config.sections.scalars import Count, Reference, Text  # noqa: TC001 - pydantic reads the annotations

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema

    from gradcheck.results.report import Expectation


class Exemption(Section):
    """Tensors that are expected to differ; every other one must match."""

    mismatch: Annotated[tuple[Text, ...], Field(min_length=1)] = Field(
        description="Patterns over tensor paths, such as quant/*."
    )


_PLAIN: TypeAdapter[Expectation] = TypeAdapter(Literal["match", "mismatch"])


def _plain_or_exempting(raw: Any, _: Handler) -> Expectation | Exemption:
    """Decides before validating, so that a mistake inside is reported once and at its own key."""
    return Exemption.model_validate(raw) if isinstance(raw, (dict, Exemption)) else _PLAIN.validate_python(raw)


class MethodOptions(Section):
    """What every method takes."""

    expect: Annotated[Literal["match", "mismatch"] | Exemption, WrapValidator(_plain_or_exempting)] = Field(
        default="match",
        description="What this method should come out as: match, `mismatch` for a negative control, or "
        "`{mismatch: [patterns]}` for tensors that are expected to differ where every other one must match.",
    )


#: A point at which gradients go wrong: what the floating inputs are set to.
PointName: TypeAlias = Literal["given", "zeros", "equal", "same", "ones", "saturated", "negative"]
Points: TypeAlias = Annotated[tuple[PointName, ...], Field(min_length=1)]


class NumericOptions(MethodOptions):
    """Finite differences."""

    mode: Literal["directional", "full"] = Field(
        default="directional", description="A few random directions per tensor, or every element."
    )
    directions: Count = Field(default=3, description="Random directions per tensor.")
    points: Points | None = Field(
        default=None, description="What floating inputs are set to, one check a point. Default: the batch as it is."
    )
    surrogate: Reference | None = Field(
        default=None, description="A function that says what the backward pass should compute instead."
    )


class ForwardOptions(MethodOptions):
    """Forward mode: directional derivatives."""

    directions: Count = Field(default=3, description="Random directions per tensor.")


class HvpOptions(MethodOptions):
    """Second order: Hessian-vector products."""

    directions: Count = Field(default=3, description="Random directions per tensor.")
    points: Points | None = Field(
        default=None, description="What floating inputs are set to, one check a point. Default: the batch as it is."
    )


class ScanOptions(MethodOptions):
    """One while-loop over the time axis."""

    over: Literal["cell", "layer"] = Field(default="cell", description="What one step of the loop runs.")
    layer: Text | None = Field(
        default=None, description="The one layer that runs in the loop; over cells the default is every recurrent one."
    )

    @model_validator(mode="after")
    def _layer_is_named(self) -> ScanOptions:
        if self.over == "layer" and self.layer is None:
            raise refusal(Finding(message="missing key `layer`", at="key", code="GC005", help="name the layer to run"))
        return self


class CandidateOptions(MethodOptions):
    """The user's own code: a function that returns gradients, or a whole training step."""

    exclusive: ClassVar[tuple[str, ...]] = ("factory", "train_step")
    needs_one: ClassVar[bool] = True

    factory: Reference | None = Field(default=None, description="A function that returns the gradients.")
    train_step: Reference | None = Field(default=None, description="A function that does one training step.")
    kwargs: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the function.")
    name: Text | None = Field(default=None, description="The method's name in reports.")


#: The candidates that a config may name, each with the options that it takes.
METHOD_OPTIONS: dict[str, type[MethodOptions]] = {
    "vjp": MethodOptions,
    "jacobian": MethodOptions,
    "naive": MethodOptions,
    "recompute": MethodOptions,
    "graph": MethodOptions,
    "graph_scalar": MethodOptions,
    "forward": ForwardOptions,
    "numeric": NumericOptions,
    "stateful": MethodOptions,
    "scan": ScanOptions,
    "hvp": HvpOptions,
    "candidate": CandidateOptions,
}

#: Methods that need no split.
WHOLE_MODEL_METHODS = frozenset({"forward", "numeric", "hvp"})
#: Methods that run in micro-batches.
SLICED_METHODS = frozenset({"vjp", "recompute", "naive", "graph", "candidate"})
#: Methods whose gradients an optimizer can take, step after step.
TRAINING_METHODS = frozenset({"vjp", "recompute", "naive", "jacobian", "graph", "graph_scalar", "candidate"})

#: Methods that run eagerly whatever the config says, and are held against the reference.
EAGER_METHODS = frozenset({"jacobian", "stateful", "candidate"})

_SPLIT = "the model's forward code and its registered and custom gradients, all shared with the reference"
#: What a check of each method, and of the reference itself, rests on: what it shares with the reference, and so cannot
#: find wrong.
RESTS_ON: dict[str, str] = {
    **dict.fromkeys(("vjp", "jacobian", "naive", "recompute", "graph", "graph_scalar", "stateful", "scan"), _SPLIT),
    "forward": "the registered and custom gradients, shared with the reference: a JVP is made by transposing them",
    "numeric": "the forward pass alone: no gradient code is shared with the reference",
    "hvp": "the registered and custom gradients, shared with the reference; the gradients of these on differences",
    "reference": "the forward pass alone: no gradient code is shared with the reference",
    "candidate": "its own code, and the registered and custom gradients of what it calls, shared with the reference",
}


class MethodConfig(Section):
    """A method, `name` or `name: {options}`, that is compared with the reference."""

    method: str
    options: MethodOptions

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """`vjp`, or `naive: {expect: mismatch}`."""
        if isinstance(raw, dict) and "method" in raw:
            return Written(raw)
        found = (raw, None) if isinstance(raw, str) else single_key(raw)
        if found is None:
            raise refusal(
                misplaced_arguments(raw, ())
                or Finding(message=f"expected a method: `name` or `name: {{options}}`. Received: {received(raw)}")
            )
        method, options = found
        if method not in METHOD_OPTIONS:
            raise refusal(_unknown(method, () if isinstance(raw, str) else (method,)))
        return Written(
            {"method": method, "options": {} if options is None else options},
            places={"method": (), "options": (method,)},
        )

    @field_validator("options", mode="before")
    @classmethod
    def _options_of_the_method(cls, raw: Any, info: ValidationInfo) -> Any:
        return raw if isinstance(raw, MethodOptions) else METHOD_OPTIONS[info.data["method"]].model_validate(raw)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        options = {
            name: {"anyOf": [handler(model.__pydantic_core_schema__), {"type": "null"}]}
            for name, model in METHOD_OPTIONS.items()
        }
        named = [name for name in METHOD_OPTIONS if name != "candidate"]
        mapping = {"type": "object", "properties": options, "additionalProperties": False}
        return {
            "title": "Method",
            "description": cls.__doc__ or "",
            "anyOf": [{"enum": named}, {**mapping, "minProperties": 1, "maxProperties": 1}],
        }

    @property
    def label(self) -> str:
        """The method's name in reports: a candidate's own name where it has one, and the point where it is one's."""
        name = getattr(self.options, "name", None) or self.method
        points = getattr(self.options, "points", None)
        return f"{name}[{points[0]}]" if points and points != ("given",) and len(points) == 1 else name

    @property
    def at_points(self) -> tuple[MethodConfig, ...]:
        """The method once for each of the points that it is asked for, as a check of its own."""
        points = getattr(self.options, "points", None) or ()
        apart = (self.options.model_copy(update={"points": (point,)}) for point in points)
        return tuple(self.model_copy(update={"options": options}) for options in apart) or (self,)

    @property
    def expect(self) -> Expectation:
        """What the config expects of this method, apart from the tensors that are exempt."""
        return "match" if isinstance(self.options.expect, Exemption) else self.options.expect

    @property
    def exempt(self) -> tuple[str, ...]:
        """Patterns over the paths of tensors that are expected to differ where all others match."""
        return self.options.expect.mismatch if isinstance(self.options.expect, Exemption) else ()


def _unknown(method: str, path: tuple[str, ...]) -> Finding:
    if method == "tape":
        help_ = "remove it: tape is the reference, which is always computed"
        return Finding(message="`tape` is not a candidate", path=path, at="key", help=help_)
    help_ = suggestion(method, METHOD_OPTIONS, "Known methods")
    return Finding(message=f"unknown method `{method}`", path=path, at="key", help=help_)
