"""One call of `gradient`, `jacobian` or `batch_jacobian` of a tape: what was asked, and what came back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gradcheck.user_calls.lines import ScriptLine

Kind = Literal["gradient", "jacobian", "batch_jacobian"]
#: The methods of a tape that differentiate.
KINDS: tuple[Kind, ...] = ("gradient", "jacobian", "batch_jacobian")


@dataclass(eq=False, kw_only=True)
class TapeCall:
    """One call of a tape.

    Attributes:
        line: the user's.
        targets, seeds, sources, results: flat; `seeds` (`output_gradients`) is None if the call had none.
    """

    line: ScriptLine
    kind: Kind
    targets: Sequence[Any]
    seeds: Sequence[Any] | None
    sources: Sequence[Any]
    results: Sequence[Any]


def seeds_of(kind: Kind, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return the `output_gradients` among the arguments that follow the sources; None if there are none."""
    return args[0] if kind == "gradient" and args else kwargs.get("output_gradients")


def flat_results(results: Any, count: int) -> list[Any]:
    """Return the results in the order of `count` sources; sparse rows are one result."""
    if count == 1 and not isinstance(results, (list, tuple, dict)):
        return [results]
    flat: list[Any] = tf.nest.flatten(results)
    return flat


def identity(tensor: Any) -> int:
    """Return the id of a tensor, or of a variable's handle: no other one in this process ever has it."""
    return int(getattr(tensor, "handle", tensor)._id)  # noqa: SLF001 - TensorFlow's only name for a tensor
