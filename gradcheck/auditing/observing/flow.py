"""What flows where: which operation made a tensor, and which results of gradient calls a tensor is made of.

TensorFlow reports every operation to a callback after it ran, or was put into a graph. So one record serves eager code
and code that is being traced. Tensors are known by their ids, which are never used twice.
"""

from __future__ import annotations

import math
import weakref
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import tensorflow as tf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gradcheck.user_calls.lines import ScriptLine


class Node(NamedTuple):
    """One result of a gradient call: the call's number, and the place among its sources.

    With `argument` it is what a variable holds when a graph runs: `call` is the id of its handle.
    """

    call: int
    source: int
    argument: bool = False


@dataclass(frozen=True)
class Share:
    """How a result of a gradient call is contained in a tensor.

    Attributes:
        factor: the tensor has this multiple of the result as a summand; NaN if it is no plain multiple.
        through: operations on the way that say what was done to it, such as `Transpose` or `norm`.
    """

    factor: float = 1.0
    through: frozenset[str] = frozenset()

    def times(self, factor: float, *through: str) -> Share:
        """Return the share after a multiplication."""
        return Share(self.factor * factor, self.through.union(through))

    def plus(self, other: Share) -> Share:
        """Return the share of a sum of two tensors."""
        return Share(self.factor + other.factor, self.through | other.through)


Shares = dict[Node, Share]


class Made(NamedTuple):
    """The operation that made a tensor: its type, the ids of its inputs, and the tapes that recorded it."""

    type: str
    inputs: tuple[int, ...]
    tapes: tuple[int, ...]
    line: ScriptLine | None = None


#: Operations that hand a tensor on as it is.
_SAME = frozenset(
    {"Identity", "IdentityN", "Cast", "Reshape", "StopGradient", "PreventGradient", "Squeeze", "ExpandDims"}
    | {"EnsureShape", "UnsortedSegmentSum", "CheckNumerics", "Snapshot"}
)
_WAYS = frozenset({"Neg", "Transpose"})
_SUMS = frozenset({"Add", "AddV2", "AddN", "AccumulateNV2", "ConcatV2"})
#: What a gradient passes that was cut off at a bound.
_BOUNDS = frozenset({"ClipByValue", "Minimum", "Maximum", "SelectV2", "Select"})
#: What makes a number of a gradient, such as its norm.
_NORMS = frozenset({"L2Loss", "Sum", "Mean", "Max", "Sqrt", "Rsqrt", "Square", "IsFinite", "All", "EuclideanNorm"})
#: Operations with no derivative, or a derivative of zero, where a path ends that people may not have meant to end.
CUTS = frozenset(
    {"Round", "Rint", "Floor", "Ceil", "Sign", "ArgMax", "ArgMin", "Cast", "Bucketize"} | {"PyFunc", "PyFuncStateless"}
)


