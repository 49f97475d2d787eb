"""Argument recipes: how `gradcheck ops` calls a function, written in YAML or as the attribute `gradcheck` of it.

    xlogy: {args: [x, {x: [3], range: [0.5, 2]}]}
    sum, prod:
      - args: [{x: [2, 3]}]
      - {args: [{x: [2, 3]}], kwargs: {axis: 1}}
    cholesky: {args: [{x: [2, 2]}], expression: "fn(x @ tf.transpose(x) + tf.eye(2, dtype=x.dtype))"}
    gcd: {skip: it takes integers}

A recipe is one way to call a function, or a list of ways. In its arguments a `Leaf` stands for a floating tensor that
is differentiated (`x` for short: three elements), a `ConstantTensor` for another one; all else is handed over as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, RootModel, WithJsonSchema

from gradcheck.config.findings import Finding, received
from gradcheck.config.sections.base import Section, Written, refusal, validated_at
from gradcheck.config.sections.scalars import Flag, Number, Text  # noqa: TC001 - types of fields

if TYPE_CHECKING:
    from gradcheck.config.findings import KeyPath

#: A leaf written in short.
SHORT = "x"


class Leaf(Section):
    """A floating tensor that is differentiated.

    Attributes:
        x: its shape.
        range: the least and the largest of random values; default: both signs, from 0.3 to 2 in size.
        values: its values at the point `given`, in place of random ones.
        fixed: whether the points beside `given` leave it as it is, since only some values make sense.
    """

    exclusive: ClassVar = ("range", "values")

    x: tuple[Annotated[int, Field(ge=0, strict=True)], ...] = (3,)
    range: tuple[Number, Number] | None = None
    values: Any = None
    fixed: Flag = False


class ConstantTensor(Section):
    """A tensor that is not differentiated; without a dtype in that of the differentiated ones."""

    value: Any
    dtype: Text | None = None


_KINDS: dict[str, type[Section]] = {"x": Leaf, "value": ConstantTensor}


def _argument(raw: Any, path: KeyPath = ()) -> Any:
    """Return an argument with the mappings that stand for tensors validated, however deep they lie."""
    if isinstance(raw, str) and raw == SHORT:
        return Leaf()
    if isinstance(raw, dict):
        kind = next((kind for key, kind in _KINDS.items() if key in raw), None)
        if kind is not None:
            return validated_at(path, kind, raw)
        return {key: _argument(item, (*path, key)) for key, item in raw.items()}
    return [_argument(item, (*path, i)) for i, item in enumerate(raw)] if isinstance(raw, (list, tuple)) else raw


Argument = Annotated[Any, BeforeValidator(_argument), WithJsonSchema({})]


class CallCase(Section):
    """One way to call a function.

    Attributes:
        args, kwargs: the arguments.
        expression: Python code in place of a plain call. It knows the function as `fn`, its differentiated tensors as
            `x`, or `x0`, `x1` ... for several, and `tf`, `keras` and `np`.
        points: further points by name: the values of the differentiated tensors, in their order.
        convention: why a gradient is meant to differ from the slopes, by the name of a check; `all` for all of them.
        skip: why the function is not checked.
        order: 1 where second derivatives are not checked.
    """

    args: tuple[Argument, ...] = ()
    kwargs: dict[Text, Argument] = Field(default_factory=dict)
    expression: Text | None = None
    points: dict[Text, tuple[Any, ...]] = Field(default_factory=dict)
    convention: dict[Text, Text] = Field(default_factory=dict)
    skip: Text | None = None
    order: Literal[1, 2] = 2


def _cases(raw: Any) -> Any:
    if isinstance(raw, dict):
        return [validated_at((), CallCase, raw)]
    if isinstance(raw, (list, tuple)) and raw:
        return [validated_at((i,), CallCase, each) for i, each in enumerate(raw)]
    raise refusal(Finding(message=f"expected a recipe, or a list of them. Received: {received(raw)}"))


class Recipe(RootModel[Annotated[tuple[CallCase, ...], BeforeValidator(_cases)]]):
    """The ways to call one function."""


class Recipes(Section):
    """A file of recipes: names of functions, several with commas between, each with its recipe."""

    of: dict[Text, Recipe]

    @classmethod
    def as_written(cls, raw: Any) -> Written:
        """Return the whole mapping as the one field."""
        return Written({"of": raw}, places={"of": ()})

    def by_name(self) -> dict[str, tuple[CallCase, ...]]:
        """Return the cases of each function."""
        return {name.strip(): recipe.root for names, recipe in self.of.items() for name in names.split(",")}
