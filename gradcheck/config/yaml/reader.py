"""YAML text to a tree of nodes with their positions, limited in size before any data is built from it.

PyYAML's rules (YAML 1.1) with these differences: `1e-5` is a number; times such as `1:30` and dates are strings; a
duplicate key is an error; tags other than those of plain data are refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from yaml.nodes import Node

#: The largest number of nodes of a config, each alias counted as the nodes that it names, and their largest depth.
MAX_NODES = 200_000
MAX_DEPTH = 60

_TAG = "tag:yaml.org,2002:"
_SCALARS = frozenset(_TAG + name for name in ("str", "int", "float", "bool", "null", "merge"))
_TAGS: dict[type[yaml.Node], frozenset[str]] = {
    yaml.MappingNode: frozenset({_TAG + "map"}),
    yaml.SequenceNode: frozenset({_TAG + "seq"}),
    yaml.ScalarNode: _SCALARS,
}
_REPLACED = frozenset(_TAG + name for name in ("int", "float", "timestamp", "value"))
_INT = re.compile(r"^[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$")
_FLOAT = re.compile(
    r"""^(?:[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?
      |\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?
      |[0-9][0-9_]*[eE][-+]?[0-9]+
      |\.(?:inf|Inf|INF))
      |\.(?:nan|NaN|NAN))$""",
    re.VERBOSE,
)


class TooLargeError(yaml.MarkedYAMLError):
    """The text is valid YAML, but larger than a config needs."""


class Loader(yaml.SafeLoader):
    """Compose nodes, and check each as it is composed.

    Attributes:
        duplicates: the keys that are repeated in one mapping, each with the node of the first.
    """

    def __init__(self, text: str, name: str) -> None:
        super().__init__(text)
        self.name = name  # every mark carries it
        self.duplicates: list[tuple[yaml.Node, yaml.Node]] = []
        self._extents: dict[yaml.Node, tuple[int, int]] = {}  # nodes below and depth, aliases expanded
        self._depth = 0

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Compose one node, within the limits of size and depth.

        Raises:
            TooLargeError: beyond these limits.
            MarkedYAMLError: for keys and tags that a config cannot have.
        """
        event = self.peek_event()  # type: ignore[no-untyped-call]  # types-PyYAML leaves the parser untyped
        if self._depth > MAX_DEPTH:
            raise TooLargeError(None, None, f"nested more than {MAX_DEPTH} deep", event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        if node is None or isinstance(event, yaml.AliasEvent):
            if node not in self._extents:
                # A node is measured when it is complete: this alias is inside the node that it names.
                raise yaml.MarkedYAMLError(None, None, "an alias stands inside what it names", event.start_mark)
            return node
        self._check(node)
        self._measure(node)
        # Only now: keys merged by `<<` may be replaced in the mapping, which is no duplicate.
        if isinstance(node, yaml.MappingNode):
            self.flatten_mapping(node)
        return node

    def _check(self, node: yaml.Node) -> None:
        """Refuse tags, keys and scalars that a config cannot have; collect duplicate keys."""
        if node.tag not in _TAGS[type(node)]:
            raise yaml.MarkedYAMLError(None, None, f"the tag {node.tag} is not supported", node.start_mark)
        if isinstance(node, yaml.ScalarNode):
            self.scalar(node)
        if isinstance(node, yaml.MappingNode):
            seen: dict[tuple[str, Any], yaml.Node] = {}
            for key, _ in node.value:
                first = seen.setdefault((key.tag, self.scalar(key)), key)
                if first is not key and key.tag != _TAG + "merge":
                    self.duplicates.append((key, first))

    def _measure(self, node: yaml.Node) -> None:
        """Limit the size of the node with its aliases expanded: a short text can expand to billions of nodes."""
        below = children(node)
        extents = [self._extents[child] for child in below]
        size, depth = 1 + sum(extent[0] for extent in extents), 1 + max((extent[1] for extent in extents), default=0)
        if size > MAX_NODES or depth > MAX_DEPTH or len(self._extents) > MAX_NODES:
            what = f"more than {MAX_NODES} values" if depth <= MAX_DEPTH else f"nested more than {MAX_DEPTH} deep"
            raise TooLargeError(None, None, f"{what}, aliases counted as what they name", node.start_mark)
        self._extents[node] = (size, depth)

    def scalar(self, node: yaml.Node) -> Any:
        """Return the value of a scalar node.

        Raises:
            MarkedYAMLError: if the node is no scalar, or its tag does not allow its text.
        """
        if not isinstance(node, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(None, None, "a key must be a single text", node.start_mark)
        if node.tag == _TAG + "merge":
            return node.value
        try:
            return self.construct_object(node)
        except (ValueError, LookupError) as error:
            what = f"`{node.value[:40]}` cannot be read as {node.tag.removeprefix(_TAG)}"
            raise yaml.MarkedYAMLError(None, None, what, node.start_mark) from error

    def build(self, node: yaml.Node) -> Any:
        """Return plain dicts, lists and scalars; the uses of an alias share no object."""
        if isinstance(node, yaml.MappingNode):
            return {self.scalar(key): self.build(value) for key, value in node.value}
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item) for item in node.value]
        return self.scalar(node)


# PyYAML takes `1e-5` for a string and `1:30` for 90, in base 60.
Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver(_TAG + "int", _INT, list("-+0123456789"))
Loader.add_implicit_resolver(_TAG + "float", _FLOAT, list("-+0123456789."))


def children(node: yaml.Node) -> list[yaml.Node]:
    """Return the nodes directly below `node`, keys included."""
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
