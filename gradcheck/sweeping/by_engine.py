"""The ways of other engines to differentiate a call of `keras.ops`, where they are installed."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING

import numpy as np

from gradcheck.engines.asking import swept
from gradcheck.engines.swept_call import SweptQuestion
from gradcheck.errors import NotApplicable

if TYPE_CHECKING:
    from gradcheck.sweeping.call_scalars import Derivatives, Scalar, Values, Way

#: How long an engine may take for one point.
_SECONDS = 60.0
#: By how much its value may differ from TensorFlow's: some engines compute constants in float32.
_SAME = 1e-5


def by_engine(engine: str) -> Way:
    """Return the way that asks an engine, once for each point.

    It raises NotApplicable where the function has another value there.
    """

    def derive(scalar: Scalar, values: Values) -> Derivatives:
        call = scalar.call
        question = SweptQuestion(call.name.rpartition(".")[2], call.case, call.names, scalar.readings)
        value, *found = swept(engine, pickle.dumps(question), values, seconds=_SECONDS)
        ours = scalar.value(values)
        if not np.isclose(value, ours, rtol=_SAME, atol=_SAME):
            raise NotApplicable(f"it is another function there: {float(value):.6g}, for {ours:.6g}")
        return [None if each is None else np.asarray(each, np.float64) for each in found]

    return derive
