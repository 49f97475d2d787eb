"""Data that fits a JSON Schema, in the parts of that language that the config uses, with words that fit its keys."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from gradcheck.config import json_schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    Data = st.SearchStrategy[Any]
    Schema = dict[str, Any]

#: What is written beside a config, so that its files can be there.
FILES = ("code.py", "batch.npz", "trained.weights.h5", "model.keras")
NAMES = ("x", "y", "a", "b", "c")
LAYERS = ("Dense", "Dropout", "LSTM", "Add", "Conv2D", "BatchNormalization", "ReLU", "./code.py:Layer")
LOSSES = ("MeanSquaredError", "Huber", "random_cotangent")
FUNCTIONS = ("./code.py:make", "package.module:make")
#: The texts, and the names of keys, that are likely to be right at a key.
WORDS: dict[str, Sequence[str]] = {
    "name": NAMES,
    "inputs": NAMES,
    "outputs": NAMES,
    "targets": NAMES,
    "sample_weight": NAMES,
    "input": NAMES,
    "layer": NAMES,
    "after": NAMES,
    "loss_weights": NAMES,
    "layers": LAYERS,
    "loss": (*LOSSES, *NAMES),
    "optimizer": ("SGD", "Adam"),
    "application": ("MobileNetV2",),
    "dtype": ("float32", "int32"),
    "overrides": ("*", "a/*"),
    "mismatch": ("a/*",),
    "devices": ("cpu:0",),
    "directory": (".",),
    "npz": FILES[1:2],
    "file": FILES,
    "weights": FILES[2:3],
    "memory_budget": ("auto", "2GiB", "1.5 MB"),
}
ARGUMENTS = ("units", "activation", "rate", "filters", "delta", "learning_rate")

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 99),
    st.floats(allow_nan=False, allow_infinity=False, width=32),
    st.sampled_from(["relu", "same", "é", ""]),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(ARGUMENTS), inner, max_size=3),
    max_leaves=5,
)


@cache
def whole() -> Schema:
    """The config's own."""
    return json_schema()


@cache
def configs() -> Data:
    """Whole configs, as YAML would give them; most of them are right."""
    return values(whole()).map(mended)


def values(schema: Schema, key: str = "") -> Data:
    """What fits `schema`, which stands at the property `key`."""
    if "$ref" in schema:
        return _definition(schema["$ref"].rpartition("/")[2], key)
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "const" in schema:
        return st.just(schema["const"])
    rest = {name: value for name, value in schema.items() if name not in ("anyOf", "oneOf", "not")}
    branches = [{**rest, **branch} for branch in schema.get("anyOf", schema.get("oneOf", [{}]))]
    found = st.one_of([_of_types(branch, key) for branch in branches])
    if "oneOf" in schema or "not" in schema:
        fits = Draft202012Validator({name: schema[name] for name in ("oneOf", "not") if name in schema})
        found = found.filter(fits.is_valid)
    return found


@cache
def _definition(name: str, key: str) -> Data:
    return st.deferred(lambda: values(whole()["$defs"][name], key))


def _of_types(schema: Schema, key: str) -> Data:
    if "$ref" in schema or "anyOf" in schema or "enum" in schema or "const" in schema:
        return values(schema, key)
    types = schema.get("type", [])
    found = [_BY_TYPE[name](schema, key) for name in ([types] if isinstance(types, str) else types)]
    return st.one_of(found) if found else anything


def _strings(schema: Schema, key: str) -> Data:
    if "pattern" in schema and key in WORDS:
        return st.sampled_from([word for word in WORDS[key] if re.search(schema["pattern"], word)])
    if "pattern" in schema:
        return st.sampled_from(FUNCTIONS)
    return st.sampled_from(WORDS[key]) if key in WORDS else st.text(min_size=schema.get("minLength", 0), max_size=9)


def _integers(schema: Schema, _: str) -> Data:
    least = schema.get("minimum", -3)
    return st.integers(least, least + 3) | st.integers(least, schema.get("exclusiveMaximum", 10**6) - 1)


def _numbers(schema: Schema, _: str) -> Data:
    least = schema.get("minimum", -3)
    return st.integers(least, 3) | st.floats(least, 1e6, allow_nan=False)


def _arrays(schema: Schema, key: str) -> Data:
    first = [values(item, key) for item in schema.get("prefixItems", ())]
    if first:
        return st.tuples(*first).map(list)
    least = schema.get("minItems", 0)
    return st.lists(values(schema.get("items", {}), key), min_size=least, max_size=min(schema.get("maxItems", 9), 4))


def _objects(schema: Schema, key: str) -> Data:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
    needed = list(schema.get("required", ()))
    more = WORDS.get(key, ARGUMENTS) if others is not False else ()
    pool = [name for name in dict.fromkeys([*known, *more]) if name not in needed]
    if "propertyNames" in schema:
        pool = list(filter(Draft202012Validator(schema["propertyNames"]).is_valid, pool))
    least = max(schema.get("minProperties", 0) - len(needed), 0)
    most = max(min(schema.get("maxProperties", 99) - len(needed), 4), least)
    of_others = values(others if isinstance(others, dict) else {}, key)
    found = {name: values(known[name], name) if name in known else of_others for name in (*needed, *pool)}
    chosen = st.lists(st.sampled_from(pool), unique=True, min_size=least, max_size=most) if pool else st.just([])

    @st.composite
    def objects(draw: st.DrawFn) -> dict[str, Any]:
        return {name: draw(found[name]) for name in (*needed, *draw(chosen))}

    return objects()


_BY_TYPE = {
    "string": _strings,
    "integer": _integers,
    "number": _numbers,
    "array": _arrays,
    "object": _objects,
    "null": lambda *_: st.none(),
    "boolean": lambda *_: st.booleans(),
}


def mended(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the names in its layers made to fit, which no schema can say."""
    model = config["model"]
    for source in [model, *(model.get("segments") or ()), *([model["reference"]] if model.get("reference") else ())]:
        if "layers" in source:
            _mend(source)
    return config


def _mend(source: dict[str, Any]) -> None:
    inputs, called = source["input"], []
    named = all(isinstance(value, dict) for value in inputs.values())
    known = [*inputs] if named and inputs else ["input"]
    for index, entry in enumerate(source["layers"]):
        if not isinstance(entry, dict):
            continue
        target = next((key for key in entry if key not in ("inputs", "call_kwargs")), None)
        about = entry[target] if isinstance(entry.get(target), dict) else {}
        for place in (entry, about):
            if place.get("inputs"):
                place["inputs"] = [known[-1]]
        if target == "call":
            about["layer"] = (called or known)[-1]
        if isinstance(about.get("name"), str):
            about["name"] = f"{about['name']}{index}"
            known.append(about["name"])
            called.append(about["name"])
    if source.get("outputs"):
        source["outputs"] = [known[-1]]
