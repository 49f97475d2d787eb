"""What goes wrong in a config: in its data, in the tree of its YAML, and in its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Change = Callable[[st.DrawFn, yaml.Node], None]

#: Values of other kinds than any key takes.
ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    2**31,
    10**40,
    1e-300,
    1e308,
    float("nan"),
    float("inf"),
    -0.0,
    "",
    " ",
    "é日本\U0001f600",
    "\u202e\u2028\x7f\x1b[31m\x85",
    "x" * 300,
    "../..",
    "a:b:c",
    "./missing.py:f",
    "*",
    "{}",
    "[",
    "${HOME}",
    [],
    {},
    [[]],
    [None],
    {"": None},
    {"a": {"b": [1]}},
    [1, "a", 2.5],
]
#: Values that a small model may have, here or elsewhere.
USUAL: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    7,
    0.5,
    -0.5,
    1e-3,
    float("nan"),
    float("inf"),
    "",
    "é",
    "relu",
    "same",
]
USUAL += ["x0", "l0", "l1:1", "Dense", "vjp", "uniform", [], {}, [1], [2, 2], [None], ["l0"], {"a": 1}]
#: Scalars as they can be written, tags and all.
WRITTEN = [
    "~",
    "yes",
    "0o17",
    "0x1F",
    "0b1",
    "1_000",
    "1:30",
    "2001-01-01",
    ".5",
    "1e5",
    "1e999",
    "+.inf",
    "=",
    "<<",
    "!!python/object:os.system x",
    "!!binary aGk=",
    "!!int x",
    "!!float x",
    "!!null x",
    "!!set {a}",
    "!own x",
    "&a a",
    "*a",
    "*missing",
    "? a",
    "- a",
    "'a",
    '"\\x"',
    '"\\ud800"',
    "|\n  a",
    ">-\n  a",
    "@a",
    "`a",
    "%a",
    "# a",
    "{a: 1, a: 2}",
    "[1, 2",
    "}",
]
PIECES = [
    "\t",
    "\r",
    "\n",
    " ",
    "'",
    '"',
    ":",
    ": ",
    "- ",
    "&",
    "*",
    "#",
    "{",
    "]",
    ",",
    "!",
    "|",
    ">",
    "%",
    "@",
    "<<: ",
]
PIECES += ["---\n", "...\n", "\x00", "\x07", "\x1b", "\x7f", "\x85", "\u2028", "\ufeff", "\ufffe", "é", "\U0001f600"]
RAW = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00", b"\xfe\xff", b"\xf0\x9f", b"\x80"]

places = st.integers(0, 2**20)


@st.composite
def changed(draw: st.DrawFn, configs: st.SearchStrategy[Any]) -> bytes:
    """The text of a config with one or two usual values where others belong, keys dropped, doubled or misspelt."""
    root = yaml.SafeDumper("").represent_data(draw(configs))
    for change in draw(st.lists(st.sampled_from(USUAL_CHANGES), min_size=1, max_size=2)):
        change(draw, root)
    return written(root, flow=None).encode()


@st.composite
def texts(draw: st.DrawFn, configs: st.SearchStrategy[Any]) -> bytes:
    """The text of a config: as it is, or with up to four things wrong with it."""
    root = yaml.SafeDumper("").represent_data(draw(configs))
    for change in draw(st.lists(st.sampled_from(CHANGES), max_size=2)):
        change(draw, root)
    text = written(root, flow=draw(st.sampled_from([False, None, True])))
    for _ in range(draw(st.integers(0, 2)) if draw(st.booleans()) else 0):
        text = draw(_damaged(text))
    content = text.encode()
    if draw(st.integers(0, 9)) == 9:
        at = draw(places) % (len(content) + 1)
        content = content[:at] + draw(st.sampled_from(RAW)) + content[at + draw(st.integers(0, 1)) :]
    return content


def written(root: yaml.Node, *, flow: bool | None) -> str:
    """A tree as text, in blocks, in brackets, or both."""
    for node in _nodes(root):
        if isinstance(node, yaml.CollectionNode):
            node.flow_style = flow if flow is not None else node is not root
    return str(yaml.serialize(root, allow_unicode=True, width=100))


@st.composite
def _damaged(draw: st.DrawFn, text: str) -> str:
    """The text with a piece deleted, doubled, or another one in its place."""
    start = draw(places) % (len(text) + 1)
    stop = start + draw(st.integers(0, 8))
    piece = draw(st.sampled_from(["", text[start:stop] * 2, *PIECES, *WRITTEN]))
    return text[:start] + piece + text[stop:]


def _nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Every node below, each once."""
    seen, to_do = set[int](), [root]
    while to_do:
        node = to_do.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        if isinstance(node, yaml.MappingNode):
            to_do += [child for pair in node.value for child in pair]
        elif isinstance(node, yaml.SequenceNode):
            to_do += node.value


