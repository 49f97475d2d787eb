"""`mutate`: each known mistake in a model's own split is caught and named, or the report says why not."""

from __future__ import annotations

import math
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gradcheck.config import load_config
from gradcheck.errors import ConfigError
from gradcheck.results.report import Diagnosis, TensorReport
from gradcheck.results.tensor import Required, Worst

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.config.load import LoadedConfig
    from gradcheck.results.mutation import FaultReport, MutationReport

ROOT = Path(__file__).resolve().parents[2]
#: Every shipped config with a split.
CONFIGS = [path for path in sorted((ROOT / "configs").glob("*.yaml")) if "\nsplit:" in path.read_text(encoding="utf-8")]
#: Seconds that each may take here, where other tests run at the same time.
BUSY = 1800.0
#: Left out unless `--mutated all`: it takes minutes, and these have the model, the split and the loss of rnn_case0.
LEFT_OUT = ["resnet50", "rnn_case1", "rnn_case2", "rnn_case3"]
#: What is shorter unless `--mutated all`; the cuts stay as many.
SHORTER = {
    "rnn_time_split": ["model.input.shape=[4, 5]", "split.time.lengths=[1, 2, 1]"],
    "train_adam": ["train.steps=3"],
}
#: Quick ones.
SMALL = ["two_dense"]
CONFIG: dict[str, Any] = {
    "model": {
        "input": {"shape": [4]},
        "layers": [
            {"Dense": {"units": 3, "activation": "tanh", "name": "first"}},
            {"Dense": {"units": 1, "name": "last"}},
        ],
    },
    "split": {"every": "layer"},
    "loss": "MeanSquaredError",
    "data": {"batch_size": 3},
}


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., LoadedConfig]:
    """Writes a config, `changes` in place of its keys, and the files beside it."""

    def write(files: dict[str, str] | None = None, **changes: Any) -> LoadedConfig:
        for name, text in (files or {}).items():
            (tmp_path / name).write_text(dedent(text), encoding="utf-8")
        path = tmp_path / "config.yaml"
        kept = {key: value for key, value in {**CONFIG, **changes}.items() if value is not None}
        path.write_text(yaml.safe_dump(kept), encoding="utf-8")
        return load_config(path)

    return write


def mutated(loaded: LoadedConfig, *, seconds: float = 600.0) -> MutationReport:
    from gradcheck.session.mutation import mutate

    return mutate(loaded, seconds, lambda _: None)


def of(report: MutationReport, code: str) -> list[FaultReport]:
    return [fault for fault in report.faults if fault.code == code]


def lines(report: MutationReport, *statuses: str) -> list[tuple[str, str, str]]:
    return [(f.code, f.place, f.reason) for f in report.faults if f.status in statuses]


@pytest.mark.third(option="--mutated")
@pytest.mark.parametrize(
    "path",
    [pytest.param(p, id=p.stem, marks=[] if p.stem in SMALL else [pytest.mark.slow]) for p in CONFIGS],
)
def test_a_shipped_config_has_every_fault_caught_and_named(path: Path, pytestconfig: pytest.Config) -> None:
    whole = pytestconfig.getoption("--mutated") == "all"
    if path.stem in LEFT_OUT and not whole:
        pytest.skip("only with --mutated all")
    report = mutated(load_config(path, overrides=() if whole else SHORTER.get(path.stem, ())), seconds=BUSY)
    assert lines(report, "missed") == []
    assert [(f.code, f.place, f.reason) for f in report.faults if f.status == "caught" and not f.named] == []
    assert (report.verdict, report.exit_code) == ("pass", 0)
    assert report.score.injected == report.score.caught == report.score.named > 0
    assert [fault for fault in report.faults if fault.left_out] == []


