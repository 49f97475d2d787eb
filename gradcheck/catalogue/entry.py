"""What a code stands for, in words that hold without the report they appear in, and reading those words."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

#: libyaml reads the texts ten times faster than Python, where PyYAML was built with it.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One code of the catalogue.

    Args:
        code: `GC` and three digits.
        title: a few words, as reports show them.
        explanation: what it is and how it shows. Names of code stand in backticks; there is no other markup.
        causes: what usually leads to it, one phrase each.
        fix: what to do, in a sentence or two.
        example: correct TensorFlow code, where code is the fix.
    """

    code: str
    title: str
    explanation: str
    causes: tuple[str, ...] = ()
    fix: str
    example: str | None = None


def sections() -> dict[str, tuple[Entry, ...]]:
    """The entries of every YAML file of this folder by the file's section, in the order of their codes."""
    folder = files("gradcheck.catalogue")
    texts = [file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".yaml")]
    found = [yaml.load(text, _LOADER) for text in texts]  # noqa: S506 - a safe loader, and texts of our own
    ordered = sorted(found, key=lambda group: min(group["entries"]))
    return {group["section"]: tuple(map(_entry, group["entries"].items())) for group in ordered}


def _entry(item: tuple[str, dict[str, Any]]) -> Entry:
    code, texts = item
    return Entry(code=code, **{**texts, "causes": tuple(texts.get("causes", ()))})
