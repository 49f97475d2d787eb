"""Configs of tiny models with something wrong in them, run: a verdict or an error that a person can read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING
from unittest import mock

from gradcheck.config import load_config
from gradcheck.errors import ConfigErrors, GradcheckError
from gradcheck.session import patience
from gradcheck.session.configs import CheckOptions, check_one
from tests.generated import damage
from tests.generated.driving import Judged, Kind
from tests.generated.graphs import configs

if TYPE_CHECKING:
    from pathlib import Path


def judge(path: Path) -> Judged:
    """The verdict, and the codes of errors. An exception that is not ours fails."""
    raised: list[BaseException] = []
    try:
        loaded = load_config(path, require_split=True)
    except ConfigErrors:
        return Judged(counts=Counter(["invalid"]))
    with mock.patch.multiple(patience, SECONDS=0.3, FACTOR=0.0):
        run = check_one(loaded, CheckOptions(on_error=lambda _, error: raised.append(error)))
    counts = Counter({f"{run.verdict} {error.code}" for error in run.errors} or {run.verdict})
    foreign = [error for error in raised if not isinstance(error, GradcheckError)]
    failure = f"unexpected {type(foreign[0]).__name__}" if foreign else None
    return Judged(counts=counts, failure=failure, about=str(foreign[0])[:2000] if foreign else "")


RUNS = Kind(name="runs", texts=damage.changed(configs(most=3)), judge=judge, rerun="gradcheck run -v {}")
