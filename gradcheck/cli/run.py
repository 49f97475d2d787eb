"""`gradcheck run`: check configs and report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradcheck.cli.configs.run_arguments import RunArguments
from gradcheck.cli.diff import read_report
from gradcheck.cli.terminal.destinations import Destination, destinations
from gradcheck.cli.terminal.options import (
    Command,
    exit_zero_option,
    option,
    report_options,
    safe_option,
    set_option,
    settings,
    terminal_options,
)
from gradcheck.errors import ExitCode, UsageError
from gradcheck.files import require_writable
from gradcheck.results.origin import Shard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.results.report import Report
    from gradcheck.workers import Runner

_EXAMPLES = (
    "gradcheck run gradcheck.yaml",
    "gradcheck run configs/ --format junit:gradients.xml --format github",
    "gradcheck run gradcheck.yaml --method vjp --set data.batch_size=8 --show failed",
)


def _parsed_shard(ctx: click.Context, option: click.Parameter, value: str | None) -> Shard | None:
    """Return the shard that `--shard I/N` names."""
    if value is None:
        return None
    index, _, count = value.partition("/")
    try:
        return Shard(index=int(index), count=int(count))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not I/N, with I from 1 to N.", ctx, option) from None


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="PATH...")
@option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME",
    section="Config",
    help="Run this method instead of the config's; repeat for several. all: every way of training, beside them.",
)
@option(
    "--against",
    multiple=True,
    metavar="NAME",
    section="Config",
    help="Check against the same model under another engine too: jax or torch; repeat for both.",
)
@option("--rtol", metavar="NUMBER", section="Config", help="Relative tolerance.")
@option("--atol", metavar="NUMBER", section="Config", help="Absolute tolerance, or auto.")
@option("--seed", metavar="NUMBER", section="Config", help="Seed of weights, data and random layers.")
@option(
    "--precision",
    metavar="NAME",
    section="Config",
    help="float32, float64, float16, bfloat16, mixed_float16 or mixed_bfloat16.",
)
@option("--execution", metavar="NAME", section="Config", help="eager, graph or xla.")
@set_option
@report_options
@option(
    "--baseline",
    type=click.Path(path_type=Path),
    metavar="FILE",
    section="Report",
    help="A JSON report to compare with: only what newly fails decides the exit code.",
)
@option(
    "--save-gradients",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    section="Reference",
    help="Save the whole model's gradients, or for several configs each in a folder: a name without .npz.",
)
@option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="FILE.npz",
    section="Reference",
    help="Compare with saved gradients, or with those of a folder, and do not run the whole model.",
)
@option("--fail-fast", is_flag=True, section="Run", help="Stop at the first check that is not as expected.")
@exit_zero_option
@option(
    "--verify-reference",
    is_flag=True,
    section="Run",
    help="Check the reference itself, whatever it costs: by finite differences, and by a second run.",
)
@option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    section="Run",
    help="Give up on a config after this long.",
)
@option(
    "--jobs",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    section="Run",
    help="Run N configs at a time, each in a process of its own.",
)
@option(
    "--shard",
    callback=_parsed_shard,
    metavar="I/N",
    section="Run",
    help="Run the I-th of N parts of the configs, on this machine; gradcheck join makes one report of all.",
)
@option("--watch", is_flag=True, section="Run", help="Run again whenever a file beside a config changes.")
@safe_option
@terminal_options
def run(
    *, paths: tuple[Path, ...], watch: bool, formats: tuple[Destination, ...], output: Path | None, **options: Any
) -> int:
    """Check the gradients of every method against the whole model's, and report.

    A PATH is a config, or a folder: every config below it. The report goes to standard output, progress and the
    summary to standard error, and so does what --baseline finds.
    """
    from gradcheck.workers import workers  # noqa: PLC0415 - not needed for --help

    arguments = RunArguments(reports=destinations(formats, output), **options)
    if arguments.against:
        from gradcheck.engines.asking import require  # noqa: PLC0415 - as above

        for engine in arguments.against:
            require(engine)
    for report in arguments.reports:
        require_writable(report.file)
    if arguments.save_gradients is not None and arguments.reference is not None:
        raise UsageError("--reference computes nothing that --save-gradients could save", code="GC010")
    baseline = None if arguments.baseline is None else read_report(arguments.baseline)  # this run may replace the file
    with workers(arguments.jobs, verbose=settings().verbose) as pool:  # one starts while the configs are read
        if watch:
            from gradcheck.cli.terminal.rerun import watched  # noqa: PLC0415 - needs a package that nothing else needs

            return watched(paths, lambda: run_once(paths, arguments, pool, baseline))
        return run_once(paths, arguments, pool, baseline)


def run_once(paths: Sequence[Path], arguments: RunArguments, pool: Runner, baseline: Report | None = None) -> ExitCode:
    """Load, check and report once; return the exit code."""
    from gradcheck.cli.configs.checking import checked  # noqa: PLC0415 - as above
    from gradcheck.cli.configs.loading import load_all  # noqa: PLC0415 - as above
    from gradcheck.cli.terminal.baseline import newly_failing  # noqa: PLC0415 - as above
    from gradcheck.cli.terminal.delivery import deliver, summarise, verdict_code  # noqa: PLC0415 - as above
    from gradcheck.cli.terminal.github_job import annotated  # noqa: PLC0415 - as above
    from gradcheck.reporters import REPORTERS  # noqa: PLC0415 - as above

    start = time.perf_counter()
    with annotated(arguments.reports):
        entries, shard = load_all(paths, arguments)
    report = checked(entries, arguments, pool, shard)
    deliver(report, REPORTERS, arguments.reports, show=arguments.show)
    whole = report.exit_code is not ExitCode.INTERRUPTED
    code = report.exit_code
    if baseline is not None and whole:
        code = newly_failing(baseline, report, str(arguments.baseline), show=arguments.show, formats=arguments.reports)
    summarise(report, time.perf_counter() - start)
    return verdict_code(code, exit_zero=arguments.exit_zero)
