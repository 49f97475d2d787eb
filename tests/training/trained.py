"""Models that tests train, a training loop by hand with one fault at a time, and what they must come out as."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import CheckReport, RunReport

    Run = Callable[..., RunReport]

#: Sparse gradients, and a layer that is called in both segments.
SHARED = """
    model:
      input: {shape: [5], dtype: int32}
      layers:
        - Embedding: {input_dim: 7, output_dim: 4, name: tokens}
        - Dense: {units: 4, activation: tanh, name: shared}
        - call: {layer: shared, name: again}
        - Flatten: {name: flat}
        - Dense: {units: 2, name: out}
    split: {after: ["shared:1"]}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""
#: State that moves from step to step: statistics and dropout's seeds; penalties and a constraint on weights.
STATEFUL = """
    model:
      input: {shape: [6]}
      layers:
        - Dense: {units: 5, name: first, kernel_constraint: {MaxNorm: {max_value: 1.0}}}
        - BatchNormalization: {name: normal}
        - Activation: {activation: tanh, name: cut}
        - Dropout: {rate: 0.3, name: dropped}
        - Dense: {units: 4, activation: relu, name: second, kernel_regularizer: l2}
        - Dense: {units: 3, activation: softmax, name: out}
    split: {after: [cut]}
    loss: SparseCategoricalCrossentropy
    data: {batch_size: 8}
"""
DECAY = {"ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 2, "decay_rate": 0.5}}
#: A training loop by hand over two segments, with one fault at a time.
LOOP = """
    import tensorflow as tf

    kept = []

    def computed(given):
        first, second = given.segments
        with tf.GradientTape() as tape_0:
            code = first(given.x, training=given.training)
        with tf.GradientTape() as tape_1:
            tape_1.watch(code)
            loss = given.loss(given.y, second(code, training=given.training))
            loss += tf.add_n([0.0, *second.losses])
        handed, *of_second = tape_1.gradient(loss, [code, *second.trainable_variables])
        of_first = tape_0.gradient(code, first.trainable_variables, output_gradients=handed)
        sums = {}
        for v, g in zip([*first.trainable_variables, *second.trainable_variables], [*of_first, *of_second]):
            sums[v.path] = g if v.path not in sums else sums[v.path] + g
        return loss, [sums[v.path] for v in given.variables]

    def gradients(given, fault=None):
        loss, found = computed(given)
        kept.append(found)
        if fault == "stale":
            found = kept[0]
        if fault == "previous":
            found = kept[max(0, len(kept) - 2)]
        if fault == "summed up":
            found = [tf.add_n(list(of_steps)) for of_steps in zip(*kept)]
        if fault == "rounding":
            found = [-g if v.path == "first/bias" else g for v, g in zip(given.variables, found)]
        if fault == "shape":
            found = [found[0][:1], *found[1:]]
        if fault == "updates too":
            given.variables[0].assign_sub(0.1 * found[0])
        return loss, found

    def step(given, fault=None):
        optimizer, variables = given.optimizer, list(given.variables)
        loss, found = computed(given)
        if fault == "frozen":
            given.model.layers[-1].trainable = False
        if fault == "each part":
            half = len(found) // 2
            optimizer.apply_gradients(zip(found[:half], variables[:half]))
            optimizer.apply_gradients(zip(found[half:], variables[half:]))
        elif fault == "by hand":
            for v, g in zip(variables, found):
                v.assign_sub(0.1 * g)
        elif fault == "one left out":
            optimizer.apply_gradients(zip(found[1:], variables[1:]))
        elif fault == "schedule off by one":
            optimizer.iterations.assign_add(1)
            optimizer.apply_gradients(zip(found, variables))
            optimizer.iterations.assign_sub(1)
        elif fault == "nothing":
            pass
        else:
            optimizer.apply_gradients(zip(found, variables))
        if fault == "slot":
            next(v for v in optimizer.variables if v.path.endswith("out_kernel_momentum")).assign_add([[1e-3]] * 4)
        if fault == "no loss":
            return {"loss": loss}
        return None if fault == "silent" else loss
"""
MODEL = """
    model:
      input: {shape: [4]}
      layers:
        - Dense: {units: 5, activation: tanh, name: first}
        - Dense: {units: 4, activation: tanh, name: second}
        - Dense: {units: 1, name: out, kernel_regularizer: l2}
    split: {after: [first]}
    loss: MeanSquaredError
    data: {batch_size: 6}
"""
RIGHT: dict[str, Any] = {"candidate": {"factory": "./loop.py:gradients", "name": "by hand"}}


def trained(text: str, optimizer: Any, *, steps: int = 5, methods: Any = ("vjp",), **keys: Any) -> dict[str, Any]:
    """The config in `text`, to be trained."""
    train = {"steps": steps, "optimizer": optimizer}
    return {**yaml.safe_load(text), "train": train, "methods": list(methods), **keys}


def statuses(check: CheckReport, kind: str, quantity: str, step: int) -> dict[str, str]:
    rows = [t for t in check.tensors if (t.kind, t.quantity, t.step) == (kind, quantity, step)]
    return {row.path: row.status for row in rows}


def require_match(found: RunReport, steps: int) -> CheckReport:
    """The only check of a run that must match in every step, by weights that have moved."""
    assert found.verdict == "pass", found.error or found.checks[0].failures[:3]
    check = found.checks[0]
    assert (check.outcome, check.steps, check.first_failing_step) == ("match", steps, None)
    assert {t.step for t in check.tensors} == {steps}
    values = statuses(check, "weight", "value", steps)
    assert values.keys() == statuses(check, "weight", "gradient", steps).keys()
    assert set(values.values()) <= {"exact", "close", "inconclusive"}
    return check


def by_hand(
    run: Run, fault: str | None, optimizer: Any = "Adam", *, steps: int = 3, kind: str = "train_step"
) -> RunReport:
    function = "step" if kind == "train_step" else "gradients"
    method = {"candidate": {kind: f"./loop.py:{function}", "kwargs": {"fault": fault}}}
    return run(trained(MODEL, optimizer, steps=steps, methods=[method]), {"loop.py": LOOP})
