"""Loading the configs that paths and options on the command line name, including those with mistakes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from gradcheck.config.load import load_config
from gradcheck.config.yaml.discover import discover
from gradcheck.config.yaml.overrides import option_overrides
from gradcheck.errors import ConfigErrors
from gradcheck.session.configs import unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gradcheck.cli.configs.run_arguments import RunArguments
    from gradcheck.config.load import LoadedConfig
    from gradcheck.results.origin import Shard
    from gradcheck.results.report import RunReport


def load_all(paths: Sequence[Path], arguments: RunArguments) -> tuple[list[LoadedConfig | RunReport], Shard | None]:
    """Load the configs that `paths` name, in order, or the shard of them; a config with mistakes becomes its report.

    Returns:
        The configs, and the shard with the number of all.

    Raises:
        ConfigErrors: for a path that does not exist, or a folder without configs.
    """
    found = discover(paths)
    shard = arguments.shard and replace(arguments.shard, configs=len(found))
    return [_load(path, arguments) for path in (shard.share(found) if shard else found)], shard


def _load(path: Path, arguments: RunArguments) -> LoadedConfig | RunReport:
    options = option_overrides(
        seed=arguments.seed,
        rtol=arguments.rtol,
        atol=arguments.atol,
        precision=arguments.precision,
        execution=arguments.execution,
        verify_reference="always" if arguments.verify_reference else None,
    )
    try:
        return load_config(
            path,
            overrides=(*arguments.overrides, *options),
            methods=arguments.methods,
            against=arguments.against,
            require_split=True,
            safe=arguments.safe,
        )
    except ConfigErrors as errors:
        return unreadable(path, errors)
