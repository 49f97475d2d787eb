"""Questions to a worker about itself and about tensors that it holds: only the answer comes back."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.placement.devices import is_remote, on
from gradcheck.results.json_types import record_from
from gradcheck.results.tensor import Comparison

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gradcheck.numerics import Tolerance

#: The name under which a worker's process has registered the function that answers.
TOKEN = b"pyfunc_0"


def ask(device: str, question: dict[str, Any], tensors: Sequence[Any] = ()) -> Any:
    """Return the answer of the worker that `device` belongs to; None from a TensorFlow server that is no worker."""
    with on(device):
        try:
            given = [tf.constant(json.dumps(question)), *tensors]
            (found,) = tf.raw_ops.PyFunc(input=given, token=TOKEN, Tout=[tf.string])
            return json.loads(found.numpy())
        except (tf.errors.InternalError, tf.errors.InvalidArgumentError, tf.errors.NotFoundError):
            return None  # it has no such function


def compared_there(reference: Any, candidate: Any, tolerance: Tolerance, *, gradient: bool) -> Comparison | None:
    """Compare two tensors in the memory of the worker that holds one of them, and return the figures.

    The other one is sent there. None where it cannot compare these: what holds them is no worker of gradcheck's.
    """
    home = candidate if is_remote(candidate) else reference
    parts, shapes = [], []
    for side in (reference, candidate):
        sparse = isinstance(side, tf.IndexedSlices)
        parts += [side.indices, side.values] if sparse else [side]
        shapes.append([int(n) for n in np.asarray(side.dense_shape)] if sparse else None)
    question = {
        "ask": "compare",
        "shapes": shapes,
        "tolerance": dataclasses.asdict(tolerance),
        "gradient": gradient,
    }
    found = ask(home.device, question, parts)
    return None if found is None else record_from(Comparison, found)
