"""The `gradcheck` command: subcommands are imported when they run, and every outcome has its exit code."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from gradcheck.cli.terminal.errors import print_failure
from gradcheck.cli.terminal.options import CONTEXT_SETTINGS, Settings, write_examples
from gradcheck.cli.terminal.streams import discard_output
from gradcheck.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@dataclass(frozen=True)
class Subcommand:
    """A subcommand: `module:attribute`, its line in the group's help, and the section of that line."""

    target: str
    help: str
    section: str


COMMANDS: dict[str, Subcommand] = {
    "run": Subcommand("gradcheck.cli.run:run", "Check the gradients of every method, and report.", "Check"),
    "audit": Subcommand("gradcheck.cli.audit:audit", "Check a training script as it stands.", "Check"),
    "layer": Subcommand("gradcheck.cli.layer:layer", "Check one layer or function, without a config.", "Check"),
    "mutate": Subcommand("gradcheck.cli.mutate:mutate", "Show which known mistakes the check would see.", "Check"),
    "ops": Subcommand("gradcheck.cli.ops:ops", "Sweep the functions of Keras, TensorFlow, or a module.", "Check"),
    "bench": Subcommand("gradcheck.cli.bench:bench", "Measure what each method costs.", "Look closer"),
    "plan": Subcommand("gradcheck.cli.plan:plan", "Show the segments and what each method would cost.", "Look closer"),
    "diff": Subcommand("gradcheck.cli.diff:diff", "Compare two JSON reports: what newly fails.", "Look closer"),
    "join": Subcommand("gradcheck.cli.join:join", "Join the JSON reports of several machines to one.", "Look closer"),
    "explain": Subcommand("gradcheck.cli.explain:explain", "Say what a code means and how to mend it.", "Look closer"),
    "validate": Subcommand(
        "gradcheck.cli.validate:validate", "Check config files alone: every error at once.", "Configs"
    ),
    "init": Subcommand("gradcheck.cli.init:init", "Write a commented config that passes as written.", "Configs"),
    "schema": Subcommand("gradcheck.cli.schema:schema", "Print the JSON Schema of the config, for editors.", "Configs"),
    "worker": Subcommand("gradcheck.cli.worker:worker", "Hold segments that a config places here.", "Machines"),
}

_EXAMPLES = ("gradcheck init", "gradcheck run gradcheck.yaml", "gradcheck run configs/ --format junit -o report.xml")


class LazyGroup(click.Group):
    """A group that imports a subcommand's module only when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return every name, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Import and return the command; None for an unknown name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].target.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Resolve the command; the error for an unknown name suggests the nearest one."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from gradcheck.phrases import nearest  # noqa: PLC0415 - not needed otherwise

            near = nearest(args[0], COMMANDS)
            meant = f" Did you mean `{near}`?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{meant} Commands: {', '.join(COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write the help from `COMMANDS`, which imports no command."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in COMMANDS.items():
            sections.setdefault(entry.section, []).append((name, entry.help))
        for title, rows in sections.items():
            with formatter.section(title):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """Write examples of the whole program."""
        write_examples(_EXAMPLES, formatter)


def _print_version(ctx: click.Context, _: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's signature
    if value:
        from gradcheck import __version__  # noqa: PLC0415 - looked up when asked for

        click.echo(f"gradcheck {__version__}")
        ctx.exit()


@click.group(cls=LazyGroup, context_settings=CONTEXT_SETTINGS, invoke_without_command=True)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version."
)
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Prove that a model cut into parts computes the gradients of the whole one.

    Where it does not, say where and why.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help(), err=True)
        ctx.exit(ExitCode.USAGE)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; no exception leaves this function."""
    if "_GRADCHECK_COMPLETE" in os.environ:  # set by a shell's completion script
        cli.main(prog_name="gradcheck")
    settings = Settings()
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with _ended_like_interrupted():
            return _exit_code(given, settings)
    except BrokenPipeError:  # whoever read what this prints has gone
        discard_output()
        return ExitCode.RUNTIME


@contextmanager
def _ended_like_interrupted() -> Iterator[None]:
    """Treat SIGTERM, by which a system ends programs, as Ctrl-C: nothing half-written, no process left."""
    if threading.current_thread() is not threading.main_thread():  # only that one can be signalled
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _exit_code(arguments: list[str], settings: Settings) -> int:
    """Run the command and return its exit code; an exception becomes a message on standard error."""
    try:
        with cli.make_context("gradcheck", arguments, obj=settings) as context:
            result = cli.invoke(context)
    except click.exceptions.Exit as ended:
        result = ended.exit_code
    except BrokenPipeError:
        raise
    except (KeyboardInterrupt, EOFError, click.Abort):
        click.echo("interrupted", err=True)
        return ExitCode.INTERRUPTED
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the last resort: one message, never a traceback unasked
        return print_failure(error, color=settings.colored(), verbose=settings.verbose)
    sys.stdout.flush()
    if result == ExitCode.INTERRUPTED:  # with a report on what was finished
        click.echo("interrupted", err=True)
    return result if isinstance(result, int) else ExitCode.OK