def _slots(root: yaml.Node) -> list[tuple[list[Any], int]]:
    """Where a value can be put: a list of pairs or of items, and an index in it."""
    collections = [node for node in _nodes(root) if isinstance(node, yaml.CollectionNode)]
    return [(node.value, index) for node in collections for index in range(len(node.value))]


def _put(slot: tuple[list[Any], int], node: yaml.Node) -> None:
    values, index = slot
    values[index] = (values[index][0], node) if isinstance(values[index], tuple) else node


def _value(slot: tuple[list[Any], int]) -> yaml.Node:
    found = slot[0][slot[1]]
    value: yaml.Node = found[1] if isinstance(found, tuple) else found
    return value


def _a_slot(draw: st.DrawFn, root: yaml.Node, *, keyed: bool = False) -> tuple[list[Any], int] | None:
    slots = [slot for slot in _slots(root) if not keyed or isinstance(slot[0][slot[1]], tuple)]
    return slots[draw(places) % len(slots)] if slots else None


def another_value(draw: st.DrawFn, root: yaml.Node) -> None:
    """A value of another kind."""
    if slot := _a_slot(draw, root):
        _put(slot, yaml.SafeDumper("").represent_data(draw(st.sampled_from(ODD))))


def usual_value(draw: st.DrawFn, root: yaml.Node) -> None:
    """A value that is right elsewhere."""
    if slot := _a_slot(draw, root):
        _put(slot, yaml.SafeDumper("").represent_data(draw(st.sampled_from(USUAL))))


def misspelt(draw: st.DrawFn, root: yaml.Node) -> None:
    """A key with a letter too many, too few, or another."""
    if slot := _a_slot(draw, root, keyed=True):
        (values, index), key = slot, slot[0][slot[1]][0]
        if isinstance(key, yaml.ScalarNode):
            at = draw(places) % (len(key.value) + 1)
            spelt = key.value[:at] + draw(st.sampled_from(["", "e", "é", "\x1b", " "])) + key.value[at + 1 :]
            values[index] = (yaml.ScalarNode(key.tag, spelt), values[index][1])


def dropped(draw: st.DrawFn, root: yaml.Node) -> None:
    """A key, or an item, that is not there."""
    if slot := _a_slot(draw, root):
        del slot[0][slot[1]]


def doubled(draw: st.DrawFn, root: yaml.Node) -> None:
    """A key, or an item, that is there twice."""
    if slot := _a_slot(draw, root):
        slot[0].append(slot[0][slot[1]])


def other_key(draw: st.DrawFn, root: yaml.Node) -> None:
    """A key that is no text."""
    if slot := _a_slot(draw, root, keyed=True):
        key = yaml.SafeDumper("").represent_data(draw(st.sampled_from(ODD)))
        slot[0][slot[1]] = (key, slot[0][slot[1]][1])


def aliased(draw: st.DrawFn, root: yaml.Node) -> None:
    """An alias of any other node, perhaps of one that it stands in."""
    one, other = _a_slot(draw, root), _a_slot(draw, root)
    if one and other:
        _put(one, draw(st.sampled_from([_value(other), root])))


def merged(draw: st.DrawFn, root: yaml.Node) -> None:
    """A merge of another node, a mapping or not."""
    mappings = [node for node in _nodes(root) if isinstance(node, yaml.MappingNode)]
    other = _a_slot(draw, root)
    if other:
        into = mappings[draw(places) % len(mappings)]
        into.value.insert(0, (yaml.ScalarNode("tag:yaml.org,2002:merge", "<<"), _value(other)))


def nested(draw: st.DrawFn, root: yaml.Node) -> None:
    """A value far down."""
    if slot := _a_slot(draw, root):
        node = _value(slot)
        for _ in range(draw(st.sampled_from([1, 5, 59, 70, 150]))):
            node = yaml.SequenceNode("tag:yaml.org,2002:seq", [node])
        _put(slot, node)


CHANGES: list[Change] = [another_value, misspelt, dropped, doubled, other_key, aliased, merged, nested]
USUAL_CHANGES: list[Change] = [usual_value, usual_value, usual_value, misspelt, dropped, doubled, aliased]
