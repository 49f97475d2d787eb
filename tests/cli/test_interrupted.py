"""What Ctrl-C leaves: a report on what was finished, in `run` and in `mutate`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import gradcheck.workers
from gradcheck.cli.main import main
from gradcheck.results.mutation import FaultReport, MutationReport
from gradcheck.results.report import Environment
from gradcheck.workers.task import Stage
from tests.cli.interruptions import CONFIG, INTERRUPTIBLE, OLD
from tests.reporters.conftest import run

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from typing_extensions import Self

    from gradcheck.workers.task import Task

ROOT = Path(__file__).parents[2]


class Pool:
    """Stages and results in the order given, and then Ctrl-C. A stage is (index, text), a result (index, [it])."""

    def __init__(self, *events: tuple[int, Any]) -> None:
        self.events = events

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...

    def as_finished(self, tasks: Sequence[Task], tell: Callable[[int, str], None]) -> Generator[tuple[int, Any]]:
        for index, what in self.events:
            if isinstance(what, str):
                tell(index, what)
            else:
                assert index < len(tasks)
                yield index, what[0]
        raise KeyboardInterrupt


@pytest.fixture
def configs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in "abcd":
        Path(f"{name}.yaml").write_text(CONFIG, encoding="utf-8")


@pytest.fixture
def ran(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    configs: None,  # noqa: ARG001 - the files
) -> Callable[..., tuple[int, str, str]]:
    def go(pool: Pool, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(gradcheck.workers, "workers", lambda *_, **__: pool)
        code = main(arguments)
        return (code, *capfd.readouterr())

    return go


def passed(name: str) -> list[Any]:
    return [(run(name=name, config=f"{name}.yaml"), Environment())]


def test_what_is_finished_is_reported_whatever_its_place(ran: Callable[..., tuple[int, str, str]]) -> None:
    events = (0, passed("a")), (1, "building"), (2, passed("c")), (1, Stage("vjp", 1, 3)), (3, "building")
    code, out, err = ran(Pool(*events), "run", ".", "--jobs", "3", "--format", "json")
    assert code == 130
    runs = json.loads(out)["runs"]
    assert [(found["name"], found["verdict"], found["exit_code"]) for found in runs] == [
        ("a", "pass", 0), ("c", "pass", 0), ("b", "error", 130),
    ]  # fmt: skip
    message = "interrupted at the stage: vjp (1 of 3 done); 1 other config not finished: d.yaml"
    assert runs[-1]["error"]["message"] == message
    assert err.endswith("interrupted\n")
    assert err.splitlines()[-2].startswith("3 configs: 2 passed, 1 in error in ")


def test_a_baseline_makes_no_success_of_it(ran: Callable[..., tuple[int, str, str]]) -> None:
    options = ("run", ".", "--format", "json", "-o", "report.json")
    assert ran(Pool((0, passed("a"))), *options)[0] == 130
    assert ran(Pool((0, passed("a"))), *options, "--baseline", "report.json")[0] == 130


def test_a_config_that_never_began(ran: Callable[..., tuple[int, str, str]]) -> None:
    _, out, _ = ran(Pool((0, passed("a"))), "run", "a.yaml", "b.yaml")
    assert "  error[GC060]: interrupted before it began\n" in out


def test_nothing_is_reported_where_nothing_is_finished(ran: Callable[..., tuple[int, str, str]]) -> None:
    Path("report.json").write_text(OLD, encoding="utf-8")
    assert ran(Pool((0, "building")), "run", ".", "--format", "json", "-o", "report.json") == (130, "", "interrupted\n")
    assert Path("report.json").read_text(encoding="utf-8") == OLD


def test_a_broken_config_is_known_without_work(ran: Callable[..., tuple[int, str, str]]) -> None:
    Path("0.yaml").write_text("model: {}\n", encoding="utf-8")
    code, out, _ = ran(Pool(), "run", ".", "--format", "json")
    assert code == 130
    assert [found["exit_code"] for found in json.loads(out)["runs"]] == [2, 130]


def fault(place: str, **changes: Any) -> FaultReport:
    fields = {"code": "GC101", "title": "cotangent missing", "place": place, "status": "caught", "margin": 10.0}
    return FaultReport(**{**fields, **changes})  # type: ignore[arg-type]


def test_faults_that_were_caught_are_kept(ran: Callable[..., tuple[int, str, str]]) -> None:
    whole = MutationReport(name="a", config="a.yaml", verdict="pass", faults=(fault("x", named=True),))
    known = [fault("b 1"), fault("b 0", code="GC102", margin=3.0), fault("b 1", named=True), None]
    stages = [(1, Stage("at work", done, 4, found)) for done, found in enumerate(known)]
    events = (0, [whole]), *stages, (1, Stage("naming GC102", 3, 4))
    code, out, err = ran(Pool(*events), "mutate", ".", "--format", "json")
    assert code == 130
    report = json.loads(out)
    assert [(f["config"], f["code"], f["named"], f["reason"]) for f in report["faults"]] == [
        ("a.yaml", "GC101", True, ""),
        ("b.yaml", "GC101", True, ""),
        ("b.yaml", "GC102", False, "not named: interrupted"),
    ]
    assert report["score"] == {"injected": 3, "caught": 3, "named": 2}
    assert [(found["verdict"], found["exit_code"]) for found in report["runs"]] == [("pass", 0), ("error", 130)]
    assert err.endswith("2 configs: 3 faults injected, 3 caught, 2 named\ninterrupted\n")
    table = ran(Pool(*events), "mutate", ".")[1]
    assert "error[GC060]: interrupted at the stage: naming GC102 (3 of 4 done); 2 other configs not finished" in table
    assert "\n  so far, all 2 injected faults are caught, 1 of them named; 1 was not diagnosed.\n" in table
    assert "NOT NAMED" not in table


def test_an_error_is_printed_once_where_both_streams_go_to_one_place(
    monkeypatch: pytest.MonkeyPatch, ran: Callable[..., tuple[int, str, str]]
) -> None:
    Path("bad.yaml").write_text(CONFIG + "modell: 1\n", encoding="utf-8")
    code, out, err = ran(Pool(), "run", "bad.yaml")
    assert (code, out.count("error["), err.count("error[")) == (2, 1, 1)
    monkeypatch.setattr(sys, "stderr", sys.stdout)
    code, out, err = ran(Pool(), "run", "bad.yaml")
    assert (code, out.count("error["), err) == (2, 1, "")


@pytest.mark.on_request
def test_a_process_reports_the_configs_that_it_finished(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(CONFIG, encoding="utf-8")
    slow = "import pathlib, time\ndef slow(_):\n    pathlib.Path('begun').touch()\n    time.sleep(1000)\n"
    (tmp_path / "slow.py").write_text(slow, encoding="utf-8")
    methods = "methods: [{candidate: {factory: './slow.py:slow'}}]\n"
    (tmp_path / "b.yaml").write_text(CONFIG + methods, encoding="utf-8")
    command = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "run", ".", "--format", "json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "GRADCHECK_WORKERS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while not (tmp_path / "begun").exists() and time.monotonic() < until:
        time.sleep(0.1)
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=60)
    assert command.returncode == 130
    assert [found["verdict"] for found in json.loads(out)["runs"]] == ["pass", "error"]
    assert err.endswith("interrupted\n")
