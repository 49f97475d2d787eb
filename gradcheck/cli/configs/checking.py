"""Running the configs in workers, with progress on standard error."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradcheck.cli.terminal.errors import traceback_text
from gradcheck.cli.terminal.options import settings
from gradcheck.cli.terminal.progress import progress
from gradcheck.errors import GradcheckError, Interrupted
from gradcheck.phrases import plural, some
from gradcheck.reporters.parts.text import inline
from gradcheck.results.report import RunReport
from gradcheck.session.configs import CheckOptions, envelope, errored
from gradcheck.session.gradient_files import GradientFiles
from gradcheck.workers.task import Stage, Task

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from gradcheck.cli.configs.run_arguments import RunArguments
    from gradcheck.config.load import LoadedConfig
    from gradcheck.results.origin import Shard
    from gradcheck.results.report import Report
    from gradcheck.workers import Runner


def checked(
    entries: Sequence[LoadedConfig | RunReport], arguments: RunArguments, pool: Runner, shard: Shard | None = None
) -> Report:
    """Check every config of `entries` and return the report; with `fail_fast` up to the first failure."""
    options = CheckOptions(
        fail_fast=arguments.fail_fast,
        save_gradients=_files("--save-gradients", arguments.save_gradients, entries),
        reference=_files("--reference", arguments.reference, entries),
    )
    if options.save_gradients is not None:
        options.save_gradients.require_writable()
    if settings().verbose:
        options = dataclasses.replace(options, on_error=print_traceback)
    task = Task(
        target="gradcheck.session.configs:check_with_environment", arguments=(options,), seconds=arguments.timeout
    )
    runs, ran_on = [], None
    with contextlib.closing(in_workers(entries, task, pool)) as found:
        for entry, result in found:
            if isinstance(entry, RunReport):
                runs.append(entry)
            elif isinstance(result, GradcheckError):
                runs.append(errored(entry, result))
            else:
                run, ran_on = result
                runs.append(run)
            if options.fail_fast and runs[-1].exit_code:
                break
    folder = Path(runs[0].config).parent if runs else None  # a shard may be empty
    return envelope(runs, ran_on, folder=folder, safe=arguments.safe, shard=shard)


def _files(option: str, path: Path | None, entries: Sequence[LoadedConfig | RunReport]) -> GradientFiles | None:
    """Return where the saved references of all configs are.

    Raises:
        UsageError: if two configs would share a file.
    """
    if path is None:
        return None
    files = GradientFiles(option, path)
    files.require_apart([entry for entry in entries if not isinstance(entry, RunReport)])
    return files


def in_workers(
    entries: Sequence[LoadedConfig | RunReport], task: Task, pool: Runner
) -> Generator[tuple[LoadedConfig | RunReport, Any]]:
    """Yield each entry with the result of `task` for it, in order, None for a report. Show progress meanwhile.

    Where Ctrl-C ends the work, yield what is finished by then, and last the first entry that is not, with an
    `Interrupted` as its result.

    Args:
        entries: the configs.
        task: the work on one config, which precedes the arguments given here.
        pool: where the work is done.

    Raises:
        KeyboardInterrupt: if nothing is known yet.
    """
    loaded = [(number, entry) for number, entry in enumerate(entries, 1) if not isinstance(entry, RunReport)]
    tasks = [
        dataclasses.replace(task, arguments=(entry, *task.arguments)).placed(entry.config.placement)
        for _, entry in loaded
    ]
    begun = defaultdict[int, _Begun](_Begun)
    with progress(len(tasks)) as show:

        def tell(index: int, stage: str) -> None:
            number, entry = loaded[index]
            begun[index].note(stage)
            show(index, (f"[{number}/{len(entries)}] " if len(entries) > 1 else "") + f"{entry.path}: ", stage)

        results, unfinished = dict[int, Any](), list[int]()
        indices = iter(range(len(tasks)))
        with contextlib.closing(pool.as_finished(tasks, tell)) as finished:
            for entry in entries:
                if isinstance(entry, RunReport):
                    yield entry, None
                    continue
                index = next(indices)
                with contextlib.suppress(
                    KeyboardInterrupt, StopIteration
                ):  # which ends it, and after that there is no more
                    while index not in results:
                        done, results[done] = next(finished)
                        tell(done, Stage("finished", 1, 1))
                if index in results:
                    yield entry, results.pop(index)
                else:
                    unfinished.append(index)
    if unfinished:
        first = begun[unfinished[0]]
        if len(unfinished) == len(entries) and not first.known:
            raise KeyboardInterrupt
        yield loaded[unfinished[0]][1], first.interrupted([str(loaded[index][1].path) for index in unfinished[1:]])


@dataclasses.dataclass
class _Begun:
    """A config that is being worked on: the stage that it has reached, and what is known of it."""

    stage: str = ""
    known: list[Any] = dataclasses.field(default_factory=list)

    def note(self, stage: str) -> None:
        """Take note of a stage."""
        self.stage = stage
        if isinstance(stage, Stage) and stage.known is not None:
            self.known.append(stage.known)

    def interrupted(self, others: Sequence[str]) -> Interrupted:
        """Return what is said in place of its result; `others` are those that were not finished either."""
        where = f"at the stage: {self.stage}" if self.stage else "before it began"
        if isinstance(self.stage, Stage) and self.stage.total:
            where += f" ({self.stage.done} of {self.stage.total} done)"
        message = f"interrupted {where}"
        if others:
            message += f"; {plural(len(others), 'other config')} not finished: {some(others)}"
        return Interrupted(message, self.known)


def print_traceback(path: Path, error: BaseException) -> None:
    """Print the traceback of the config at `path` to standard error."""
    # In one write: another process may write too.
    sys.stderr.write(f"{inline(str(path))}:\n{traceback_text(error)}\n")
