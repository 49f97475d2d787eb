"""Which variable of a whole model corresponds to which variable of its separately built parts."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from gradcheck.config.keyed import KeyedRunError
from gradcheck.phrases import first, listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SHOWN = 6


def match_variables(parts_variables: Sequence[Any], whole_variables: Sequence[Any]) -> list[int]:
    """Return the index in `whole_variables` for each of `parts_variables`.

    Variables match by path, or by layer and variable name, if that accounts for every variable on both sides; a
    variable of the whole may then have several counterparts (a tied weight of which two parts hold a copy). Otherwise
    names without Keras's numbers match, several of one name in their order, and the rest match in order. Shapes must be
    equal.

    Raises:
        KeyedRunError: GC051, naming the variables without a counterpart.
    """
    for name in (_path, _layer_and_name):
        found = _by_name(parts_variables, whole_variables, name)
        if None not in found and len(set(found)) == len(whole_variables):
            return [index for index in found if index is not None]
    found = _in_order(parts_variables, whole_variables, _by_family(parts_variables, whole_variables))
    lost = [v for v, index in zip(parts_variables, found, strict=True) if index is None]
    left = [v for i, v in enumerate(whole_variables) if i not in set(found)]
    if lost or left:
        message = (
            "the parts do not have the weights of the reference. "
            f"Without counterpart in the reference: {_shown(lost)}; in the parts: {_shown(left)}"
        )
        help_ = "give layers the same names in parts and reference, or the same order and shapes"
        raise KeyedRunError(message, code="GC051", help=help_)
    return [index for index in found if index is not None]


def _path(variable: Any) -> str:
    return str(variable.path)


def _layer_and_name(variable: Any) -> str:
    """Return the last two components of the path: without the models that the layer is nested in."""
    return "/".join(variable.path.split("/")[-2:])


def _family(variable: Any) -> str:
    """Return the path without Keras's numbers, which make names unique: `dense/kernel` for `dense_1/kernel`."""
    return re.sub(r"_\d+(?=/|$)", "", variable.path)


def _by_name(parts: Sequence[Any], whole: Sequence[Any], name: Callable[[Any], str]) -> list[int | None]:
    """Return, for each variable of the parts, the only one of the whole with its name and shape."""
    counts = Counter(map(name, whole))
    index = {name(v): i for i, v in enumerate(whole) if counts[name(v)] == 1}
    found = [index.get(name(v)) for v in parts]
    return [i if i is not None and _same_shape(v, whole[i]) else None for v, i in zip(parts, found, strict=True)]


def _by_family(parts: Sequence[Any], whole: Sequence[Any]) -> list[int | None]:
    """Match names without Keras's numbers, which depend on the layers built before, if both sides have as many of one.

    Several of one family match in order: layers that a layer holds may be tracked in another order than it was built.
    """
    ours, theirs = _families(parts), _families(whole)
    found: list[int | None] = [None] * len(parts)
    for family, positions in ours.items():
        there = theirs.get(family, [])
        pairs = list(zip(positions, there, strict=False))
        if len(positions) == len(there) and all(_same_shape(parts[i], whole[j]) for i, j in pairs):
            for i, j in pairs:
                found[i] = j
    return found


def _families(variables: Sequence[Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, variable in enumerate(variables):
        found.setdefault(_family(variable), []).append(index)
    return found


def _in_order(parts: Sequence[Any], whole: Sequence[Any], found: list[int | None]) -> list[int | None]:
    """Return `found`, with open entries matched in order, as long as the shapes agree."""
    taken = set(found)
    free = iter([i for i in range(len(whole)) if i not in taken])
    matched = []
    for variable, index in zip(parts, found, strict=True):
        candidate = index if index is not None else next(free, None)
        fits = candidate is not None and _same_shape(variable, whole[candidate])
        matched.append(candidate if fits else None)
    return matched


def _same_shape(one: Any, other: Any) -> bool:
    return tuple(one.shape) == tuple(other.shape)


def _shown(variables: Sequence[Any]) -> str:
    return listed(first([f"{v.path} {tuple(v.shape)}" for v in variables], _SHOWN))
