"""`gradcheck schema`: the JSON Schema of the config."""

from __future__ import annotations

import json
from pathlib import Path

import click

from gradcheck.cli.terminal.options import Command, option, terminal_options
from gradcheck.cli.terminal.streams import write_report
from gradcheck.files import write_file


@click.command(cls=Command, examples=("gradcheck schema -o config.schema.json",))
@option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", section="Output", help="Write to FILE.")
@terminal_options
def schema(output: Path | None) -> None:
    """Print the JSON Schema of the config, for editors.

    An editor with a YAML language server takes it from a first line such as
    `# yaml-language-server: $schema=config.schema.json`.
    """
    from gradcheck.config import json_schema  # noqa: PLC0415 - pydantic is not needed for --help

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"
    if output is None:
        write_report(text)
    else:
        write_file(output, text)
