"""What a training step hands to optimizers of Keras: the gradients by variable, from eager and from compiled code."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from gradcheck.comparing.keys import as_array
from gradcheck.handoff.tensors import added, dense, divided, scaled, unseen_variable
from gradcheck.keras_private import trained_variables
from gradcheck.methods.returned import paths_by_id
from gradcheck.problem.optimizer import accumulated_over, classes_that_apply, loss_scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from gradcheck.problem.problem import Problem, TensorKey


@dataclass(frozen=True, eq=False, kw_only=True)
class OptimizerCall:
    """One call of an optimizer, or several equal ones of a compiled function.

    Attributes:
        optimizer: the optimizer that was called.
        first: pairs of a variable and the gradient that it was handed, without the loss scale.
        total: the same, summed over the calls.
        times: how many calls there were.
    """

    optimizer: Any
    first: Sequence[tuple[Any, Any]]
    total: Sequence[tuple[Any, Any]]
    times: int = 1


@dataclass(eq=False)
class CallRecorder:
    """The calls of optimizers while `recording`."""

    _calls: list[OptimizerCall] = field(default_factory=list)
    _traced: list[_Traced] = field(default_factory=list)
    _inside: bool = False

    def taken(self) -> list[OptimizerCall]:
        """Return the calls since the last time, in order; those of compiled functions come last."""
        calls = [*self._calls, *(call for traced in self._traced for call in traced.taken())]
        self._calls.clear()
        return calls

    def around(self, apply: Callable[..., Any]) -> Callable[..., Any]:
        """Return `apply` of an optimizer class, which also notes its calls, but not those that it makes itself."""

        @wraps(apply)
        def noting(optimizer: Any, grads: Any, trainable_variables: Any = None, **kwargs: Any) -> Any:
            if self._inside:
                return apply(optimizer, grads, trainable_variables, **kwargs)
            grads = list(grads)
            variables = trained_variables(optimizer) if trainable_variables is None else list(trainable_variables)
            self._note(optimizer, [(v, g) for v, g in zip(variables, grads, strict=False) if g is not None])
            self._inside = True
            try:
                return apply(optimizer, grads, trainable_variables and variables, **kwargs)
            finally:
                self._inside = False

        unconverted: Callable[..., Any] = tf.autograph.experimental.do_not_convert(noting)
        return unconverted

    def _note(self, optimizer: Any, pairs: list[tuple[Any, Any]]) -> None:
        scale = loss_scale(optimizer)
        pairs = [(variable, divided(_tensor(gradient), scale)) for variable, gradient in pairs]
        if tf.executing_eagerly():
            self._calls.append(OptimizerCall(optimizer=optimizer, first=pairs, total=pairs))
        else:
            self._traced.append(_Traced.of(optimizer, pairs))


def _tensor(gradient: Any) -> Any:
    return gradient if isinstance(gradient, tf.IndexedSlices) else tf.convert_to_tensor(gradient)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Traced:
    """A call inside a compiled function, which keeps what it hands over in variables. XLA compiles these too."""

    optimizer: Any
    variables: Sequence[Any]
    first: Sequence[Any]
    total: Sequence[Any]
    times: Any

    @classmethod
    def of(cls, optimizer: Any, pairs: Sequence[tuple[Any, Any]]) -> _Traced:
        """Let the function that is being traced assign the gradients."""
        gradients = [dense(gradient) for _, gradient in pairs]
        shapes = [variable.shape for variable, _ in pairs]
        first, total = ([_zeros(s, g.dtype) for s, g in zip(shapes, gradients, strict=True)] for _ in range(2))
        times = _zeros((), tf.int32)
        for gradient, one, every in zip(gradients, first, total, strict=True):
            one.assign(tf.where(tf.equal(times, 0), gradient, one))
            every.assign_add(gradient)
        times.assign_add(1)
        return cls(optimizer=optimizer, variables=[v for v, _ in pairs], first=first, total=total, times=times)

    def taken(self) -> Iterator[OptimizerCall]:
        """Yield what was handed over since the last time, if the function has run."""
        if not (times := int(self.times)):
            return
        first, total = (
            [(v, tf.identity(kept)) for v, kept in zip(self.variables, of, strict=True)]
            for of in (self.first, self.total)
        )
        yield OptimizerCall(optimizer=self.optimizer, first=first, total=total, times=times)
        for variable in (*self.first, *self.total, self.times):
            variable.assign(tf.zeros_like(variable))


def _zeros(shape: Any, dtype: tf.DType) -> Any:
    variable = unseen_variable(dtype)
    with tf.init_scope():
        variable.assign(tf.zeros(shape, dtype))
    return variable


@contextmanager
def recording() -> Iterator[CallRecorder]:
    """Yield a recorder of the calls of every optimizer of Keras, until the end of the block."""
    recorder = CallRecorder()
    before = [(kind, vars(kind)["apply"]) for kind in classes_that_apply()]
    for kind, apply in before:
        kind.apply = recorder.around(apply)
    try:
        yield recorder
    finally:
        for kind, apply in before:
            kind.apply = apply


@dataclass(frozen=True, eq=False, kw_only=True)
class HandedStep:
    """What one step handed to optimizers, by weight, as NumPy arrays.

    Attributes:
        gradients: of each weight, summed over the calls; None for a weight that no optimizer was handed.
        first: those of the first call for each weight.
        times: how often each weight was handed over, where that was more than once for one update.
        calls: how many calls there were.
        optimizers: all that were called.
    """

    gradients: Mapping[TensorKey, Any]
    first: Mapping[TensorKey, Any]
    times: Mapping[TensorKey, int]
    calls: int
    optimizers: Sequence[Any]

    @classmethod
    def of(cls, problem: Problem, calls: Sequence[OptimizerCall]) -> HandedStep:
        """Return the calls of a step by the problem's weights; copies of a weight in several parts are added up."""
        path_of, keys = paths_by_id(problem), {weight.path: weight.key for weight in problem.weights}
        total: dict[TensorKey, Any] = dict.fromkeys(keys.values())
        first: dict[TensorKey, Any] = dict.fromkeys(keys.values())
        handed: dict[int, tuple[Any, TensorKey]] = {}
        for call in calls:
            handed.update({id(v): (call.optimizer, keys[path_of[id(v)]]) for v, _ in call.first if id(v) in path_of})
        times: Counter[TensorKey] = Counter()
        for variable, (optimizer, key) in handed.items():
            mine = [(call, i) for call in calls for i, (v, _) in enumerate(call.first) if id(v) == variable]
            count, over = sum(call.times for call, _ in mine), accumulated_over(optimizer)
            first[key] = added(first[key], mine[0][0].first[mine[0][1]][1])
            for call, i in mine:
                total[key] = added(total[key], scaled(call.total[i][1], 1 / min(count, over)))
            times[key] = max(times[key], count // over)
        return cls(
            gradients={key: as_array(gradient) for key, gradient in total.items()},
            first={key: as_array(gradient) for key, gradient in first.items()},
            times={key: count for key, count in times.items() if count > 1},
            calls=sum(call.times for call in calls),
            optimizers=list({id(call.optimizer): call.optimizer for call in calls}.values()),
        )
