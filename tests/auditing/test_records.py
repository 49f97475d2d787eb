"""Records of several processes: what they hold, in files, and joined; cotangents of each kind are planted."""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.auditing.interface import AuditOptions
from gradcheck.auditing.records.files import read, read_with_children, write
from gradcheck.auditing.records.record import Came, Left, Record, activation_of, digest, round_to
from gradcheck.cli.main import main
from gradcheck.errors import UsageError
from gradcheck.results.report import CheckReport, RunReport, TensorReport

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Array = np.ndarray[Any, Any]
SCRIPTS = Path(__file__).parent / "scripts"


def normal(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).normal(size=shape or (6, 5)).astype(np.float32)


def known(value: Array, update: int, dtype: str = "float32") -> dict[str, Any]:
    found = activation_of(value, dtype, update)
    assert found is not None
    return found


def left(h: Array, seed: Array | None, *, update: int = 1, line: str = "lower.py:9", **more: Any) -> Left:
    return Left(**known(h, update), seed=seed, line=line, update_line="lower.py:10", **{"paths": ("w",), **more})


def came(h: Array, c: Array | None, *, update: int = 1, **more: Any) -> Came:
    return Came(**known(h, update), **{"reference": c, "computed": c, "line": "upper.py:5", **more})


def own_run(name: str, status: str = "exact") -> RunReport:
    weight = TensorReport(
        kind="weight", segment=None, layer="", name="w", path="w", shape=(3,), dtype="float32", status=status,  # type: ignore[arg-type]
        allclose=True, max_abs_error=0.0, elements=3, mismatched_elements=0, rtol=1e-5, atol=1e-8, lines=("lower.py:9",),
    )  # fmt: skip
    check = CheckReport(
        method="audit", expect="match", outcome="match", as_expected=True, loss=math.nan, loss_abs_error=math.nan,
        max_abs_error=0.0, max_rel_error=0.0, seconds=2.0, tensors=(weight,), rests_on="the script",
    )  # fmt: skip
    return RunReport(
        name=name, config=f"{name}.py", seed=0, precision="float32", execution="eager", verdict="pass", checks=(check,)
    )


def two(lefts: Sequence[Left], cames: Sequence[Came], **more: Any) -> list[Record]:
    return [
        Record(name="lower", run=own_run("lower"), left=tuple(lefts), **more),
        Record(name="upper", run=own_run("upper"), came=tuple(cames)),
    ]


def joined(records: Sequence[Record], **options: Any) -> RunReport:
    from gradcheck.auditing.records.joining import join

    return join(records, AuditOptions(**options))


def codes(run: RunReport) -> list[str]:
    return [diagnosis.code for diagnosis in run.checks[0].diagnoses]


def boundary(run: RunReport) -> TensorReport:
    (tensor,) = run.checks[0].of_kind("boundary")
    return tensor


H, C = normal(1), normal(2)


def test_the_right_seed_is_proven() -> None:
    run = joined(two([left(H, C)], [came(H, C)]))
    assert (run.verdict, run.exit_code) == ("pass", 0)
    tensor = boundary(run)
    assert (tensor.status, tensor.path) == ("exact", "lower → upper (lower.py:9)")
    assert tensor.lines == ("lower.py:9 in lower", "upper.py:5 in upper")
    weights = run.checks[0].of_kind("weight")
    assert [weight.path for weight in weights] == ["lower: w", "upper: w"]
    assert weights[0].lines == ("lower.py:9 in lower",)
    assert "2 processes joined: 1 activation of one came into another" in run.notes


