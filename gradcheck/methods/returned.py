"""Conversion of a candidate's result to a loss and the gradients of the reference's variables."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.errors import RunError
from gradcheck.keras_private import Variable
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gradcheck.problem.problem import Problem, TensorKey, Weight

_VARIABLES = (tf.Variable, Variable)
_EXPECTED = (
    "return a list in the order of `variables`, a list of pairs (gradient, variable), a mapping by variable "
    "(`{id(v): gradient}`) or by path, or a pair (loss, gradients); None where a variable has no gradient"
)


def understood(
    returned: Any, problem: Problem, reference: str, sources: Iterable[Any] = ()
) -> tuple[Any, dict[TensorKey, Any]]:
    """Return the loss (or None) and the gradients by key.

    Args:
        returned: the function's result.
        problem: the problem whose variables the gradients belong to.
        reference: the name of the function in messages.
        sources: the variables that the function took gradients of.

    Raises:
        RunError: GC055 for any result other than `_EXPECTED`.
    """
    loss = None
    is_pair = isinstance(returned, tuple) and len(returned) == 2  # noqa: PLR2004 - (loss, gradients)
    if is_pair and isinstance(returned[1], (list, tuple, Mapping)) and not _is_with_variable(returned[1]):
        loss, returned = returned
        loss = scalar(loss, reference)
    if isinstance(returned, (list, tuple)) and returned and all(map(_is_with_variable, returned)):
        sources = [*sources, *(variable for _, variable in returned)]
        returned = {id(variable): gradient for gradient, variable in returned}
    gradients = _by_weight(returned, problem, reference, sources)
    return loss, {w.key: _gradient(gradients.get(w.path), w, reference) for w in problem.weights}


def _is_with_variable(entry: Any) -> bool:
    """Whether an entry is a gradient with its variable, as `apply_gradients` takes them."""
    return isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[1], _VARIABLES)  # noqa: PLR2004 - a pair


def _by_weight(returned: Any, problem: Problem, reference: str, sources: Iterable[Any]) -> Mapping[str, Any]:
    """Return the gradients by path of their weight; a weight that a mapping leaves out has no entry."""
    weights = problem.weights
    if isinstance(returned, Mapping):
        return _by_key(returned, problem, reference, sources)
    if not isinstance(returned, (list, tuple)):
        raise _unusable(reference, f"{type(returned).__name__}: {returned!r:.200}", _EXPECTED)
    if len(returned) != len(weights):
        raise _unusable(reference, f"{len(returned)} gradients for {len(weights)} variables", _EXPECTED)
    return {weight.path: gradient for weight, gradient in zip(weights, returned, strict=True)}


def _by_key(returned: Mapping[Any, Any], problem: Problem, reference: str, sources: Iterable[Any]) -> Mapping[str, Any]:
    """Return the gradients of a mapping by path; its keys may be variables, their ids, or paths that are unique."""
    keys, found = _Keys(problem, returned), dict[str, Any]()
    others: dict[Any, Any] = {id(variable): variable for variable in sources}
    for key, gradient in returned.items():
        paths = keys.weights_of(key)
        if not paths:
            unknown = [others.get(k, _variable(k)) for k in returned if not keys.weights_of(k)]
            of_another = [getattr(v, "path", v.name) for v in unknown if isinstance(v, _VARIABLES)]
            if of_another:
                raise _unusable(reference, f"gradients of variables of another model: {some(of_another)}", _OF_ANOTHER)
            known = ", ".join(weight.path for weight in problem.weights)
            kind = "path" if isinstance(key, str) else "key"
            raise _unusable(reference, f"a mapping with the unknown {kind} {_shown(key)}", f"the paths are: {known}")
        if len(paths) > 1:
            received = (
                f"a mapping with the path {_shown(key)}, which {len(paths)} variables have: whose gradient it is "
            )
            raise _unusable(reference, f"{received}cannot be told", _AMBIGUOUS)
        (path,) = paths
        if path in found:
            received = f"a mapping with several keys for the variable {path}, the last of them {_shown(key)}"
            raise _unusable(reference, received, "give one gradient: of a weight with several uses, their sum")
        found[path] = gradient
    return found


_AMBIGUOUS = (
    "layers of different models may have the same names: return a list in the order of `variables`, or key by the "
    "variable itself: {id(v): gradient}"
)


def paths_by_id(problem: Problem) -> Mapping[int, str]:
    """Return the path of the weight that a variable of the model or of its parts stands for, by its id."""
    return {i: path for v, path in chain(*_paths(problem)) for i in (id(v), id(v.value))}


def _paths(problem: Problem) -> tuple[list[tuple[Any, str]], list[tuple[Any, str]]]:
    """Return the variables of the whole model, and those of the parts, each with the path of its weight."""
    parts = (v for segment in problem.segments for v in segment.trainable_variables)
    of_parts = [(v, problem.counterparts[id(v.value)].path) for v in parts if id(v.value) in problem.counterparts]
    return [(weight.variable, weight.path) for weight in problem.weights], of_parts


_OF_ANOTHER = (
    "take gradients of `variables`, or of the segments' `trainable_variables`: a clone, or the model built again, has "
    "others (GC407)"
)


class _Keys:
    """The weights that the keys of one mapping stand for."""

    def __init__(self, problem: Problem, keys: Collection[Any]) -> None:
        self._named = {key for key in keys if isinstance(key, str)}
        self._reported = {weight.path for weight in problem.weights}
        of_whole, of_parts = _paths(problem)
        self._by_id = paths_by_id(problem)
        tables = [_by_path(of_parts), _by_path(of_whole)]
        fitting = [table for table in tables if self._named <= table.keys() | self._reported]
        self._tables = fitting or tables

    def weights_of(self, key: Any) -> set[str]:
        """Return the paths of the weights that `key` may stand for: one, none if unknown, several if ambiguous.

        A path that several variables share stands for the first of them if the mapping names the others as reports do:
        `path:2`. Parts and whole may each have a variable of one path; the side whose variables have all the paths in
        the mapping is chosen.
        """
        if not isinstance(key, str):
            path = self._by_id.get(key if isinstance(key, int) else id(_variable(key)))
            return set() if path is None else {path}
        meant = {path for table in self._tables for path in table.get(key, ())}
        if key in self._reported and (not meant or (key in meant and meant <= self._named)):
            return {key}
        return meant


def _variable(key: Any) -> Any:
    return key.deref() if hasattr(key, "deref") else key  # tf.Variable.ref()


def _by_path(variables: Iterable[tuple[Any, str]]) -> Mapping[str, set[str]]:
    """Return the paths of weights by path of their variables, which several may share."""
    found: dict[str, set[str]] = {}
    for variable, path in variables:
        found.setdefault(variable.path, set()).add(path)
    return found


def _shown(key: Any) -> str:
    return f"{key!r:.100}"


def _gradient(value: Any, weight: Weight, reference: str) -> Any:
    """Return a TensorFlow gradient unchanged; any value that NumPy accepts in the variable's dtype."""
    if isinstance(value, tf.IndexedSlices):
        return tf.IndexedSlices(value.values, value.indices, dense_shape=tf.constant(tuple(weight.variable.shape)))
    if value is None or isinstance(value, tf.Tensor):
        return value
    if isinstance(value, _VARIABLES):
        return tf.convert_to_tensor(value)
    if np.iscomplexobj(value):
        raise _unusable(reference, f"complex numbers for the real variable {weight.path}", _EXPECTED)
    try:
        return tf.convert_to_tensor(np.asarray(value).astype(tf.as_dtype(weight.variable.dtype).as_numpy_dtype))
    except (TypeError, ValueError) as error:
        raise _unusable(reference, f"{type(value).__name__} for {weight.path}: {error}", _EXPECTED) from error


def scalar(value: Any, reference: str) -> Any:
    """Return the candidate's loss as a scalar tensor; None if there is none."""
    if value is None:
        return None
    try:
        loss = tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise _unusable(reference, f"a loss that is no number: {value!r:.200}", _EXPECTED) from error
    if not (loss.dtype.is_floating or loss.dtype.is_integer):
        raise _unusable(reference, f"a loss that is no number: {value!r:.200}", _EXPECTED)
    if loss.shape.rank != 0:
        raise _unusable(reference, f"a loss of shape {tuple(loss.shape)}", "return the loss as a scalar")
    return loss


def _unusable(reference: str, received: str, expected: str) -> RunError:
    return RunError(
        f"candidate {reference} returned something unusable. Received: {received}", code="GC055", help=expected
    )
