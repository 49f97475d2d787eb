"""Values that leave TensorFlow and come back: as NumPy, as bytes, in a new variable, or past `stop_gradient`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import constant_op, ops  # where values enter, and where they are read

from gradcheck.auditing.observing.flow import ENTRANCES
from gradcheck.auditing.observing.script_step import Reentry, ScriptStep
from gradcheck.user_calls.lines import ScriptLine, user_line
from gradcheck.user_calls.tape_calls import identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from gradcheck.auditing.observing.flow import Flow
    from gradcheck.auditing.watch import Watch
    from gradcheck.user_calls.patches import Patches


class Entrances:
    """The places where values leave and enter."""

    def __init__(self, watch: Watch) -> None:
        """Nothing has left yet."""
        self._watch, self._flow = watch, watch.flow
        self._left: dict[int, ScriptLine] = {}

    def patch(self, patches: Patches) -> None:
        """Watch constants that are made, and tensors that are read."""
        patches.wrap(constant_op, "convert_to_eager_tensor", self._convert)
        patches.wrap(ops._EagerTensorBase, "numpy", self._numpy)  # noqa: SLF001 - the only hook

    def _numpy(self, original: Any, tensor: Any) -> Any:
        value, step = original(tensor), self._watch.step(None)
        if not self._watch.idle and step is not None:
            with self._watch.safely():
                self._left[tensor._id] = line = user_line()  # noqa: SLF001
                if tensor.shape.rank and tensor._id in self._flow.made:  # noqa: SLF001
                    step.exits.append((tensor._id, tuple(tensor.shape), line))  # noqa: SLF001
                elif tensor._id in self._flow.carried:  # noqa: SLF001
                    self._flow.left[tensor._id] = line  # noqa: SLF001
                self._watch.crossings.read(tensor, value, line)
        return value

    def _convert(self, original: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
        tensor = original(value, *args, **kwargs)
        if (
            not self._watch.idle
            and self._watch.step(None) is not None
            and not isinstance(value, (int, float, bool, str, tf.Tensor))
        ):
            with self._watch.safely():
                self._watch.attend()
                self.entered(tensor)
        return tensor

    def entered(self, tensor: Any) -> None:
        """Find the tensor whose values came back as `tensor`."""
        size = tensor.shape.num_elements() if tensor.dtype.is_floating else 0
        step = self._watch.step(None)
        if not size or size < 2 or step is None or not self._flow.alive:  # noqa: PLR2004 - a single number proves nothing
            return
        with self._watch.ours():
            found = _origin(self._flow, tensor, size)
        if found is None:
            step.entrances.append((tuple(tensor.shape), user_line()))
            return
        origin, lossy = found
        carried = self._flow.carried.get(origin._id)  # noqa: SLF001
        if carried is not None:
            self._flow.carry(tensor, carried)
        made = self._flow.made.get(origin._id)  # noqa: SLF001
        if made is not None and made.tapes:
            step.watch(tensor)
            step.links.append(Reentry(tensor, origin, lossy, self._left.get(origin._id), user_line()))  # noqa: SLF001

    def ran(self, step: ScriptStep, op: str, outputs: Sequence[Any], *, taped: bool) -> None:
        """Note what an operation brought in, and half precision."""
        if taped and outputs and outputs[0].dtype in (tf.float16, tf.bfloat16):
            step.precisions.add(outputs[0].dtype.name)
        if op in ENTRANCES and step.graph is None:
            for output in outputs:
                self.entered(output)

    def created(self, step: ScriptStep, handle: Any, value: Any) -> None:
        """Link a variable that was just created to the activation that it holds."""
        made = self._flow.made.get(value._id)  # noqa: SLF001
        if made is not None and made.tapes:
            step.watch(handle)
            step.links.append(Reentry(handle, value, "", None, user_line()))

    def stopped(self, step: ScriptStep, tensor: Any) -> None:
        """Link a tensor behind `stop_gradient` that a tape watches: its cotangent is carried on by hand."""
        made = self._flow.op(identity(tensor))
        if made is not None and made.type == "StopGradient":
            origin = self._flow.stopped.get(identity(tensor))
            recorded = None if origin is None else self._flow.op(identity(origin))
            if recorded is not None and recorded.tapes:
                step.links.append(Reentry(tensor, origin, "", made.line, user_line()))


def _origin(flow: Flow, tensor: Any, size: int) -> tuple[Any, str] | None:
    """Return the tensor with the same values, bit for bit or after rounding to a smaller dtype, and that dtype."""
    value = np.asarray(tensor).reshape(-1)
    if not np.isfinite(value.astype(np.float64)).all() or (value == value[0]).all():
        return None
    for dtype, ref in _alive(flow, tensor.dtype.name, size):
        if ref._id == tensor._id:  # noqa: SLF001
            continue
        other = np.asarray(ref).reshape(-1)
        if dtype == tensor.dtype.name and other.tobytes() == value.tobytes():
            return ref, ""
        for small in ("float16", "bfloat16"):
            rounded = tf.cast(tf.constant(other), small)
            if np.array_equal(np.asarray(tf.cast(rounded, tf.float64)), value.astype(np.float64)):
                return ref, "" if dtype == small else small
    return None


def _alive(flow: Flow, dtype: str, size: int) -> Iterator[tuple[str, Any]]:
    names = dict.fromkeys((dtype, "float32", "float64"))
    for name in names:
        for ref in reversed(list(flow.alive.get((name, size), {}).values())):
            tensor = ref()
            if tensor is not None:
                yield name, tensor
