"""Checks of a custom gradient at one of its calls: one function a check.

Finite differences tell whether it is the gradient of the function at all. These checks need no reference: TensorFlow
must use it, its parts must fit the tensors that they belong to, and it must be linear in the cotangent, as every
vector-Jacobian product is, so that zero gives zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.building.messages import described
from gradcheck.custom_gradients.seen_calls import with_own_gradient
from gradcheck.errors import GradcheckError
from gradcheck.handoff.tensors import dense, is_differentiable
from gradcheck.numerics import PRECISIONS
from gradcheck.phrases import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from gradcheck.custom_gradients.seen_calls import DecoratedCall

    Array = NDArray[Any]
    Check = Callable[[DecoratedCall, "_Cotangents", "Pulled"], Iterator["CallMistake"]]

#: Large, to leave the range in which a clipped gradient is linear; negative, to show one that depends on the sign.
STRETCH = -64.0
#: The departure from linearity that is rounding: a multiple of eps, and at most a share of the gradient's size, for
#: 1000 eps of bfloat16 would excuse anything.
ROUNDING, AT_MOST = 1000, 0.1


@dataclass(frozen=True, kw_only=True)
class CallMistake:
    """One mistake in a call; `kind` tells it from others with the same code."""

    code: str
    kind: str
    evidence: str
    fix: str


@dataclass(frozen=True, eq=False)
class Pulled:
    """The gradients that `grad` returned for one cotangent: of the flat arguments, and of the variables."""

    inputs: list[Any]
    variables: list[Any]


def findings_in(call: DecoratedCall, *, seed: int) -> Iterator[CallMistake]:
    """Yield every mistake at `call`; if a check fails, the checks that build on it are left out."""
    keyword = list(_by_keyword(call))
    yield from keyword
    arguments = tf.nest.flatten(call.args)
    if keyword or not (arguments or call.variables):
        return
    cotangents = _Cotangents(call, seed)
    try:
        pulled = pull(call, cotangents.drawn(0), call.variables)
    except Exception as error:  # noqa: BLE001 - the user's code: whatever it raises is the finding
        yield _unusable(f"grad raised {described(error)}")
        return
    wrong = [*_counts(call, pulled), *_fits(call, pulled)]
    yield from wrong or (*_asked(_order, call, cotangents, pulled), *_asked(_linear, call, cotangents, pulled))


def _asked(check: Check, call: DecoratedCall, cotangents: _Cotangents, pulled: Pulled) -> Sequence[CallMistake]:
    """Return what a check finds; nothing if `grad`, which accepted an ordinary cotangent, refuses the check's own."""
    try:
        return list(check(call, cotangents, pulled))
    except (GradcheckError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - the user's code, called in a way in which the model never calls it
        return ()


def pull(call: DecoratedCall, cotangents: Sequence[Any], variables: Sequence[Any]) -> Pulled:
    """Call `grad` as TensorFlow does: with `variables` only if there are any."""
    if variables:
        inputs, of_variables = call.grad(*cotangents, variables=list(variables))
    else:
        inputs, of_variables = call.grad(*cotangents), []
    return Pulled([_tensor(g) for g in tf.nest.flatten(inputs)], [_tensor(g) for g in of_variables])


def _tensor(gradient: Any) -> Any:
    """Return a gradient as one dense tensor, whatever TensorFlow accepts as one; None stays None."""
    return None if gradient is None else tf.convert_to_tensor(dense(gradient))


class _Cotangents:
    """Random cotangents for the result of a call."""

    def __init__(self, call: DecoratedCall, seed: int) -> None:
        self._like = [tf.convert_to_tensor(tensor) for tensor in tf.nest.flatten(call.result)]
        self._seed = seed

    def drawn(self, number: int) -> list[Any]:
        """Return standard normal cotangents, the same for the same `number`."""
        rng = np.random.default_rng([self._seed, number])
        return [tf.cast(rng.normal(size=tuple(t.shape)), t.dtype) for t in self._like]


def _by_keyword(call: DecoratedCall) -> Iterator[CallMistake]:
    """Yield GC602 for tensors given by keyword: TensorFlow differentiates positional ones (`_eager_mode_decorator`)."""
    names = [
        name
        for name, value in call.kwargs.items()
        if any(tf.is_tensor(t) and is_differentiable(t) for t in tf.nest.flatten(value))
    ]
    if names:
        # Without a positional tensor to record, the tape follows the operations of the function itself.
        dropped = any(tf.is_tensor(t) for t in tf.nest.flatten(call.args))
        what = "no gradient reaches it" if dropped else "the gradient is TensorFlow's own instead"
        yield CallMistake(
            code="GC602",
            kind="keyword",
            evidence=f"called with {listed(names)} by keyword: TensorFlow leaves keywords out, and {what}",
            fix=f"pass {listed(names)} by position",
        )


def _counts(call: DecoratedCall, pulled: Pulled) -> Iterator[CallMistake]:
    expected, got = len(_targets(call, len(pulled.inputs))), len(pulled.inputs)
    if expected != got:
        yield _unusable(f"grad returns {got} gradients for {expected} arguments")
    if len(pulled.variables) != len(call.variables):
        names = listed(v.name for v in call.variables)
        yield CallMistake(
            code="GC603",
            kind="count",
            evidence=f"grad returns {len(pulled.variables)} gradients for {len(call.variables)} variables ({names})",
            fix="return one gradient for each of `variables`, in their order",
        )


def _targets(call: DecoratedCall, count: int) -> list[Any]:
    """Return the flat arguments, without the `self` of a method, which TensorFlow does not count as an argument."""
    arguments = tf.nest.flatten(call.args)
    is_method = len(arguments) == count + 1 and not tf.is_tensor(arguments[0])
    return list(arguments[1:] if is_method else arguments)


def _fits(call: DecoratedCall, pulled: Pulled) -> Iterator[CallMistake]:
    """Yield GC604 for each gradient whose shape or dtype is not that of its argument or variable."""
    for name, like, gradient in _named(call, pulled):
        if gradient is None or not is_differentiable(like):
            continue
        shape, dtype = tuple(gradient.shape), tf.as_dtype(gradient.dtype)
        if (shape, dtype) != (tuple(like.shape), like.dtype):
            yield _unusable(
                f"the gradient of {name} has shape {shape} and dtype {dtype.name}; "
                f"{name} has shape {tuple(like.shape)} and dtype {like.dtype.name}",
                f"fit {name}",
            )


def _named(call: DecoratedCall, pulled: Pulled) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, value and gradient of every argument and variable."""
    arguments = [tf.convert_to_tensor(t) for t in _targets(call, len(pulled.inputs))]
    yield from zip(call.argument_names(len(arguments)), arguments, pulled.inputs, strict=False)
    for variable, gradient in zip(call.variables, pulled.variables, strict=False):
        yield f"variable {variable.name}", variable, gradient


def _order(call: DecoratedCall, cotangents: _Cotangents, pulled: Pulled) -> Iterator[CallMistake]:
    """Yield GC603 if gradients depend on the order of `variables`.

    In an eager call TensorFlow passes them in the order of a set, which changes from process to process.
    """
    first = dict(zip(map(id, call.variables), pulled.variables, strict=True))
    given = list(call.variables)
    # A reversal and a rotation: one of them moves every variable.
    for order in (given[::-1], given[1:] + given[:1]):
        again = pull(call, cotangents.drawn(0), order).variables
        for variable, gradient in zip(order, again, strict=True):
            if not _same(gradient, first[id(variable)]):
                yield CallMistake(
                    code="GC603",
                    kind="order",
                    evidence=f"in another order of `variables` ({listed(v.name for v in order)}) {variable.name} gets "
                    "another gradient, and TensorFlow promises no order",
                    fix="look each gradient up by its variable, for each of `variables`",
                )
                return
    yield from _swapped(call, cotangents, pulled)


def _swapped(call: DecoratedCall, cotangents: _Cotangents, pulled: Pulled) -> Iterator[CallMistake]:
    """Yield GC603 for variables whose gradients are exchanged, by TensorFlow's own gradient of the function."""
    with tf.GradientTape() as tape:
        result, _ = call.function(*call.args, **call.kwargs)
    own = tape.gradient(tf.nest.flatten(result), list(call.variables), output_gradients=cotangents.drawn(0))
    rows = zip(call.variables, pulled.variables, map(_tensor, own), strict=True)
    for (a, mine, right), (b, other, their_right) in combinations(rows, 2):
        if not _same(mine, right) and _same(mine, their_right) and _same(other, right):
            yield CallMistake(
                code="GC603",
                kind="swapped",
                evidence=f"{a.name} gets the gradient of {b.name}, and {b.name} that of {a.name}",
                fix="return the gradients in the order of `variables`",
            )


def not_its_own(call: DecoratedCall, *, seed: int) -> Iterator[CallMistake]:
    """Yield GC601 for arguments whose gradient is not TensorFlow's own of the function: on purpose, or by mistake."""
    cotangents = _Cotangents(call, seed)
    pulled = pull(call, cotangents.drawn(0), call.variables)
    targets = [tf.convert_to_tensor(t) for t in _targets(call, len(pulled.inputs))]
    if len(targets) < len(tf.nest.flatten(call.args)):  # a method: without its `self` it cannot be called again
        return
    with tf.GradientTape() as tape:
        tape.watch([t for t in targets if is_differentiable(t)])
        result, _ = call.function(*tf.nest.pack_sequence_as(list(call.args), targets), **call.kwargs)
    own = tape.gradient(tf.nest.flatten(result), targets, output_gradients=cotangents.drawn(0))
    for name, mine, right in zip(call.argument_names(len(targets)), pulled.inputs, map(_tensor, own), strict=True):
        if right is not None and not _same(mine, right):
            evidence = f"the gradient of {name} is not the one that TensorFlow makes of the function"
            fix = "differentiate the function by hand once more, or leave it to TensorFlow"
            yield CallMistake(code="GC601", kind="own", evidence=evidence, fix=fix)


def overrides_its_own(call: DecoratedCall, *, seed: int) -> bool:
    """Whether the custom gradient of `call` differs from TensorFlow's own, where that exists.

    False for a call whose custom gradient TensorFlow ignores (GC602), or that cannot be asked.
    """
    if list(_by_keyword(call)):
        return False
    try:
        cotangents = _Cotangents(call, seed).drawn(0)
        mine = pull(call, cotangents, call.variables)
        _, grad = with_own_gradient(call.function, call.args, call.kwargs)
        own = pull(replace(call, grad=grad), cotangents, call.variables)
    except (GradcheckError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - the user's code: what it raises is the finding of another check
        return False
    pairs = list(zip([*mine.inputs, *mine.variables], [*own.inputs, *own.variables], strict=True))
    exists = all(ours is not None for custom, ours in pairs if custom is not None)
    return exists and any(custom is not None and not _same(custom, ours) for custom, ours in pairs)


def _linear(call: DecoratedCall, cotangents: _Cotangents, pulled: Pulled) -> Iterator[CallMistake]:
    """Yield GC601 unless grad(u) repeats itself, grad(0)=0, grad(s·u)=s·grad(u) and grad(u+v)=grad(u)+grad(v)."""
    u, v = cotangents.drawn(0), cotangents.drawn(1)
    of_u, of_v = pulled, pull(call, v, call.variables)
    laws: list[tuple[str, str, list[Any], Callable[[Array, Array], Array]]] = [
        ("repeat", "called again with the same cotangent it gives another gradient", u, lambda a, _: a),
        ("zero", "a cotangent of zero does not give zero", [tf.zeros_like(t) for t in u], lambda a, _: 0 * a),
        (
            "scale",
            f"it is not linear: {STRETCH:g} times the cotangent does not give {STRETCH:g} times the gradient",
            [tf.constant(STRETCH, t.dtype) * t for t in u],
            lambda a, _: STRETCH * a,
        ),
        (
            "sum",
            "it is not linear: the sum of two cotangents does not give the sum of their gradients",
            [a + b for a, b in zip(u, v, strict=True)],
            lambda a, b: a + b,
        ),
    ]
    for kind, says, cotangent, expected in laws:
        found = pull(call, cotangent, call.variables)
        for (name, like, g), (_, _, first), (_, _, second) in zip(
            _named(call, found), _named(call, of_u), _named(call, of_v), strict=True
        ):
            if like.dtype.is_floating and first is not None:
                share = _departure(g, first, second, expected)
                if share is not None:
                    yield _nonlinear(kind, f"{says} ({name} is off by {share:.2g} of its size)")
                    # One broken law is enough: the others usually break with it.
                    return


def _departure(found: Any, first: Any, second: Any, expected: Callable[[Array, Array], Array]) -> float | None:
    """Return how far `found` is from the linear result, as a share of the gradients' size; None within rounding."""
    a, b, got = (np.zeros(()) if g is None else np.asarray(g).astype(np.float64) for g in (first, second, found))
    usable = np.isfinite(a) & np.isfinite(b)  # at a singular point there is nothing to compare
    a, b = np.where(usable, a, 0), np.where(usable, b, 0)
    want = expected(a, b)
    scale = max(float(np.max(np.abs(x), initial=0)) for x in (a, b, want))
    got = np.where(usable, np.where(np.isfinite(got), got, np.inf), want)
    off = float(np.max(np.abs(got - want), initial=0))
    if off <= min(ROUNDING * PRECISIONS[first.dtype.name].eps, AT_MOST) * scale:
        return None
    return off / scale if scale else np.inf


def _same(a: Any, b: Any) -> bool:
    """Whether two gradients are equal up to rounding."""
    if a is None or b is None:
        return a is b
    if tuple(a.shape) != tuple(b.shape):
        return False
    return _departure(a, b, b, lambda first, _: first) is None


def _unusable(evidence: str, kind: str = "unusable") -> CallMistake:
    fix = "return one gradient for each argument, of its shape and dtype (None where there is none)"
    return CallMistake(code="GC604", kind=kind, evidence=evidence, fix=fix)


def _nonlinear(kind: str, evidence: str) -> CallMistake:
    fix = "return the cotangent times the derivative, and nothing else: a vector-Jacobian product is linear"
    return CallMistake(code="GC601", kind=kind, evidence=evidence, fix=fix)
