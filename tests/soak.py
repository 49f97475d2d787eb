"""Runs the generated tests without end: `python -m tests.soak --seconds 600`."""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
import warnings
from contextlib import suppress
from pathlib import Path

import click

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.generated.driving import Kind, Tally, TimeIsOver, drive

#: Cases that are drawn from one seed.
BATCH = 50


def kinds() -> dict[str, Kind]:
    """Every kind of generated test, by name."""
    from tests.generated.configs import VALIDATE
    from tests.generated.faults import FAULTS
    from tests.generated.graphs import GRAPHS
    from tests.generated.runs import RUNS

    return {kind.name: kind for kind in (VALIDATE, RUNS, GRAPHS, FAULTS)}


def soak(kind: Kind, *, seconds: float, start: int, count: float, folder: Path) -> Tally:
    """Batch after batch, each with a seed of its own, until the time is over or there were enough."""
    tally, end = Tally(kind=kind), time.monotonic() + seconds
    with suppress(TimeIsOver, KeyboardInterrupt):
        while tally.cases < count:
            examples = int(min(BATCH, count - tally.cases))
            drive(tally, examples=examples, start=start, folder=folder, over=lambda: time.monotonic() > end)
            start += 1
    return tally


def main(arguments: list[str] | None = None) -> int:
    """Prints what became of the cases of each kind; 1 if any failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long, the kinds share it")
    parser.add_argument("--only", choices=list(kinds()), help="one kind")
    parser.add_argument("--seed", type=int, help="of the first batch; by default another each time")
    parser.add_argument("--count", type=int, default=None, help="how many cases of each kind, at most")
    given = parser.parse_args(arguments)
    start = random.randrange(2**20) if given.seed is None else given.seed
    chosen = [kind for name, kind in kinds().items() if given.only in (None, name)]
    folder = Path(tempfile.mkdtemp(prefix="gradcheck-soak-"))
    click.echo(f"seed {start}; files that fail are written to {folder}")
    warnings.simplefilter("ignore")
    failed = False
    for kind in chosen:
        count = float("inf") if given.count is None else given.count
        tally = soak(kind, seconds=given.seconds / len(chosen), start=start, count=count, folder=folder)
        click.echo(tally.told())
        failed |= bool(tally.failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
