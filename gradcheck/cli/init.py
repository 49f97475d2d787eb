"""`gradcheck init`: a commented config to begin with."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from gradcheck.cli.terminal.options import Command, option, settings, terminal_options
from gradcheck.cli.terminal.streams import write_report
from gradcheck.files import write_file


@click.command(cls=Command, examples=("gradcheck init", "gradcheck init configs/mine.yaml && gradcheck run configs/"))
@click.argument("path", default="gradcheck.yaml", metavar="[PATH]", type=click.Path(path_type=Path, allow_dash=True))
@option("--force", is_flag=True, section="Output", help="Overwrite a file that exists.")
@terminal_options
def init(path: Path, *, force: bool) -> None:
    """Write a commented config that passes as written.

    PATH is gradcheck.yaml by default; - is standard output.
    """
    text = template()
    if str(path) == "-":
        write_report(text)
        return
    write_file(path, text, replace=force)
    if not settings().quiet:
        click.echo(f"wrote {path}; check it with: gradcheck run {path}", err=True)


def template() -> str:
    """Return the config that `init` writes."""
    return resources.files("gradcheck.config").joinpath("template.yaml").read_text(encoding="utf-8")
