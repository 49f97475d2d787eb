"""Run configs and collect their reports. Each has a session of its own; an error in one leaves the others.

Importing this module imports no TensorFlow: an invalid config is refused before TensorFlow is needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from gradcheck import __version__
from gradcheck.config.load import load_given
from gradcheck.results.origin import Environment, Shard, Tool, environment
from gradcheck.results.report import Report, RunReport, Summary
from gradcheck.session.checkout import checkout
from gradcheck.workers.failures import understood
from gradcheck.workers.task import silent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from gradcheck.config.load import LoadedConfig
    from gradcheck.config.schema import Config
    from gradcheck.errors import GradcheckError
    from gradcheck.session.gradient_files import GradientFiles
    from gradcheck.session.look import Look


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Options of a check that are not part of a config.

    Attributes:
        fail_fast: stop at the first check that is not as expected, within a config and after it.
        only: the labels of the methods that are checked; None for all of the config.
        save_gradients: where the reference is saved.
        reference: where it is read from, in place of running the whole model.
        optional: the methods that may fail with a RunError: that is then a note, and the others decide the verdict.
        on_error: called with the config's path and each exception before it is converted to a verdict.
    """

    fail_fast: bool = False
    only: frozenset[str] | None = None
    save_gradients: GradientFiles | None = None
    reference: GradientFiles | None = None
    optional: frozenset[str] = frozenset()
    on_error: Callable[[Path, BaseException], None] = field(default=silent)


def check(config: Config | Mapping[str, Any] | str | Path, **overrides: Any) -> Report:
    """Run one config and return its report, as `gradcheck run` does.

    Args:
        config: a YAML file, a mapping as YAML would give it, or a `Config`; paths in the latter two are relative to the
            working directory.
        **overrides: top-level keys with the values that replace the config's: `seed=1`, `data={"batch_size": 8}`.

    Returns:
        The report. An error at run time is not raised: the verdict is then `error`.

    Raises:
        ConfigErrors: every mistake of the config at once.
    """
    return envelope([check_one(load_given(config, overrides), CheckOptions())])


def assert_gradients_match(config: Config | Mapping[str, Any] | str | Path, **overrides: Any) -> Report:
    """Run one config as `check` does, and return its report if every check is as expected.

    Raises:
        AssertionError: with the concise report as its text, for a mismatch, an error, or if nothing is proven.
        ConfigErrors: every mistake of the config at once.
    """
    __tracebackhide__ = True  # pytest then shows the caller's line
    report = check(config, **overrides)
    report.raise_for_mismatch()
    return report


def envelope(
    runs: Iterable[RunReport],
    ran_on: Environment | None = None,
    *,
    folder: Path | None = None,
    safe: bool = False,
    shard: Shard | None = None,
) -> Report:
    """Return one report of all runs.

    Args:
        runs: the runs.
        ran_on: the environment that computed them; None for this process.
        folder: the folder whose commit the report names, of a config or a script; None for no commit.
        safe: whether that folder may come from a stranger (see `checkout`).
        shard: the share of the configs that the runs are of; None for all.
    """
    runs = tuple(runs)
    at = None if folder is None else checkout(folder, safe=safe)
    found = ran_on or environment()
    return Report(
        tool=Tool(name="gradcheck", version=__version__),
        environment=replace(found, commit=at.commit, dirty=at.dirty) if at else found,
        summary=Summary.of(runs),
        runs=runs,
        shard=shard,
    )


def check_one(
    loaded: LoadedConfig,
    options: CheckOptions,
    stage: Callable[[str], None] = silent,
    *,
    look: Look | None = None,
) -> RunReport:
    """Run one config; an error becomes the verdict of its report.

    Args:
        loaded: the config.
        options: the options beside it.
        stage: called with the name of each stage as it begins.
        look: called with the problem after its methods; the checks it returns are part of the report.
    """
    try:
        stage("loading TensorFlow")
        from gradcheck.session.one_config import run_config  # noqa: PLC0415 - TensorFlow starts here

        return run_config(loaded, options, stage, look)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever was raised: the other configs still run
        options.on_error(loaded.path, error)
        return errored(loaded, understood(error))


def check_with_environment(
    loaded: LoadedConfig, options: CheckOptions, stage: Callable[[str], None]
) -> tuple[RunReport, Environment]:
    """Run one config, and also return the environment: the device is known only to a process that runs TensorFlow."""
    return check_one(loaded, options, stage), environment()


def errored(loaded: LoadedConfig, error: GradcheckError) -> RunReport:
    """Return the report of a config whose run raised `error`."""
    config = loaded.config
    return RunReport(
        name=loaded.name,
        seed=config.seed,
        precision=config.precision,
        execution=config.execution,
        **_failure(loaded.path, error),
    )


def unreadable(path: Path, error: GradcheckError) -> RunReport:
    """Return the report of a config that could not be read, with the default seed, precision and execution."""
    return RunReport(name=path.stem, seed=0, precision="float32", execution="eager", **_failure(path, error))


def _failure(path: Path, error: GradcheckError) -> dict[str, Any]:
    return {
        "config": str(path),
        "verdict": "error",
        "error": error.mistakes[0],
        "errors": error.mistakes,
        "exit_code": int(error.exit_code),
    }
