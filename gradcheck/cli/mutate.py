"""`gradcheck mutate`: would the check have seen each mistake, on this model?"""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradcheck.cli.terminal.destinations import Destination
from gradcheck.cli.terminal.options import Command, option, safe_option, set_option, settings, terminal_options
from gradcheck.errors import ExitCode, most_serious
from gradcheck.files import require_writable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.config.load import LoadedConfig
    from gradcheck.reporters.interface import Show
    from gradcheck.results.mutation import FaultReport, MutationReport, Mutations
    from gradcheck.results.report import RunReport
    from gradcheck.workers.task import Runner

_EXAMPLES = (
    "gradcheck mutate gradcheck.yaml",
    "gradcheck mutate gradcheck.yaml --rtol 1e-2 --show all",
    "gradcheck mutate configs/ --format json --output mutations.json",
)


@click.command(cls=Command, examples=_EXAMPLES)
@click.argument("path", type=click.Path(path_type=Path), metavar="PATH")
@option("--rtol", metavar="NUMBER", section="Config", help="Relative tolerance.")
@option("--atol", metavar="NUMBER", section="Config", help="Absolute tolerance, or auto.")
@option("--seed", metavar="NUMBER", section="Config", help="Seed of weights, data and random layers.")
@option("--precision", metavar="NAME", section="Config", help="As in a config.")
@option("--execution", metavar="NAME", section="Config", help="As in a config; faults are injected eagerly.")
@set_option
@option(
    "--format",
    "format_",
    type=click.Choice(["table", "json", "markdown", "html"]),
    default="table",
    show_default=True,
    section="Report",
    help="How the report is written.",
)
@option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    section="Report",
    help="Write the report to FILE.",
)
@option(
    "--show",
    type=click.Choice(["all", "failed", "summary"]),
    default="failed",
    show_default=True,
    section="Report",
    help="Every place of every fault, the table and what was missed or not named, or the score alone.",
)
@option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=600,
    show_default=True,
    metavar="SECONDS",
    section="Run",
    help="About how long a config may take; what is left then is reported as not tried.",
)
@safe_option
@terminal_options
def mutate(*, path: Path, format_: str, output: Path | None, show: Show, timeout: float, **options: Any) -> int:
    """Inject every known mistake into the split of a model, and show which the check catches and names.

    PATH is a config, or a folder: every config below it. A fault that changes nothing on this model is reported as
    equivalent, with the reason. The exit code is 1 if a fault is missed at the config's tolerances, 4 if none could
    be injected.
    """
    from gradcheck.cli.configs.loading import load_all  # noqa: PLC0415 - as above
    from gradcheck.cli.configs.run_arguments import RunArguments  # noqa: PLC0415 - as above
    from gradcheck.cli.terminal.delivery import deliver  # noqa: PLC0415 - not needed for --help
    from gradcheck.phrases import plural  # noqa: PLC0415 - as above
    from gradcheck.reporters.mutation import MUTATION_REPORTERS, score_words  # noqa: PLC0415 - as above
    from gradcheck.workers import workers  # noqa: PLC0415 - as above

    arguments = RunArguments(show=show, timeout=timeout, **options)
    require_writable(output)
    with workers(verbose=settings().verbose) as pool:  # it starts while the configs are read
        report = _mutated(load_all([path], arguments)[0], timeout, pool)
    deliver(report, MUTATION_REPORTERS, [Destination(format_, output)], show=show)
    if not settings().quiet:
        click.echo(f"{plural(len(report.runs), 'config')}: {score_words(report.score)}", err=True)
    return most_serious(ExitCode(run.exit_code) for run in report.runs)


def _mutated(entries: list[LoadedConfig | RunReport], timeout: float, pool: Runner) -> Mutations:
    """Inject faults into every config of `entries`, and return the report."""
    from gradcheck import __version__  # noqa: PLC0415 - looked up when it is needed
    from gradcheck.cli.configs.checking import in_workers  # noqa: PLC0415 - as above
    from gradcheck.errors import GradcheckError, Interrupted  # noqa: PLC0415 - as above
    from gradcheck.results.mutation import Mutations  # noqa: PLC0415 - as above
    from gradcheck.results.origin import Tool, environment  # noqa: PLC0415 - as above
    from gradcheck.results.report import RunReport  # noqa: PLC0415 - as above
    from gradcheck.session.configs import errored  # noqa: PLC0415 - not needed for --help
    from gradcheck.workers import Task  # noqa: PLC0415 - as above

    # It keeps the time by itself, between two faults; what hangs within one is ended.
    task = Task(target="gradcheck.session.mutation:mutate", arguments=(timeout,), seconds=2 * timeout + 60)
    runs = []
    for entry, result in in_workers(entries, task, pool):
        if isinstance(entry, RunReport):
            runs.append(_failed(entry))
        elif isinstance(result, GradcheckError):
            known = result.known if isinstance(result, Interrupted) else ()
            runs.append(_failed(errored(entry, result), known))
        else:
            runs.append(result)
    return Mutations(tool=Tool(name="gradcheck", version=__version__), environment=environment(), runs=tuple(runs))


def _failed(run: RunReport, known: Sequence[FaultReport] = ()) -> MutationReport:
    """Return the report of a config that ended with an error; `known` are the faults by then, the named ones again."""
    from gradcheck.results.mutation import MutationReport  # noqa: PLC0415 - not needed for --help

    last = {(fault.code, fault.place, fault.effect): fault for fault in known}
    return MutationReport(
        name=run.name,
        config=run.config,
        seed=run.seed,
        precision=run.precision,
        verdict="error",
        exit_code=run.exit_code,
        errors=run.errors,
        faults=tuple(sorted(map(_undiagnosed, last.values()), key=attrgetter("code"))),
    )


def _undiagnosed(fault: FaultReport) -> FaultReport:
    """Return the fault with the reason why it is not named, if it was caught and its diagnosis did not come."""
    from gradcheck.results.mutation import NOT_NAMED  # noqa: PLC0415 - not needed for --help

    due = fault.status == "caught" and not fault.named and not fault.reason
    return replace(fault, reason=f"{NOT_NAMED}interrupted") if due else fault
