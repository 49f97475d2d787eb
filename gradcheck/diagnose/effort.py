"""Best effort: a step of a diagnosis that raises costs that step, never the comparison that it was to explain."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import tensorflow as tf

from gradcheck.building.messages import described, gist
from gradcheck.errors import GradcheckError

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")
#: The code of the deadline, which ends everything.
TIMED_OUT = "GC057"
#: The step in which faults are injected one after another; the first that raises is shown.
REPLAYS = "replays of mistakes"


@dataclass(frozen=True)
class Effort:
    """What was tried, and what of it could not be completed: in words, by step."""

    failed: dict[str, str] = field(default_factory=dict)

    def attempt(self, step: str, run: Callable[[], Found]) -> Found | None:
        """What `run` gives; None where it raises.

        Args:
            step: what is tried, as a noun.
            run: may call the user's code, in ways in which the user never called it.

        Raises:
            GradcheckError: the deadline.
            MemoryError: where memory runs out.
        """
        try:
            return run()
        except MemoryError:
            raise
        except tf.errors.ResourceExhaustedError as error:
            raise MemoryError(gist(error)) from error
        except (Exception, SystemExit) as error:
            if isinstance(error, GradcheckError) and error.code == TIMED_OUT:
                raise
            said = str(error) if isinstance(error, GradcheckError) else described(error)
            self.failed.setdefault(step, said)
            return None

    @property
    def warnings(self) -> tuple[str, ...]:
        """A sentence for each step that could not be completed."""
        return tuple(f"the diagnosis could not be completed: {step}: {said}" for step, said in self.failed.items())
