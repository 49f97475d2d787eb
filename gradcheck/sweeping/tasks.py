"""What workers do for `gradcheck ops`: find the functions, and sweep one."""

from __future__ import annotations

import gc
import itertools
from typing import TYPE_CHECKING

import keras

from gradcheck.building.imports import imported_once
from gradcheck.results.origin import environment
from gradcheck.sweeping.sweep import swept
from gradcheck.sweeping.sweep_report import run_report
from gradcheck.sweeping.swept_functions import function_of, references
from gradcheck.workers.task import Stage, silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from gradcheck.results.origin import Environment
    from gradcheck.results.report import RunReport


#: Counts the functions that this process has swept.
_COUNT = itertools.count(1)


def listed(
    names: Sequence[str], base: Path, recipes: Path | None, stage: Callable[[str], None] = silent
) -> tuple[list[str], Environment]:
    """Return the references of the functions, and where they run; a mistake in a recipe is found before any work."""
    stage(Stage("finding the functions"))
    with imported_once():
        found = references(names, base)
        for reference in found:
            function_of(reference, base, recipes)
    return found, environment()


def sweep(reference: str, base: Path, recipes: Path | None, stage: Callable[[str], None] = silent) -> RunReport:
    """Sweep one function."""
    stage(Stage("sweeping"))
    with imported_once():
        run = run_report(swept(function_of(reference, base, recipes)))
    if next(_COUNT) % 8 == 0:  # compiled functions are held in cycles, and collecting them takes a while
        keras.backend.clear_session()
        gc.collect()
    return run