PLANTED: dict[str, tuple[Callable[[Array], Array | None], str]] = {
    "none": (lambda c: None, "GC101"),
    "ones": (np.ones_like, "GC101"),
    "mean of the batch": (lambda c: np.broadcast_to(c.mean(axis=0, keepdims=True), c.shape), "GC103"),
    "sum of the batch": (lambda c: np.broadcast_to(c.sum(axis=0, keepdims=True), c.shape), "GC103"),
    "float16": (lambda c: round_to(c, "float16").astype(np.float32), "GC104"),
    "bfloat16": (lambda c: round_to(c, "bfloat16").astype(np.float32), "GC104"),
    "zero": (np.zeros_like, "GC105"),
    "loss scale": (lambda c: c * 1024, "GC503"),
    "sign": (lambda c: -c, "GC504"),
    "three times": (lambda c: c * 3, "GC900"),
    "one wrong element": (lambda c: np.where(np.arange(c.size).reshape(c.shape) == 7, c + 5, c), "GC900"),
}


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_a_wrong_seed_is_named(planted: str) -> None:
    wrong, code = PLANTED[planted]
    run = joined(two([left(H, wrong(C))], [came(H, C)]))
    assert (run.verdict, run.exit_code, codes(run)) == ("fail", 1, [code])
    (diagnosis,) = run.checks[0].diagnoses
    assert (diagnosis.line, diagnosis.place) == ("lower.py:9", "boundary lower → upper")
    assert boundary(run).status == "mismatch"
    assert "judged by the seeds that it was given" in (run.checks[0].of_kind("weight")[0].note or "")
    assert run.checks[0].of_kind("weight")[1].note is None


def test_without_a_seed_the_report_says_where_the_cotangent_was_computed() -> None:
    (diagnosis,) = joined(two([left(H, None)], [came(H, C)])).checks[0].diagnoses
    assert "no output_gradients" in diagnosis.evidence
    assert diagnosis.evidence.endswith("computed at upper.py:5 in upper")
    (diagnosis,) = joined(two([left(H, None)], [came(H, C, computed=None)])).checks[0].diagnoses
    assert diagnosis.evidence.endswith("due from upper")


def test_swapped_cotangents() -> None:
    other, d = normal(3), normal(4)
    run = joined(two([left(H, d), left(other, C)], [came(H, C), came(other, d)]))
    assert codes(run) == ["GC106"]
    assert [tensor.path[-2:] for tensor in run.checks[0].of_kind("boundary")] == ["9)", "#2"]


def test_the_cotangent_of_the_step_before() -> None:
    other, d = normal(3), normal(4)
    run = joined(two([left(H, C), left(other, C, update=2)], [came(H, C), came(other, d, update=2)]))
    assert codes(run) == ["GC305"]
    assert boundary(run).step == 2


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, "lower.py:9"),
        ({"sent": -C, "sent_line": "upper.py:8"}, "upper.py:8"),
        ({"computed": -C, "sent": -C, "sent_line": "upper.py:8"}, "upper.py:5"),
        ({"sent": C, "sent_line": "upper.py:8"}, "lower.py:9"),
    ],
    ids=["used", "sent", "computed", "sent right"],
)
def test_the_line_is_the_first_at_which_it_was_wrong(more: dict[str, Any], line: str) -> None:
    (diagnosis,) = joined(two([left(H, -C)], [came(H, C, **more)])).checks[0].diagnoses
    assert (diagnosis.code, diagnosis.line) == ("GC504", line)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_rounded_activation(dtype: str) -> None:
    rounded = round_to(H, dtype)
    entry = left(H, C, read_line="lower.py:7")
    run = joined(two([entry], [came(rounded, C)]))
    assert (run.exit_code, codes(run), run.checks[0].diagnoses[0].line) == (1, ["GC104"], "lower.py:7")
    assert joined(two([entry], [came(rounded, C)]), allow=("GC104",)).exit_code == 0
    assert joined(two([replace(entry, precision=dtype)], [came(rounded, C)])).exit_code == 0


def test_an_activation_that_goes_to_several() -> None:
    d = normal(4)

    def run(seed: Array) -> RunReport:
        records = two([left(H, seed)], [came(H, C)])
        return joined([*records, Record(name="side", run=own_run("side"), came=(came(H, d),))])

    assert run(C + d).exit_code == 0
    assert boundary(run(C + d)).path == "lower → upper, side (lower.py:9)"
    assert codes(run(C)) == codes(run(d)) == ["GC105"]


