"""Values from the command line that replace those of a config: `--set KEY=VALUE`, and options for single keys."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from gradcheck.config.sections.methods import ALL, DEFAULT, MethodConfig
from gradcheck.config.yaml.document import Document, compose
from gradcheck.config.yaml.reader import Loader
from gradcheck.config.yaml.texts import SourceText
from gradcheck.errors import ConfigErrors, Mistake

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_STEP = re.compile(r"""(?P<quote>["'])(?P<quoted>.*?)(?P=quote)|(?P<bare>[^."'=\s][^.=]*)""")


@dataclass(frozen=True)
class GivenValue:
    """One value from the command line.

    Attributes:
        argument: the text after the option.
        option: the option as the user wrote it.
        key: the dotted key, if the argument is the value alone; None if the argument is `KEY=VALUE`.
    """

    argument: str
    option: str = "--set"
    key: str | None = None

    @property
    def source(self) -> SourceText:
        """The argument as a source text, so that a mistake in it has a location."""
        return SourceText(Path(self.option), self.argument)


@dataclass(frozen=True)
class _Step:
    """One part of a dotted key, and its place in the argument."""

    text: str
    column: int
    length: int


def option_overrides(
    *,
    seed: str | None = None,
    rtol: str | None = None,
    atol: str | None = None,
    precision: str | None = None,
    execution: str | None = None,
    verify_reference: str | None = None,
) -> tuple[GivenValue, ...]:
    """Return the given options of `gradcheck run` that each set a single key; None stands for an option not given."""
    given = {
        "--seed": (seed, "seed"),
        "--rtol": (rtol, "tolerance.rtol"),
        "--atol": (atol, "tolerance.atol"),
        "--precision": (precision, "precision"),
        "--execution": (execution, "execution"),
        "--verify-reference": (verify_reference, "verify_reference"),
    }
    return tuple(GivenValue(value, option, key) for option, (value, key) in given.items() if value is not None)


def overridden(
    document: Document,
    overrides: Sequence[str | GivenValue],
    methods: Sequence[str] = (),
    against: Sequence[str] = (),
) -> Document:
    """Return the document with each value replaced, in order; `methods`, if any, replace the config's list.

    The engines of `against` are added to it.

    Mistakes in an argument are added to those of the document; such an argument changes nothing.
    """
    for given in overrides:
        override = GivenValue(given) if isinstance(given, str) else given
        try:
            document = _with_override(document, override)
        except ConfigErrors as error:
            document = replace(document, mistakes=(*document.mistakes, *error.mistakes))
    document = _with_methods(document, methods) if methods else document
    return _with_engines(document, against) if against else document


def _with_override(document: Document, override: GivenValue) -> Document:
    """Return the document with one value replaced.

    Raises:
        ConfigErrors: if the argument cannot be parsed, or its key leads into a single value or past the end of a list.
    """
    steps, offset = _steps(override)
    name = f"{override.option} {override.argument}"
    value_source = SourceText(override.source.path, override.argument, offset)
    value, mistakes = compose(value_source, name)
    if value is None:
        value = _scalar("", Loader.DEFAULT_SCALAR_TAG.replace("str", "null"), name, 0, 0)
    root = _replaced(document.root, steps, value, f"key of {name}", override.source)
    if not isinstance(root, yaml.MappingNode):  # the whole config is never replaced: there is at least one step
        raise TypeError(root)
    sources = {**document.sources, name: value_source, f"key of {name}": override.source}
    return Document(root, sources, (*document.mistakes, *mistakes))


def _steps(override: GivenValue) -> tuple[list[_Step], int]:
    """Return the parts of the dotted key, and the offset of the value in the argument."""
    if override.key is not None:
        return [_Step(text, 0, len(override.argument)) for text in override.key.split(".")], 0
    argument, steps, position = override.argument, [], 0
    while (found := _STEP.match(argument, position)) is not None:
        text = found["quoted"] if found["quote"] else found["bare"].rstrip()
        steps.append(_Step(text, found.start(), len(found[0].rstrip())))
        position = found.end()
        if argument[position : position + 1] == "=":
            return steps, position + 1
        if argument[position : position + 1] != ".":
            break
        position += 1
    message = f"expected KEY=VALUE. Received: {argument}"
    mistake = Mistake(code="GC010", message=message, help="for example --set data.batch_size=8")
    raise ConfigErrors([mistake.at(override.source.at(0, position))])


def _replaced(node: yaml.Node, steps: Sequence[_Step], value: yaml.Node, name: str, source: SourceText) -> yaml.Node:
    """Return a copy of the tree from `node` down the steps, with `value` at their end.

    A copy, because an anchor's node is shared: its other uses must stay as they are.
    """
    step, rest = steps[0], steps[1:]
    if isinstance(node, yaml.SequenceNode):
        index = _index(node, step, source)
        inner = _replaced(node.value[index], rest, value, name, source) if rest else value
        items = [*node.value[:index], inner, *node.value[index + 1 :]]
        return yaml.SequenceNode(node.tag, items, node.start_mark, node.end_mark, node.flow_style)
    entries = _entries(node, step, source)
    key, old = next(((key, old) for key, old in reversed(entries) if key.value == step.text), (None, None))
    if rest:
        inner = _replaced(_EMPTY if old is None else old, rest, value, name, source)
    else:
        key, inner = None, value
    if key is None:
        key = _scalar(step.text, Loader.DEFAULT_SCALAR_TAG, name, step.column, step.length)
    others = [entry for entry in entries if entry[0].value != step.text]
    marks = (inner.start_mark, inner.end_mark) if node is _EMPTY else (node.start_mark, node.end_mark)
    return yaml.MappingNode(Loader.DEFAULT_MAPPING_TAG, [*others, (key, inner)], *marks)


_EMPTY = yaml.MappingNode(Loader.DEFAULT_MAPPING_TAG, [])


def _entries(node: yaml.Node, step: _Step, source: SourceText) -> list[tuple[yaml.Node, yaml.Node]]:
    """Return the entries of a mapping; an empty list for null."""
    if isinstance(node, yaml.MappingNode):
        return list(node.value)
    if node.tag.endswith(":null"):
        return []
    message = f"there is no `{step.text}` in the single value `{node.value}`"
    raise _misled(message, step, source, "set the whole value in place of it")


def _index(node: yaml.SequenceNode, step: _Step, source: SourceText) -> int:
    count = len(node.value)
    if step.text.isascii() and step.text.isdigit() and int(step.text[:9]) < count:
        return int(step.text)
    raise _misled(
        f"there is no item `{step.text}` in a list of {count}", step, source, f"items count from 0 to {count - 1}"
    )


def _misled(message: str, step: _Step, source: SourceText, advice: str) -> ConfigErrors:
    location = source.at(0, step.column, step.length)
    return ConfigErrors([Mistake(code="GC003", message=message, help=advice).at(location)])


def _scalar(text: str, tag: str, name: str, column: int, length: int) -> yaml.ScalarNode:
    """Return a scalar node with marks at `column` of the argument."""
    start, end = (yaml.Mark(name, at, 0, at, None, 0) for at in (column, column + length))
    return yaml.ScalarNode(tag, text, start, end)


def _with_methods(document: Document, methods: Sequence[str]) -> Document:
    """Replace the config's list of methods. A method that the file lists, by method or label, keeps its options."""
    entries = _written(document)
    labels = {label: entry for entry in reversed(entries) for label in _labels(entry)}
    names = [f"--method {name}" for name in methods]
    given = [labels.get(name) or _named(name, option) for name, option in zip(methods, names, strict=True)]
    # `all` stands beside the file's own that train, which keep their options.
    items = [*filter(_trains, entries), *given] if ALL in methods else given
    return _with_list(document, items, dict(zip(names, methods, strict=True)))


def _with_engines(document: Document, engines: Sequence[str]) -> Document:
    """Add the methods of other engines to the config's list, those that it does not have yet."""
    names = {f"--against {engine}": engine for engine in engines}
    entries = _written(document) or [_named(DEFAULT, next(iter(names)))]
    known = {label for entry in entries for label in _labels(entry)}
    items = [*entries, *(_named(engine, option) for option, engine in names.items() if engine not in known)]
    return _with_list(document, items, names)


def _written(document: Document) -> list[yaml.Node]:
    """Return the entries of the config's list of methods; a single word, such as `all`, is one."""
    written = next((value for key, value in document.root.value if key.value == "methods"), None)
    if isinstance(written, yaml.SequenceNode):
        return list(written.value)
    return [written] if isinstance(written, yaml.ScalarNode) and written.value else []


def _named(method: str, option: str) -> yaml.ScalarNode:
    return _scalar(method, Loader.DEFAULT_SCALAR_TAG, option, 0, len(method))


def _with_list(document: Document, items: Sequence[yaml.Node], options: Mapping[str, str]) -> Document:
    """Replace the config's list of methods by `items`; `options` are those that name some of them, with the text."""
    sources = {option: SourceText(Path(option.partition(" ")[0]), text) for option, text in options.items()}
    others = [entry for entry in document.root.value if entry[0].value != "methods"]
    name = next(iter(options))
    key = _scalar("methods", Loader.DEFAULT_SCALAR_TAG, name, 0, len(options[name]))
    sequence = yaml.SequenceNode(Loader.DEFAULT_SEQUENCE_TAG, list(items), items[0].start_mark, items[-1].end_mark)
    root = yaml.MappingNode(
        document.root.tag, [*others, (key, sequence)], document.root.start_mark, document.root.end_mark
    )
    return Document(root, {**document.sources, **sources}, document.mistakes)


def _labels(entry: yaml.Node) -> set[str]:
    """Return the names by which `--method` can select an entry of the file; for an invalid one its key, if single."""
    raw: Any = Loader("", "").build(entry)
    if isinstance(raw, str):
        return {raw}
    method = _method(raw)
    if method is None:
        return set(raw) if isinstance(raw, dict) and len(raw) == 1 else set()
    return {method.method, method.label}


def _trains(entry: yaml.Node) -> bool:
    """Whether an entry of the file can be trained; a wrong one stays, to be reported."""
    method = _method(Loader("", "").build(entry))
    return method is None or method.info.trains


def _method(raw: Any) -> MethodConfig | None:
    try:
        return MethodConfig.model_validate(raw)
    except ValidationError:
        return None
