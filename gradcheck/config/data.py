"""The `data:` and `loss:` sections."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gradcheck.config.base import Reference, Section, single_key


class ArraySpec(Section):
    """How one array is made: exactly one kind."""

    kind: Literal["normal", "uniform", "integers", "constant", "npz"]
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _normal_form(cls, raw: Any) -> Any:
        """`normal`, `{uniform: {minval: 0}}`, `{constant: 3.0}`, `{npz: file.npz}`."""
        if isinstance(raw, str) and raw in ARRAY_OPTIONS:
            return {"kind": raw, "options": _check_options(raw, {})}
        if isinstance(raw, dict) and "kind" in raw:
            return raw
        found = single_key(raw)
        if found is None or found[0] not in ARRAY_OPTIONS:
            raise PydanticCustomError(
                "array_form", "expected one of {kinds}", {"kinds": ", ".join(ARRAY_OPTIONS), "received": str(raw)}
            )
        kind, value = found
        if not isinstance(value, dict):
            value = {} if value is None else {next(iter(ARRAY_OPTIONS[kind])): value}
        return {"kind": kind, "options": _check_options(kind, value)}


#: Options by kind; the first is the one that a scalar stands for.
ARRAY_OPTIONS: dict[str, tuple[str, ...]] = {
    "normal": ("mean", "stddev"),
    "uniform": ("minval", "maxval"),
    "integers": ("low", "high"),
    "constant": ("value",),
    "npz": ("file", "key"),
}


def _check_options(kind: str, options: dict[str, Any]) -> dict[str, Any]:
    """Refuses options that `kind` does not have."""
    unknown = [key for key in options if key not in ARRAY_OPTIONS[kind]]
    if unknown:
        raise PydanticCustomError(
            "array_option",
            "{kind} takes {known}, received {unknown}",
            {"kind": kind, "known": ", ".join(ARRAY_OPTIONS[kind]), "unknown": ", ".join(map(str, unknown))},
        )
    return options


def _is_array_spec(raw: Any) -> bool:
    found = single_key(raw)
    return isinstance(raw, str) or (found is not None and found[0] in ARRAY_OPTIONS)


class ImagesSpec(Section):
    """A folder with one sub-folder of images a class."""

    directory: str
    image_size: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]]


class DataConfig(Section):
    """One batch. `inputs` and `targets` are one spec, or one by name; `npz`, `factory` and `images` give both."""

    batch_size: Annotated[int, Field(ge=1)] = 2
    inputs: ArraySpec | dict[str, ArraySpec] | None = None
    targets: ArraySpec | dict[str, ArraySpec] | None = None
    sample_weight: ArraySpec | dict[str, ArraySpec] | None = None
    npz: str | None = None
    factory: Reference | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)
    images: ImagesSpec | None = None

    @model_validator(mode="before")
    @classmethod
    def _one_or_by_name(cls, raw: Any) -> Any:
        """Decides between one spec and a mapping of names, so that a mistake inside is reported at its own key."""
        if not isinstance(raw, dict):
            return raw
        values = dict(raw)
        for key in ("inputs", "targets", "sample_weight"):
            if key in values and _is_array_spec(values[key]):
                values[key] = ArraySpec.model_validate(values[key])
        return values

    @model_validator(mode="after")
    def _one_source(self) -> DataConfig:
        whole = [key for key in ("npz", "factory", "images") if getattr(self, key) is not None]
        if len(whole) > 1:
            raise PydanticCustomError("data_source", "only one of {keys} can give the batch", {"keys": ", ".join(whole)})
        if self.kwargs and self.factory is None:
            raise PydanticCustomError("data_kwargs", "kwargs go to a factory, and there is none", {})
        return self


class LossSpec(Section):
    """One loss: a Keras loss by name with kwargs, `random_cotangent`, or a factory."""

    name: str | None = None
    factory: Reference | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _normal_form(cls, raw: Any) -> Any:
        if isinstance(raw, str):
            return {"name": raw}
        if isinstance(raw, dict) and ("factory" in raw or "name" in raw):
            return raw
        found = single_key(raw)
        if found is None or not (found[1] is None or isinstance(found[1], dict)):
            raise PydanticCustomError(
                "loss_form", "expected a loss: Name, Name: {{kwargs}} or {{factory: ...}}", {"received": str(raw)}
            )
        return {"name": found[0], "kwargs": found[1] or {}}


def is_loss_spec(raw: Any) -> bool:
    """Whether a mapping is one loss (`Name: {kwargs}`), not losses by output name."""
    if not isinstance(raw, dict):
        return True
    found = single_key(raw)
    named = found is not None and (found[1] is None or isinstance(found[1], dict))
    return "factory" in raw or (named and found is not None and (found[0][:1].isupper() or found[0] == RANDOM_COTANGENT))


RANDOM_COTANGENT = "random_cotangent"

Losses: TypeAlias = LossSpec | tuple[LossSpec, ...] | dict[str, LossSpec]
