"""Whether a saved reference belongs to a problem: what its figures depend on, and the differences in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from gradcheck.building.naming import unique_names
from gradcheck.comparing.keys import as_array
from gradcheck.keras_private import all_layers, functional_of, nodes_in_order, operation_of
from gradcheck.numerics import digest, to_array
from gradcheck.phrases import some
from gradcheck.placement.devices import is_remote
from gradcheck.placement.worker_questions import ask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gradcheck.problem.problem import Problem

#: Arguments of a layer that are compared otherwise, as values of weights, or that name what another version may rename.
_LEFT_OUT = frozenset({"name", "dtype", "module", "registered_name", "build_config", "shared_object_id"})
#: The settings of a config, and what is to be done if they differ.
_SETTINGS = {
    "seed": "the same `seed`, or --seed",
    "precision": "the same `precision`, or --precision",
    "training": "the same `training`",
    "microbatches": "the same `microbatches`: the whole model runs over the same slices",
    "loss": "the same `loss` and `loss_weights`",
}

#: What is compared by value, and what is to be done if it differs.
_TENSORS = {
    "weights": "load the same weights with `model: {weights: FILE}`",
    "state": "start from the same state, such as batch-norm statistics",
    "batch": "give both runs the same `data`, such as one .npz file",
}


def fingerprint(problem: Problem) -> dict[str, Any]:
    """Return what the reference of `problem` depends on, in JSON's types; arrays by their shape, dtype and hash."""
    batch = problem.batch
    known = {id(weight.variable) for weight in problem.weights} | {id(s.variable) for s in problem.state.variables}
    frozen = [variable for variable in problem.model.variables if id(variable) not in known]
    weights = {weight.path: weight.variable.value for weight in problem.weights}
    weights |= {f"frozen {name}": v.value for name, v in zip(unique_names(v.path for v in frozen), frozen, strict=True)}
    held = {f"input {name}": x for name, x in zip(problem.input_names, batch.x, strict=True)}
    held |= {f"target {i}": y for i, y in enumerate(batch.y)}
    held |= {f"sample weight {i}": w for i, w in enumerate(batch.sample_weight or ())}
    layers = all_layers([problem.model])
    loss = problem.config.model_dump(include={"loss", "loss_weights"}, exclude_defaults=True)
    found = {
        "seed": problem.seed,
        "precision": problem.precision,
        "training": problem.training,
        "microbatches": len(problem.slices) or 1,
        "loss": json.dumps(loss, default=str, sort_keys=True),
        "layers": dict(zip(unique_names(layer.name for layer in layers), map(_layer, layers), strict=True)),
        "weights": {path: _digest(value) for path, value in weights.items()},
        "state": {state.path: _digest(state.variable.value) for state in problem.state.variables},
        "batch": {name: _digest(tensor) for name, tensor in held.items()},
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def differences(saved: Mapping[str, Any], here: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what differs between two fingerprints, each as a message and what to do; empty if they belong together.

    Values are only compared if nothing else differs: another seed or layer gives other weights and another batch.
    """
    found = [
        (f"{name}: {_short(saved[name])} there, {_short(here[name])} here", f"give this run {help_}")
        for name, help_ in _SETTINGS.items()
        if saved[name] != here[name]
    ]
    model = [(f"the model: {said}", "build the same model") for said in _of_layers(saved["layers"], here["layers"])]
    found += model[:1]
    if found:
        return found
    tensors = (_of_tensors(what, saved[what], here[what], help_) for what, help_ in _TENSORS.items())
    return [difference for difference in tensors if difference is not None]


def _layer(layer: keras.Layer) -> dict[str, Any]:
    """Return the class of a layer, its arguments, and for a model of layers which call feeds which."""
    functional = functional_of(layer) if isinstance(layer, keras.Model) else None
    if functional is not None:
        nodes = [node for node in nodes_in_order(functional) if node.operation is not None]
        calls = [[n.operation.name, *(operation_of(t).name for t in n.input_tensors)] for n in nodes]
        return {"class": type(layer).__name__, "arguments": {"calls": calls}}
    return {"class": type(layer).__name__, "arguments": {} if isinstance(layer, keras.Model) else _arguments(layer)}


def _arguments(layer: keras.Layer) -> Any:
    try:
        return _plain(layer.get_config())
    except Exception:  # noqa: BLE001 - a layer of the user's own need not have a config, and its code may raise anything
        return {}


def _plain(value: Any) -> Any:
    """Return an argument without what is no plain value, and without what `_LEFT_OUT` and initializers say."""
    if isinstance(value, dict):
        if value.get("class_name") == "__lambda__":  # bytes that depend on the version of Python
            return None
        kept = (key for key in value if key not in _LEFT_OUT and not str(key).endswith("initializer"))
        return {str(key): _plain(value[key]) for key in kept}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, float, str)) else None


def _digest(tensor: Any) -> list[Any] | None:
    """Return shape, dtype and a hash of the elements; None for no tensor."""
    if is_remote(tensor) and (there := ask(tensor.device, {"ask": "digest"}, [tensor])) is not None:
        return [list(tensor.shape), tensor.dtype.name, there]
    array = as_array(tf.sparse.to_dense(tensor) if isinstance(tensor, tf.SparseTensor) else tensor)
    return None if array is None else [list(array.shape), array.dtype.name, digest(to_array(array))]


def _of_layers(saved: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs in the layers. An argument that only one side has may be new in its version of Keras."""
    if saved.keys() != here.keys():
        yield f"{_missing(saved, here)}"
        return
    for path, there in saved.items():
        one, other = there["arguments"], here[path]["arguments"]
        if there["class"] != here[path]["class"]:
            yield f"{path} is a {there['class']} there, a {here[path]['class']} here"
        for name in one.keys() & other.keys():
            if one[name] != other[name]:
                yield f"{path} has {name}={_short(one[name])} there, {name}={_short(other[name])} here"


def _of_tensors(what: str, saved: Mapping[str, Any], here: Mapping[str, Any], help_: str) -> tuple[str, str] | None:
    """Return the difference of some tensors: that of their names, or else of shapes and dtypes, or else of values."""
    if saved.keys() != here.keys():
        return f"{what}: {_missing(saved, here)}", "build the same model and batch"
    paths = [path for path in saved if saved[path] != here[path]]
    sized = next((path for path in paths if _sized(saved[path]) != _sized(here[path])), None)
    if sized is not None:
        said = f"{what}: {sized} is {_words(saved[sized])} there, {_words(here[sized])} here"
        return said, "build the same model and batch"
    return (f"{what}: {len(paths)} of {len(saved)} with other values here ({some(paths)})", help_) if paths else None


def _missing(saved: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    gone, new = ([name for name in one if name not in other] for one, other in ((saved, here), (here, saved)))
    said = [f"{some(gone)} there alone"] if gone else []
    return "; ".join([*said, *([f"{some(new)} here alone"] if new else [])])


def _sized(digest: Sequence[Any] | None) -> Any:
    return None if digest is None else digest[:2]


def _words(digest: Sequence[Any] | None) -> str:
    return "absent" if digest is None else f"{tuple(digest[0])} {digest[1]}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 100 else f"{text[:97]}..."  # noqa: PLR2004 - characters of a line
