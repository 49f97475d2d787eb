"""The script's updates, and what each was handed beside what the tape over the whole step says."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from gradcheck.auditing.flow import Node, Share, Shares
from gradcheck.auditing.judging import Judgement, judge
from gradcheck.auditing.layers import Layers
from gradcheck.auditing.lines import Line, user_line
from gradcheck.auditing.loss_weights import masses, scale_of
from gradcheck.auditing.mistakes import Case, cut_off, explained
from gradcheck.auditing.step import Call, Link, Loss, Step, identity
from gradcheck.numerics import NOISE_RUNS, PRECISIONS
from gradcheck.problem.nudge import nudged_tensor
from gradcheck.results.report import FAILING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradcheck.auditing.watch import Watch


@dataclass(eq=False)
class Trained:
    """A variable that some gradient call names, or an optimizer updates.

    Attributes:
        pending: the gradient calls that named it since it was updated last.
        consumed: the results that earlier updates were made of.
    """

    key: int
    path: str
    variable: Any
    pending: list[Call] = field(default_factory=list)
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
    line: Line
    step: Step | None
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
        precision: the half precision that something was computed in.
        groups: the losses served, those of one source line together: slices of a batch.
        evidence: tensors, in a graph symbolic; see `Questions.evidence`.
    """

    trained: Trained
    update: Update
    calls: list[Call]
    nodes: Shares
    seed_factors: dict[Node, float]
    older: set[Node]
    consumed: set[Node]
    unused: list[Call]
    groups: list[list[Loss]]
    scales: list[float]
    evidence: dict[str, Any]
    precision: str | None


