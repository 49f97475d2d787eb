"""The pages of the documentation: their files, commands and samples."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
#: Every page by its path: the README, and what lies in docs/.
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
}
README = PAGES["README.md"]
_SAVED_FILES = ("model.keras", "trained.weights.h5", "losses.py", "data.py")
_MENTIONED = "def make(): ...\n\ndef physics(): ...\n\ndef batch(): ...\n\nclass MyLayer: ...\n"
#: A key of the config with a value, as tables write it.
_SNIPPET = re.compile(r"`((?:model|split|loss|data|tolerance): [^`]+)`")
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"\s+# exit code (\d+)$")


@dataclass(frozen=True)
class Command:
    """A line of a shell example: the words after `gradcheck`, its exit code, and what a page says that it prints."""

    words: tuple[str, ...]
    code: int
    sample: str = ""


def blocks(language: str, page: str) -> list[str]:
    """The fenced blocks of one language."""
    return [text for found, text in _FENCE.findall(page) if found == language]


def file_name(block: str) -> str:
    """What the comment in a block's first line says; empty for a block that is no file."""
    found = re.match(r"# (\S+\.\w+)\n", block)
    return found[1] if found else ""


def files(language: str, page: str) -> dict[str, str]:
    return {file_name(block): block for block in blocks(language, page) if file_name(block)}


def snippets(page: str) -> list[str]:
    return [snippet for snippet in _SNIPPET.findall(page) if "..." not in snippet]


def commands(page: str) -> list[Command]:
    """The `gradcheck` lines of the shell examples; a text block right after one is what its last line prints."""
    fences = _FENCE.findall(page)
    found = []
    for index, (language, text) in enumerate(fences):
        if language != "bash":
            continue
        following = fences[index + 1] if index + 1 < len(fences) else ("", "")
        lines = text.strip().splitlines()
        for line in lines:
            code = _EXIT.search(line)
            program, *words = shlex.split(_EXIT.sub("", line).removesuffix(" &"))
            if program == "gradcheck":
                sample = following[1] if following[0] == "text" and line == lines[-1] else ""
                found.append(Command(tuple(words), int(code[1]) if code else 0, sample))
    return found


def write_files(page: str, folder: Path) -> None:
    """Write the page's files beside each other, and empty ones in place of what tables only mention."""
    for name in _SAVED_FILES:
        (folder / name).write_text(_MENTIONED, encoding="utf-8")
    (folder / "layers.py").write_text("class MyLayer: ...\n", encoding="utf-8")
    (folder / "photos").mkdir()
    np.savez(folder / "batch.npz", x=np.zeros(1))
    for name, text in {**files("yaml", page), **files("python", page)}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def section(marker: str, end: str, page: str) -> str:
    """The text block between two comments."""
    found = re.search(rf"<!-- {marker} -->\n```text\n(.*?)```\n<!-- {end} -->", page, re.DOTALL)
    assert found is not None
    return found[1]


def not_printed(shown: str, output: str) -> list[str]:
    """The lines of a sample that a command did not print."""
    printed = set(without_figures(output))
    return [line for line in without_figures(shown) if line not in printed]


def without_figures(text: str) -> Iterator[str]:
    """The lines with every figure that rounding or the clock moves replaced; names, shapes and counts stay."""
    text = re.sub(r", verified to .*", "", text)  # where the clock allows it
    text = re.sub(r"\(worst: [^,\n]+, max rel \S+e-(0[6-9]|[1-9]\d)\)", "(worst: by rounding)", text)  # any of them
    for line in text.splitlines():
        yield " ".join(re.sub(r"(?<=[ ])-?\d+(\.\d+)?(e[+-]\d+)?s?(?=[ ,)]|$)", "#", line).split())
