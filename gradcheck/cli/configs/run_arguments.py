"""The command-line arguments of `run` and `mutate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.cli.terminal.destinations import Destination
    from gradcheck.reporters.interface import Show
    from gradcheck.results.origin import Shard


@dataclass(frozen=True, kw_only=True)
class RunArguments:
    """The options of `run` as they were given; the default of one that was not given, or that a command lacks."""

    methods: tuple[str, ...] = ()
    against: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    rtol: str | None = None
    atol: str | None = None
    seed: str | None = None
    precision: str | None = None
    execution: str | None = None
    reports: tuple[Destination, ...] = ()
    show: Show = "all"
    baseline: Path | None = None
    save_gradients: Path | None = None
    reference: Path | None = None
    fail_fast: bool = False
    exit_zero: bool = False
    verify_reference: bool = False
    timeout: float | None = None
    jobs: int = 1
    shard: Shard | None = None
    safe: bool = False
