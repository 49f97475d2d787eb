"""The Python on the pages runs, and the training step that they show is right in every line."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck import check
from tests.docs.pages import PAGES, files, write_files

if TYPE_CHECKING:
    from pathlib import Path

LIVE = {page: [name for name in files("python", text) if name.startswith("live_")] for page, text in PAGES.items()}


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, names in LIVE.items() for name in names])
def test_the_scripts_on_live_objects_run(page: str, name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(files("python", PAGES[page])[name], encoding="utf-8")
    runpy.run_path(str(tmp_path / name), run_name="__main__")


def test_there_is_a_script_for_each_call_on_live_objects() -> None:
    shown = ["live_model.py", "live_parts.py", "live_function.py", "live_step.py", "live_training.py"]
    assert LIVE["docs/python.md"] == shown


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("output_gradients=[cotangent, ", "output_gradients=[tf.ones_like(boundary), "),
        ("penalties = front.losses", "penalties = []"),
        ("loss = check.loss(check.y, outputs) + sum(back.losses)", "loss = check.loss(check.y, outputs)"),
        ("back(boundary, training=check.training)", "back(boundary, training=False)"),
    ],
)
def test_the_candidate_is_right_in_every_step(tmp_path: Path, right: str, wrong: str) -> None:
    write_files(PAGES["docs/candidate.md"], tmp_path)
    script = tmp_path / "train.py"
    code = script.read_text(encoding="utf-8")
    assert code.count(right) == 1
    script.write_text(code.replace(right, wrong), encoding="utf-8")
    (run,) = check(tmp_path / "candidate.yaml").runs
    assert (run.verdict, run.exit_code) == ("fail", 1)


def test_the_python_example_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(PAGES["docs/candidate.md"], tmp_path)
    monkeypatch.chdir(tmp_path)
    code = files("python", PAGES["docs/python.md"])["test_gradients.py"]
    names: dict[str, Any] = {}
    exec(compile(code, "test_gradients.py", "exec"), names)  # noqa: S102 - our own text
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert len(tests) == 2
    for test in tests:
        test()
