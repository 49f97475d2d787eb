"""The variables that are trained, the updates of them, and what is asked of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from gradcheck.auditing.observing.flow import Node, Shares
    from gradcheck.auditing.observing.script_step import GradientCall, ScriptStep, ServedLoss
    from gradcheck.user_calls.lines import ScriptLine


@dataclass(eq=False)
class TrainedVariable:
    """A variable that some gradient call names, or an optimizer updates.

    Attributes:
        pending: the gradient calls that named it since it was updated last.
        consumed: the results that earlier updates were made of.
    """

    key: int
    path: str
    variable: Any
    pending: list[GradientCall] = field(default_factory=list)
    consumed: set[Node] = field(default_factory=set)
    updates: int = 0

    @property
    def dtype(self) -> str:
        """The name of its dtype."""
        return str(tf.as_dtype(self.variable.dtype).name)


@dataclass(frozen=True, eq=False)
class Update:
    """One event that changes variables: `apply` of an optimizer, or an assignment.

    Attributes:
        optimizer: the object, None for an assignment.
        undoes_scale: whether the optimizer divides by the loss scale itself.
        sign: the sign of the multiple of the gradient that descends: 1 for what an optimizer is given.
        free_factor: whether what is assigned is the gradient times a learning rate that nobody knows.
        overwrites: whether rows are written that may occur twice.
    """

    number: int
    line: ScriptLine
    step: ScriptStep | None
    optimizer: Any = None
    undoes_scale: bool = False
    sign: float = 1.0
    free_factor: bool = False
    overwrites: bool = False


@dataclass(eq=False)
class Question:
    """What one variable was handed in an update, and all that is needed to judge it.

    Attributes:
        calls: those whose results it was made of, or should have been.
        nodes: the results it was made of, with their shares; empty if that is not known.
        seed_factors: what the seeds of their calls had been multiplied by.
        older: those computed before the variable's last update; consumed: all that earlier updates were made of.
        unused: calls at the same lines whose results are not in it.
        scales: the constant that each loss was multiplied by last.
        made_at: the line that made what was handed over.
        precision: the half precision that something was computed in.
        asks_boundaries: whether what is known of boundaries is to be asked for if the variable is wrong.
        groups: the losses served, those of one source line together: slices of a batch.
        evidence: tensors, in a graph symbolic; see `Evidence.of`.
    """

    trained: TrainedVariable
    update: Update
    calls: list[GradientCall]
    nodes: Shares
    seed_factors: dict[Node, float]
    older: set[Node]
    consumed: set[Node]
    unused: list[GradientCall]
    groups: list[list[ServedLoss]]
    scales: list[float]
    made_at: ScriptLine | None
    evidence: dict[str, Any]
    precision: str | None
    asks_boundaries: bool

    @property
    def sources(self) -> set[int]:
        """The ids of the variables whose gradients it was made of."""
        by_number = {call.number: call for call in self.calls}
        return {by_number[node.call].ids[node.source] for node in self.nodes if node.call in by_number}