def test_equal_activations_of_several_updates_are_told_apart() -> None:
    d = normal(4)
    lefts, cames = [left(H, C), left(H, d, update=2)], [came(H, C, update=4), came(H, d, update=5)]
    assert joined(two(lefts, cames)).exit_code == 0
    assert joined(two([lefts[0], left(H, C, update=2)], cames)).exit_code == 1


def test_a_gradient_asked_twice_is_compared_twice() -> None:
    run = joined(two([left(H, C, line="lower.py:8", paths=()), left(H, None)], [came(H, C)]))
    assert [tensor.status for tensor in run.checks[0].of_kind("boundary")] == ["exact", "mismatch"]
    assert codes(run) == ["GC101"]


def test_a_loss_scale_is_undone_on_the_way_or_behind_it() -> None:
    cames = [came(H, C * 512, scale=512.0)]
    run = joined(two([left(H, C, factor=1.0)], cames))
    assert (run.exit_code, boundary(run).note) == (0, "the loss scale 512 undone on the way")
    assert joined(two([left(H, C * 512, factor=1 / 512)], cames)).exit_code == 0
    assert joined(two([left(H, C * 512)], cames)).exit_code == 0
    run = joined(two([left(H, C * 512, factor=1.0)], cames))
    assert (codes(run), run.checks[0].diagnoses[0].line) == (["GC503"], "lower.py:10")


def test_an_activation_that_no_gradient_call_names() -> None:
    unnamed = left(H, None, asked=False)
    run = joined(two([unnamed], [came(H, C)]))
    assert (codes(run), boundary(run).status) == (["GC105"], "missing")
    assert "never handed back" in run.checks[0].diagnoses[0].evidence
    for form in (C, round_to(C, "float16")):  # it came in, and may have been used in a way that nobody sees
        run = joined(two([unnamed], [came(H, C)], entered=(digest(form),)))
        assert run.exit_code == 0
        assert "lower → upper: nothing could be compared for the activation of lower.py:9" in run.notes
    assert boundary(joined(two([left(H, C, asked=False)], [came(H, C)]))).status == "exact"
    assert codes(joined(two([left(H, np.ones_like(C), asked=False)], [came(H, C)]))) == ["GC101"]
    assert len(joined(two([unnamed, left(H, C)], [came(H, C)])).checks[0].of_kind("boundary")) == 1


def test_a_receiver_that_does_not_need_it() -> None:
    run = joined(two([left(H, C)], [came(H, None)]))
    assert run.exit_code == 0
    assert any("nothing could be compared" in note for note in run.notes)


def test_the_boundary_nearest_to_the_loss_comes_first() -> None:
    other, d = normal(3), normal(4)
    middle = Record(name="middle", came=(came(H, C),), left=(left(other, None, line="middle.py:3"),))
    lower = Record(name="lower", run=own_run("lower"), left=(left(H, None),))
    run = joined([lower, middle, Record(name="upper", came=(came(other, d),))])
    assert [diagnosis.line for diagnosis in run.checks[0].diagnoses] == ["middle.py:3", "lower.py:9"]
    assert run.checks[0].first_divergence == "middle → upper (middle.py:3)"


def test_there_and_back_again() -> None:
    other, d = normal(3), normal(4)
    client = Record(name="client", run=own_run("client"), left=(left(H, C),), came=(came(other, d),))
    server = Record(name="server", run=own_run("server"), left=(left(other, d),), came=(came(H, C),))
    run = joined([client, server])
    assert run.exit_code == 0
    assert len(run.checks[0].of_kind("boundary")) == 2


def test_what_matches_nobody_is_told() -> None:
    records = two([left(H, C)], [came(normal(9), C)])
    run = joined(records)
    assert run.exit_code == 0  # by what each has proven itself
    assert "lower: no activation that left it, or came in, is equal to one of another process" in run.notes
    assert joined([replace(record, run=None) for record in records]).exit_code == 4


def test_the_tolerance_is_that_of_the_options() -> None:
    records = two([left(H, C * np.float32(1.001))], [came(H, C)])
    assert joined(records).exit_code == 1
    assert joined(records, rtol=1e-2).exit_code == 0


