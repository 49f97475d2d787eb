"""`gradcheck mutate`: would the check have seen each mistake, on this model?"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gradcheck.cli.terminal.options import Command, option, safe_option, set_option, settings, terminal_options
from gradcheck.errors import ExitCode, most_serious

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.config.load import LoadedConfig
    from gradcheck.reporters.interface import Show
    from gradcheck.results.mutation import MutationReport, Mutations
    from gradcheck.results.report import RunReport

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
    type=click.Choice(["table", "json", "markdown"]),
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
    from gradcheck.cli.loading import load_all  # noqa: PLC0415 - as above
    from gradcheck.cli.run_arguments import RunArguments  # noqa: PLC0415 - as above
    from gradcheck.cli.terminal.delivery import deliver  # noqa: PLC0415 - not needed for --help
    from gradcheck.reporters.mutation import MUTATION_REPORTERS, score_words  # noqa: PLC0415 - as above
    from gradcheck.reporters.parts.text import plural  # noqa: PLC0415 - as above

    unused: dict[str, Any] = {"methods": (), "fail_fast": False, "exit_zero": False, "verify_reference": False}
    arguments = RunArguments(format_=format_, output=output, show=show, timeout=timeout, jobs=1, **unused, **options)
    report = _mutated(load_all([path], arguments), timeout)
    deliver(report, MUTATION_REPORTERS[format_], format_=format_, output=output, show=show)
    if not settings().quiet:
        click.echo(f"{plural(len(report.runs), 'config')}: {score_words(report.score)}", err=True)
    return most_serious(ExitCode(run.exit_code) for run in report.runs)


def _mutated(entries: list[LoadedConfig | RunReport], timeout: float) -> Mutations:
    """Return the report over all `entries`; output of user code goes to standard error."""
    from gradcheck import __version__  # noqa: PLC0415 - looked up when it is needed
    from gradcheck.cli.checking import progress  # noqa: PLC0415 - as above
    from gradcheck.cli.terminal.streams import user_output_to_stderr  # noqa: PLC0415 - as above
    from gradcheck.results.mutation import Mutations  # noqa: PLC0415 - as above
    from gradcheck.results.report import RunReport, Tool  # noqa: PLC0415 - as above
    from gradcheck.session.configs import environment  # noqa: PLC0415 - not needed for --help

    runs = []
    with user_output_to_stderr(), progress() as show:
        for index, entry in enumerate(entries):
            if isinstance(entry, RunReport):
                runs.append(_failed(entry))
            else:
                runs.append(_one(entry, timeout, partial(_tell, show, f"[{index + 1}/{len(entries)}] {entry.path}")))
        return Mutations(tool=Tool(name="gradcheck", version=__version__), environment=environment(), runs=tuple(runs))


def _tell(show: Callable[[str], None], of: str, stage: str) -> None:
    show(f"{of}: {stage}")


def _one(loaded: LoadedConfig, timeout: float, show: Callable[[str], None]) -> MutationReport:
    """Inject faults into one config and return its report; an exception becomes an error in it."""
    from gradcheck.cli.checking import print_traceback  # noqa: PLC0415 - as above
    from gradcheck.cli.terminal.streams import quiet_tensorflow  # noqa: PLC0415 - as above
    from gradcheck.session.configs import understood, unreadable  # noqa: PLC0415 - not needed for --help

    try:
        show("loading TensorFlow")
        quiet_tensorflow(verbose=settings().verbose)
        from gradcheck.session.mutation import mutate as inject  # noqa: PLC0415 - TensorFlow starts here

        return inject(loaded, show, seconds=timeout)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever was raised: the other configs still run
        if settings().verbose:
            print_traceback(loaded.path, error)
        return _failed(unreadable(loaded.path, understood(error)), name=loaded.name)


def _failed(run: RunReport, *, name: str | None = None) -> MutationReport:
    """Return the report of a config that ended with an error."""
    from gradcheck.results.mutation import MutationReport  # noqa: PLC0415 - not needed for --help

    return MutationReport(
        name=name or run.name, config=run.config, verdict="error", exit_code=run.exit_code, errors=run.errors
    )
