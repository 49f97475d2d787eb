"""The `methods:` section: each candidate by name, what is expected of it, and its own options."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from gradcheck.config.base import Reference, Section, single_key


class MethodOptions(Section):
    """What every method takes."""

    expect: Literal["match", "mismatch"] = "match"


class NumericOptions(MethodOptions):
    """Finite differences."""

    mode: Literal["directional", "full"] = "directional"
    directions: Annotated[int, Field(ge=1)] = 3


class ForwardOptions(MethodOptions):
    """Forward mode: directional derivatives."""

    directions: Annotated[int, Field(ge=1)] = 3


class HvpOptions(MethodOptions):
    """Second order."""

    directions: Annotated[int, Field(ge=1)] = 3


class ScanOptions(MethodOptions):
    """One while-loop over the time axis."""

    over: Literal["cell", "layer"] = "cell"
    layer: str | None = None


class CandidateOptions(MethodOptions):
    """The user's own code: exactly one of a function that returns gradients and a whole training step."""

    factory: Reference | None = None
    train_step: Reference | None = None
    kwargs: dict[str, Any] = Field(default_factory=dict)
    name: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> CandidateOptions:
        if (self.factory is None) == (self.train_step is None):
            raise PydanticCustomError("candidate_form", "expected exactly one of factory, train_step", {})
        return self


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


class MethodConfig(Section):
    """One entry of `methods`, in one normal form: `- vjp` or `- naive: {expect: mismatch}`."""

    method: str
    options: MethodOptions

    @model_validator(mode="before")
    @classmethod
    def _normal_form(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and isinstance(raw.get("options"), MethodOptions):
            return raw
        found = (raw, {}) if isinstance(raw, str) else single_key(raw)
        if found is None:
            raise PydanticCustomError("method_form", "expected a method: name or name: {{options}}", {})
        method, options = found
        if method not in METHOD_OPTIONS:
            raise PydanticCustomError(
                "unknown_method",
                "unknown method {method}; expected one of {known}",
                {"method": method, "known": ", ".join(METHOD_OPTIONS)},
            )
        return {"method": method, "options": METHOD_OPTIONS[method].model_validate(options or {})}

    @property
    def label(self) -> str:
        """The method's name in reports: a candidate's own name where it has one."""
        return getattr(self.options, "name", None) or self.method

    @property
    def expect(self) -> Literal["match", "mismatch"]:
        """What the config expects of this method."""
        return self.options.expect