def test_the_note_on_given_seeds_goes_where_they_were_compared() -> None:
    from gradcheck.auditing.report import seeds_given

    run = replace(own_run("lower"), notes=(seeds_given("lower.py:9"), seeds_given("lower.py:30")))
    records = two([left(H, C)], [came(H, C)])
    notes = joined([replace(records[0], run=run), records[1]]).notes
    assert [note for note in notes if "taken as given" in note] == [f"lower: {seeds_given('lower.py:30')}"]


@pytest.mark.parametrize("value", [np.ones((3, 4)), np.zeros(9), np.array([1.5]), np.array([np.nan, 1.0])], ids=str)
def test_equal_values_that_prove_nothing(value: Array) -> None:
    assert activation_of(value, "float32", 1) is None


# Files


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    record = two([left(H, C), left(normal(3), None)], [], children=("b.npz",), entered=("ab",))[0]
    write(tmp_path / "a.npz", record)
    again = read(tmp_path / "a.npz")
    assert (again.name, again.children, again.entered) == ("lower", ("b.npz",), ("ab",))
    assert repr(again.run) == repr(record.run)
    assert [entry.digest for entry in again.left] == [entry.digest for entry in record.left]
    assert again.left[0].seed is not None
    assert (again.left[0].seed == C).all()
    assert again.left[1].seed is None
    assert math.isnan(again.left[0].factor)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert [one.name for one in read_with_children(tmp_path / "a.npz")] == ["lower"]  # the other was never written


def versioned(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("index.json", json.dumps({"gradcheck_record": 99}))


def cut(path: Path) -> None:
    write(path, two([left(H, C)], [])[0])
    path.write_bytes(path.read_bytes()[:-100])


def without_arrays(path: Path) -> None:
    write(path, two([left(H, C)], [])[0])
    with zipfile.ZipFile(path) as file:
        index = file.read("index.json")
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("index.json", index)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "a.npz cannot be read: no such file or directory"),
        (lambda path: path.mkdir(), "a.npz cannot be read: is a directory"),
        (lambda path: path.write_text("no zip"), "a.npz is no record of an audit"),
        (lambda path: np.savez(path, x=np.ones(2)), "a.npz is no record of an audit"),
        (cut, "a.npz is no record of an audit"),
        (without_arrays, "a.npz is no record of an audit"),
        (versioned, "a.npz is a record of another version. Received: 99"),
    ],
    ids=["missing", "folder", "text", "other zip", "cut", "without arrays", "version"],
)
def test_a_file_that_is_no_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], make: Callable[[Path], Any], told: str
) -> None:
    make(tmp_path / "a.npz")
    with pytest.raises(UsageError, match=re.escape(told)):
        read(tmp_path / "a.npz")
    assert main(["audit", "--join", str(tmp_path / "a.npz")]) == 2
    assert told in capsys.readouterr().err


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write(tmp_path / "nowhere" / "a.npz", Record(name="a"))


def test_records_are_joined_on_the_command_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    paths = [str(tmp_path / name) for name in ("a.npz", "b.npz")]
    for path, record in zip(paths, two([left(H, None)], [came(H, C)]), strict=True):
        write(Path(path), replace(record, name="same"))
    assert main(["audit", "--format", "json", "--join", *paths]) == 1
    (run,) = json.loads(capfd.readouterr().out)["runs"]
    assert run["checks"][0]["diagnoses"][0]["place"] == "boundary a.npz → b.npz"
    assert main(["audit", "--allow", "GC101", "--join", *paths]) == 0


# Scripts that start processes


def audited(folder: Path, *arguments: str) -> tuple[int, dict[str, Any], str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "gradcheck", "audit", "--format", "json", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)["runs"][0], done.stderr


def test_a_right_pipeline(tmp_path: Path) -> None:
    code, run, told = audited(tmp_path, str(SCRIPTS / "right" / "pipeline_processes.py"))
    assert code == 0, told
    boundaries = [t for t in run["checks"][0]["tensors"] if t["kind"] == "boundary"]
    assert [tensor["status"] for tensor in boundaries] == ["exact", "exact"]
    assert run["coverage"]["compared"] == 8
    assert "step 2: loss" in told  # the parent, which trains nothing, runs to its end


