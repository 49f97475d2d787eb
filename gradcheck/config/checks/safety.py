"""`--safe`: a config is refused unless everything in it is known to run no code and to read nothing elsewhere.

What is allowed is listed, section by section. A section or a key without an entry is refused, so that what is new is
unsafe until someone has said otherwise.
"""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from gradcheck.config.checks.files import LARGEST, expanded_size, leads_outside
from gradcheck.config.checks.keras_layers import KERAS_LAYERS
from gradcheck.config.findings import Finding, KeyPath
from gradcheck.config.schema import (
    Config,
    OptimizerSpec,
    Override,
    ReportConfig,
    SplitConfig,
    TimeSplit,
    ToleranceConfig,
    TrainConfig,
)
from gradcheck.config.sections.base import Section
from gradcheck.config.sections.data import ArraySpec, DataConfig, ImagesSpec
from gradcheck.config.sections.loss import LossSpec
from gradcheck.config.sections.methods import (
    AccumulateOptions,
    CompiledOptions,
    EngineOptions,
    Exemption,
    FitOptions,
    ForwardOptions,
    HvpOptions,
    MethodConfig,
    MethodOptions,
    NumericOptions,
    RematOptions,
    ReplicasOptions,
    ResumeOptions,
    ScanOptions,
)
from gradcheck.config.sections.model import (
    LAYER_ARGUMENTS,
    ApplicationSource,
    FileSource,
    InputSpec,
    LayerSpec,
    LayersSource,
    SegmentsSource,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    #: Findings for a value at a path, with the folder of the config.
    Rule: TypeAlias = Callable[[Any, KeyPath, Path], Iterator[Finding]]

#: More memory than this is not for a stranger's config to claim; `auto` depends on what is free.
_MOST_MEMORY = 4 * 2**30
_ADVICE = "read it first, then run without --safe if you trust it"
#: Keys of a serialised Keras object: what it stands for is only known once Keras has looked it up.
_SERIALISED = frozenset({"class_name", "module", "registered_name"})
#: Endings of arguments that take objects of Keras other than layers by name.
_OBJECTS = ("_initializer", "_regularizer", "_constraint")


def unsafe(config: Config, data: Any, base: Path) -> Iterator[Finding]:
    """Findings for everything in `config`, which was written as `data`, that `--safe` refuses.

    Args:
        config: the validated config.
        data: what it was validated from, for the places of the findings.
        base: the folder of the config, outside of which nothing is read.
    """
    yield from _walk(config, data, (), base)


def _walk(value: Any, raw: Any, path: KeyPath, base: Path) -> Iterator[Finding]:
    """Findings in the sections at and below `value`, which stands at `path` and was written as `raw`."""
    if isinstance(value, Section):
        yield from _section(value, raw, path, base)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _walk(inner, _below(raw, key), (*path, key), base)
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            yield from _walk(inner, _below(raw, index), (*path, index), base)


def _section(section: Section, raw: Any, path: KeyPath, base: Path) -> Iterator[Finding]:
    written = type(section).as_written(raw)
    rules = _LAYER_RULES.get(section.kind) if isinstance(section, LayerSpec) else _RULES.get(type(section))
    if rules is None:
        first = next(iter(raw), "") if isinstance(raw, dict) else raw
        yield _refused((*path, first), str(first))
        return
    for name in sorted(section.model_fields_set, key=list(type(section).model_fields).index):
        value = getattr(section, name)
        place = (*path, *written.place((type(section).model_fields[name].alias or name,)))
        if name in rules:
            yield from rules[name](value, place, base)
            yield from _walk(value, _below(written.fields, name), place, base)
        elif value:
            yield _refused(place, name)


def _below(raw: Any, key: Any) -> Any:
    """What was written at `key`, where there is anything like it."""
    try:
        return raw[key]
    except (LookupError, TypeError):
        return raw


def _refused(path: KeyPath, what: str, at: Literal["key", "value"] = "key") -> Finding:
    message = f"`{what}` may run code or reach outside of the config's folder, which --safe refuses"
    return Finding(path=path, at=at, code="GC029", message=message, help=_ADVICE)


def _free(value: Any, path: KeyPath, base: Path) -> Iterator[Finding]:  # noqa: ARG001 - a rule
    """Numbers, choices and names that are only looked up in the model, and sections, which have their own rules."""
    yield from ()


def _file(value: str | None, path: KeyPath, base: Path, *, endings: tuple[str, ...] = ("",)) -> Iterator[Finding]:
    """A file below the config's folder, of a size that can be read; whether it exists is checked elsewhere."""
    if value is None:
        return
    if leads_outside(base / value, base):
        message = f"`{value}` leads outside of the config's folder, where --safe reads nothing"
        yield Finding(path=path, code="GC029", message=message, help="copy the file beside the config")
    elif not value.endswith(endings):
        yield _refused(path, value, "value")
    else:
        yield from _sized(base / value, path, value)


def _sized(file: Path, path: KeyPath, name: str) -> Iterator[Finding]:
    if file.is_file() and expanded_size(file) > LARGEST:
        message = f"`{name}` is larger than {LARGEST >> 30} GiB, packed or unpacked, which --safe refuses"
        yield Finding(path=path, code="GC009", message=message, help=_ADVICE)


def _folder(value: str, path: KeyPath, base: Path) -> Iterator[Finding]:
    """A folder below the config's, with nothing in it that leads elsewhere."""
    yield from _file(value, path, base)
    for parent, folders, files in os.walk(base / value):
        for name in (*folders, *files):
            inner = Path(parent, name)
            if inner.is_symlink() and leads_outside(inner, base):
                yield from _file(str(inner.relative_to(base)), path, base)
            else:
                yield from _sized(inner, path, name)


def _layer(value: str, path: KeyPath, base: Path) -> Iterator[Finding]:  # noqa: ARG001 - a rule
    """A layer that is known to run nothing."""
    if value not in KERAS_LAYERS:
        yield _refused(path, value, "value")


def _arguments(value: Any, path: KeyPath, base: Path, *, name: str = "") -> Iterator[Finding]:
    """Arguments for Keras that name no code and no file: numbers, plain words, and known layers.

    A text with a slash or a colon could be a file or a reference, and a vocabulary that is one text is a file.
    """
    if isinstance(value, dict):
        for key, inner in value.items():
            known = key in KERAS_LAYERS or name.endswith(_OBJECTS) or not str(key)[:1].isupper()
            if not known or key in _SERIALISED or not _is_plain(key):
                yield _refused((*path, key), str(key))
            else:
                yield from _arguments(inner, (*path, key), base, name=str(key))
    elif name == "vocabulary" or name in LAYER_ARGUMENTS:
        if isinstance(value, str) and value not in KERAS_LAYERS:
            yield _refused(path, value, "value")
        elif isinstance(value, (list, tuple)) and name in LAYER_ARGUMENTS:
            yield from _each(value, path, base, name)
    elif isinstance(value, (list, tuple)):
        yield from _each(value, path, base, name)
    elif not _is_plain(value):
        yield _refused(path, value, "value")


def _each(values: Any, path: KeyPath, base: Path, name: str) -> Iterator[Finding]:
    for index, inner in enumerate(values):
        yield from _arguments(inner, (*path, index), base, name=name)


def _is_plain(value: Any) -> bool:
    return not isinstance(value, str) or not any(c in value for c in ":/\\")


def _argument_of_layer(value: Any, path: KeyPath, base: Path) -> Iterator[Finding]:
    """The first argument of a layer, whatever its name is: it may be a layer in turn."""
    yield from _arguments(value, path, base, name="layer" if str(value)[:1].isupper() else "")


def _without_downloads(value: dict[str, Any], path: KeyPath, base: Path) -> Iterator[Finding]:
    """Arguments of an application; its weights are random, neither downloaded nor read."""
    if value.get("weights") is not None:
        yield _refused((*path, "weights"), "weights")
    else:
        yield from _arguments(value, path, base)


def _options(value: dict[str, Any], path: KeyPath, base: Path) -> Iterator[Finding]:
    """Options of an array, of which `npz` has a file."""
    yield from _file(value.get("file"), (*path, "file"), base)


def _memory(value: int | str, path: KeyPath, base: Path) -> Iterator[Finding]:  # noqa: ARG001 - a rule
    """As much as is free, or little."""
    if isinstance(value, int) and value > _MOST_MEMORY:
        yield _refused(path, "memory_budget")


_WEIGHTS = partial(_file, endings=(".h5", ".keras"))


def _all_but(section: type[Section], *refused: str) -> Mapping[str, Rule]:
    """Every key of a section that holds nothing but numbers, choices, names and sections."""
    return dict.fromkeys(set(section.model_fields) - set(refused), _free)


#: By the kind of an entry of `layers`. Not here: `numpy_layer`.
_LAYER_RULES: Mapping[str, Mapping[str, Rule]] = {
    "layer": {**_all_but(LayerSpec), "target": _layer, "argument": _argument_of_layer, "kwargs": _arguments},
    "call": _all_but(LayerSpec),
}
#: What is allowed. Not here: factories, candidates, surrogates, callbacks, `trust`, `placement`; and any number of
#: processes, or those of other machines.
_RULES: Mapping[type[Section], Mapping[str, Rule]] = {
    Config: {
        **dict.fromkeys(("version", "name", "description", "seed", "precision", "execution", "training"), _free),
        **dict.fromkeys(("model", "split", "loss", "loss_weights", "data", "methods", "train", "tolerance"), _free),
        **dict.fromkeys(("microbatches", "schedule", "require", "verify_reference", "report"), _free),
        "memory_budget": _memory,
    },
    LayersSource: {"input": _free, "layers": _free, "outputs": _free, "weights": _WEIGHTS},
    ApplicationSource: {"application": _free, "kwargs": _without_downloads, "weights": _WEIGHTS},
    FileSource: {"file": partial(_file, endings=(".keras",)), "input": _free, "weights": _WEIGHTS},
    SegmentsSource: {"segments": _free, "reference": _free, "weights": _WEIGHTS},
    InputSpec: _all_but(InputSpec),
    DataConfig: {"npz": _file, "images": _free}
    | dict.fromkeys(("batch_size", "inputs", "targets", "sample_weight"), _free),
    ArraySpec: {"kind": _free, "options": _options},
    ImagesSpec: {"directory": _folder, "image_size": _free},
    LossSpec: {"name": _free, "kwargs": _arguments, "joint": _free},
    TrainConfig: {"steps": _free, "optimizer": _free},
    OptimizerSpec: {"name": _free, "kwargs": _free},
    MethodConfig: {"method": _free, "options": _free},
    NumericOptions: _all_but(NumericOptions, "surrogate"),
    FitOptions: _all_but(FitOptions, "callbacks"),
    ReplicasOptions: _all_but(ReplicasOptions, "count", "strategy"),
    **{
        section: _all_but(section)
        for section in (
            *(MethodOptions, ForwardOptions, HvpOptions, ScanOptions, EngineOptions, Exemption),
            *(AccumulateOptions, ResumeOptions, RematOptions, CompiledOptions),
            *(SplitConfig, TimeSplit, ToleranceConfig, Override, ReportConfig),
        )
    },
}
