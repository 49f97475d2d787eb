"""The `methods:` section: each method by name, its expected outcome, and its options."""

from __future__ import annotations

from dataclasses import dataclass, field
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

from gradcheck.config.findings import Finding, received
from gradcheck.config.sections.base import Section, Written, misplaced_arguments, refusal, single_key
from gradcheck.config.sections.scalars import Count, Reference, Text  # noqa: TC001 - pydantic reads the annotations
from gradcheck.phrases import suggestion
from gradcheck.results.report import Sides

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """Choose the form before validating: a union would report a mistake inside once for each form."""
    return Exemption.model_validate(raw) if isinstance(raw, (dict, Exemption)) else _PLAIN.validate_python(raw)


class MethodOptions(Section):
    """What every method takes."""

    expect: Annotated[Literal["match", "mismatch"] | Exemption, WrapValidator(_plain_or_exempting)] = Field(
        default="match",
        description="What this method should come out as: match, `mismatch` for a negative control, or "
        "`{mismatch: [patterns]}` for tensors that are expected to differ where every other one must match.",
    )


#: A point at which gradients often go wrong, by the values that the floating inputs are set to.
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


#: How many replicas there are at most if the config does not say how many.
MOST_REPLICAS = 8


def _least_divisor(size: int) -> int:
    """Return the least number above 1 that divides `size`; 2 for 1."""
    return next((n for n in range(2, size + 1) if size % n == 0), 2)


class AccumulateOptions(MethodOptions):
    """Keras's gradient accumulation: the optimizer sees one slice of the batch after another."""

    steps: Annotated[int, Field(ge=2, strict=True)] | None = Field(
        default=None, description="Slices of each batch. Default: the least number that divides it evenly."
    )

    def slices(self, batch_size: int) -> int:
        """Return the number of slices of a batch of `batch_size` examples."""
        return self.steps or _least_divisor(batch_size)


class ReplicasOptions(MethodOptions):
    """`tf.distribute`: the batch is divided among replicas of the model."""

    count: Annotated[int, Field(ge=2, strict=True)] | None = Field(
        default=None, description="How many replicas. Default: 2, or if the batch has other parts of equal size, these."
    )
    strategy: Literal["mirrored", "multi_worker"] = Field(
        default="mirrored",
        description="`mirrored`: logical CPU devices, or GPUs, of one process. `multi_worker`: a process each; one "
        "machine each where the environment has a TF_CONFIG.",
    )

    def slices(self, batch_size: int) -> int:
        """Return the number of replicas that a batch of `batch_size` examples is divided among."""
        least = _least_divisor(batch_size)
        return self.count or (least if least <= MOST_REPLICAS else 2)


class ResumeOptions(MethodOptions):
    """Training that is saved, and continued in a new process."""

    after: Count | None = Field(
        default=None, description="Steps before saving. Default: half of `train.steps`, rounded up."
    )
    format: Literal["keras", "weights", "checkpoint", "backup"] = Field(
        default="keras",
        description="`keras`: `model.save`. `weights`: `save_weights`, and the optimizer's variables. `checkpoint`: "
        "`tf.train.Checkpoint`. `backup`: the callback `BackupAndRestore`.",
    )

    def saved_after(self, steps: int) -> int:
        """Return the number of steps before saving, of `steps` in all."""
        return self.after or (steps + 1) // 2


class RematOptions(MethodOptions):
    """Keras's rematerialisation: activations are computed again in the backward pass."""

    mode: Literal["full", "activations"] = Field(
        default="full", description="What is computed again: whole layers (with a split, segments), or activations."
    )
    layers: Annotated[tuple[Text, ...], Field(min_length=1)] | None = Field(
        default=None, description="Layers by name. Default: every segment, or every layer of a model without a split."
    )


