"""The examples of CONTRIBUTING.md, added to the package as it says there."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import replace
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.session import patience

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.results.report import RunReport

CONFIG: dict[str, Any] = {
    "model": {"input": {"shape": [3]}, "layers": [{"Dense": {"units": 4, "activation": "tanh"}}, {"Dense": 2}]},
    "split": {"after": [0]},
}


@pytest.fixture
def example(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Loads the file that CONTRIBUTING.md shows under a path, as a module of the package."""

    def load(path: str) -> ModuleType:
        text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
        found = re.search(rf"`{re.escape(path)}`:\n\n```python\n(.*?)```", text, flags=re.DOTALL)
        assert found is not None, path
        name = path.removesuffix(".py").replace("/", ".")
        module = ModuleType(name)
        exec(compile(found[1], path, "exec"), vars(module))  # noqa: S102 - the example itself
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return load


def entry(root: Path, place: str, section: str = "", **names: Any) -> Any:
    """The entry that CONTRIBUTING.md adds to the table at `place`, as an expression; the first after `section`."""
    text = (root / "CONTRIBUTING.md").read_text(encoding="utf-8").partition(section or "# ")[2]
    found = re.search(rf"In `\w+` of `{re.escape(place)}`.*?:\n\n```python\n(.*?)```", text, flags=re.DOTALL)
    assert found is not None, place
    written = found[1].strip()
    return eval(f"{{{written}}}" if written.startswith('"') else written, names)  # noqa: S307 - as above


def test_a_method(
    root: Path, example: Callable[[str], ModuleType], run: Callable[..., RunReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradcheck import methods
    from gradcheck.config.sections.methods import METHODS, MethodInfo

    example("gradcheck/methods/by_segment/halved.py")
    ((name, info),) = entry(root, "gradcheck/config/sections/methods.py", MethodInfo=MethodInfo).items()
    monkeypatch.setitem(METHODS, name, info)
    monkeypatch.setitem(methods.METHODS, name, methods._loaded_when_called(info.place))
    report = run({**CONFIG, "methods": [{name: {"expect": "mismatch"}}]})
    (check,) = report.checks
    assert (report.verdict, check.outcome) == ("pass", "mismatch")
    assert {t.path for t in check.of_kind("weight") if t.failed} == {"dense/kernel", "dense/bias"}
    assert all(t.norm_ratio == pytest.approx(0.5) for t in check.of_kind("weight") if t.failed)


def test_a_way_of_training(
    root: Path, example: Callable[[str], ModuleType], run: Callable[..., RunReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gradcheck.config.sections import methods
    from gradcheck.training import ways

    example("gradcheck/training/ways/last_first.py")
    known = {"MethodOptions": methods.MethodOptions, "_way": methods._way}
    ((name, info),) = entry(root, "gradcheck/config/sections/methods.py", "## A way of training", **known).items()
    monkeypatch.setitem(methods.METHODS, name, info)
    monkeypatch.setitem(ways.WAYS, name, ways._loaded_when_called(info.place))
    config = {**CONFIG, "methods": [name], "train": {"steps": 3, "optimizer": "Adam"}}
    (check,) = run(config).checks
    assert (check.method, check.outcome, check.steps) == (name, "match", 3)
    monkeypatch.setitem(ways.WAYS, name, lambda training, _: stopped(training, ways._loaded_when_called(name)))
    assert run(config).checks[0].outcome == "mismatch"


def stopped(training: Any, way: Callable[..., Any]) -> Any:
    """The run of a way whose last step changes nothing."""
    found = way(training, None)
    return replace(found, steps=[*found.steps[:-1], found.steps[-2]])


def test_a_fault(
    root: Path, example: Callable[[str], ModuleType], run: Callable[..., RunReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = example("gradcheck/faults/boundary/first_cotangent.py")
    fault = entry(root, "gradcheck/faults/__init__.py", FirstCotangent=module.FirstCotangent)
    replays = importlib.import_module("gradcheck.diagnose.replaying.replays")
    monkeypatch.setattr(replays, "FAULTS", (fault, *replays.FAULTS))
    train = """
        import tensorflow as tf

        def first_of(cotangent):
            return tf.broadcast_to(cotangent[:1], tf.shape(cotangent))

        def gradients(check):
            front, back = check.segments
            with tf.GradientTape() as first:
                crossing = front(check.x, training=True)
            with tf.GradientTape() as second:
                second.watch(crossing)
                loss = check.loss(check.y, back(crossing, training=True))
            *of_back, cotangent = second.gradient(loss, [*back.trainable_variables, crossing])
            return loss, [*first.gradient(crossing, front.trainable_variables, first_of(cotangent)), *of_back]
    """
    monkeypatch.setattr(patience, "SECONDS", 60.0)  # enough to replay it on a loaded machine too
    report = run({**CONFIG, "methods": [{"candidate": {"factory": "./train.py:gradients"}}]}, {"train.py": train})
    (check,) = report.checks
    assert [(d.code, d.confidence) for d in check.diagnoses] == [("GC103", "exact")]
    assert "got the first example's cotangent" in check.diagnoses[0].evidence


def test_a_reporter(
    root: Path, example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from gradcheck import reporters

    example("gradcheck/reporters/verdicts.py")
    added = entry(root, "gradcheck/reporters/__init__.py", _reporter=reporters._reporter)
    monkeypatch.setattr(reporters, "REPORTERS", {**reporters.REPORTERS, **added})
    from gradcheck import check

    config = tmp_path / "small.yaml"
    config.write_text("model: {input: {shape: [3]}, layers: [{Dense: 2}, {Dense: 1}]}\nsplit: {after: [0]}\n")
    report = check(config)
    assert reporters.REPORTERS["verdicts"](report, reporters.RenderOptions()) == "small: pass"