def test_what_is_missed_is_said_and_why(load: Callable[..., LoadedConfig]) -> None:
    report = mutated(load(tolerance={"rtol": 3.0, "noise": "off"}))
    assert (report.verdict, report.exit_code) == ("fail", 1)
    assert report.score.caught < report.score.injected
    (everywhere,) = [fault for fault in of(report, "GC504") if fault.place == "every gradient"]
    assert (everywhere.status, everywhere.named, math.isnan(everywhere.margin)) == ("missed", False, True)
    assert "2.0e+00 of its size; that is within rtol 3 and atol" in everywhere.reason
    assert all(fault.margin == math.inf for fault in of(report, "GC403"))  # None is within no tolerance


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes some faults all that there are."""

    def keep(*codes: str) -> None:
        from gradcheck.faults import FAULTS

        chosen = tuple(fault for fault in FAULTS if fault.code in codes)
        assert len(chosen) == len(codes)
        monkeypatch.setattr("gradcheck.diagnose.replaying.replays.FAULTS", chosen)

    return keep


@pytest.mark.parametrize(("share", "status"), [(0.1, "missed"), (1.0, "equivalent")])
def test_what_noise_hides(
    load: Callable[..., LoadedConfig],
    only: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    share: float,
    status: str,
) -> None:
    """With a floor of a tenth of each tensor's size a rounded cotangent is not seen; with all of it nothing is real."""
    from gradcheck.comparing.keys import as_array
    from gradcheck.comparing.reference import Reference
    from gradcheck.numerics import largest

    floors = property(lambda self: {key: share * largest(as_array(t)) for key, t in self.tensors.items()})
    monkeypatch.setattr(Reference, "noise_floors", floors)
    only("GC104")
    report = mutated(load())
    (fault,) = [f for f in of(report, "GC104") if f.effect == "the cotangent of segment_0 went through bfloat16"]
    assert fault.status == status
    if status == "missed":
        assert "that is within 4 times the noise floor of" in fault.reason
        assert report.exit_code == 1
    else:
        assert "it changes only gradients that are zero but for rounding: input, first/kernel" in fault.reason


