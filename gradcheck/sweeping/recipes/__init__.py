"""Recipes, read from the shipped files beside this module, from a file of the user's, or from a function itself."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gradcheck.config.load import read_text
from gradcheck.config.sections.base import findings_of
from gradcheck.config.sections.recipe import Recipe, Recipes
from gradcheck.config.yaml.document import read_document
from gradcheck.config.yaml.texts import SourceText
from gradcheck.errors import ConfigErrors, Mistake

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradcheck.config.sections.recipe import CallCase


@cache
def shipped(module: str) -> Mapping[str, tuple[CallCase, ...]]:
    """Return the cases of each function of `keras.ops`, `tf.math`, `tf.nn` or `tf.linalg` that has a recipe."""
    return written(Path(str(files(__name__) / f"{module}.yaml")))


@cache
def written(file: Path) -> Mapping[str, tuple[CallCase, ...]]:
    """Return the cases of each function that a file of recipes has.

    Raises:
        ConfigErrors: every mistake at once, at its line and column.
    """
    document = read_document(SourceText(file, read_text(file)))
    mistakes = list(document.mistakes)
    try:
        recipes = Recipes.model_validate(document.data())
    except ValidationError as error:
        raise ConfigErrors([*mistakes, *map(document.mistake, findings_of(error))]) from None
    if mistakes:
        raise ConfigErrors(mistakes)
    return recipes.by_name()


def given(raw: Any, name: str) -> tuple[CallCase, ...]:
    """Return the cases of a recipe that was written in Python.

    Raises:
        ConfigErrors: every mistake at once.
    """
    try:
        return Recipe.model_validate(raw).root
    except ValidationError as error:
        found = ((".".join(map(str, (name, *item.path))), item) for item in findings_of(error))
        raise ConfigErrors(
            [Mistake(code=item.code, message=f"{where}: {item.message}", help=item.help) for where, item in found]
        ) from None
