"""Loading the configs that paths and options on the command line name, including those with mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradcheck.config.load import load_config
from gradcheck.config.yaml.discover import discover
from gradcheck.config.yaml.overrides import option_overrides
from gradcheck.errors import ConfigErrors
from gradcheck.session.configs import unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from gradcheck.cli.run_arguments import RunArguments
    from gradcheck.config.load import LoadedConfig
    from gradcheck.results.report import RunReport


def load_all(paths: Sequence[Path], arguments: RunArguments) -> list[LoadedConfig | RunReport]:
    """Load every config that `paths` name, in order; a config with mistakes becomes its report.

    Raises:
        ConfigErrors: for a path that does not exist, or a folder without configs.
    """
    return [_load(path, arguments) for path in discover(paths)]


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