WRONG = [path for path in sorted((SCRIPTS / "wrong").glob("*.py")) if "Process(" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("script", WRONG, ids=lambda path: path.stem)
def test_a_wrong_pipeline(tmp_path: Path, script: Path) -> None:
    lines = script.read_text(encoding="utf-8").splitlines()
    ((number, code),) = [(i, m[1]) for i, line in enumerate(lines, 1) if (m := re.search(r"# expect: (GC\d+)", line))]
    exit_code, run, told = audited(tmp_path, str(script))
    assert exit_code == 1, told
    first = run["checks"][0]["diagnoses"][0]
    assert (first["code"], first["line"]) == (code, f"{script.name}:{number}")


PARENT_FIRST = """
import multiprocessing, sys
import numpy as np
import tensorflow as tf, keras

context = multiprocessing.get_context(sys.argv[1])


def part(inputs, units, seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Dense(units, "tanh")]), keras.optimizers.SGD(0.1)


class Upper(context.Process):
    def __init__(self, pipe):
        super().__init__(name="upper")
        self.pipe = pipe

    def run(self):
        model, optimizer = part(5, 2, 1)
        while True:
            h = tf.constant(self.pipe.recv())
            with tf.GradientTape() as tape:
                tape.watch(h)
                loss = tf.reduce_mean(model(h) ** 2)
            dh, *gradients = tape.gradient(loss, [h, *model.trainable_variables])
            optimizer.apply_gradients(zip(gradients, model.trainable_variables))
            self.pipe.send(eval(sys.argv[2]).numpy())


if __name__ == "__main__":
    ours, theirs = context.Pipe()
    Upper(theirs).start()
    model, optimizer = part(4, 5, 2)
    rng = np.random.default_rng(0)
    while True:
        with tf.GradientTape() as tape:
            h = model(rng.normal(size=(6, 4)).astype("float32"))
        ours.send(h.numpy())
        gradients = tape.gradient(h, model.trainable_variables, output_gradients=ours.recv())
        optimizer.apply_gradients(zip(gradients, model.trainable_variables))
"""


def test_a_parent_that_is_ended_while_its_child_waits(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(PARENT_FIRST, encoding="utf-8")
    code, run, told = audited(tmp_path, "--record", "seen.npz", "train.py", "fork", "-dh")
    assert code == 1, told
    (diagnosis,) = run["checks"][0]["diagnoses"]
    line = 1 + PARENT_FIRST.splitlines().index("            self.pipe.send(eval(sys.argv[2]).numpy())")
    assert (diagnosis["code"], diagnosis["line"]) == ("GC504", f"train.py:{line}")
    assert "the processes that were started wrote their records to seen-1.npz" in run["notes"]
    assert main(["audit", "-q", "--join", str(tmp_path / "seen.npz"), str(tmp_path / "seen-1.npz")]) == 1


def test_a_stage_alone_says_that_its_seeds_were_given(tmp_path: Path) -> None:
    script = """
        import keras, numpy as np, tensorflow as tf
        layer = keras.layers.Dense(3)
        layer.build((None, 4))
        for i in range(3):
            with tf.GradientTape() as tape:
                h = layer(np.random.normal(size=(6, 4)))
            seeds = np.random.normal(size=(6, 3)).astype("float32")
            gradients = tape.gradient(h, layer.trainable_variables, output_gradients=seeds)
            keras.optimizers.SGD().apply_gradients(zip(gradients, layer.trainable_variables))
    """
    (tmp_path / "stage.py").write_text("\n".join(line[8:] for line in script.splitlines()), encoding="utf-8")
    code, run, told = audited(tmp_path, "stage.py")
    assert code == 0, told
    expected = (
        "the seeds at stage.py:9 come from outside: taken as given, until the records of all processes are joined"
    )
    assert expected in run["notes"]
