"""Names and arguments of Keras in a config that Keras does not have, found without Keras by `config.keras_table`.

What cannot come from elsewhere (a class, an argument of a class, a value of the wrong type) is a mistake. A finding is
not certain if another release of Keras is installed than the table was made of, nor for the name of an activation,
initializer, regularizer or constraint in a config with user code, which may register names of its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from gradcheck.config.checks.layer_names import layer_sources
from gradcheck.config.findings import Finding, KeyPath, received
from gradcheck.config.keras_table import REQUIRED, is_of_installed, keras_table
from gradcheck.config.schema import OptimizerSpec
from gradcheck.config.sections.loss import RANDOM_COTANGENT, LossSpec, canonical_name, looks_like_loss, misspelt_own
from gradcheck.config.sections.model import LAYER_ARGUMENTS, LayerSpec
from gradcheck.errors import ConfigErrors, Mistake
from gradcheck.phrases import did_you_mean, first, listed, nearest, suggestion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

#: Layers that cannot be written in a config, and the alternative.
REFUSED_LAYERS = {
    "Lambda": "write a layer class in a file of your own: `./layers.py:MyLayer`",
    "TFSMLayer": "build the model in a factory",
    "InputLayer": "describe the inputs under `model.input`",
    "Input": "describe the inputs under `model.input`",
}
#: Arguments of optimizers that take an optimizer.
OPTIMIZER_ARGUMENTS = frozenset({"inner_optimizer", "default_optimizer"})
_REFERENCE = re.compile(r"[\w.]:[A-Za-z_]")
#: `Dense {units: 4}` or `Dense(4)` in place of `Dense: {units: 4}`.
_WITHOUT_COLON = re.compile(r"(\w+)\s*([{(\[].*)", re.DOTALL)
_MOST = 8  # the most names that one help line lists


@dataclass(frozen=True)
class _Module:
    """A module of Keras: what messages call its classes, and the codes of an unknown name and of wrong arguments."""

    what: str
    key: str
    arguments: str = "GC004"
    own: str = ""  # how code of the user's own is written instead
    spelt: Callable[[str], str] = str

    @property
    def classes(self) -> dict[str, dict[str, str]]:
        """The arguments of each class, by its name."""
        classes: dict[str, dict[str, str]] = keras_table()[self.key]
        return classes

    def find(self, name: str) -> str | None:
        """Return the class that `name` stands for, in the spellings that its section accepts."""
        return next((known for known in self.classes if self.spelt(known) == self.spelt(name)), None)


def _without_case(name: str) -> str:
    return name.replace("_", "").lower()


_LAYERS = _Module("layer", "layers", "GC021", "for a class of your own, write ./file.py:Name")
_LOSSES = _Module(
    "loss", "losses", "GC031", "for a loss of your own, write {factory: ./loss.py:make}", spelt=canonical_name
)
_OPTIMIZERS = _Module("optimizer", "optimizers", spelt=_without_case)
_SCHEDULES = _Module("learning-rate schedule", "schedules", spelt=_without_case)
_APPLICATIONS = _Module("application", "applications", own="for a model of your own, write {factory: ./model.py:build}")
_OBJECTS = {kind: _Module(kind, f"{kind}s", "GC021") for kind in ("initializer", "regularizer", "constraint")}


def unknown_to_keras(data: dict[Any, Any]) -> list[Finding]:
    """Return a finding for each name and argument in `data`, a config as plain types, that Keras does not have."""
    walk = _Walk(registers=_has_user_code(data))
    train = data.get("train")
    findings = [
        *(
            found
            for path, source in layer_sources(data.get("model"), ("model",))
            for found in walk.layers(source, path)
        ),
        *walk.applications(data.get("model"), ("model",)),
        *walk.losses(data.get("loss"), ("loss",)),
        *(walk.optimizer(train.get("optimizer"), ("train", "optimizer")) if isinstance(train, dict) else ()),
    ]
    # The version is only looked up if something is wrong.
    return findings if not findings or is_of_installed() else [replace(found, certain=False) for found in findings]


def require_layer(name: str, kwargs: Mapping[str, Any]) -> None:
    """Raise for a layer or an argument that Keras does not have, as `gradcheck layer` takes them.

    Raises:
        ConfigErrors: GC020 or GC021.
    """
    written = _WITHOUT_COLON.fullmatch(name)
    if written is not None and _LAYERS.find(written[1]) is not None:
        arguments = written[2] if written[2].startswith("{") else "{name: value}"
        help_ = f"give the arguments by themselves: {written[1]} --kwargs '{arguments}'"
        found = [Finding(message=f"no Keras layer is called `{name}`", code="GC020", help=help_)]
    else:
        found = list(_Walk(registers=False).layer({name: dict(kwargs)}, ()))
    if found and is_of_installed():
        raise ConfigErrors([Mistake(code=item.code, message=item.message, help=item.help) for item in found])


def _has_user_code(value: Any) -> bool:
    """Whether any text in `value` refers to code of the user's own, which runs when it is imported."""
    if isinstance(value, dict):
        return any(_has_user_code(item) for pair in value.items() for item in pair)
    if isinstance(value, (list, tuple)):
        return any(map(_has_user_code, value))
    return isinstance(value, str) and _REFERENCE.search(value) is not None


