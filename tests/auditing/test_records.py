"""Scripts that start processes, as a user would audit them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gradcheck.cli.main import main

SCRIPTS = Path(__file__).parent / "scripts"


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