class CompiledOptions(MethodOptions):
    """One compiled training step for batches of several sizes."""

    execution: Literal["graph", "xla"] = Field(default="graph", description="`tf.function`, without or with XLA.")
    sizes: Annotated[tuple[Count, ...], Field(min_length=1)] | None = Field(
        default=None, description="Examples of the batch in each step, in turn. Default: all, and all but one."
    )
    steps_per_execution: Count = Field(default=1, description="Steps that one call of the compiled function takes.")


class FitOptions(MethodOptions):
    """`compile` and `fit`, with what the model overrides of them."""

    callbacks: Reference | None = Field(default=None, description="A function that returns a list of callbacks.")
    class_weight: dict[int, float] | None = Field(default=None, description="As `fit` takes it.")


class EngineOptions(MethodOptions):
    """The same model under another backend of Keras, in a process of its own."""

    timeout: Annotated[float, Field(gt=0)] = Field(
        default=600.0, description="Seconds that one forward and backward pass may take there."
    )
    required: bool = Field(
        default=True, description="Whether it is an error that the engine is not installed, or a note."
    )


_SHARED = "the model's forward code and its registered and custom gradients, all shared with the reference"
_FORWARD = "the forward pass alone: no gradient code is shared with the tape"
#: Finite differences put the tape on trial, whose gradients are the reference of every other method.
_ON_TRIAL = Sides(reference="tape", candidate="finite differences", of_state="forward pass alone")


_KERAS_ALONE = "Keras's layer code alone, shared with the tape: gradients and kernels are another engine's"


#: The largest data that a method holds at one time, beside weights and gradients.
Held: TypeAlias = Literal["activations", "boundaries", "jacobian_block"]


@dataclass(frozen=True, kw_only=True)
class MethodInfo:
    """The static properties of a method. A new method is an entry in `METHODS` and a module that `place` names.

    Attributes:
        place: the module below `gradcheck.methods`; its function of the same name computes the gradients.
        options: the model of its options in a config.
        rests_on: the code that it shares with the reference: a check by it cannot find a mistake there.
        splits: whether it needs a split.
        slices: whether it runs in micro-batches.
        trains: whether an optimizer can apply its gradients, step after step.
        eager: whether it runs eagerly whatever `execution` the config has.
        hands_on: whether it differs from the reference in the hand-off alone.
        dense: whether the gradient of an embedding is dense, which on a tape is sparse.
        registered: whether it differentiates by the registered gradients, which finite differences check.
        holds: the data by which the plan estimates its memory: all activations of the split, the boundaries and the
            activations of one segment, or all activations and a block of a Jacobian. None: not estimated.
        elsewhere: whether it trains in another process.
        way: whether it is a way of training: a whole step or run done otherwise, not another way to a gradient. `place`
            is then below `gradcheck.training.ways`.
        engine: whether it runs under another backend of Keras, in a process of its own.
        of_model: whether it takes a loss that calls the model itself, of which no cotangents of the outputs are known.
        sides: what reports call the two sides of its check.
        placed: whether it runs beside a `placement`: its segments on their devices, or the whole model here.
    """

    place: str
    options: type[MethodOptions] = MethodOptions
    rests_on: str = _SHARED
    splits: bool = True
    slices: bool = False
    trains: bool = False
    eager: bool = False
    hands_on: bool = False
    dense: bool = False
    registered: bool = False
    holds: Held | None = None
    elsewhere: bool = False
    way: bool = False
    engine: bool = False
    of_model: bool = False
    sides: Sides = field(default_factory=Sides)
    placed: bool = False


def _engine(name: str, title: str) -> MethodInfo:
    """Return the properties of an engine, which differentiates the whole model."""
    return MethodInfo(
        place=f"by_engine.{name}",
        holds="activations",
        options=EngineOptions,
        rests_on=_KERAS_ALONE,
        splits=False,
        slices=True,
        trains=True,
        dense=True,
        engine=True,
        of_model=True,
        sides=Sides(reference="tape", candidate=title),
    )


