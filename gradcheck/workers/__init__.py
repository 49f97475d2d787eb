"""Worker processes that run user code. Whatever ends one, its parent goes on, and reports it.

    with workers() as pool:
        for result in pool.run(tasks):
            ...

A worker imports TensorFlow, the parent does not. Configs run here; later whatever else needs a process of its own:
replicas on logical devices, other engines, functions that may abort.
"""

from __future__ import annotations

import os
from typing import Any

from gradcheck.errors import GradcheckError
from gradcheck.workers.here import Here
from gradcheck.workers.pool import Workers
from gradcheck.workers.task import Runner, Task

__all__ = ["Runner", "Task", "result_of", "workers"]

#: Set to 0, tasks run in this process, where a debugger or a profiler can follow them.
VARIABLE = "GRADCHECK_WORKERS"


def workers(count: int = 1, *, verbose: bool = False) -> Runner:
    """Return a pool of up to `count` worker processes; this process itself where there can be none.

    With `verbose` TensorFlow's start-up chatter is shown.
    """
    here = os.environ.get(VARIABLE) == "0" or os.name != "posix"
    return Here(verbose=verbose) if here else Workers(count, verbose=verbose)


def result_of(pool: Runner, task: Task) -> Any:
    """Return the result of one task.

    Raises:
        GradcheckError: if the task raised one, took too long or ended its process.
    """
    (result,) = pool.run([task])
    if isinstance(result, GradcheckError):
        raise result
    return result
