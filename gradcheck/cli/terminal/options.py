"""Options that commands share, and help texts with sections of options and examples."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gradcheck.cli.terminal.destinations import FORMATS, parse_formats
from gradcheck.cli.terminal.errors import wants_color

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

CommandT = TypeVar("CommandT", bound="Callable[..., Any]")

#: The context settings of every command and of the group.
CONTEXT_SETTINGS: dict[str, Any] = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass
class Settings:
    """The terminal options of a command line. One object for an invocation, filled while the options are parsed."""

    color: str = "auto"
    verbose: bool = False
    quiet: bool = False

    def colored(self, *, terminal: bool | None = None) -> bool:
        """Whether to colour the output: as `wants_color`, for the given `--color`."""
        return wants_color(self.color, terminal=terminal)


def settings() -> Settings:
    """Return the settings of the running command."""
    found: Settings = click.get_current_context().find_root().ensure_object(Settings)
    return found


class Option(click.Option):
    """An option in a section of the help."""

    def __init__(self, *args: Any, section: str = "Options", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.section = section


class Command(click.Command):
    """A command with examples in its help and its options in sections, in the order of their first option."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any) -> None:
        kwargs["context_settings"] = {**CONTEXT_SETTINGS, **kwargs.get("context_settings", {})}
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one definition list for each section; options without a section, such as `--help`, come last."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in (p for p in self.get_params(ctx) if not isinstance(p, click.Argument)):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "section", "Options"), []).append(record)
        for title in sorted(sections, key=lambda name: name == "Options"):
            with formatter.section(title):
                formatter.write_dl(sections[title])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, each on one line without wrapping."""
        write_examples(self.examples, formatter)
        super().format_epilog(ctx, formatter)


def write_examples(examples: Sequence[str], formatter: click.HelpFormatter) -> None:
    """Write the Examples section of a help text."""
    if examples:
        with formatter.section("Examples"):
            for example in examples:
                formatter.write(f"  $ {example}\n")


def option(*declarations: str, section: str = "Options", **attributes: Any) -> Callable[[CommandT], CommandT]:
    """Return a decorator that adds an option to a section of the help."""
    return click.option(*declarations, cls=Option, section=section, **attributes)


def _setting(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    """Return a callback that stores an option's value in the settings."""

    def store(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        setattr(ctx.find_root().ensure_object(Settings), name, value)

    return store


def terminal_options(command: CommandT) -> CommandT:
    """Add `--color`, `-q` and `-v`, which are stored in `settings()` and not passed to the command's function."""
    shared: dict[str, Any] = {"section": "Terminal", "expose_value": False, "is_eager": True}
    choices = click.Choice(["auto", "always", "never"])
    for decorate in (
        option(
            "-v", "--verbose", is_flag=True, callback=_setting("verbose"), help="Show tracebacks and logs.", **shared
        ),
        option("-q", "--quiet", is_flag=True, callback=_setting("quiet"), help="No progress, no summary.", **shared),
        option(
            "--color",
            type=choices,
            default="auto",
            show_default=True,
            callback=_setting("color"),
            help="When to colour; NO_COLOR wins.",
            **shared,
        ),
    ):
        command = decorate(command)
    return command


def report_options(command: CommandT) -> CommandT:
    """Add `--format`, `-o` and `--show`, passed to the command as `formats`, `output` and `show`."""
    file = click.Path(path_type=Path, dir_okay=False)
    for decorate in (
        option(
            "--show",
            type=click.Choice(["all", "failed", "summary"]),
            default="all",
            show_default=True,
            help="Which tensors the report lists.",
            section="Report",
        ),
        option("-o", "--output", type=file, metavar="FILE", help="Write the report to FILE.", section="Report"),
        option(
            "--format",
            "formats",
            callback=parse_formats,
            shell_complete=lambda _, __, typed: [name for name in FORMATS if name.startswith(typed)],
            multiple=True,
            metavar="FORMAT[:FILE]",
            help=f"How the report is written: {', '.join(FORMATS[:-1])} or {FORMATS[-1]}. With FILE it goes there; "
            "repeat for several. Default: table.",
            section="Report",
        ),
    ):
        command = decorate(command)
    return command


def set_option(command: CommandT) -> CommandT:
    """Add `--set KEY=VALUE`, passed to the command as `overrides`."""
    decorate: Callable[[CommandT], CommandT] = option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        section="Config",
        help="Replace the value of any config key; dotted, VALUE is YAML. Repeat for several.",
    )
    return decorate(command)


def safe_option(command: CommandT) -> CommandT:
    """Adds `--safe`, passed to the command as `safe`."""
    help_ = "Refuse configs that may run code, or read files outside of their folder."
    decorate: Callable[[CommandT], CommandT] = option("--safe", is_flag=True, section="Run", help=help_)
    return decorate(command)


def exit_zero_option(command: CommandT) -> CommandT:
    """Add `--exit-zero`, passed to the command as `exit_zero`."""
    help_ = "Exit 0 whatever the verdict; errors still have their own code."
    decorate: Callable[[CommandT], CommandT] = option("--exit-zero", is_flag=True, section="Run", help=help_)
    return decorate(command)