def is_cut(op: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> bool:
    """Whether no gradient passes an operation that people may take for one with a derivative."""
    return op in CUTS and (op != "Cast" or (inputs[0].dtype.is_floating and outputs[0].dtype.is_integer))


#: Operations that read a variable.
READS = frozenset({"ReadVariableOp", "ResourceGather", "ResourceGatherNd"})
#: Operations that bring values into TensorFlow.
ENTRANCES = frozenset({"DecodeRaw", "ParseTensor", "EagerPyFunc", "PyFunc", "PyFuncStateless"})


@dataclass
class Flow:
    """The record of one process.

    Attributes:
        made: the operations of the current step, by the ids of their outputs.
        traced: the same for operations of graphs, which last.
        carried: the shares of the tensors that contain results of gradient calls, by id.
        in_variables: the same for variables, by the ids of their handles.
        accumulators: the ids of the handles of variables that were assigned gradients at some time.
        reductions: the tensors that were summed or averaged to one number, by the id of that number.
        alive: weak references to tensors that were recorded by some tape, or carry gradients, by dtype and size.
        handles: the ids of the handles that captured placeholders of graphs stand for.
        new_handles: the handles of variables that were created in this step.
        stopped: what went into `stop_gradient`, by the id of what came out.
        left: the lines at which tensors that carry gradients were read as NumPy, by id.
        factors: numbers by which a tensor was multiplied last, by id.
        reads: the place of each variable among those that were read under a tape, by the id of its handle.
    """

    made: dict[int, Made] = field(default_factory=dict)
    traced: dict[int, Made] = field(default_factory=dict)
    carried: dict[int, Shares] = field(default_factory=dict)
    in_variables: dict[int, Shares] = field(default_factory=dict)
    accumulators: set[int] = field(default_factory=set)
    reductions: dict[int, Any] = field(default_factory=dict)
    alive: dict[tuple[str, int], dict[int, weakref.ref[Any]]] = field(default_factory=lambda: defaultdict(dict))
    handles: dict[int, int] = field(default_factory=dict)
    new_handles: set[int] = field(default_factory=set)
    factors: dict[int, tuple[int, float]] = field(default_factory=dict)
    stopped: dict[int, Any] = field(default_factory=dict)
    left: dict[int, ScriptLine] = field(default_factory=dict)
    reads: dict[int, int] = field(default_factory=dict)
    _packed: dict[int, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Forget the operations of the last step; what carries gradients is kept."""
        self.made.clear()
        self.reductions.clear()
        self.alive.clear()
        self.new_handles.clear()
        self.factors.clear()
        self.stopped.clear()

    def ran(
        self,
        op: str,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        *,
        tapes: tuple[int, ...],
        line: ScriptLine | None = None,
        graph: bool = False,
    ) -> None:
        """Record an operation."""
        ids = tuple([tensor._id for tensor in inputs])  # noqa: SLF001 - TensorFlow's only name for a tensor
        made = Made(op, ids, tapes, line)
        record = self.traced if graph else self.made
        for output in outputs:
            record[output._id] = made  # noqa: SLF001
            if tapes and not graph:
                self.remember(output)
        if op in ("Sum", "Mean") and outputs[0].shape.rank == 0 and inputs[0].shape.rank != 0:
            self.reductions[outputs[0]._id] = inputs[0]  # noqa: SLF001
        if op == "StopGradient":
            self.stopped[outputs[0]._id] = inputs[0]  # noqa: SLF001
        if op == "VarHandleOp":
            self.new_handles.add(outputs[0]._id)  # noqa: SLF001
        elif op == "ReadVariableOp":
            shares = self._held(self.handle(ids[0]), traced=graph)
            if shares:
                self.carry(outputs[0], shares)
            return
        elif op in ("Mul", "RealDiv") and tapes and outputs[0].shape.num_elements() == 1:
            self._multiplied(op, inputs, outputs[0])
        if any(i in self.carried for i in ids):
            self._carry_on(op, inputs, ids, outputs)

    def carries(self, op: str, inputs: Sequence[Any]) -> bool:
        """Whether the outputs of an operation contain results of gradient calls."""
        if op == "ReadVariableOp":
            return self.handle(inputs[0]._id) in self.accumulators  # noqa: SLF001
        return any(tensor._id in self.carried for tensor in inputs)  # noqa: SLF001

    def op(self, tensor_id: int) -> Made | None:
        """Return the operation that made a tensor; None if it is older than the step, or came from outside."""
        return self.made.get(tensor_id) or self.traced.get(tensor_id)

    def handle(self, tensor_id: int) -> int:
        """Return the id of the variable's own handle, which a placeholder of a graph may stand for."""
        return self.handles.get(tensor_id, tensor_id)

    def remember(self, tensor: Any) -> None:
        """Keep a tensor findable by its value while it is alive."""
        if isinstance(tensor, tf.__internal__.EagerTensor) and tensor.dtype.is_floating:
            size = tensor.shape.num_elements()
            if size > 1:
                self.alive[tensor.dtype.name, size][tensor._id] = weakref.ref(tensor)  # noqa: SLF001

    def carry(self, tensor: Any, shares: Shares) -> None:
        """Note that a tensor contains these results."""
        self.carried[tensor._id] = shares  # noqa: SLF001
        self.remember(tensor)

    def shares(self, tensor: Any) -> Shares:
        """Return the results that a tensor, a variable, or the values of sparse rows contain."""
        if isinstance(tensor, tf.IndexedSlices):
            tensor = tensor.values
        if hasattr(tensor, "handle"):
            return self._held(tensor.handle._id, traced=not tf.executing_eagerly())  # noqa: SLF001
        return self.carried.get(getattr(tensor, "_id", -1), {})

    def _held(self, handle: int, *, traced: bool) -> Shares:
        """Return what a variable holds: in a graph, what it will hold whenever that runs."""
        if traced and handle in self.accumulators:
            return {Node(handle, 0, argument=True): Share()}
        return {} if traced else self.in_variables.get(handle, {})

    def assigned(self, op: str, handle: int, shares: Shares) -> None:
        """Note the assignment of a value, or of a difference, that contains these results."""
        before = self.in_variables.pop(handle, {})
        if op == "AssignAddVariableOp":
            shares = _sum([before, shares])
        elif op == "AssignSubVariableOp":
            shares = _sum([before, _times(shares, -1.0)])
        if shares:
            self.in_variables[handle] = shares
            self.accumulators.add(handle)

    def at_run(self, shares: Shares, numbers: Mapping[int, int]) -> Shares:
        """Return shares of a graph as they are in one run of it.

        Args:
            shares: some may be those of a variable's contents.
            numbers: the numbers of the calls in this run, by those in the graph.
        """
        found: list[Shares] = []
        for node, share in shares.items():
            if not node.argument:
                found.append({node._replace(call=numbers.get(node.call, node.call)): share})
            else:
                held = self.in_variables.get(node.call, {})
                found.append({n: s.times(share.factor, *share.through) for n, s in held.items()})
        return _sum(found)

    def _multiplied(self, op: str, inputs: Sequence[Any], output: Any) -> None:
        for one, other in ((inputs[0], inputs[1]), (inputs[1], inputs[0]))[: 2 if op == "Mul" else 1]:
            made = self.op(other._id)  # noqa: SLF001
            if made is None or made.type == "Const":
                factor = _number(other)
                self.factors[output._id] = (one._id, factor if op == "Mul" else 1 / factor if factor else math.nan)  # noqa: SLF001
                return

    def _carry_on(self, op: str, inputs: Sequence[Any], ids: tuple[int, ...], outputs: Sequence[Any]) -> None:
        """Work out the shares of an operation's outputs from those of its inputs."""
        given = [self.carried.get(i, {}) for i in ids]
        single = [i for i, tensor in enumerate(inputs) if tensor.shape.num_elements() == 1]
        added = () if all(given) or op == "ConcatV2" else ("added",)
        if op in _SAME or op in _WAYS:
            result = _times(given[0], -1.0 if op == "Neg" else 1.0, *(("Transpose",) if op == "Transpose" else ()))
        elif op in _SUMS and (op != "ConcatV2" or len({node.source for shares in given for node in shares}) == 1):
            result = _sum(given, *added)  # of sparse rows the values are concatenated
        elif op == "Sub":
            result = _sum([given[0], _times(given[1], -1.0)], *added)
        elif op in ("Mul", "RealDiv", "Div", "DivNoNan", "MulNoNan"):
            result = self._product(op, inputs, given, single)
        elif op in ("Pack", "Stack"):
            result = _sum(given)
            self._packed[outputs[0]._id] = len(inputs)  # noqa: SLF001
        elif op in ("Mean", "Sum") and ids[0] in self._packed:
            result = _times(given[0], 1 / self._packed[ids[0]] if op == "Mean" else 1.0)
        else:
            through = "bound" if op in _BOUNDS else "norm" if op in _NORMS else op
            result = _times(_sum(given), math.nan, through)
        for output in outputs:
            self.carry(output, result)

    def _product(self, op: str, inputs: Sequence[Any], given: list[Shares], single: list[int]) -> Shares:
        a, b = given[0], given[1]
        if a and b:
            # A gradient scaled by a number that was made of gradients, as in clipping by a norm.
            tensor = b if 0 in single and 1 not in single else a
            return _times(tensor, math.nan, "norm")
        main, other, position = (a, inputs[1], 1) if a else (b, inputs[0], 0)
        if position == 0 and "Div" in op:
            return _times(main, math.nan, "reciprocal")
        if position not in single:
            return _times(main, math.nan, "elementwise")
        factor = _number(other)
        if "Div" in op:
            factor = 1 / factor if factor else math.nan
        return _times(main, factor, *(("unknown",) if math.isnan(factor) else ()))

    def is_random(self, tensor: Any) -> bool:
        """Whether random numbers were drawn for a tensor."""
        ops = (self.op(key) for key in self.before([tensor._id]))  # noqa: SLF001
        return any(op is not None and "Random" in op.type for op in ops)

    def before(self, start: Iterable[int], *, through: Callable[[Made], bool] = lambda _: True) -> Iterator[int]:
        """Yield the ids of tensors that those of `start` were made of, those themselves first, each once.

        Args:
            start: ids of tensors.
            through: whether to go on beyond an operation.
        """
        waiting, seen = list(start), set()
        while waiting:
            now = waiting.pop()
            if now in seen:
                continue
            seen.add(now)
            yield now
            made = self.op(now)
            if made is not None and through(made):
                waiting += made.inputs


def _times(shares: Mapping[Node, Share], factor: float, *through: str) -> Shares:
    return {node: share.times(factor, *through) for node, share in shares.items()}


def _sum(given: Iterable[Mapping[Node, Share]], *through: str) -> Shares:
    total: Shares = {}
    for shares in given:
        for node, share in shares.items():
            total[node] = total[node].plus(share) if node in total else share
    if through:
        total = {node: replace(share, through=share.through.union(through)) for node, share in total.items()}
    return total


def _number(tensor: Any) -> float:
    """Return the value of a tensor of one element; NaN in a graph if it is no constant."""
    value = tf.get_static_value(tensor)
    return math.nan if value is None else float(value.reshape(-1)[0])
