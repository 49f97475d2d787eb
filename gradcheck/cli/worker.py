"""`gradcheck worker`: a process that holds segments which configs elsewhere place in it."""

from __future__ import annotations

import ipaddress
import time
from contextlib import suppress

import click

from gradcheck.cli.terminal.options import Command, option, settings, terminal_options
from gradcheck.errors import ExitCode, UsageError

_LOOPBACK = "127.0.0.1"
_EXAMPLES = ("gradcheck worker --port 4000", "gradcheck worker --port 4000 --host 10.0.0.7")


@click.command(cls=Command, examples=_EXAMPLES)
@option(
    "--port",
    type=click.IntRange(min=0, max=2**16 - 1),
    default=0,
    show_default=True,
    metavar="N",
    section="Server",
    help="Listen at this port; 0 for any that is free.",
)
@option(
    "--host",
    default=_LOOPBACK,
    show_default=True,
    metavar="ADDRESS",
    section="Server",
    help="Listen at this IPv4 address of the machine; 0.0.0.0 for all. There is no authentication.",
)
@terminal_options
def worker(port: int, host: str) -> int:
    """Hold the segments that a config places here, and compute with them, until Ctrl-C.

    Prints its address, for `placement.cluster` of the config, and runs what any process that connects asks for.
    """
    _require_address(host)
    from gradcheck.workers.output import quiet_tensorflow  # noqa: PLC0415 - not needed for --help

    quiet_tensorflow(verbose=settings().verbose)
    from gradcheck.placement.hosting import Worker  # noqa: PLC0415 - TensorFlow starts here

    served = Worker(host, port)
    if not ipaddress.ip_address(host).is_loopback:
        click.echo(
            "warning: TensorFlow servers have no authentication: whoever reaches this address can run any code here",
            err=True,
        )
    with suppress(KeyboardInterrupt):  # SIGTERM is one too
        click.echo(served.address)  # whoever reads it may end the worker at once
        while True:  # in steps: a signal that comes just before a wait without end goes unseen
            time.sleep(1)
    return ExitCode.OK


def _require_address(host: str) -> None:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        raise UsageError(
            f"--host takes an IPv4 address of this machine. Received: {host}", code="GC010", help="as 10.0.0.7"
        ) from None
