"""The explanation of a code, which holds for every report, and reading all of them from YAML."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

#: libyaml, if PyYAML was built with it, reads the texts ten times faster.
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One code of the catalogue.

    Args:
        code: `GC` and three digits.
        title: a few words, shown in reports.
        explanation: the mistake and how it shows. Names of code are in backticks; there is no other markup.
        causes: the usual causes, one phrase each.
        fix: what to do, in a sentence or two.
        example: correct TensorFlow code, if the fix is in code; otherwise None.
    """

    code: str
    title: str
    explanation: str
    causes: tuple[str, ...] = ()
    fix: str
    example: str | None = None


def sections() -> dict[str, tuple[Entry, ...]]:
    """Read the entries of every YAML file in this folder, by the section that the file names, in the order of codes."""
    folder = files("gradcheck.catalogue")
    texts = [file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".yaml")]
    found = [yaml.load(text, _LOADER) for text in texts]  # noqa: S506 - a safe loader, and texts of our own
    ordered = sorted(found, key=lambda group: min(group["entries"]))
    return {group["section"]: tuple(map(_entry, group["entries"].items())) for group in ordered}


def _entry(item: tuple[str, dict[str, Any]]) -> Entry:
    code, texts = item
    return Entry(code=code, **{**texts, "causes": tuple(texts.get("causes", ()))})
