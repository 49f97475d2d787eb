"""The search for config files in the paths of a command line."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gradcheck.config.load import MAX_SIZE, read_text
from gradcheck.config.yaml.document import read_document
from gradcheck.config.yaml.texts import SourceText
from gradcheck.errors import ConfigErrors, Location, Mistake
from gradcheck.phrases import nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SUFFIXES = frozenset({".yaml", ".yml"})
_MODEL_LINE = re.compile(r"^model\s*:", re.MULTILINE)


def discover(paths: Iterable[Path]) -> list[Path]:
    """Return each file of `paths`, and for each folder the configs below it, without hidden ones; each file once.

    Raises:
        ConfigErrors: for every path that does not exist (GC001) or is a folder without configs (GC008).
    """
    found: dict[Path, Path] = {}  # by resolved path: a link and its target count once
    mistakes: list[Mistake] = []
    for path in paths:
        configs = sorted(_configs_below(path)) if path.is_dir() else [path]
        if not path.exists():
            mistakes.append(_missing(path))
        elif not configs:
            mistakes.append(_no_configs(path))
        for config in configs:
            found.setdefault(config.resolve(), config)
    if mistakes:
        raise ConfigErrors(mistakes)
    return list(found.values())


def _configs_below(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            path = Path(parent, name)
            # A pipe would be waited for.
            wanted = path.suffix.lower() in _SUFFIXES and not name.startswith(".") and path.is_file()
            if wanted and is_config(path):
                yield path


def is_config(path: Path) -> bool:
    """Whether a YAML file has a top-level `model:` key, or is invalid and has a line that begins with one.

    A file that cannot be opened may be a config: reading it will give the reason.
    """
    try:
        text = read_text(path)
        if "model" not in text:  # parsing every other YAML file of a large folder would take long
            return False
        document = read_document(SourceText(path, text))
    except ConfigErrors:
        # A config with a syntax error must be reported as such, not skipped as some other YAML file.
        return bool(_MODEL_LINE.search(_beginning(path)))
    return any(key.value == "model" for key, _ in document.root.value)


def _beginning(path: Path) -> str:
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(MAX_SIZE)
    except OSError:
        return "model:"


def _missing(path: Path) -> Mistake:
    beside = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    near = nearest(path.name, beside)
    return Mistake(
        code="GC001",
        message=f"there is no file or folder {path}",
        help=f"did you mean `{path.parent / near}`?" if near else None,
    ).at(Location(path=path, line=1))


def _no_configs(path: Path) -> Mistake:
    return Mistake(
        code="GC008",
        message=f"no config below {path}",
        help="a config is a .yaml or .yml file with a top-level `model:` key; `gradcheck init` writes one",
    ).at(Location(path=path, line=1))
