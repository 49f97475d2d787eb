"""A parsed config: the tree of nodes, where each text came from, and the position of any key or value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import yaml

from gradcheck.config.findings import received
from gradcheck.config.yaml import syntax_errors
from gradcheck.config.yaml.reader import Loader
from gradcheck.errors import ConfigErrors, Location, Mistake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck.config.findings import Finding, KeyPath
    from gradcheck.config.yaml.texts import SourceText


@dataclass(frozen=True)
class Document:
    """What one config says. Every mark in the tree carries the name of its source."""

    root: yaml.MappingNode
    sources: Mapping[str, SourceText]
    mistakes: tuple[Mistake, ...] = ()  # those that do not keep the tree from being read

    def data(self) -> dict[Any, Any]:
        """Plain dicts, lists and scalars."""
        built: dict[Any, Any] = Loader("", "").build(self.root)
        return built

    def mistake(self, finding: Finding) -> Mistake:
        """`finding` where it stands in the text."""
        mistake = Mistake(code=finding.code, message=finding.message, help=finding.help)
        return mistake.at(self.locate(finding.path, finding.at) or self._top())

    def locate(self, path: KeyPath, at: Literal["key", "value"] = "value") -> Location | None:
        """The key or value at `path`, or its nearest parent that is written; None where there is none but the file."""
        key: yaml.Node | None = None
        node: yaml.Node = self.root
        for depth, step in enumerate(path):
            entry = _entry(node, step)
            if entry is None:
                inside: Literal["key", "value"] = "key" if isinstance(node, yaml.CollectionNode) else "value"
                return self._place(key, node, inside) if depth else None
            key, node = entry
        return self._place(key, node, at) if path else None

    def _place(self, key: yaml.Node | None, node: yaml.Node, at: Literal["key", "value"]) -> Location:
        empty = isinstance(node, yaml.ScalarNode) and node.start_mark.index == node.end_mark.index
        chosen = key if key is not None and (at == "key" or empty) else node
        return self.sources[chosen.start_mark.name].of_node(chosen)

    def _top(self) -> Location:
        """The file as a whole."""
        return replace(next(iter(self.sources.values())).at(0, 0), excerpt=None)


def _entry(node: yaml.Node, step: Any) -> tuple[yaml.Node | None, yaml.Node] | None:
    """The key (None in a list) and the value that one step of a path leads to."""
    if isinstance(node, yaml.SequenceNode):
        return (None, node.value[step]) if isinstance(step, int) and -1 < step < len(node.value) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    loader = Loader("", "")
    # The last one counts, as in the data: merged keys come first.
    return next(
        ((key, value) for key, value in reversed(node.value) if step in (loader.scalar(key), key.value)),
        None,
    )


def compose(source: SourceText, name: str) -> tuple[yaml.Node | None, tuple[Mistake, ...]]:
    """The tree of one text, whose marks carry `name`, and the mistakes that do not keep it from being read.

    Raises:
        ConfigErrors: if it is not YAML, or larger than a config needs.
    """
    try:
        loader = Loader(source.text[source.offset :], name)
        root = loader.get_single_node()
    except yaml.YAMLError as error:
        raise ConfigErrors([syntax_errors.mistake(error, source)]) from None
    return root, tuple(_duplicate(key, first, source) for key, first in loader.duplicates)


def _duplicate(key: yaml.Node, first: yaml.Node, source: SourceText) -> Mistake:
    return Mistake(
        code="GC006",
        message=f"duplicate key `{key.value}`: the first is in line {first.start_mark.line + 1}",
        help="keep one of them; YAML alone would silently take the last",
    ).at(source.of_node(key))


def read_document(source: SourceText) -> Document:
    """The document of a config file.

    Raises:
        ConfigErrors: if it is not YAML, larger than a config needs, or anything but one mapping.
    """
    name = str(source.path)
    root, mistakes = compose(source, name)
    if root is None:
        help_ = "`gradcheck init` writes a config to begin with"
        raise ConfigErrors([Mistake(code="GC002", message="the file is empty", help=help_).at(source.at(0, 0))])
    if not isinstance(root, yaml.MappingNode):
        message = f"expected a mapping of keys to values. Received: {received(Loader('', '').build(root))}"
        help_ = "a config begins with keys such as `model:`"
        raise ConfigErrors([Mistake(code="GC004", message=message, help=help_).at(source.of_node(root))])
    return Document(root, {name: source}, mistakes)