def _way(
    options: type[MethodOptions], place: str, rests_on: str, *, dense: bool = False, elsewhere: bool = False
) -> MethodInfo:
    """Return the properties of a way of training: it takes the whole model, slices the batch by itself if at all."""
    return MethodInfo(
        place=place,
        options=options,
        rests_on=rests_on,
        splits=False,
        trains=True,
        slices=True,
        dense=dense,
        elsewhere=elsewhere,
        way=True,
        of_model=True,
    )


_BY_KERAS = "the model, the loss and the optimizer, shared with the plain loop; the loop is Keras's own"
#: The candidates that a config may name.
METHODS: dict[str, MethodInfo] = {
    "vjp": MethodInfo(
        place="by_segment.vjp",
        slices=True,
        trains=True,
        hands_on=True,
        holds="activations",
        of_model=True,
        placed=True,
    ),
    "jacobian": MethodInfo(place="by_segment.jacobian", trains=True, eager=True, dense=True, holds="jacobian_block"),
    "naive": MethodInfo(
        place="by_segment.naive",
        slices=True,
        trains=True,
        hands_on=True,
        holds="activations",
        of_model=True,
        placed=True,
    ),
    "recompute": MethodInfo(place="by_segment.recompute", slices=True, trains=True, holds="boundaries", placed=True),
    "graph": MethodInfo(place="by_segment.graph", slices=True, trains=True),
    "graph_scalar": MethodInfo(place="by_segment.graph_scalar", trains=True),
    "forward": MethodInfo(
        place="directional.forward",
        options=ForwardOptions,
        rests_on="the registered and custom gradients, shared with the reference: a JVP is made by transposing them",
        splits=False,
        registered=True,
        of_model=True,
    ),
    "numeric": MethodInfo(
        place="directional.numeric",
        options=NumericOptions,
        rests_on=_FORWARD,
        splits=False,
        of_model=True,
        sides=_ON_TRIAL,
        placed=True,
    ),
    "stateful": MethodInfo(place="along_time.stateful", eager=True),
    "scan": MethodInfo(place="along_time.scan", options=ScanOptions),
    "hvp": MethodInfo(
        place="directional.hvp",
        options=HvpOptions,
        rests_on=(
            "the registered and custom gradients, shared with the reference; the gradients of these on differences"
        ),
        splits=False,
        registered=True,
        of_model=True,
    ),
    "jax": _engine("jax", "JAX"),
    "torch": _engine("torch", "PyTorch"),
    "candidate": MethodInfo(
        place="candidate",
        options=CandidateOptions,
        rests_on="its own code, and the registered and custom gradients of what it calls, shared with the reference",
        splits=False,
        slices=True,
        trains=True,
        eager=True,
        of_model=True,
        placed=True,
    ),
    "accumulate": _way(
        AccumulateOptions,
        "accumulate",
        "the model, the loss and the optimizer, shared with the plain loop",
        dense=True,
    ),
    "replicas": _way(ReplicasOptions, "replicas", _BY_KERAS, elsewhere=True),
    "resume": _way(
        ResumeOptions,
        "resume",
        "the model, the loss and the optimizer, built once more in a new process",
        elsewhere=True,
    ),
    "remat": _way(
        RematOptions,
        "remat",
        "the forward code and its registered gradients, run once more in the backward pass",
        dense=True,
    ),
    "compiled": _way(CompiledOptions, "compiled_step", _BY_KERAS),
    "fit": _way(FitOptions, "keras_fit", _BY_KERAS),
}
#: Other engines, which `methods: all` names too, where they are installed.
ENGINES = tuple(name for name, info in METHODS.items() if info.engine)
#: The ways of training, which `methods: all` names.
WAYS = tuple(name for name, info in METHODS.items() if info.way)
#: What stands for all of them in `methods`, and the training steps of a config that then does not say how many.
ALL = "all"
STEPS_OF_ALL = 3
#: The method of a config that names none.
DEFAULT = "vjp"
#: The name in reports of the check of the reference itself, by finite differences; no config names it.
REFERENCE_CHECK = "reference"
_OF_REFERENCE = MethodInfo(place="", rests_on=_FORWARD, splits=False, sides=_ON_TRIAL)