@dataclass(frozen=True)
class _Walk:
    """The sections of one config. `registers` says whether code of the user's own may register names with Keras."""

    registers: bool

    def layers(self, source: dict[Any, Any], path: KeyPath) -> Iterator[Finding]:
        for index, entry in enumerate(source["layers"]):
            yield from self.layer(entry, (*path, "layers", index))

    def layer(self, entry: Any, path: KeyPath) -> Iterator[Finding]:
        """Check an entry of `layers`, or a layer in the same form among the arguments of another."""
        try:
            fields = LayerSpec.as_written(entry).fields
        except ValidationError:
            return
        name, kwargs = fields.get("target"), fields.get("kwargs", {})
        if fields.get("kind", "layer") != "layer" or not isinstance(name, str) or not isinstance(kwargs, dict):
            return
        below = (*path, name) if isinstance(entry, dict) else path
        if name in REFUSED_LAYERS:
            yield Finding(
                message=f"{name} cannot be written in a config",
                path=below,
                at=_at(below, name),
                code="GC021",
                help=REFUSED_LAYERS[name],
            )
        elif _REFERENCE.search(name):  # which arguments it takes is only known once it is imported
            for key, value in kwargs.items():
                yield from self._value(_LAYERS, key, "", value, (*below, key))
        else:
            first = () if fields.get("argument") is None else (fields["argument"],)
            yield from self._object(_LAYERS, name, kwargs, below, first=first)

    def applications(self, model: Any, path: KeyPath) -> Iterator[Finding]:
        if not isinstance(model, dict):
            return
        name, kwargs = model.get("application"), model.get("kwargs")
        if isinstance(name, str):
            place = (*path, "application")
            yield from self._object(_APPLICATIONS, name, kwargs or {}, place, arguments_at=(*path, "kwargs"))
        parts = model.get("segments")
        for index, part in enumerate(parts if isinstance(parts, list) else ()):
            yield from self.applications(part, (*path, "segments", index))
        yield from self.applications(model.get("reference"), (*path, "reference"))

    def losses(self, raw: Any, path: KeyPath) -> Iterator[Finding]:
        """Check one loss, or one for each output."""
        several = isinstance(raw, dict) and not looks_like_loss(raw) and misspelt_own(raw) is None
        if isinstance(raw, (list, tuple)) or several:
            for key, one in raw.items() if isinstance(raw, dict) else enumerate(raw):
                yield from self._named(_LOSSES, LossSpec, one, (*path, key))
        elif raw is not None and misspelt_own(raw) is None:
            yield from self._named(_LOSSES, LossSpec, raw, path)

    def optimizer(self, raw: Any, path: KeyPath) -> Iterator[Finding]:
        """Check an optimizer, or one among the arguments of another."""
        yield from self._named(_OPTIMIZERS, OptimizerSpec, raw, path)

    def _named(
        self, module: _Module, section: type[LossSpec | OptimizerSpec], raw: Any, path: KeyPath
    ) -> Iterator[Finding]:
        """Check `Name` or `Name: {arguments}`, the forms of a section."""
        try:
            fields = section.as_written(raw).fields
        except ValidationError:
            return
        if not isinstance(fields, dict):
            return
        name, kwargs = fields.get("name"), fields.get("kwargs", {})
        if isinstance(name, str) and name != RANDOM_COTANGENT:
            below = (*path, name) if isinstance(raw, dict) else path
            yield from self._object(module, name, kwargs, below)

    def _object(
        self,
        module: _Module,
        name: str,
        kwargs: Any,
        path: KeyPath,
        *,
        first: tuple[Any, ...] = (),
        arguments_at: KeyPath | None = None,
    ) -> Iterator[Finding]:
        """Check a class and its arguments: `first` is a positional one, `kwargs` stand below `path` by default."""
        known = module.find(name)
        if known is None:
            yield _unknown_name(module, name, path)
            return
        accepted, below = module.classes[known], path if arguments_at is None else arguments_at
        if not isinstance(kwargs, dict):
            return
        for key, value in kwargs.items():
            if key in accepted:
                yield from self._value(module, key, accepted[key], value, (*below, key))
            else:
                message = f"{known} takes no argument `{key}`"
                help_ = suggestion(key, accepted, "It takes", most=_MOST)
                yield Finding(message=message, path=(*below, key), at="key", code=module.arguments, help=help_)
        for key, value in zip(accepted, first, strict=False):
            yield from self._value(module, key, accepted[key], value, path)
        yield from _missing(module, known, {*list(accepted)[: len(first)], *kwargs}, path)

    def _value(self, module: _Module, key: Any, kind: str, value: Any, path: KeyPath) -> Iterator[Finding]:
        """Check the value of an argument: a layer, another object, a text that Keras looks up, or a plain value."""
        kind = kind.removesuffix(REQUIRED)
        name = str(next(iter(value))) if isinstance(value, dict) and len(value) == 1 else None
        if key in LAYER_ARGUMENTS or (module is _LAYERS and kind == "" and name in _LAYERS.classes):
            for place, layer in enumerate(value) if isinstance(value, (list, tuple)) else ((None, value),):
                yield from self.layer(layer, path if place is None else (*path, place))
        elif key in OPTIMIZER_ARGUMENTS:
            yield from self.optimizer(value, path)
        elif key == "optimizer_map":
            yield from self._optimizers(value, path)
        elif isinstance(value, dict):
            inner = _OBJECTS.get(kind) or (_SCHEDULES if module in (_OPTIMIZERS, _SCHEDULES) else None)
            if inner is not None and name is not None and ":" not in name and name != "class_name":
                yield from self._object(inner, name, value[name] or {}, (*path, name))
        elif kind in keras_table()["strings"]:
            if isinstance(value, str) and value not in keras_table()["strings"][kind] and ">" not in value:
                yield self._unknown_text(kind, value, path)
        elif _is_wrong(kind, value):
            expected = {"number": "a number", "flag": "true or false"}[kind]
            message = f"`{key}` is {expected}. Received: {received(value)}"
            yield Finding(message=message, path=path, code=module.arguments, help=_of_none(value))

    def _optimizers(self, value: Any, path: KeyPath) -> Iterator[Finding]:
        """Check the arguments of an OptimizerMap: a default, and in turn a map of patterns to optimizers."""
        for key, inner in value.items() if isinstance(value, dict) else ():
            nested = key == "optimizer_map"
            yield from (self._optimizers if nested else self.optimizer)(inner, (*path, key))

    def _unknown_text(self, kind: str, value: str, path: KeyPath) -> Finding:
        help_ = _of_none(value) or suggestion(value, keras_table()["strings"][kind], "Known are", most=_MOST)
        message = f"no Keras {kind} is called `{value}`"
        return Finding(message=message, path=path, code="GC020", help=help_, certain=not self.registers)


