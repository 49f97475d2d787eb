"""Conversion of exceptions that user code or TensorFlow raises during a computation."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import tensorflow as tf

from gradcheck.building.messages import described, gist, raised, user_location
from gradcheck.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gradcheck.problem.problem import Problem


@contextmanager
def computing(problem: Problem, what: str) -> Iterator[None]:
    """Convert an exception raised in the block to a RunError that says `what` failed, at the user's line if known.

    Raises:
        RunError: GC059 in a graph or under XLA, otherwise GC053; GC608 for TensorFlow's refusal of variables.
        MemoryError: if TensorFlow is out of memory; it is reported as GC056.
        GradcheckError: gradcheck's own errors are raised unchanged.
    """
    try:
        yield
    except (GradcheckError, MemoryError):
        raise
    except tf.errors.ResourceExhaustedError as error:
        raise MemoryError(gist(error)) from error
    except (Exception, SystemExit) as error:
        eager = problem.execution == "eager"
        where = "" if eager else f", in {problem.execution},"
        raise raised(
            f"{what}{where} raised {described(error)}",
            error,
            "GC053" if eager else "GC059",
            location=user_location(error),
            help_=None if eager else "execution: eager shows whether the model or its compilation is at fault",
        ) from error
