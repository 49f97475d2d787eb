"""`gradcheck bench`: what each method costs beside the reference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradcheck.cli.terminal.options import Command, option, safe_option, set_option, settings, terminal_options
from gradcheck.errors import ExitCode, most_serious
from gradcheck.files import require_writable

if TYPE_CHECKING:
    from gradcheck.cli.configs.run_arguments import RunArguments
    from gradcheck.results.bench import BenchedConfig, BenchReport
    from gradcheck.results.report import RunReport
    from gradcheck.workers import Runner

_EXAMPLES = (
    "gradcheck bench gradcheck.yaml",
    "gradcheck bench gradcheck.yaml --method vjp --method recompute --set data.batch_size=64",
    "gradcheck bench configs/ --format json -o costs.json",
)


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("path", type=click.Path(path_type=Path), metavar="PATH")
@option(
    "--method",
    "methods",
    multiple=True,
    metavar="NAME",
    section="Config",
    help="Measure this method alone; repeat for several. Default: every method that applies.",
)
@set_option
@option(
    "--format",
    "format_",
    type=click.Choice(["table", "json", "markdown"]),
    default="table",
    show_default=True,
    section="Report",
    help="How the figures are written.",
)
@option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    section="Report",
    help="Write the figures to FILE.",
)
@option(
    "--rounds",
    type=click.IntRange(min=1),
    default=7,
    show_default=True,
    metavar="N",
    section="Run",
    help="Time each method N times, in turn with the reference; fewer where that takes long.",
)
@option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    section="Run",
    help="Give up on a config after this long.",
)
@safe_option
@terminal_options
def bench(
    *, path: Path, methods: tuple[str, ...], format_: str, output: Path | None, rounds: int, **options: Any
) -> int:
    """Measure time and peak memory of each method beside the reference, warm, as ratios.

    PATH is a config, or a folder: every config below it. Measured are the config's methods, and every other that can be
    applied to it; one that cannot says why. Nothing is compared.
    """
    from gradcheck.cli.configs.run_arguments import RunArguments  # noqa: PLC0415 - not needed for --help
    from gradcheck.cli.terminal.delivery import render_options, write  # noqa: PLC0415 - as above
    from gradcheck.cli.terminal.errors import print_mistakes  # noqa: PLC0415 - as above
    from gradcheck.reporters.bench import BENCH_REPORTERS  # noqa: PLC0415 - as above
    from gradcheck.workers import workers  # noqa: PLC0415 - as above

    require_writable(output)
    arguments = RunArguments(methods=methods, **options)
    with workers(verbose=settings().verbose) as pool:  # it starts while the configs are read
        report = _benched(path, arguments, rounds, pool)
    print_mistakes((error for run in report.runs for error in run.errors), color=settings().colored())
    write(BENCH_REPORTERS[format_](report, render_options(output, "all", sys.stdout)), output)
    return most_serious(ExitCode(run.exit_code) for run in report.runs)


def _benched(path: Path, arguments: RunArguments, rounds: int, pool: Runner) -> BenchReport:
    """Measure every config below `path`, one after another, and return the report."""
    from gradcheck import __version__  # noqa: PLC0415 - looked up when it is needed
    from gradcheck.cli.configs.checking import in_workers  # noqa: PLC0415 - not needed for --help
    from gradcheck.cli.configs.loading import load_all  # noqa: PLC0415 - as above
    from gradcheck.errors import GradcheckError  # noqa: PLC0415 - as above
    from gradcheck.results.bench import BenchReport  # noqa: PLC0415 - as above
    from gradcheck.results.origin import Tool, environment  # noqa: PLC0415 - as above
    from gradcheck.results.report import RunReport  # noqa: PLC0415 - as above
    from gradcheck.session.configs import errored  # noqa: PLC0415 - as above
    from gradcheck.workers import Task  # noqa: PLC0415 - as above

    target = "gradcheck.session.bench:bench_with_environment"
    task = Task(target=target, arguments=(rounds, bool(arguments.methods)), seconds=arguments.timeout)
    runs: list[BenchedConfig] = []
    ran_on = None
    for entry, result in in_workers(load_all([path], arguments)[0], task, pool):
        if isinstance(entry, RunReport):
            runs.append(_failed(entry))
        elif isinstance(result, GradcheckError):
            runs.append(_failed(errored(entry, result)))
        else:
            run, ran_on = result
            runs.append(run)
    tool = Tool(name="gradcheck", version=__version__)
    return BenchReport(tool=tool, environment=ran_on or environment(), runs=tuple(runs))


def _failed(run: RunReport) -> BenchedConfig:
    """Return the record of a config that ended with an error."""
    from gradcheck.results.bench import BenchedConfig  # noqa: PLC0415 - not needed for --help

    return BenchedConfig(
        name=run.name,
        config=run.config,
        precision=run.precision,
        execution=run.execution,
        verdict="error",
        exit_code=run.exit_code,
        errors=run.errors,
    )