def _unknown_name(module: _Module, name: str, path: KeyPath) -> Finding:
    """Return the finding for a class that Keras does not have, with what was probably meant."""
    written = _WITHOUT_COLON.fullmatch(name)
    if written is not None and module.find(written[1]) is not None:
        help_ = f"write a colon between the name and its arguments: `{written[1]}: {{name: value}}`"
    elif name.endswith(".py"):
        help_ = f"add the name of the class in that file: `{name}:Name`"
    else:
        otherwise = module.own or f"Keras has: {listed(first(list(module.classes), _MOST))}"
        help_ = did_you_mean(name, module.classes, otherwise) or ""
    message = f"no Keras {module.what} is called `{name}`"
    return Finding(message=message, path=path, at=_at(path, name), code="GC020", help=help_)


def _at(path: KeyPath, name: str) -> Literal["key", "value"]:
    """Return where a name stands at `path`: it is a key if it has arguments below it."""
    return "key" if path and path[-1] == name else "value"


def _missing(module: _Module, name: str, given: set[Any], path: KeyPath) -> Iterator[Finding]:
    """Yield a finding for each required argument that is not given, unless one that is given is its misspelling."""
    accepted = module.classes[name]
    meant = {nearest(key, accepted) for key in given - accepted.keys()}
    for key, kind in accepted.items():
        if kind.endswith(REQUIRED) and key not in given and key not in meant:
            help_ = f"add `{key}: ...` to its arguments"
            message = f"{name} needs the argument `{key}`"
            yield Finding(message=message, path=path, at=_at(path, name), code=module.arguments, help=help_)


def _is_wrong(kind: str, value: Any) -> bool:
    """Whether `value` is surely no value of this kind."""
    if isinstance(value, (list, tuple)):
        return kind == "flag" or any(_is_wrong(kind, item) for item in value)
    return isinstance(value, (str, bool)) if kind == "number" else kind == "flag" and isinstance(value, str)


def _of_none(value: Any) -> str | None:
    """Return what to do about Python's None, which is a text in YAML; None for any other value."""
    return "write null, or leave the argument out" if value == "None" else None
