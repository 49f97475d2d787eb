"""What Keras calls its classes and their arguments, from a file: configs are read without TensorFlow."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: Written by `python -m gradcheck.building.sources.keras_signatures`.
FILE = Path(__file__).with_name("keras_table.json")
#: The mark behind the kind of an argument that has no default.
REQUIRED = "!"


@cache
def keras_table() -> dict[str, Any]:
    """Return for each module of Keras its names, each with its arguments and their kinds.

    A kind is `number` (or a list of numbers), `flag`, `activation`, `initializer`, `regularizer`, `constraint` or, if
    nothing is known, empty; `REQUIRED` follows if there is no default. `strings` are the names that may be given as
    a text for such a kind, `keras` is the release.
    """
    table: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))
    return table


@cache
def is_of_installed() -> bool:
    """Whether the table is of the installed release of Keras, as far as one is installed."""
    try:
        installed = version("keras")
    except PackageNotFoundError:
        return True
    return bool(installed.split(".")[:2] == keras_table()["keras"].split(".")[:2])
