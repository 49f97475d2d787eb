"""GC608: the variables that TensorFlow finds in a function under `tf.custom_gradient` whose `grad` takes none.

TensorFlow's TypeError names the variables alone. Whether they were given or used inside is in the frame that raised it:
Keras and AutoGraph raise copies, and the first exception is the last one in the chain of their contexts.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gradcheck.building.naming import place_of_function
from gradcheck.phrases import some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CODE = "GC608"
_REFUSED = "grad_fn must accept keyword argument 'variables'"
_MODULE = "tensorflow.python.ops.custom_gradient"
_IF_GIVEN = "pass the tensor of a Keras variable, `w.value` or `tf.convert_to_tensor(w)`, not the variable itself"
_IF_USED = (
    "pass `w.value` as an argument too, or let grad take `variables=None` and return a pair: the gradients of the "
    "arguments, and a list with one for each of `variables`"
)


@dataclass(frozen=True)
class Refusal:
    """The cause of the error, None if its frame is gone, and what to write instead."""

    says: str | None
    help: str


def refusal(error: BaseException) -> Refusal | None:
    """Return what is behind TensorFlow's refusal of a custom gradient with variables; None for another error."""
    if _REFUSED not in str(error):
        return None
    call = next(_calls(error), None)
    if call is None:
        return Refusal(None, f"{_IF_GIVEN}; for variables that the function uses inside, {_IF_USED}")
    arguments = [*call.get("flat_args", ()), *call.get("flat_kwargs", ())]
    given = [a for a in arguments if any(getattr(a, "value", None) is v for v in call["variables"])]
    held = {id(a.value) for a in given}
    used = [v for v in call["variables"] if id(v) not in held]
    causes = [f"is given the Keras variable {some([a.path for a in given])} as an argument"] if given else []
    causes += [f"uses {some([v.name.partition(':')[0] for v in used])} inside"] if used else []
    says = f"{place_of_function(call['f'])} under tf.custom_gradient {' and '.join(causes)}"
    helps = [*([_IF_GIVEN] if given else []), *([_IF_USED] if used else [])]
    return Refusal(f"{says}, and its grad takes no `variables`", "; for the variables used inside, ".join(helps))


def _calls(error: BaseException) -> Iterator[Mapping[str, Any]]:
    """Yield the local names of TensorFlow's decorator, where a traceback in the chain of contexts has its frame."""
    link: BaseException | None = error
    while link is not None:
        for frame, _ in traceback.walk_tb(link.__traceback__):
            if frame.f_globals.get("__name__") == _MODULE and {"f", "variables"} <= frame.f_locals.keys():
                yield frame.f_locals
        link = link.__cause__ or link.__context__
