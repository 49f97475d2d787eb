"""`gradcheck ops`: sweep the functions of Keras, TensorFlow, or a module of one's own."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradcheck.cli.diff import read_report
from gradcheck.cli.terminal.destinations import Destination, destinations
from gradcheck.cli.terminal.options import (
    Command,
    exit_zero_option,
    option,
    report_options,
    settings,
    terminal_options,
)
from gradcheck.errors import ExitCode
from gradcheck.files import require_writable
from gradcheck.phrases import plural
from gradcheck.results.report import RunReport

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.cli.terminal.sweep_file import SweepFile
    from gradcheck.errors import GradcheckError
    from gradcheck.reporters.interface import Show
    from gradcheck.results.report import Report
    from gradcheck.workers import Runner

_EXAMPLES = (
    "gradcheck ops tf.math.xlogy logaddexp",
    "gradcheck ops ./my_ops.py --recipes my_recipes.yaml",
    "gradcheck ops --resume sweep.jsonl --format json:sweep.json --known last.json",
    "gradcheck ops --reproduce keras.ops.ldexp",
)


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@option(
    "--recipes",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    section="Functions",
    help="Recipes for modules of your own; default: FILE.recipes.yaml beside FILE.py.",
)
@option(
    "--reproduce", metavar="NAME", section="Functions", help="Sweep NAME, and print scripts that show what is wrong."
)
@report_options
@option(
    "--known",
    type=click.Path(path_type=Path),
    metavar="FILE",
    section="Report",
    help="A JSON report of what is known: only what is new decides the exit code.",
)
@exit_zero_option
@option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    section="Run",
    help="Sweep N functions at a time, each in a process of its own. Default: one for each processor.",
)
@option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600,
    show_default=True,
    metavar="SECONDS",
    section="Run",
    help="Give up on a function after this long.",
)
@option(
    "--resume",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    section="Run",
    help="Keep what is done in FILE, and do not do it again.",
)
@terminal_options
def ops(
    *,
    names: tuple[str, ...],
    recipes: Path | None,
    reproduce: str | None,
    formats: tuple[Destination, ...],
    output: Path | None,
    show: Show,
    known: Path | None,
    exit_zero: bool,
    jobs: int | None,
    timeout: float,
    resume: Path | None,
) -> int:
    """Check the gradients of many functions, each called in ways that suit it, at points where gradients go wrong.

    NAME is a module (keras.ops, tf.math, tf.nn, tf.linalg, package.module or ./my_ops.py) or a function in one
    (tf.math.xlogy, ./my_ops.py:fn, or xlogy for short). Without a name the four modules of Keras and TensorFlow are
    swept. A function that is not checked is listed with the reason. What is wrong is so for several random numbers and
    steps of differences.
    """
    from gradcheck.cli.terminal.baseline import newly_failing  # noqa: PLC0415 - not needed for --help
    from gradcheck.cli.terminal.delivery import deliver, summarise, verdict_code  # noqa: PLC0415 - as above
    from gradcheck.cli.terminal.sweep_file import SweepFile  # noqa: PLC0415 - as above
    from gradcheck.reporters.sweep import SWEEP_REPORTERS, reproducers  # noqa: PLC0415 - as above
    from gradcheck.workers import workers  # noqa: PLC0415 - as above

    start = time.perf_counter()
    reports = destinations(formats, output)
    for one in reports:
        require_writable(one.file)
    before = None if known is None else read_report(known)
    asked = (*names, *([reproduce] if reproduce else []))
    with workers(jobs or os.cpu_count() or 1, verbose=settings().verbose) as pool:
        report = _swept(asked, recipes, timeout, pool, None if resume is None else SweepFile(resume))
    if reproduce:
        click.echo(reproducers(report))
    else:
        deliver(report, SWEEP_REPORTERS, reports, show=show)
    code = report.exit_code
    if before is not None and code is not ExitCode.INTERRUPTED:
        code = newly_failing(before, report, str(known), show=show, formats=reports)
    summarise(report, time.perf_counter() - start, one="function")
    return verdict_code(code, exit_zero=exit_zero)


def _swept(names: Sequence[str], recipes: Path | None, timeout: float, pool: Runner, file: SweepFile | None) -> Report:
    """Sweep the functions that are not done in `file` yet, and return the report of all, in their order."""
    from gradcheck.cli.terminal.progress import progress  # noqa: PLC0415 - not needed for --help
    from gradcheck.errors import GradcheckError, Interrupted  # noqa: PLC0415 - as above
    from gradcheck.session.configs import envelope  # noqa: PLC0415 - as above
    from gradcheck.workers import Task, result_of  # noqa: PLC0415 - as above
    from gradcheck.workers.task import Stage  # noqa: PLC0415 - as above

    base = Path.cwd()
    # A plain tuple: what a module of the worker's defines would be imported here too, and TensorFlow with it.
    listed = Task(target="gradcheck.sweeping.tasks:listed", arguments=(names, base, recipes))
    references, environment = result_of(pool, listed)
    runs = dict[str, RunReport]() if file is None else file.begun(environment)
    left = [reference for reference in references if reference not in runs]
    sweep = Task(target="gradcheck.sweeping.tasks:sweep", arguments=(), seconds=timeout)
    tasks = [replace(sweep, arguments=(reference, base, recipes)) for reference in left]
    with ExitStack() as stack:
        stack.enter_context(suppress(KeyboardInterrupt))
        show = stack.enter_context(progress(len(tasks)))
        told = pool.as_finished(tasks, lambda index, stage: show(index, f"{left[index]}: ", stage))
        for index, result in stack.enter_context(closing(told)):
            run = _failed(left[index], result) if isinstance(result, GradcheckError) else result
            runs[left[index]] = run
            if file is not None:
                file.add(run)
            show(index, f"{left[index]}: ", Stage("finished", 1, 1))
    done = [runs[reference] for reference in references if reference in runs]
    missing = [reference for reference in references if reference not in runs]
    if missing:
        again = "" if file is None else ": the same command goes on from here"
        message = f"interrupted: {plural(len(missing), 'function')} not swept{again}"
        done.append(_failed(missing[0], Interrupted(message)))
    return envelope(_judged(done), environment)


def _failed(reference: str, error: GradcheckError) -> RunReport:
    """Return the record of a function whose sweep raised, hung, or ended its process."""
    from gradcheck.session.configs import unreadable  # noqa: PLC0415 - not needed for --help

    return replace(unreadable(Path(reference), error), name=reference.replace(":", "."), precision="float64")


def _judged(runs: Sequence[RunReport]) -> list[RunReport]:
    """Return the runs; those that prove nothing are no failure where others do: their reasons are listed."""
    proven = any(run.verdict in ("pass", "fail") for run in runs)
    return [replace(run, exit_code=0) if proven and run.verdict == "vacuous" else run for run in runs]
