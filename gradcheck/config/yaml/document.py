"""A parsed config: the tree of nodes, its source texts, and the position of any key or value."""

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
    """One config. Every mark in the tree carries the name of its source: the file, or a command-line option."""

    root: yaml.MappingNode
    sources: Mapping[str, SourceText]
    mistakes: tuple[Mistake, ...] = ()  # found while parsing, such as duplicate keys

    def data(self) -> dict[Any, Any]:
        """Return the config as plain dicts, lists and scalars."""
        built: dict[Any, Any] = Loader("", "").build(self.root)
        return built

    def mistake(self, finding: Finding) -> Mistake:
        """Return `finding` as a mistake, at its location in the text."""
        mistake = Mistake(code=finding.code, message=finding.message, help=finding.help)
        return mistake.at(self.locate(finding.path, finding.at) or self._top())

    def locate(self, path: KeyPath, at: Literal["key", "value"] = "value") -> Location | None:
        """Return the location of the key or value at `path`, or of its nearest written parent.

        None if even the first key of `path` is absent.
        """
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
        # A null without text (`model:`) has no width to underline: its key is marked instead.
        empty = isinstance(node, yaml.ScalarNode) and node.start_mark.index == node.end_mark.index
        chosen = key if key is not None and (at == "key" or empty) else node
        return self.sources[chosen.start_mark.name].of_node(chosen)

    def _top(self) -> Location:
        """Return the location of the file as a whole."""
        return replace(next(iter(self.sources.values())).at(0, 0), excerpt=None)


def _entry(node: yaml.Node, step: Any) -> tuple[yaml.Node | None, yaml.Node] | None:
    """Return the key (None in a list) and the value at one step of a path; None if there is no such entry."""
    if isinstance(node, yaml.SequenceNode):
        return (None, node.value[step]) if isinstance(step, int) and -1 < step < len(node.value) else None
    if not isinstance(node, yaml.MappingNode):
        return None
    loader = Loader("", "")
    # The last entry of a key wins, as in `Loader.build`: keys merged by `<<` stand before those that replace them.
    return next(
        ((key, value) for key, value in reversed(node.value) if step in (loader.scalar(key), key.value)),
        None,
    )


def compose(source: SourceText, name: str) -> tuple[yaml.Node | None, tuple[Mistake, ...]]:
    """Return the tree of one text, whose marks carry `name`, and the mistakes in spite of which it could be read.

    Raises:
        ConfigErrors: if it is not YAML (GC002), or larger than a config needs (GC009).
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
    """Parse the text of a config file.

    Raises:
        ConfigErrors: if it is empty or not YAML (GC002), larger than a config needs (GC009), or no mapping (GC004).
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