def test_a_diagnosis_that_names_nothing(load: Callable[..., LoadedConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcheck.session.mutation.diagnose", lambda *_, **__: ())
    report = mutated(load())
    assert report.score.caught == report.score.injected > 0
    assert report.score.named == 0
    assert (report.verdict, report.exit_code) == ("pass", 0)
    assert {fault.reason for fault in report.faults if fault.status == "caught"} == {"the diagnosis says nothing"}


def test_only_an_exact_diagnosis_names(load: Callable[..., LoadedConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    likely = Diagnosis(
        code="GC101", title="", segment=0, layer=None, confidence="likely", evidence="so it seems", fix=""
    )
    monkeypatch.setattr("gradcheck.session.mutation.diagnose", lambda *_, **__: (likely,))
    (first, *_) = of(mutated(load()), "GC101")
    assert (first.status, first.named, first.diagnosed) == ("caught", False, ("GC101",))
    assert first.reason == "the diagnosis says GC101 (likely): so it seems"


SUM = "import tensorflow as tf\n\ndef make():\n    return lambda y, output: tf.reduce_sum(output)\n"
IDENTITY_TAIL = {
    "input": {"shape": [4]},
    "layers": [{"Dense": {"units": 3, "name": "first"}}, {"Activation": {"activation": "linear", "name": "last"}}],
}


def test_a_cotangent_of_ones_is_equivalent(load: Callable[..., LoadedConfig]) -> None:
    report = mutated(load({"loss.py": SUM}, model=IDENTITY_TAIL, loss={"factory": "./loss.py:make"}))
    found = of(report, "GC101")
    assert [fault.place for fault in found] == ["the loss", "boundary 0 → 1"]
    for fault in found:
        assert (fault.status, fault.named, math.isnan(fault.margin)) == ("equivalent", False, True)
        assert fault.reason == "on this model it changes nothing: every tensor is bit for bit the correct split's"
    assert {fault.status for fault in of(report, "GC102")} == {"caught"}
    assert report.score.injected == sum(fault.status == "caught" for fault in report.faults)
    assert (report.verdict, report.exit_code) == ("pass", 0)


def test_what_moves_by_rounding_is_equivalent(load: Callable[..., LoadedConfig]) -> None:
    class Nudged:
        code = "GC503"

        def injections(self, _: Any) -> Any:
            from gradcheck.faults.interface import Injection, Place

            yield Injection(
                code=self.code,
                place=Place(text="every gradient"),
                effect="moved",
                finish=lambda found: {key: tensor * (1 + 1e-6) for key, tensor in found.items()},
            )

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gradcheck.diagnose.replaying.replays.FAULTS", (Nudged(),))
        report = mutated(load())
    (nudged,) = of(report, "GC503")
    assert nudged.status == "equivalent"
    assert nudged.reason.startswith("on this model it moves no tensor by more than 9.")
    assert "e-07 of its size" in nudged.reason
    assert (report.verdict, report.exit_code) == ("vacuous", 4)


def test_faults_without_a_place_say_why(load: Callable[..., LoadedConfig]) -> None:
    from gradcheck.faults import FAULTS
    from gradcheck.faults.training import TRAINING_FAULTS

    report = mutated(load())
    nowhere = {fault.code: fault for fault in report.faults if fault.status == "not-applicable"}
    assert nowhere["GC105"].reason == "no boundary of several tensors, and none that several segments take"
    assert (nowhere["GC105"].place, nowhere["GC105"].left_out) == ("", False)
    assert nowhere["GC305"].reason == "no training steps"
    codes = [fault.code for fault in report.faults]
    assert codes == sorted(codes)
    assert set(codes) == {fault.code for fault in (*FAULTS, *TRAINING_FAULTS)}


def test_mistakes_of_the_training_loop_are_caught_and_named(
    load: Callable[..., LoadedConfig], only: Callable[..., None]
) -> None:
    only("GC101")
    optimizer = {"SGD": {"learning_rate": 0.1, "momentum": 0.9, "global_clipnorm": 0.01}}
    report = mutated(load(train={"steps": 2, "optimizer": optimizer}))
    for code in ("GC205", "GC305", "GC306", "GC405"):
        for fault in of(report, code):
            assert (fault.status, fault.named, fault.margin > 1) == ("caught", True, True), fault


def test_without_training_steps_there_is_no_such_mistake(
    load: Callable[..., LoadedConfig], only: Callable[..., None]
) -> None:
    only("GC101")
    (stale,) = of(mutated(load()), "GC305")
    assert (stale.status, stale.reason) == ("not-applicable", "no training steps")


DROPOUT = {
    "input": {"shape": [4]},
    "layers": [{"Dense": {"units": 6, "name": "first"}}, {"Dropout": {"rate": 0.5, "name": "drop"}}, {"Dense": 2}],
}


def test_recomputation_goes_wrong_only_where_there_is_one(
    load: Callable[..., LoadedConfig], only: Callable[..., None]
) -> None:
    only("GC303")
    without, with_ = (
        of(mutated(load(model=DROPOUT, methods=methods)), "GC303") for methods in (["vjp"], ["recompute"])
    )
    assert [(fault.status, fault.reason) for fault in without] == [("not-applicable", "no method recomputes")]
    assert {fault.status for fault in with_} == {"caught"}


PARTS = """
    import keras

    def front():
        x = keras.Input([4], name="x")
        return keras.Model(x, keras.layers.Dense(3, activation="tanh", name="first")(x), name="front")

    def back():
        h = keras.Input([3], name="h")
        return keras.Model(h, keras.layers.Dense(1, name="last")(h), name="back")

    def whole(activation="tanh"):
        x = keras.Input([4], name="x")
        h = keras.layers.Dense(3, activation=activation, name="first")(x)
        return keras.Model(x, keras.layers.Dense(1, name="last")(h))
"""


@pytest.mark.parametrize(("activation", "exit_code"), [("tanh", 0), ("relu", 1)])
def test_a_split_that_is_wrong_by_itself(load: Callable[..., LoadedConfig], activation: str, exit_code: int) -> None:
    segments = [{"factory": "./parts.py:front"}, {"factory": "./parts.py:back"}]
    reference = {"factory": "./parts.py:whole", "kwargs": {"activation": activation}}
    report = mutated(load({"parts.py": PARTS}, model={"segments": segments, "reference": reference}, split=None))
    assert report.exit_code == exit_code
    if exit_code:
        assert report.faults == ()
        assert report.baseline is not None
        assert report.baseline.startswith(
            "the split itself does not match the reference: 7 of 7 tensors differ, first last"
        )
        assert "`gradcheck run` says why" in report.baseline


def test_a_config_without_split(load: Callable[..., LoadedConfig]) -> None:
    loaded = load(split=None, methods=["numeric"])
    with pytest.raises(ConfigError) as caught:
        mutated(loaded)
    assert (caught.value.code, caught.value.exit_code) == ("GC026", 2)
    assert caught.value.location is not None
    assert caught.value.location.excerpt == "model:"


#: Nothing flows to `a`'s bias but rounding: batch norm takes the mean away.
NORMED = {
    "input": {"shape": [3]},
    "layers": [
        {"Dense": {"units": 3, "name": "a"}},
        {"BatchNormalization": {"name": "b"}},
        {"Dense": {"units": 3, "activation": "tanh", "name": "c"}},
        {"Dropout": {"rate": 0.3, "name": "d"}},
        {"Dense": {"units": 2, "name": "e"}},
    ],
}


@pytest.fixture
def benches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What mutations of the test were made on."""
    from gradcheck.session import mutation

    class Seen(mutation.Bench):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            found.append(self)

    found: list[Any] = []
    monkeypatch.setattr(mutation, "Bench", Seen)
    return found


def traced_and_not(loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch) -> tuple[MutationReport, Any, Any]:
    """The report of traced segments, and what it and that of eager ones say of each fault."""
    reports = [mutated(loaded)]
    monkeypatch.setattr("gradcheck.faults.traced.DEEP", 1)
    reports.append(mutated(loaded))
    eager, traced = ({(f.code, f.place, f.effect): (f.status, f.named, f.diagnosed) for f in r.faults} for r in reports)
    return reports[1], traced, eager


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "tolerance", [{}, {"rtol": 0.0, "atol": 0.0}, {"rtol": 0.0, "atol": 0.0, "noise": "off"}], ids=str
)
def test_whether_segments_are_traced_changes_nothing(
    load: Callable[..., LoadedConfig],
    monkeypatch: pytest.MonkeyPatch,
    benches: list[Any],
    tolerance: dict[str, Any],
    precision: str,
) -> None:
    """Also where no rounding is excused: then they run eagerly."""
    loaded = load(
        model=NORMED, split={"after": ["c"]}, tolerance=tolerance, data={"batch_size": 4}, precision=precision
    )
    report, told, told_eagerly = traced_and_not(loaded, monkeypatch)
    assert told == told_eagerly
    assert report.verdict == "pass"
    assert [bench.replayed.replays._traced is not None for bench in benches] == [False, "noise" not in tolerance]


REVERSED = """
    import keras
    import tensorflow as tf

    @tf.custom_gradient
    def reverse(x):
        return tf.identity(x), lambda g: -g

    class Reversed(keras.layers.Layer):
        def call(self, x):
            return reverse(x)

    class Rough(keras.layers.Layer):
        def call(self, x):
            return x if tf.executing_eagerly() else x * (1 + 1.5e-5)

    class Strict(keras.layers.Layer):
        def call(self, x):
            return x if tf.executing_eagerly() else tf.debugging.check_numerics(x, "in a graph")

    def make():
        x = inputs = keras.Input((4,))
        for layer in (keras.layers.Dense(3, name="a"), keras.layers.BatchNormalization(), Reversed(name="c")):
            x = layer(x)
        x = keras.layers.Lambda(lambda t: 2e5 * t)(keras.layers.Dense(3, activation="tanh")(x))
        x = keras.layers.Lambda(lambda t: 5e-6 * t)(Strict()(keras.layers.Activation("linear", name="d")(x)))
        return keras.Model(inputs, keras.layers.Dense(1)(Rough()(x)))
"""


def test_mistakes_that_coincide_are_both_said_though_one_is_traced(
    load: Callable[..., LoadedConfig], monkeypatch: pytest.MonkeyPatch, benches: list[Any]
) -> None:
    """A gradient that is reversed by hand and not at all; and what raises where it is traced runs eagerly."""
    loaded = load(
        {"code.py": REVERSED},
        model={"factory": "./code.py:make"},
        split={"after": ["c", "d"]},
        tolerance={"rtol": 1e-3},
        data={"batch_size": 6},
    )
    report, told, told_eagerly = traced_and_not(loaded, monkeypatch)
    assert told == told_eagerly
    assert ("caught", True, ("GC609", "GC504")) in told.values()
    overflown = next(f for f in of(report, "GC104") if f.place == "boundary 1 → 2" and "float16" in f.effect)
    assert (overflown.status, overflown.margin) == ("caught", math.inf)
    replays = benches[1].replayed.replays
    assert replays._traced is not None


DOUBLED = """
    import keras
    import tensorflow as tf

    class Doubled(keras.layers.Layer):
        def call(self, x):
            return x if tf.executing_eagerly() else 2 * x

    def make():
        layers = [keras.layers.Input((4,)), keras.layers.Dense(3), Doubled(), keras.layers.Dense(1)]
        return keras.Sequential(layers)
"""


def test_traced_segments_that_compute_something_else_are_not_used(
    load: Callable[..., LoadedConfig], monkeypatch: pytest.MonkeyPatch, benches: list[Any], only: Callable[..., None]
) -> None:
    """Even where the tolerance would let that pass."""
    only("GC504")
    monkeypatch.setattr("gradcheck.faults.traced.DEEP", 1)
    tolerance = {"rtol": 1e3, "atol": 1e3}
    mutated(load({"code.py": DOUBLED}, model={"factory": "./code.py:make"}, tolerance=tolerance))
    (bench,) = benches
    assert bench.replayed.replays._functions
    assert bench.replayed.replays._traced is None


def test_a_model_without_weights_is_mutated(load: Callable[..., LoadedConfig]) -> None:
    layers = [{"Activation": {"activation": "tanh", "name": "a"}}, {"Activation": {"activation": "tanh", "name": "b"}}]
    report = mutated(load(model={"input": {"shape": [3]}, "layers": layers}, split={"every": "layer"}))
    assert (report.verdict, report.errors) == ("pass", ())
    assert report.score.named == report.score.caught == report.score.injected > 0


def test_without_time_nothing_is_tried(load: Callable[..., LoadedConfig]) -> None:
    report = mutated(load(), seconds=0.0)
    assert (report.verdict, report.exit_code, report.score.injected) == ("vacuous", 4, 0)
    left = [fault for fault in report.faults if fault.place]
    assert {(fault.status, fault.reason) for fault in left} == {("not-applicable", "not tried: out of time")}
    assert all(fault.left_out for fault in left)


def test_without_time_nothing_is_named(load: Callable[..., LoadedConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcheck.session.mutation.INJECTING", 1e9)
    report = mutated(load(), seconds=1e-6)
    assert report.score.caught == report.score.injected > 0
    assert {fault.reason for fault in report.faults if fault.status == "caught"} == {"not named: out of time"}


def test_what_overflows_is_named_too(load: Callable[..., LoadedConfig], only: Callable[..., None]) -> None:
    """Cotangents above 65504 are infinite in float16, and so are the gradients that they make."""
    only("GC104")
    targets = {"uniform": {"minval": 1e6, "maxval": 1e7}}
    report = mutated(load(data={"batch_size": 3, "targets": targets}))
    assert report.score.named == report.score.caught == report.score.injected > 0
    assert any(math.isinf(fault.margin) for fault in of(report, "GC104") if "float16" in fault.effect)


@pytest.mark.parametrize("execution", ["graph", "xla"])
def test_compiled_configs_are_looked_at_eagerly(
    load: Callable[..., LoadedConfig], only: Callable[..., None], execution: str
) -> None:
    """XLA draws other dropout masks, so that no eager replay would match."""
    only("GC101")
    report = mutated(load(model=DROPOUT, execution=execution))
    assert report.notes == (f"execution: {execution}; here reference and faults run eagerly",)
    assert report.verdict == "pass"


def test_what_is_not_compared_again_is_what_a_fault_left_alone(load: Callable[..., LoadedConfig]) -> None:
    from gradcheck.comparing.tensorwise import compare_all
    from gradcheck.diagnose.replaying.replays import suspected_in
    from gradcheck.numerics import TolerancePolicy
    from gradcheck.problem.prepare import prepare, session
    from gradcheck.session.mutation.bench import Bench

    loaded = load(data={"batch_size": 4}, microbatches=2)
    with session(loaded.config):
        bench = Bench(prepare(loaded.config, loaded.base), loaded.config)
        injections = suspected_in(bench.problem, own_slices=False)
        assert len(injections) > 10
        for injection in injections:
            gradients = bench.replayed.gradients(injection)
            whole = compare_all(bench.problem, bench.reference, gradients, TolerancePolicy(), noise=True, brief=True)
            assert repr(bench.compared(gradients)) == repr(whole), injection


def row(**changes: Any) -> TensorReport:
    """A mismatch of 0.5 at an element of 2."""
    fields: dict[str, Any] = {
        "kind": "weight", "segment": 0, "layer": "a", "name": "kernel", "path": "a/kernel", "shape": (1,),
        "dtype": "float32", "status": "mismatch", "allclose": False, "max_abs_error": 0.5, "max_rel_error": 0.25,
        "max_ulp_error": 9.0, "cosine": 1.0, "norm_ratio": 1.0, "noise_floor": None, "elements": 1,
        "mismatched_elements": 1, "worst": Worst(index=(0,), reference=-2.0, candidate=-2.5), "rtol": 0.01,
        "atol": 0.03, "required": Required(rtol=0.25, atol=0.5),
    }  # fmt: skip
    return TensorReport(**fields | changes)


@pytest.mark.parametrize(
    ("changes", "margin"),
    [
        ({}, 10.0),  # 0.5 / (0.03 + 0.01 · 2)
        ({"noise_floor": 0.0}, 10.0),
        ({"noise_floor": 0.025}, 5.0),  # four floors are more than the tolerance
        ({"atol": 3.0}, 1.0),  # another element fails
        ({"rtol": 0.0, "atol": 0.0}, math.inf),
        ({"status": "missing", "worst": None, "max_abs_error": math.nan}, math.inf),
        ({"status": "nonfinite", "max_abs_error": math.inf}, math.inf),
        ({"worst": None, "max_abs_error": math.nan}, math.inf),  # another shape
    ],
)
def test_the_margin(changes: dict[str, Any], margin: float) -> None:
    from gradcheck.session.mutation import margin as of_row

    assert of_row(row(**changes)) == pytest.approx(margin)
