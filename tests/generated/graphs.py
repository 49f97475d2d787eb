"""Random DAGs of Keras layers with random cuts, methods, precisions and micro-batches: split equals whole."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import yaml
from hypothesis import strategies as st

from gradcheck.config import load_config
from gradcheck.config.sections.methods import METHODS
from gradcheck.session import patience
from gradcheck.session.configs import CheckOptions, check_one
from tests.generated import layers
from tests.generated.driving import Judged, Kind

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.results.report import RunReport
    from tests.generated.layers import Shape

VOCABULARY = 7
PRECISIONS = ["float32"] * 4 + ["float64"] * 3 + ["float16", "bfloat16", "mixed_float16", "mixed_bfloat16"]
LOSSES: list[Any] = [
    "random_cotangent",
    "MeanSquaredError",
    "Huber",
    "LogCosh",
    "MeanAbsoluteError",
    {"BinaryCrossentropy": {"from_logits": True}},
    {"CategoricalCrossentropy": {"from_logits": True}},
    {"MeanSquaredError": {"reduction": "sum"}},
]
OPTIMIZERS: list[Any] = [
    {"SGD": {"learning_rate": 0.1}},
    {"SGD": {"learning_rate": 0.05, "momentum": 0.9, "nesterov": True}},
    {"Adam": {"learning_rate": 0.01, "epsilon": 0.001}},
    {"RMSprop": {"learning_rate": 0.01, "epsilon": 0.001}},
]


class Tensor(NamedTuple):
    """A tensor by its name in the config; of `steps` integers where `ids`."""

    name: str
    shape: Shape
    ids: bool = False


class Unary(NamedTuple):
    """A layer that can be called again, on another tensor of the shape that it took."""

    name: str
    taken: Shape
    given: Shape


@dataclass
class Graph:
    """The layers so far, and the tensors that they give."""

    draw: st.DrawFn
    inputs: dict[str, Any] = field(default_factory=dict)
    layers: list[Any] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    unary: list[Unary] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    calls: dict[str, list[str]] = field(default_factory=dict)  # of layers that are called again

    def input(self, shape: Shape, *, ids: bool = False) -> Tensor:
        """An input of the model."""
        name = f"x{len(self.inputs)}"
        self.inputs[name] = {"shape": list(shape), **({"dtype": "int32"} if ids else {})}
        self.tensors.append(Tensor(name, shape, ids))
        return self.tensors[-1]

    def add(self, layer: str, arguments: dict[str, Any], taken: list[Tensor], shape: Shape) -> Tensor:
        """An entry of the config, and what it gives."""
        name = f"l{len(self.layers)}"
        self.layers.append({layer: {**arguments, "name": name, "inputs": [t.name for t in taken]}})
        self.used |= {t.name for t in taken}
        self.tensors.append(Tensor(name, shape))
        return self.tensors[-1]

    def call(self, layer: str, taken: Tensor, shape: Shape) -> None:
        """An earlier layer again."""
        made = self.add("call", {"layer": layer}, [taken], shape)
        self.calls[layer] = [*self.calls.get(layer, [layer]), made.name]

    def one(self) -> Tensor:
        """Any tensor but ids, the later ones first."""
        floats = [t for t in self.tensors if not t.ids]
        return self.draw(st.sampled_from(floats[::-1]))

    def grow(self) -> None:
        """One layer more."""
        taken = self.one()
        grow = self.draw(st.sampled_from([self.step, self.step, self.step, self.join, self.again]))
        grow(taken)

    def step(self, taken: Tensor) -> Tensor:
        """A layer on one tensor, within what is small."""
        kind = self.draw(st.sampled_from(layers.BY_RANK[len(taken.shape)]))
        layer, arguments, shape = kind(self.draw, taken.shape)
        if math.prod(shape) > layers.LARGEST:
            layer, arguments, shape = "Dense", {"units": 2}, (*taken.shape[:-1], 2)
        made = self.add(layer, arguments, [taken], shape)
        self.unary.append(Unary(made.name, taken.shape, shape))
        return made

    def join(self, taken: Tensor) -> None:
        """A layer on two tensors, the other one made to fit."""
        other = self.fitted(self.one(), taken.shape)
        pair = self.draw(st.permutations([taken, other]))
        if len(taken.shape) == 2 and self.draw(st.booleans()):
            attention, arguments = self.draw(st.sampled_from(layers.ATTENTION))
            self.add(attention, dict(arguments), pair, taken.shape)
        elif len(taken.shape) == 1 and self.draw(st.integers(0, 3)) == 3:
            self.add("Dot", {"axes": 1, "normalize": self.draw(st.booleans())}, pair, (1,))
        else:
            merge = self.draw(st.sampled_from(layers.MERGES))
            last = taken.shape[-1] * (2 if merge == "Concatenate" else 1)
            self.add(merge, {}, pair, (*taken.shape[:-1], last))

    def fitted(self, tensor: Tensor, shape: Shape) -> Tensor:
        """The tensor, or what a Dense makes of it, in this shape."""
        if tensor.shape == shape:
            return tensor
        if len(tensor.shape) > 1:
            tensor = self.add("Flatten", {}, [tensor], (math.prod(tensor.shape),))
        total = math.prod(shape)
        if tensor.shape != (total,):
            tensor = self.add("Dense", {"units": total}, [tensor], (total,))
        return tensor if len(shape) == 1 else self.add("Reshape", {"target_shape": list(shape)}, [tensor], shape)

    def again(self, taken: Tensor) -> None:
        """An earlier layer once more, on another tensor; one more layer where there is none."""
        fitting = [u for u in self.unary if u.taken == taken.shape]
        if not fitting:
            self.step(taken)
            return
        layer = self.draw(st.sampled_from(fitting))
        self.call(layer.name, taken, layer.given)

    def entry(self, name: str) -> Any:
        """The entry of a layer."""
        return self.layers[int(name.removeprefix("l"))]

    def cut_name(self, name: str) -> str:
        """A call as `split.after` names it: by its layer, and its number where that is called again."""
        numbered = {of: f"{layer}:{i}" for layer, names in self.calls.items() for i, of in enumerate(names, 1)}
        return numbered.get(name, name)

    def outputs(self, most: int) -> list[Tensor]:
        """What nothing takes, at most so many, and perhaps a tensor that something takes as well."""
        loose = [t for t in self.tensors if t.name not in self.used and t.name not in self.inputs]
        while len(loose) > most:
            flat = [t if len(t.shape) == 1 else self.add("Flatten", {}, [t], (math.prod(t.shape),)) for t in loose[:2]]
            joined = self.add("Concatenate", {}, flat, (math.prod(flat[0].shape) + math.prod(flat[1].shape),))
            loose = [*loose[2:], joined]
        inner = [t for t in self.tensors if t.name in self.used and t.name not in self.inputs]
        if inner and len(loose) < most and self.draw(st.integers(0, 4)) == 4:
            loose.append(self.draw(st.sampled_from(inner)))
        return loose


@st.composite
def dags(draw: st.DrawFn, most: int) -> Graph:
    """One to three inputs, a few layers, each input used."""
    graph = Graph(draw)
    shapes = st.one_of(
        st.tuples(st.integers(1, 5)),
        st.tuples(st.integers(2, 5), st.integers(1, 4)),
        st.tuples(st.integers(2, 5), st.integers(2, 5), st.integers(1, 3)),
        st.tuples(st.integers(2, 3), st.integers(2, 3), st.integers(2, 3), st.integers(1, 2)),
    )
    table: str | None = None
    for _ in range(draw(st.integers(1, 3))):
        if draw(st.integers(0, 4)) < 4:
            graph.input(draw(shapes))
            continue
        ids = graph.input((4,), ids=True)
        if table and draw(st.booleans()):
            graph.call(table, ids, (4, 3))
            continue
        masked = draw(st.booleans())
        arguments = {"input_dim": VOCABULARY, "output_dim": 3, "mask_zero": masked}
        table = graph.add("Embedding", arguments, [ids], (4, 3)).name
    for _ in range(draw(st.integers(2, most))):
        graph.grow()
    for tensor in [t for t in graph.tensors if t.name in graph.inputs and t.name not in graph.used]:
        graph.join(tensor)
    return graph


@st.composite
def stacks(draw: st.DrawFn) -> Graph:
    """A stack of recurrent layers, for cuts along time."""
    graph = Graph(draw)
    tensor = graph.input((draw(st.integers(2, 6)), draw(st.integers(1, 3))))
    for _ in range(draw(st.integers(0, 1))):
        layer, more = draw(st.sampled_from([("Masking", {}), ("Dropout", {"rate": 0.3})]))
        tensor = graph.add(layer, more, [tensor], tensor.shape)
    number = draw(st.integers(1, 2))
    for index in range(number):
        units, sequences = draw(st.integers(1, 3)), index < number - 1 or draw(st.booleans())
        more = draw(
            st.sampled_from([{}, {}, {"dropout": 0.3}, {"recurrent_dropout": 0.3}, {"recurrent_regularizer": "l2"}])
        )
        shape = (*tensor.shape[:1], units) if sequences else (units,)
        layer = draw(st.sampled_from(["SimpleRNN", "GRU", "LSTM"]))
        tensor = graph.add(layer, {"units": units, "return_sequences": sequences, **more}, [tensor], shape)
    graph.add("Dense", {"units": 2}, [tensor], (*tensor.shape[:-1], 2))
    return graph


@st.composite
def configs(draw: st.DrawFn, *, most: int = 8, faults: bool = False) -> dict[str, Any]:
    """A config of a random DAG of about `most` layers; with `faults` in float64 and eagerly, as `mutate` runs it."""
    in_time = draw(st.integers(0, 9)) == 9
    graph = draw(stacks() if in_time else dags(most))
    outputs = graph.outputs(draw(st.integers(1, 3)))
    config: dict[str, Any] = {
        "model": {"input": graph.inputs, "layers": graph.layers, "outputs": [t.name for t in outputs]},
        "split": _time(draw, graph) if in_time else draw(splits(graph, outputs)),
    }
    batch = draw(st.integers(1, 4))
    microbatches = draw(st.sampled_from([n for n in (1, 1, 1, 2, 3) if n <= batch]))
    steps = draw(st.sampled_from([0, 0, 0, 1, 2]))
    config["data"] = {"batch_size": batch}
    config |= {"microbatches": microbatches} if microbatches > 1 else {}
    if steps:
        config["train"] = {"steps": steps, "optimizer": draw(st.sampled_from(OPTIMIZERS))}
    losses = draw(st.lists(st.sampled_from(LOSSES), min_size=len(outputs), max_size=len(outputs)))
    config["loss"] = losses if len(outputs) > 1 else losses[0]
    in_rows = all(len(tensor.shape) == 1 for tensor in outputs)
    if in_rows and draw(st.integers(0, 4)) == 4:  # a Keras loss weighs rows alone by the example
        config["data"]["sample_weight"] = {"uniform": {"minval": 0.5, "maxval": 2}}
    ids = [name for name, spec in graph.inputs.items() if spec.get("dtype")]
    if ids:
        config["data"]["inputs"] = {name: {"integers": {"low": 0, "high": VOCABULARY}} for name in ids}
    config["training"] = draw(st.sampled_from([True, True, False]))
    config["seed"] = draw(st.integers(0, 99))
    config["precision"] = "float64" if faults else draw(st.sampled_from(PRECISIONS))
    if config["precision"] == "bfloat16" and any(name in str(graph.layers) for name in layers.ORTHOGONAL):
        config["precision"] = "mixed_bfloat16"
    if faults:
        return config | ({"methods": ["recompute"]} if draw(st.booleans()) else {})
    config["execution"] = draw(st.sampled_from(["eager"] * 5 + ["graph"] * 3 + ["xla"]))
    allowed = allowed_methods(in_time=in_time, sliced=microbatches > 1, trained=steps > 0)
    allowed = [name for name in allowed if name != "hvp" or not layers.MOMENTS.search(str(graph.layers))]
    config["methods"] = draw(st.lists(st.sampled_from(allowed), min_size=1, max_size=2, unique=True))
    return config


@st.composite
def splits(draw: st.DrawFn, graph: Graph, outputs: list[Tensor]) -> dict[str, Any]:
    """Cuts after some layers, after every one, or into parts."""
    names = [t.name for t in graph.tensors if t.name not in graph.inputs and t not in outputs]
    if not names:
        return {"every": "layer"}
    kind = draw(st.sampled_from(["after", "after", "every", "parts"]))
    if kind == "parts":
        return {"parts": draw(st.integers(2, min(4, len(names) + 1)))}
    if kind == "every":
        return {"every": "layer"}
    chosen = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    return {"after": [graph.cut_name(name) for name in sorted(chosen, key=names.index)]}


def _time(draw: st.DrawFn, graph: Graph) -> dict[str, Any]:
    steps = graph.tensors[0].shape[0]
    if draw(st.booleans()):
        return {"time": {"chunks": draw(st.integers(2, steps))}}
    first = draw(st.integers(1, steps - 1))
    return {"time": {"lengths": [first, steps - first]}}


def allowed_methods(*, in_time: bool, sliced: bool, trained: bool) -> list[str]:
    """The methods that go with the rest of the config."""
    left_out = {"naive", "candidate", "stateful", "graph_scalar", *(() if in_time else ("scan",))}
    known = {name: info for name, info in METHODS.items() if not info.way}  # tests/ways is for those
    fitting = [name for name, info in known.items() if (info.slices or not sliced) and (info.trains or not trained)]
    return [name for name in fitting if name not in left_out]


def texts(found: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[bytes]:
    """Configs as YAML."""
    return found.map(lambda config: yaml.safe_dump(config, sort_keys=False, default_flow_style=None).encode())


#: What may be refused, for a model or a cut that is not fit for what is asked of it.
REFUSALS = frozenset({"GC024", "GC025", "GC027", "GC030", "GC031", "GC055"})


def judge(path: Path) -> Judged:
    """`pass`, a reason why nothing was proven, or the code of a refusal. A mismatch or another error fails."""
    with mock.patch.multiple(patience, SECONDS=0.3, FACTOR=0.0):
        run = check_one(load_config(path, require_split=True), CheckOptions())
    return judged(run)


def judged(run: RunReport) -> Judged:
    """What became of one run."""
    codes = [error.code for error in run.errors]
    if run.verdict == "pass":
        return Judged(counts=Counter(["pass"]))
    if run.verdict == "vacuous" and (reason := _reason(run)):
        return Judged(counts=Counter([f"vacuous: {reason}"]))
    if run.verdict == "error" and REFUSALS.issuperset(codes):
        return Judged(counts=Counter(f"refused: {code}" for code in set(codes)))
    about = [f"{error.code}: {error.message}" for error in run.errors]
    for check in run.checks:
        about += [f"{check.method}: {t.kind} {t.path} {t.status} {t.max_rel_error:.1e}" for t in check.failures]
    kinds = sorted({f"{c.method} {t.kind} {t.status}" for c in run.checks for t in c.failures}) or codes
    failure = f"{run.verdict}: {', '.join(kinds[:2])}"
    return Judged(counts=Counter([run.verdict]), failure=failure, about="\n".join(about))


def _reason(run: RunReport) -> str:
    """Why a run that proves nothing may do so; empty where there is no such reason."""
    covered = run.coverage
    if covered is None or not covered.trainable:
        return "nothing trains"
    if covered.compared == covered.dead:
        return "every gradient is absent or zero"
    if any(warning.startswith("GC701") for warning in run.warnings):
        return "every gradient is rounding"
    given = {name for segment in run.segments for name in segment.outputs}
    taken = {name for segment in run.segments for name in segment.inputs}
    return "" if given & taken else "no segment hands anything on"


GRAPHS = Kind(name="graphs", texts=texts(configs()), judge=judge, rerun="gradcheck run {}")
