"""The files of `--save-gradients` and `--reference`: one for each config, and when they are written and read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gradcheck.errors import UsageError
from gradcheck.files import require_writable
from gradcheck.phrases import os_reason

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gradcheck.config.load import LoadedConfig

SUFFIX = ".npz"


@dataclass(frozen=True)
class GradientFiles:
    """The file of a single config, or a folder with one file for each.

    `path` is a file if it ends in .npz, and a folder otherwise.
    """

    option: str
    path: Path

    def of(self, loaded: LoadedConfig) -> Path:
        """Return the file of a config: in a folder its name, with a dash for what is not usual in file names."""
        if self.path.suffix == SUFFIX:
            return self.path
        return self.path / (re.sub(r"[^\w.-]+", "-", loaded.name) + SUFFIX)

    def require_writable(self) -> None:
        """Make the folder, and refuse one that cannot be written, before any work.

        Raises:
            UsageError: as `write_file` does.
        """
        folder = self.path.parent if self.path.suffix == SUFFIX else self.path
        if folder == self.path:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UsageError(f"{folder} cannot be made: {os_reason(error)}", code="GC010") from None
        require_writable(folder / f"any{SUFFIX}")

    def require_apart(self, configs: Sequence[LoadedConfig]) -> None:
        """Refuse configs that would share a file.

        Raises:
            UsageError: naming two of them.
        """
        taken: dict[Path, LoadedConfig] = {}
        for config in configs:
            file = self.of(config)
            other = taken.setdefault(file, config)
            if other is not config:
                message = f"{self.option} {self.path}: {other.path} and {config.path} would share {file}"
                help_ = f"name a folder, without {SUFFIX}" if file == self.path else "give one of them another `name`"
                raise UsageError(message, code="GC010", help=help_)