class Trial:
    """The updates of a script."""

    def __init__(self, watch: Watch) -> None:
        """Nothing was updated."""
        self.watch, self.flow = watch, watch.flow
        self.calls: dict[int, Call] = {}
        self.variables: dict[int, Trained] = {}
        self.layers = Layers(watch)
        self.judgements: list[Judgement] = []
        self.applied_in: dict[int, list[tuple[Update, frozenset[int]]]] = {}
        self.accessed: dict[int, Any] = {}
        self.redrawn: list[tuple[Call, Any]] = []
        self._numbers = iter(range(1, 1 << 60))

    def patch(self, put: Any, wrap: Any) -> None:
        """Watch layers and their losses."""
        self.layers.patch(put, wrap)

    def trained(self, handle: int) -> Trained | None:
        """Return the variable of a handle, if some gradient call named it."""
        return self.variables.get(handle)

    def know(self, variable: Any) -> Trained:
        """Return the record of a variable."""
        key = identity(variable)
        known = self.variables.get(key)
        if known is None:
            known = self.variables[key] = Trained(key, _path(variable, self.variables), variable)
        return known

    def refer(self, step: Step, loss: Loss) -> None:
        """Differentiate a loss in the tape over the whole step, by everything that was watched."""
        wanted = {identity(v): v for v in step.outer.watched_variables()} | step.watched
        with self.watch.ours():
            loss.references |= step.derivative(loss.target, loss.seed, wanted)

    def reference(self, loss: Loss, tensor: Any) -> Any:
        """Return the derivative of a loss by a tensor or variable; None if there is none, or it is too late."""
        key = identity(tensor)
        if key not in loss.references and loss.step is not None:
            with self.watch.ours():
                loss.references |= loss.step.derivative(loss.target, loss.seed, {key: tensor})
        return loss.references.get(key)

    def called(self, call: Call) -> None:
        """Note a gradient call."""
        self.calls[call.number] = call
        for source in call.sources:
            if hasattr(source, "handle"):
                self.know(source).pending.append(call)

    def serves(self, call: Call) -> list[Loss]:
        """Return the losses that a gradient call serves."""
        if call.losses is None:
            call.losses = []  # a cycle ends here
            found: list[Loss] = []
            for i, target in enumerate(call.targets):
                found += self._served_by(call, i, target)
            call.losses = list(dict.fromkeys(found))
        return call.losses

    def _served_by(self, call: Call, i: int, target: Any) -> list[Loss]:
        seed = call.seeds[i] if call.seeds is not None else None
        step = call.step
        if seed is not None:
            shares = self.flow.shares(seed)
            known = [self.calls[n.call] for n in shares if n.call in self.calls and self.calls[n.call] is not call]
            if known:
                served = [loss for other in known for loss in self.serves(other)]
                if all(self.reference(loss, target) is None for loss in served):
                    self._link_again(call, target, {n for n in shares}, served)
                return served
            fed = self._fed(call, target)
            if fed:
                return fed
        elif target.shape.num_elements() != 1 or call.kind != "gradient":
            fed = self._fed(call, target)
            if fed:
                call.unseeded = call.unseeded or call.kind == "gradient"
                return fed
        loss = Loss(target, seed, call.line, step)
        return [loss]

    def _link_again(self, call: Call, target: Any, nodes: set[Node], served: list[Loss]) -> None:
        """Link a target that was computed once more to the tensor whose cotangent it is given.

        A recomputation: the forward pass before it was recorded by no tape, or is another one.
        """
        for node in nodes:
            other = self.calls[node.call]
            entry = other.sources[node.source]
            if hasattr(entry, "handle") or entry.shape != target.shape or entry is target:
                continue
            differs = hasattr(entry, "numpy") and not np.array_equal(np.asarray(entry), np.asarray(target))
            call.step.links.append(Link(entry, target, "", None, call.line, again=True))
            for loss in served:
                loss.references.pop(identity(target), None)
            if differs:
                self.redrawn.append((call, target))

    def _fed(self, call: Call, target: Any) -> list[Loss]:
        """Return the losses that a target feeds; those whose gradient by it was computed, if there are any."""
        fed = [loss for loss in call.step.losses if self.reference(loss, target) is not None]
        key = identity(target)
        asked = [other for other in call.step.calls if key in other.ids and other is not call]
        direct = [loss for loss in fed if any(loss in self.serves(other) for other in asked)]
        return direct or fed

    # Updates

    def applied(self, graph: Any, optimizer: Any, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Judge what an optimizer was handed."""
        update = Update(
            number=next(self._numbers),
            line=user_line(),
            step=self.watch.step(graph),
            optimizer=optimizer,
            undoes_scale=hasattr(optimizer, "scale_loss") and hasattr(optimizer, "inner_optimizer"),
        )
        self._updated(graph, update, [(v, g, self.flow.shares(g)) for v, g in pairs])

    def assigned(self, graph: Any, trained: Trained, op: str, inputs: Sequence[Any], shares: Shares) -> None:
        """Judge an assignment whose value contains gradients."""
        update = Update(
            number=next(self._numbers),
            line=user_line(),
            step=self.watch.step(graph),
            sign=1.0 if "Sub" in op else -1.0,
            free_factor=True,
            overwrites=op == "ResourceScatterUpdate",
        )
        self._updated(graph, update, [(trained.variable, inputs[-1], shares)])

    def _updated(
        self, graph: Any, update: Update, handed: Sequence[tuple[Any, Any, Shares]]
    ) -> None:
        step = update.step
        self.watch.crossings.before_update(step)
        if step is not None:
            step.updates += 1
        questions = []
        for variable, value, shares in handed:
            trained = self.know(variable)
            question = self._question(trained, update, value, shares)
            questions.append(question)
            trained.consumed |= shares.keys()
            trained.pending = []
            trained.updates += 1
        served = frozenset(id(loss) for q in questions for group in q.groups for loss in group)
        if step is not None:
            step.last = update
        if step is not None and update.optimizer is not None:
            self.applied_in.setdefault(step.number, []).append((update, served))
        if graph is None and step is None:
            self.watch.counted()
        self._pose(graph, questions, counts=True)

    def _pose(self, graph: Any, questions: list[Question], *, counts: bool = False) -> None:
        """Judge now, or whenever the graph has run: then an update is counted if this is one."""
        if graph is None:
            for question in questions:
                self._answer(question, question.evidence)
            return

        def ran(values: list[dict[str, Any]], times: int) -> None:
            now = self.watch.step(None)
            if counts and now is not None and now.calls:
                now.updates += 1
            elif counts:
                self.watch.counted(times)
            for question, evidence in zip(questions, values, strict=True):
                self._answer(question, evidence)

        with self.watch.ours():
            self.watch.exports.add([question.evidence for question in questions], ran)

    def _answer(self, question: Question, evidence: dict[str, Any]) -> None:
        path = question.trained.path
        if self.watch.skipped or any(fnmatchcase(path, pattern) for pattern in self.watch.options.ignore):
            return
        judgement = judge(question, evidence, self.watch.options)
        judgement.at = self.watch.updates
        case = Case(judgement, self)
        if judgement.comparison.status in FAILING:
            judgement.explained = explained(case)
        elif judgement.comparison.status == "absent":
            judgement.explained = cut_off(case)
        self.judgements.append(judgement)

    def _question(self, trained: Trained, update: Update, handed: Any, shares: Shares) -> Question:
        variable, key = trained.variable, identity(trained.variable)
        made_of = [self.calls[node.call] for node in shares if node.call in self.calls]
        if not made_of:
            shares = self._by_value(trained, handed)
            made_of = [self.calls[node.call] for node in shares] or list(trained.pending)
        shares, remembered = _without_memory(shares, trained.consumed, free=update.free_factor)
        made_of = [self.calls[node.call] for node in shares if node.call in self.calls] if remembered else made_of
        lines = {call.line for call in made_of}
        older = {node for node in shares if self.calls[node.call] not in trained.pending}
        unused = [
            call
            for call in trained.pending
            if (call.line in lines or older == shares.keys()) and call.number not in {node.call for node in shares}
        ]
        made_of.sort(key=lambda call: call.number)
        judged_by = unused if shares and older == shares.keys() and unused else sorted({*made_of, *unused}, key=lambda call: call.number)
        losses = list(dict.fromkeys(loss for call in judged_by for loss in self.serves(call)))
        groups: dict[Line, list[Loss]] = {}
        for loss in losses:
            groups.setdefault(loss.line, []).append(loss)
        seeded = [c for c in dict.fromkeys(judged_by) if c.seeds is not None or c.unseeded or c.kind != "gradient"]
        with self.watch.ours():
            evidence = self._evidence(trained, handed, shares, list(groups.values()), seeded)
        step = update.step or (judged_by[0].step if judged_by else None)
        return Question(
            trained=trained,
            update=update,
            calls=list(dict.fromkeys([*judged_by, *made_of])),
            nodes=shares,
            seed_factors={node: self._seed_factor(node) for node in shares},
            older=older,
            consumed=set(trained.consumed),
            unused=unused,
            groups=list(groups.values()),
            scales=[scale_of(self.flow, loss) for loss in losses],
            evidence=evidence,
            precision=min(step.precisions, default=None, key=lambda name: -PRECISIONS[name].eps) if step else None,
        )

    def _seed_factor(self, node: Node) -> float:
        """Return what the seeds of a call, and of those that these come from, were multiplied by."""
        call = self.calls.get(node.call)
        factor = 1.0
        seen = set()
        while call is not None and call.seeds and call.number not in seen:
            seen.add(call.number)
            shares = self.flow.shares(call.seeds[0])
            if len({share.factor for share in shares.values()}) != 1:
                break
            before, share = next(iter(shares.items()))
            factor, call = factor * share.factor, self.calls.get(before.call)
        return factor

    def _by_value(self, trained: Trained, handed: Any) -> Shares:
        """Return the result with the same values, bit for bit: it came out of a compiled function."""
        if handed is None or isinstance(handed, tf.IndexedSlices) or not hasattr(handed, "numpy"):
            return {}
        value = np.asarray(handed)
        step = self.watch.step(None)
        for call in dict.fromkeys([*reversed(trained.pending), *(step.calls if step else ())]):
            for i, result in enumerate(call.results):
                if hasattr(result, "numpy") and result.shape == handed.shape:
                    if np.array_equal(np.asarray(result), value):
                        return {Node(call.number, i): Share()}
        return {}

    def _evidence(
        self, trained: Trained, handed: Any, shares: Shares, groups: list[list[Loss]], seeded: list[Call]
    ) -> dict[str, Any]:
        """Return the tensors that the judgement needs.

        handed: what the update was given · results: those it was made of · references: one of each loss ·
        masses: of each loss, the derivative by each of its summands, summed, and their number ·
        boundaries: of each target with seeds, the target's cotangent and the seed · moved: the reference, with these
        cotangents moved by rounding · penalty: what `model.losses` has for the variable, and its weight in the losses.
        """
        variable = trained.variable
        losses = [loss for group in groups for loss in group]
        evidence: dict[str, Any] = {
            "handed": handed,
            "value": tf.convert_to_tensor(variable),
            "results": [self.calls[node.call].results[node.source] for node in shares if node.call in self.calls],
            "references": [self.reference(loss, variable) for loss in losses],
            "masses": [masses(self.flow, loss) for loss in losses] if self._slices(groups) else [],
            "boundaries": [],
            "moved": [],
        }
        cotangents: list[tuple[Any, Any]] = []
        for call in seeded:
            for i, target in enumerate(call.targets):
                parts = [part for loss in self.serves(call) if (part := self.reference(loss, target)) is not None]
                if parts and target.shape.num_elements() != 1:
                    seed = call.seeds[i] if call.seeds is not None else None
                    cotangent = tf.add_n([tf.convert_to_tensor(part) for part in parts])
                    evidence["boundaries"].append((cotangent, seed))
                    if call.step.outer is not None:
                        cotangents.append((call, target, cotangent))  # type: ignore[arg-type]
        evidence["moved"] = self._moved(variable, cotangents)
        evidence["penalty"] = self.layers.penalty(variable, losses)
        return evidence

    def _slices(self, groups: list[list[Loss]]) -> bool:
        return any(len(group) > 1 for group in groups)

    def _moved(self, variable: Any, cotangents: list[Any]) -> list[Any]:
        """Return gradients with the cotangents at the boundaries moved by rounding, and one without."""
        if not cotangents:
            return []
        key, rng = identity(variable), np.random.default_rng(0)
        moved = []
        for run in range(NOISE_RUNS + 1):
            total = None
            for call, target, cotangent in cotangents:
                eps = PRECISIONS[cotangent.dtype.name].eps if cotangent.dtype.name in PRECISIONS else 0.0
                static = cotangent.shape.is_fully_defined()
                seed = nudged_tensor(cotangent, rng, eps) if run and static else cotangent
                found = call.step.derivative(target, seed, {key: variable})[key]
                total = found if total is None else total if found is None else total + tf.convert_to_tensor(found)
            moved.append(total)
        return moved

    # Ends

    def recorded(self, variables: Iterable[Any]) -> None:
        """Note the variables that a tape of the script recorded."""
        for variable in variables:
            self.accessed.setdefault(identity(variable), variable)

    def closed(self, step: Step) -> None:
        """Judge the variables that were named in a step and not updated; forget the tape of the step."""
        self._left_out(step, None)
        for call in step.calls:
            for loss in call.losses or ():
                loss.step = None

    def _left_out(self, step: Step, graph: Any) -> None:
        """Judge the variables whose gradient was asked for and is None, where others of the call were updated."""
        if not step.updates or step.last is None:
            return
        for call in step.calls:
            for source, result in zip(call.sources, call.results, strict=True):
                trained = self.variables.get(identity(source))
                if result is None and trained is not None and call in trained.pending:
                    question = self._question(trained, step.last, None, {})
                    trained.pending = []
                    self._pose(graph, [question])

    def traced(self, step: Step) -> None:
        """Export the results of gradient calls of a traced function that no update in it was made of."""
        self._left_out(step, step.graph)
        used = {node.call for trained in self.variables.values() for node in trained.consumed}
        for call in step.calls:
            if call.number not in used and any(hasattr(source, "handle") for source in call.sources):
                self._export(call)

    def _export(self, call: Call) -> None:
        losses = self.serves(call)
        with self.watch.ours():
            references = [[self.reference(loss, source) for source in call.sources] for loss in losses]
            weights = [masses(self.flow, loss) for loss in losses]
            for source in call.sources:
                trained = self.variables.get(identity(source))
                if trained is not None and call in trained.pending:
                    trained.pending.remove(call)

            def ran(values: Any, _: int) -> None:
                step = self.watch.step(None)
                fresh = [
                    Loss(None, None, loss.line, None, dict(zip(call.ids, found, strict=True)), mass)
                    for loss, found, mass in zip(losses, values["references"], values["masses"], strict=True)
                ]
                again = replace(call, number=next(self.watch.numbers), results=values["results"], losses=fresh)
                if step is not None:
                    step.calls.append(again)
                self.called(again)

            self.watch.exports.add(
                {"results": list(call.results), "references": references, "masses": weights}, ran
            )


def _without_memory(shares: Shares, consumed: set[Node], *, free: bool) -> tuple[Shares, bool]:
    """Return the newest results of an assigned change that remembers earlier ones, as momentum does, and whether so.

    Results of earlier updates that count less than the newest are the memory; those that count as much were added
    once more.
    """
    newest = [share.factor for node, share in shares.items() if node not in consumed]
    if not free or not newest or len(newest) == len(shares):
        return shares, False
    least = min(map(abs, newest))
    kept = {node: s for node, s in shares.items() if node not in consumed or abs(s.factor) >= least * (1 - 1e-6)}
    return kept, len(kept) < len(shares)


def _path(variable: Any, known: dict[int, Trained]) -> str:
    """Return a name of a variable that no other has."""
    path = str(getattr(variable, "path", None) or variable.name).removesuffix(":0")
    taken = {trained.path for trained in known.values()}
    return path if path not in taken else next(n for i in range(2, 1 << 30) if (n := f"{path}#{i}") not in taken)
