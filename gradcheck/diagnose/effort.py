"""Steps of a diagnosis that may fail: an exception ends the step, never the comparison that it explains."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import tensorflow as tf

from gradcheck.building.messages import described, gist
from gradcheck.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")
#: The code of the error that is raised when a config's deadline passes.
TIMED_OUT = "GC057"
#: The name of the step that injects faults one after another; the first error in it is reported.
REPLAYS = "replays of mistakes"


@dataclass(frozen=True)
class Effort:
    """The steps that failed: the error message of each, by the name of the step."""

    failed: dict[str, str] = field(default_factory=dict)

    def attempt(self, step: str, run: Callable[[], Found]) -> Found | None:
        """Run a step and return its result, or None if it raises.

        Args:
            step: the name of the step, as a noun.
            run: the step; it may call the user's code in ways in which the user never calls it.

        Raises:
            GradcheckError: GC057, if the deadline has passed.
            MemoryError: if memory runs out, also for TensorFlow's `ResourceExhaustedError`.
        """
        try:
            return run()
        except MemoryError:
            raise
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(gist(error)) from error
        # SystemExit: the user's code may call sys.exit().
        except (Exception, SystemExit) as error:
            if isinstance(error, GradcheckError) and error.code == TIMED_OUT:
                raise
            said = str(error) if isinstance(error, GradcheckError) else described(error)
            self.failed.setdefault(step, said)
            return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each step that failed."""
        return tuple(f"the diagnosis could not be completed: {step}: {said}" for step, said in self.failed.items())
