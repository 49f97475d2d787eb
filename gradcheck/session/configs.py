"""Configs -> Report. Each config runs in a session of its own, a broken one beside the others.

Importing this module imports no TensorFlow: a config that is wrong is refused before that is needed.
"""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from gradcheck import __version__
from gradcheck.config.load import load_given
from gradcheck.errors import ExitCode, most_serious
from gradcheck.results.report import Environment, Report, RunReport, Summary, Tool
from gradcheck.workers.failures import understood

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from gradcheck.config.load import LoadedConfig
    from gradcheck.config.schema import Config
    from gradcheck.errors import GradcheckError
    from gradcheck.session.look import Look


def _ignore(*event: object) -> None:
    """Ignore the event."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """What a check does beside its configs.

    Attributes:
        fail_fast: stop at the first check that is not as expected, within a config and after it.
        optional: methods that may not apply; the others decide then.
        on_error: told of what was raised, with its traceback, before it becomes a verdict.
    """

    fail_fast: bool = False
    optional: frozenset[str] = frozenset()
    on_error: Callable[[Path, BaseException], None] = field(default=_ignore)


def check(config: Config | Mapping[str, Any] | str | Path, **overrides: Any) -> Report:
    """Runs one config and reports, as `gradcheck run` does.

    Args:
        config: a YAML file, a mapping as YAML would give it, or a `Config`; paths in the latter two are relative to the
            working directory.
        **overrides: config keys and the values that replace what the config says: `seed=1`, `data={"batch_size": 8}`.

    Returns:
        The report; what goes wrong at run time is its verdict, `error`.

    Raises:
        ConfigErrors: every mistake of the config at once.
    """
    return check_all([load_given(config, overrides)], CheckOptions())


def assert_gradients_match(config: Config | Mapping[str, Any] | str | Path, **overrides: Any) -> Report:
    """Runs one config as `check` does, and returns the report if every check came out as expected.

    Raises:
        AssertionError: with the concise report, if not (a mismatch, an error, or nothing proven).
        ConfigErrors: every mistake of the config at once.
    """
    report = check(config, **overrides)
    if exit_code(report) is not ExitCode.OK:
        from gradcheck.reporters import REPORTERS, RenderOptions  # noqa: PLC0415 - only a failure is rendered

        raise AssertionError(REPORTERS["concise"](report, RenderOptions()))
    return report


def check_all(configs: Sequence[LoadedConfig | RunReport], options: CheckOptions) -> Report:
    """Runs every config in this process, one after the other; one that could not be read is a report already."""
    runs: list[RunReport] = []
    for config in configs:
        runs.append(config if isinstance(config, RunReport) else check_one(config, options))
        if options.fail_fast and runs[-1].exit_code != ExitCode.OK:
            break
    return envelope(runs)


def envelope(runs: Iterable[RunReport], ran_on: Environment | None = None) -> Report:
    """The runs in the report's envelope, with the versions of what computed them; None for this process."""
    runs = tuple(runs)
    return Report(
        tool=Tool(name="gradcheck", version=__version__),
        environment=ran_on or environment(),
        summary=Summary.of(runs),
        runs=runs,
    )


def exit_code(report: Report) -> ExitCode:
    """The most serious of the runs' exit codes."""
    return most_serious(ExitCode(run.exit_code) for run in report.runs)


def check_one(
    loaded: LoadedConfig,
    options: CheckOptions,
    stage: Callable[[str], None] = _ignore,
    *,
    look: Look | None = None,
) -> RunReport:
    """One run, and what `look` adds to it; an error becomes its verdict. `stage` is called as each stage begins."""
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
    """One run, and what it ran on: the device is known only where TensorFlow runs."""
    return check_one(loaded, options, stage), environment()


def errored(loaded: LoadedConfig, error: GradcheckError) -> RunReport:
    """The run of a config that gave an error."""
    config = loaded.config
    return RunReport(
        name=loaded.name,
        seed=config.seed,
        precision=config.precision,
        execution=config.execution,
        **_failure(loaded.path, error),
    )


def unreadable(path: Path, error: GradcheckError) -> RunReport:
    """The run of a config that could not be read; what it would have said is given as the defaults."""
    return RunReport(name=path.stem, seed=0, precision="float32", execution="eager", **_failure(path, error))


def _failure(path: Path, error: GradcheckError) -> dict[str, Any]:
    return {
        "config": str(path),
        "verdict": "error",
        "error": error.mistakes[0],
        "errors": error.mistakes,
        "exit_code": int(error.exit_code),
    }


def environment() -> Environment:
    """The versions that figures depend on, as they are installed."""
    versions = {name: version(name) for name in ("tensorflow", "keras", "numpy")}
    return Environment(python=platform.python_version(), device=_device(), **versions)


def _device() -> str:
    """The accelerator that TensorFlow computes on, else CPU; empty where TensorFlow was not needed here."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return ""
    return "GPU" if tensorflow.config.list_physical_devices("GPU") else "CPU"
