"""`gradcheck audit`: a training script as it stands."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from gradcheck.cli.terminal.destinations import Destination, destinations
from gradcheck.cli.terminal.errors import print_failure
from gradcheck.cli.terminal.options import (
    Command,
    exit_zero_option,
    option,
    report_options,
    settings,
    terminal_options,
)
from gradcheck.cli.terminal.streams import kept_stdout
from gradcheck.errors import UsageError
from gradcheck.files import require_writable
from gradcheck.phrases import did_you_mean, listed
from gradcheck.reporters.parts.text import inline
from gradcheck.workers.output import quiet_tensorflow
from gradcheck.workers.task import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gradcheck.auditing.interface import AuditOptions
    from gradcheck.reporters.interface import Show
    from gradcheck.results.report import RunReport

_EXAMPLES = (
    "gradcheck audit train.py",
    "gradcheck audit --steps 5 --skip 1 -o report.html --format html train.py --epochs 1",
    "gradcheck audit -m package.train --data folder",
)


def _steps(ctx: click.Context, parameter: click.Parameter, value: str) -> int | None:
    """Return the number of `--steps`; None for `all`."""
    if value == "all":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise click.BadParameter(f"{value!r} is neither a number from 1 on nor all.", ctx, parameter)
    return int(value)


@click.command(
    cls=Command,
    examples=_EXAMPLES,
    context_settings={"allow_interspersed_args": False},
)
@click.argument("script", metavar="SCRIPT")
@click.argument("arguments", nargs=-1, metavar="[ARGS]...")
@option("-m", "--module", is_flag=True, section="Script", help="SCRIPT is a module, run as by python -m.")
@option(
    "--steps",
    metavar="N",
    default="2",
    show_default=True,
    callback=_steps,
    section="Script",
    help="How many updates to watch before the script is ended; all: it runs to its end.",
)
@option(
    "--skip",
    type=click.IntRange(min=0),
    metavar="N",
    default=0,
    show_default=True,
    section="Script",
    help="How many updates to let pass before.",
)
@option("--rtol", type=click.FloatRange(min=0), metavar="NUMBER", section="Check", help="Relative tolerance.")
@option("--atol", type=click.FloatRange(min=0), metavar="NUMBER", section="Check", help="Absolute tolerance.")
@option(
    "--ignore",
    multiple=True,
    metavar="PATTERN",
    section="Check",
    help="Do not judge variables whose path matches, such as 'encoder/*'; repeat for several.",
)
@option(
    "--allow",
    multiple=True,
    metavar="CODE",
    section="Check",
    help="Accept what has this code, such as GC304 for a truncated sequence; repeat for several.",
)
@report_options
@exit_zero_option
@option(
    "--record",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    section="Several processes",
    help="Write what this process has seen to FILE.",
)
@option(
    "--join",
    is_flag=True,
    section="Several processes",
    help="SCRIPT and ARGS are such files, to be checked against each other.",
)
@terminal_options
def audit(
    *,
    script: str,
    arguments: tuple[str, ...],
    module: bool,
    record: Path | None,
    join: bool,
    formats: tuple[Destination, ...],
    output: Path | None,
    show: Show,
    exit_zero: bool,
    **options: Any,
) -> int:
    """Run a training script that knows nothing of gradcheck, and check each gradient that reaches a variable.

    The script is ended after --steps updates, through its own finally blocks. What follows SCRIPT is the script's. The
    report goes to standard output, and what the script prints to standard error.
    """
    from gradcheck.auditing.interface import AuditOptions  # noqa: PLC0415 - not needed for --help
    from gradcheck.auditing.running.script import script_file, script_module  # noqa: PLC0415 - as above
    from gradcheck.auditing.running.supervised import run_script  # noqa: PLC0415 - as above

    allowed = tuple(map(_known, options.pop("allow")))
    reports = destinations(formats, output)
    for path in (record, *(one.file for one in reports)):
        require_writable(path)
    # The script may change the folder.
    record, *files = (path and path.absolute() for path in (record, *(one.file for one in reports)))
    reports = tuple(replace(one, file=file) for one, file in zip(reports, files, strict=True))
    with kept_stdout() as stdout:
        delivery = _Delivery(click.get_current_context(), reports, show, exit_zero, stdout)
        watched = AuditOptions(allow=allowed, record=record is not None, **options)
        if join:
            return delivery.deliver(_joined((script, *arguments), watched))
        _note_options(arguments)
        chosen = script_module(script, arguments) if module else script_file(script, arguments)
        return run_script(
            chosen,
            watched,
            deliver=replace(delivery, folder=Path(chosen.file).absolute().parent),
            tell=_progress(),
            record=record,
            verbose=settings().verbose,
        )


def _note_options(arguments: Sequence[str]) -> None:
    """Write a note where arguments of the script are called as options of this command: they may be misplaced."""
    context = click.get_current_context()
    own = {name for one in context.command.get_params(context) for name in one.opts if name.startswith("--")}
    given = [name for argument in arguments if (name := argument.partition("=")[0]) in own]
    if given and not settings().quiet:
        passed = "were" if len(set(given)) > 1 else "was"
        names = listed(dict.fromkeys(given))
        click.echo(f"note: {names} {passed} passed to the script; options of gradcheck go before SCRIPT", err=True)


def _joined(files: Sequence[str], options: AuditOptions) -> RunReport:
    """Return the report on the records of several processes."""
    misplaced = next((name for name in files if name.startswith("-")), None)
    if misplaced:
        raise UsageError(f"options go before the files. Received: {misplaced} after one", code="GC010")
    quiet_tensorflow(verbose=settings().verbose)
    from gradcheck.auditing.records.joining import join_files  # noqa: PLC0415 - TensorFlow starts here

    return join_files([Path(name) for name in files], options)


def _known(code: str) -> str:
    """Return the code as the catalogue has it.

    Raises:
        UsageError: if it does not.
    """
    from gradcheck.catalogue import CATALOGUE  # noqa: PLC0415 - not needed for --help

    if code.upper() not in CATALOGUE:
        help_ = did_you_mean(code, CATALOGUE, "`gradcheck explain` lists all codes")
        raise UsageError(f"--allow takes a code of the catalogue. Received: {code}", code="GC010", help=help_)
    return code.upper()


def _progress() -> Callable[[str], None]:
    """Return what writes a line of progress, if standard error is a terminal: plain, beside what the script prints."""
    stderr = sys.stderr
    if settings().quiet or not stderr.isatty():
        return silent
    return lambda line: click.echo(f"gradcheck: {inline(line)}", file=stderr)


@dataclass(frozen=True)
class _Delivery:
    """Delivers the report of a run, from whatever thread.

    Attributes:
        context: of the command.
        reports: the formats of the report, and their files; `stdout` without.
        show: the tensors that it lists.
        exit_zero: whether a verdict that is no error has the exit code 0.
        stdout: what standard output was before the script ran.
        folder: of the script; None where there is none.
        start: when it began.
    """

    context: click.Context
    reports: tuple[Destination, ...]
    show: Show
    exit_zero: bool
    stdout: TextIO
    folder: Path | None = None
    start: float = field(default_factory=time.perf_counter)

    def __call__(self, finished: Callable[[], RunReport]) -> int:
        """Write report and summary, and return the exit code; errors are printed, for the process may end."""
        with self.context.scope(cleanup=False):
            try:
                return self.deliver(finished())
            except Exception as error:  # noqa: BLE001 - as `main`
                return print_failure(error, color=settings().colored(), verbose=settings().verbose)

    def deliver(self, run: RunReport) -> int:
        """Write the report and the summary; return the exit code."""
        from gradcheck.cli.terminal.delivery import deliver, summarise, verdict_code  # noqa: PLC0415 - as above
        from gradcheck.reporters import REPORTERS  # noqa: PLC0415 - as above
        from gradcheck.session.configs import envelope  # noqa: PLC0415 - as above

        report = envelope([run], folder=self.folder)
        deliver(report, REPORTERS, self.reports, show=self.show, stdout=self.stdout)
        summarise(report, time.perf_counter() - self.start, one="script")
        return verdict_code(report.exit_code, exit_zero=self.exit_zero)
