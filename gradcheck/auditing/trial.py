"""The script's updates, and what each was handed beside what the tape over the whole step says."""

from __future__ import annotations

import math
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from gradcheck.auditing.evidence import Evidence
from gradcheck.auditing.judging.case import Case
from gradcheck.auditing.judging.judgement import Judgement, judge
from gradcheck.auditing.judging.mistakes import cut_off, explained
from gradcheck.auditing.judging.weights import masses, scale_of, slices
from gradcheck.auditing.observing.flow import Node, Share
from gradcheck.auditing.observing.layers import Layers
from gradcheck.auditing.observing.script_step import GradientCall, ScriptStep, ServedLoss
from gradcheck.auditing.questions import Question, TrainedVariable, Update
from gradcheck.auditing.serving import Serving
from gradcheck.numerics import PRECISIONS
from gradcheck.results.report import FAILING
from gradcheck.user_calls.lines import user_line
from gradcheck.user_calls.tape_calls import identity

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from gradcheck.auditing.observing.flow import Shares
    from gradcheck.auditing.watch import Watch
    from gradcheck.user_calls.lines import ScriptLine


class Trial:
    """The updates of a script.

    Attributes:
        serving: the gradient calls.
        variables: those that are trained, by the ids of their handles.
        layers: calls of layers, and their penalties.
        judgements: one of each variable in each update.
        applied_in: the applications of optimizers, and the losses they served, by the number of the step.
        moved_twice: the lines where recomputations moved state once more.
        recorded: the variables that some tape of the script recorded, by the ids of their handles.
    """

    def __init__(self, watch: Watch) -> None:
        """Nothing was updated."""
        self.watch, self.flow, self.layers = watch, watch.flow, Layers(watch)
        self.serving = Serving(watch.flow, self.layers, watch.ours)
        self._evidence = Evidence(watch.flow, self.serving, self.layers)
        self.variables: dict[int, TrainedVariable] = {}
        self.judgements: list[Judgement] = []
        self.applied_in: dict[int, list[tuple[Update, frozenset[int]]]] = {}
        self.recorded: dict[int, Any] = {}
        self._numbers = iter(range(1, 1 << 60))
        self._counted = (0, 0)
        self._closed = 0  # the judgements of steps that are over
        self._at_boundaries: list[Judgement] = []
        self.moved_twice: set[ScriptLine] = set()
        self._in_run: dict[int, int] = {}  # the numbers of calls in the latest run of a graph, by those in the graph

    def know(self, variable: Any) -> TrainedVariable:
        """Return the record of a variable."""
        key = identity(variable)
        if key not in self.variables:
            self.variables[key] = TrainedVariable(key, _path(variable, self.variables), variable)
        return self.variables[key]

    def record(self, variables: Iterable[Any]) -> None:
        """Note the variables that a tape of the script recorded."""
        for variable in variables:
            self.recorded.setdefault(identity(variable), variable)

    def called(self, call: GradientCall) -> None:
        """Note a gradient call."""
        self.serving.calls[call.number] = call
        self.serving.find_copies(call)
        for source in call.sources:
            if hasattr(source, "handle"):
                self.know(source).pending.append(call)

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

    def made_by_hand(self, step: ScriptStep | None, handle: int) -> TrainedVariable | None:
        """Return the variable of a handle that a tape recorded in this step, and that no gradient call named."""
        variables = step.outer.watched_variables() if step is not None and not step.over else ()
        return next((self.know(v) for v in variables if identity(v) == handle), None)

    def assigned(self, graph: Any, trained: TrainedVariable, op: str, inputs: Sequence[Any], shares: Shares) -> None:
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

    def _updated(self, graph: Any, update: Update, handed: Sequence[tuple[Any, Any, Shares]]) -> None:
        step = update.step
        self.watch.crossings.before_update(step)
        if step is not None:
            step.updates, step.last = step.updates + 1, update
        late: list[tuple[Any, Any, Shares]] = []
        now: list[tuple[Any, Any, Shares]] = []
        for one in handed:
            unknown = graph is not None and one[1] is not None and not self.serving.made_of(one[2])
            (late if unknown else now).append(one)
        questions = [self._ask(update, variable, value, shares, graph) for variable, value, shares in now]
        if step is not None and update.optimizer is not None:
            served = frozenset(id(loss) for q in questions for group in q.groups for loss in group)
            self.applied_in.setdefault(step.number, []).append((update, served))
        if graph is None and step is None:
            self.watch.counted()
        self._pose(graph, questions, counts=step)
        if late:
            self._pose_late(update, late)

    def _ask(self, update: Update, variable: Any, value: Any, shares: Shares, graph: Any) -> Question:
        trained = self.know(variable)
        question = self._question(trained, update, value, shares, graph)
        trained.consumed |= shares.keys()
        trained.pending, trained.updates = [], trained.updates + 1
        return question

    def _pose_late(self, update: Update, late: Sequence[tuple[Any, Any, Shares]]) -> None:
        """Ask when the graph has run: what was handed over comes from outside of it."""

        def ran(values: list[Any], times: int) -> None:
            self._count(update.step, times)
            now = replace(update, step=self.watch.step(None))
            for (variable, _, shares), value in zip(late, values, strict=True):
                question = self._ask(now, variable, value, self.flow.at_run(shares, {}), None)
                self._answer(question, question.evidence)

        with self.watch.ours():
            self.watch.exports.add([value for _, value, _ in late], ran, order=next(self.watch.numbers))

    def _count(self, step: ScriptStep | None, times: int) -> None:
        """Count the updates of a graph that has run: those of one step of it are one."""
        now, key = self.watch.step(None), (self.watch.exports.reads, step.number if step else 0)
        if key == self._counted:
            return
        self._counted = key
        if now is not None and now.calls:
            now.updates += 1
        else:
            self.watch.counted(times)

    def _pose(self, graph: Any, questions: list[Question], *, counts: ScriptStep | None = None) -> None:
        """Judge now, or whenever the graph has run: then an update is counted if this is one of a step."""
        if graph is None:
            for question in questions:
                self._answer(question, question.evidence)
            return

        def ran(values: list[dict[str, Any]], times: int) -> None:
            if counts is not None:
                self._count(counts, times)
            for question, evidence in zip(questions, values, strict=True):
                self._answer(question, evidence)

        if questions:
            with self.watch.ours():
                self.watch.exports.add([q.evidence for q in questions], ran, order=next(self.watch.numbers))

    def _answer(self, question: Question, evidence: dict[str, Any]) -> None:
        path = question.trained.path
        if self.watch.skipped or any(fnmatchcase(path, pattern) for pattern in self.watch.options.ignore):
            return
        judgement = judge(question, evidence, self.watch.options)
        if judgement.comparison.status in FAILING and question.asks_boundaries:
            with self.watch.ours():
                more = self._evidence.at_boundaries(question.trained, question.calls)
            judgement = judge(question, evidence | more, self.watch.options)
        judgement.at = self.watch.updates
        if judgement.comparison.status in FAILING:
            judgement.explained = explained(Case(judgement, self))
        elif judgement.comparison.status == "absent":
            judgement.explained = cut_off(Case(judgement, self))
        judgement.release()
        self.judgements.append(judgement)

    def _question(self, trained: TrainedVariable, update: Update, handed: Any, shares: Shares, graph: Any) -> Question:
        shares = _without_memory(shares, trained.consumed) if update.free_factor else shares
        if any(math.isnan(share.factor) for share in shares.values()):
            shares = self._judged_alone(trained, shares, update)
        made_of = sorted(self.serving.made_of(shares) or trained.pending, key=_number)
        used = {node.call for node in shares}
        older = {node for node in shares if self.serving.calls[node.call] not in trained.pending}
        all_older = bool(shares) and older == shares.keys()
        lines = {call.line for call in made_of}
        unused = [c for c in trained.pending if (c.line in lines or all_older) and c.number not in used]
        judged_by = unused if all_older and unused else sorted({*made_of, *unused}, key=_number)
        losses = list(dict.fromkeys(loss for call in judged_by for loss in self.serving.serves(call)))
        groups = slices(self.flow, losses)
        with self.watch.ours():
            evidence = self._evidence.of(trained, handed, shares, groups)
            if graph is not None:
                evidence |= self._evidence.at_boundaries(trained, judged_by)
        step = update.step or (judged_by[0].step if judged_by else None)
        made = self.flow.op(getattr(handed, "_id", -1))
        return Question(
            trained=trained,
            update=update,
            calls=list(dict.fromkeys([*judged_by, *made_of])),
            nodes=shares,
            seed_factors={node: self.serving.seed_factor(node) for node in shares},
            older=older,
            consumed=set(trained.consumed),
            unused=unused,
            groups=groups,
            made_at=made.line if made else None,
            scales=[scale_of(self.flow, loss) for group in groups for loss in group],
            evidence=evidence,
            precision=min(step.precisions, default=None, key=lambda name: -PRECISIONS[name].eps) if step else None,
            asks_boundaries=graph is None,
        )

    def _judged_alone(self, trained: TrainedVariable, shares: Shares, update: Update) -> Shares:
        """Return the variable's own gradients of what is another function of some results.

        What Newton's and quasi-Newton methods, momentum and normalisation add to it is not judged.
        """
        calls = self.serving.calls
        own = {n: s for n, s in shares.items() if calls[n.call].ids[n.source] == trained.key}
        own = {n: s for n, s in own.items() if calls[n.call].seeds is None} or own
        if update.free_factor and own:
            now = {n: s for n, s in own.items() if calls[n.call] in trained.pending}
            asked = [call for call in trained.pending if call.seeds is None]
            if not now and asked:
                now = {Node(asked[-1].number, asked[-1].ids.index(trained.key)): Share(math.nan)}
            return now or own
        return own or shares

    # Ends

    def closed(self, step: ScriptStep) -> None:
        """Judge the variables that were named in a step and not updated; forget the tape of the step."""
        self._assigned_from_outside(step)
        self._left_out(step, None)
        if step.recomputed is not None and any(count > 1 for count in step.moves.values()):
            self.moved_twice.add(self.layers.line_of(step.recomputed))
        self.layers.forget()
        waiting = self._waiting()
        for call in step.calls:
            if call.number in waiting:
                self.serving.settle(call)
        self.serving.release(step.calls, but=waiting)
        for judgement in self._at_boundaries:
            judgement.boundaries = []
        self._at_boundaries = [j for j in self.judgements[self._closed :] if j.boundaries]
        self._closed = len(self.judgements)
        step.release()

    def _waiting(self) -> set[int]:
        """Return the numbers of the calls whose results some variable has not been updated by yet."""
        return {call.number for trained in self.variables.values() for call in trained.pending}

    def _assigned_from_outside(self, step: ScriptStep) -> None:
        """Judge the gradients of variables that were assigned what NumPy has computed of them."""
        for handle, line in step.assigned.items():
            trained = self.variables[handle]
            if trained.pending:
                call = trained.pending[-1]
                shares = {Node(call.number, call.ids.index(handle)): Share(math.nan)}
                update = Update(number=next(self._numbers), line=line, step=step, free_factor=True)
                question = self._question(trained, update, None, shares, None)
                trained.pending, trained.updates = [], trained.updates + 1
                step.last = update
                self._pose(None, [question])

    def _left_out(self, step: ScriptStep, graph: Any) -> None:
        """Judge the variables whose gradient was asked for and is None, where others of the call were updated."""
        if not step.updates or step.last is None:
            return
        for call in step.calls:
            for source, result in zip(call.sources, call.results, strict=True):
                trained = self.variables.get(identity(source))
                if result is None and trained is not None and call in trained.pending:
                    question = self._question(trained, step.last, None, {}, graph)
                    trained.pending = []
                    self._pose(graph, [question])

    def traced(self, step: ScriptStep) -> None:
        """Export the results of gradient calls of a traced function that no update in it was made of."""
        self._left_out(step, step.graph)
        used = {node.call for trained in self.variables.values() for node in trained.consumed}
        for call in step.calls:
            if call.number not in used and any(hasattr(source, "handle") for source in call.sources):
                self._export(call)

    def stored(self, op: str, handle: int, shares: Shares) -> None:
        """Note in each run of a graph that a variable is assigned what contains results of gradient calls, or not."""

        def ran(_: Any, times: int) -> None:
            for _run in range(times):
                self.flow.assigned(op, handle, self.flow.at_run(shares, self._in_run))

        with self.watch.ours():
            self.watch.exports.add([], ran, order=next(self.watch.numbers))

    def _export(self, call: GradientCall) -> None:
        losses = self.serving.serves(call)
        with self.watch.ours():
            references = [[self.serving.reference(loss, source) for source in call.sources] for loss in losses]
            weights = [masses(self.flow, loss) for loss in losses]
            targets = [loss.weighted for loss in losses]
            for source in call.sources:
                trained = self.variables.get(identity(source))
                if trained is not None and call in trained.pending:
                    trained.pending.remove(call)

            def ran(values: Any, _: int) -> None:
                step = self.watch.step(None)
                fresh = [
                    ServedLoss(
                        None,
                        None,
                        loss.line,
                        None,
                        next(self.watch.numbers),
                        dict(zip(call.ids, found, strict=True)),
                        mass,
                        value=value,
                    )
                    for loss, found, mass, value in zip(
                        losses, values["references"], values["masses"], values["losses"], strict=True
                    )
                ]
                again = replace(call, number=next(self.watch.numbers), results=values["results"], losses=fresh)
                self._in_run[call.number] = again.number
                self.called(again)
                if step is not None:
                    step.calls.append(again)
                else:
                    self.serving.release([again], but=self._waiting())
                self.serving.computed(again)

            self.watch.exports.add(
                {"results": list(call.results), "references": references, "masses": weights, "losses": targets},
                ran,
                order=call.number,
            )


def _number(call: GradientCall) -> int:
    return call.number


def _without_memory(shares: Shares, consumed: set[Node]) -> Shares:
    """Return the newest results of an assigned change that remembers earlier ones, as momentum does.

    Results of earlier updates that count less than the newest are the memory; those that count as much were added
    once more.
    """
    newest = [share.factor for node, share in shares.items() if node not in consumed]
    if not newest or len(newest) == len(shares):
        return shares
    least = min(map(abs, newest))
    return {node: s for node, s in shares.items() if node not in consumed or abs(s.factor) >= least * (1 - 1e-6)}


def _path(variable: Any, known: dict[int, TrainedVariable]) -> str:
    """Return a name of a variable that no other has."""
    path = str(getattr(variable, "path", None) or variable.name).removesuffix(":0")
    taken = {trained.path for trained in known.values()}
    return path if path not in taken else next(n for i in range(2, 1 << 30) if (n := f"{path}#{i}") not in taken)