class MethodConfig(Section):
    """A method, `name` or `name: {options}`, that is compared with the reference."""

    method: str
    options: MethodOptions

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the fields for `vjp` or `naive: {expect: mismatch}`."""
        if isinstance(raw, dict) and "method" in raw:
            return Written(raw)
        found = (raw, None) if isinstance(raw, str) else single_key(raw)
        if found is None:
            raise refusal(
                misplaced_arguments(raw, ())
                or Finding(message=f"expected a method: `name` or `name: {{options}}`. Received: {received(raw)}")
            )
        method, options = found
        if method not in METHODS:
            raise refusal(_unknown(method, () if isinstance(raw, str) else (method,)))
        return Written(
            {"method": method, "options": {} if options is None else options},
            places={"method": (), "options": (method,)},
        )

    @field_validator("options", mode="before")
    @classmethod
    def _options_of_the_method(cls, raw: Any, info: ValidationInfo) -> Any:
        return raw if isinstance(raw, MethodOptions) else METHODS[info.data["method"]].options.model_validate(raw)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        options = {
            name: {"anyOf": [handler(info.options.__pydantic_core_schema__), {"type": "null"}]}
            for name, info in METHODS.items()
        }
        named = [name for name in METHODS if name != "candidate"]
        mapping = {"type": "object", "properties": options, "additionalProperties": False}
        return {
            "title": "Method",
            "description": cls.__doc__ or "",
            "anyOf": [{"enum": named}, {**mapping, "minProperties": 1, "maxProperties": 1}],
        }

    @property
    def info(self) -> MethodInfo:
        """The static properties of the method."""
        return METHODS.get(self.method, _OF_REFERENCE)

    @property
    def label(self) -> str:
        """The name in reports: a candidate's `name` if given, and the point if there is a single one."""
        name = getattr(self.options, "name", None) or self.method
        points = getattr(self.options, "points", None)
        return f"{name}[{points[0]}]" if points and points != ("given",) and len(points) == 1 else name

    @property
    def at_points(self) -> tuple[MethodConfig, ...]:
        """The method once for each of its points: each is a separate check."""
        points = getattr(self.options, "points", None) or ()
        apart = (self.options.model_copy(update={"points": (point,)}) for point in points)
        return tuple(self.model_copy(update={"options": options}) for options in apart) or (self,)

    @property
    def expect(self) -> Expectation:
        """The outcome that the config expects for all tensors but the exempt ones."""
        return "match" if isinstance(self.options.expect, Exemption) else self.options.expect

    @property
    def exempt(self) -> tuple[str, ...]:
        """Patterns over the paths of the tensors that are expected to differ; all others must match."""
        return self.options.expect.mismatch if isinstance(self.options.expect, Exemption) else ()


def with_all(entries: Sequence[Any]) -> tuple[Any, ...]:
    """Return the entries of `methods` with the ways and engines that they do not name in place of `all`."""
    named = {name for entry in entries for name in ([entry] if isinstance(entry, str) else _keys(entry))}
    engines = [{engine: {"required": False}} for engine in ENGINES if engine not in named]
    others = [*(way for way in WAYS if way not in named), *engines]
    return tuple(one for entry in entries for one in (others if entry == ALL else [entry]))


def _keys(entry: Any) -> list[Any]:
    return list(entry) if isinstance(entry, dict) else []


def _unknown(method: str, path: tuple[str, ...]) -> Finding:
    if method == "tape":
        help_ = "remove it: tape is the reference, which is always computed"
        return Finding(message="`tape` is not a candidate", path=path, at="key", help=help_)
    help_ = suggestion(method, (*METHODS, ALL), "Known methods")
    return Finding(message=f"unknown method `{method}`", path=path, at="key", help=help_)
