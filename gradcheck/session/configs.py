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
from gradcheck.errors import ExitCode, GradcheckError, RunError, most_serious
from gradcheck.results.report import Environment, Report, RunReport, Summary, Tool
from gradcheck.session.deadline import deadline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from gradcheck.config.load import LoadedConfig
    from gradcheck.config.schema import Config
    from gradcheck.session.look import Look


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Config number `index` (from 0) of `total` has reached `stage`: building, reference, or a method's name."""

    config: str
    index: int
    total: int
    stage: str


def _ignore(*event: object) -> None:
    """No one is watching."""


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """What a check does beside its configs.

    Attributes:
        fail_fast: stop at the first check that is not as expected, within a config and after it.
        optional: methods that may not apply; the others decide then.
        timeout: seconds that one config may take; None is no limit.
        on_progress: told of each stage.
        on_error: told of what was raised, with its traceback, before it becomes a verdict.
    """

    fail_fast: bool = False
    optional: frozenset[str] = frozenset()
    timeout: float | None = None
    on_progress: Callable[[Progress], None] = field(default=_ignore)
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
    for index, config in enumerate(configs):
        runs.append(config if isinstance(config, RunReport) else check_one(config, options, index, len(configs)))
        if options.fail_fast and runs[-1].exit_code != ExitCode.OK:
            break
    return envelope(runs)


def envelope(runs: Iterable[RunReport]) -> Report:
    """The runs in the report's envelope, with the versions of what computed them."""
    runs = tuple(runs)
    return Report(
        tool=Tool(name="gradcheck", version=__version__),
        environment=environment(),
        summary=Summary.of(runs),
        runs=runs,
    )


def exit_code(report: Report) -> ExitCode:
    """The most serious of the runs' exit codes."""
    return most_serious(ExitCode(run.exit_code) for run in report.runs)


def check_one(
    loaded: LoadedConfig, options: CheckOptions, index: int = 0, total: int = 1, *, look: Look | None = None
) -> RunReport:
    """One run, and what `look` adds to it; an error becomes its verdict."""

    def stage(name: str) -> None:
        options.on_progress(Progress(config=str(loaded.path), index=index, total=total, stage=name))

    try:
        stage("loading TensorFlow")
        from gradcheck.session.one_config import run_config  # noqa: PLC0415 - TensorFlow starts here

        with deadline(options.timeout):  # an import that is cut short leaves half a module for the next config
            return run_config(loaded, options, stage, look)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever was raised: the other configs still run
        options.on_error(loaded.path, error)
        config = loaded.config
        return RunReport(
            name=loaded.name,
            seed=config.seed,
            precision=config.precision,
            execution=config.execution,
            **_failure(loaded.path, understood(error)),
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


def understood(error: BaseException) -> GradcheckError:
    """`error` as one that a person is meant to read."""
    if isinstance(error, GradcheckError):
        return error
    return _out_of_memory(error) if isinstance(error, MemoryError) else _unexpected(error)


def _out_of_memory(error: MemoryError) -> RunError:
    return RunError(
        f"out of memory: {error}" if str(error) else "out of memory",
        code="GC056",
        help="make the batch or the model smaller, or cut it into fewer parts",
    )


def _unexpected(error: BaseException) -> RunError:
    """What TensorFlow or Keras raised where no user code was being called."""
    if type(error).__name__ == "ResourceExhaustedError":
        return _out_of_memory(MemoryError(str(error).partition("\n")[0]))
    return RunError(f"{type(error).__name__}: {error}", help="-v shows where it was raised")


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
