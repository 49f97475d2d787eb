"""PyYAML's errors in plain words, at the place to correct."""

from __future__ import annotations

import yaml
from yaml.reader import ReaderError

from gradcheck.config.yaml.reader import TooLargeError
from gradcheck.config.yaml.texts import SourceText
from gradcheck.errors import Location, Mistake

#: (part of the problem, part of the context, message, help); the first match is taken.
_WORDS: tuple[tuple[str, str, str, str | None], ...] = (
    ("character '\\t'", "", "a tab stands where YAML allows spaces only", "indent with spaces"),
    (
        "mapping values are not allowed here",
        "",
        "a `key: value` cannot begin here",
        "check the indentation, and quote a text that has `: ` in it",
    ),
    ("unexpected end of stream", "quoted scalar", "this quote is never closed", "close it with the same quote"),
    ("unexpected document separator", "quoted scalar", "this quote is never closed", "close it with the same quote"),
    ("expected ',' or ']'", "", "this `[` is not closed, or a comma is missing after an item", None),
    ("expected ',' or '}'", "", "this `{` is not closed, or a comma is missing after an entry", None),
    ("but found another document", "", "a second document begins here", "put each config in a file of its own"),
    ("found undefined alias", "", "this alias has no anchor above it", "define it above with `&name`"),
    ("found duplicate anchor", "", "this anchor is defined twice", "give each anchor a name of its own"),
    ("could not find expected ':'", "", "expected `key: value`: the colon is missing", None),
    (
        "expected <block end>",
        "block mapping",
        "the indentation fits nothing above",
        "indent keys of one mapping by the same number of spaces",
    ),
    (
        "expected <block end>",
        "block collection",
        "the indentation fits nothing above",
        "begin each item of a list with `- ` in the same column",
    ),
    ("cannot start any token", "", "this character cannot begin a value", "put the value in quotes"),
    ("unknown escape character", "", "unknown escape in double quotes", "use single quotes, or write \\\\ for \\"),
    (
        "block sequence entries are not allowed here",
        "",
        "a list item cannot begin here",
        "begin the list on a new line",
    ),
)
#: Contexts of an unclosed quote or bracket: its beginning is the place to correct, not the end of the text.
_AT_CONTEXT = ("quoted scalar", "flow sequence", "flow mapping", "simple key")


def mistake(error: yaml.YAMLError, source: SourceText) -> Mistake:
    """Return PyYAML's error in `source` as one mistake with its location."""
    if isinstance(error, ReaderError):
        return _forbidden_character(error, source)
    if not isinstance(error, yaml.MarkedYAMLError):
        return Mistake(code="GC002", message=str(error)).at(source.at(0, 0))
    message, advice = _words(error)
    code = "GC009" if isinstance(error, TooLargeError) else "GC002"
    return Mistake(code=code, message=message, help=advice).at(_location(error, source))


def _words(error: yaml.MarkedYAMLError) -> tuple[str, str | None]:
    problem, context = error.problem or "", error.context or ""
    for part, inside, message, advice in _WORDS:
        if part in problem and inside in context:
            return message, advice
    return problem or context, None


def _location(error: yaml.MarkedYAMLError, source: SourceText) -> Location | None:
    unclosed = error.context_mark is not None and any(part in (error.context or "") for part in _AT_CONTEXT)
    mark = error.context_mark if unclosed else error.problem_mark or error.context_mark
    return None if mark is None else source.of_mark(mark)


def _forbidden_character(error: ReaderError, source: SourceText) -> Mistake:
    """Return the mistake for a control character, which YAML does not allow."""
    position = error.position if isinstance(error.position, int) else 0
    before = SourceText(source.path, source.text[source.offset :][:position]).lines
    character = error.character if isinstance(error.character, int) else ord(str(error.character))
    message = f"the character U+{character:04X} cannot stand in YAML"
    location = source.at(len(before) - 1, len(before[-1]))
    return Mistake(code="GC002", message=message, help="remove it").at(location)
