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
    """The options of `run` as they were given; None for an option that was not given."""

    methods: tuple[str, ...]
    overrides: tuple[str, ...]
    rtol: str | None
    atol: str | None
    seed: str | None
    precision: str | None
    execution: str | None
    reports: tuple[Destination, ...]
    show: Show
    baseline: Path | None
    fail_fast: bool
    exit_zero: bool
    verify_reference: bool
    timeout: float | None
    jobs: int
    safe: bool
    save_gradients: Path | None = None
    reference: Path | None = None
    shard: Shard | None = None
