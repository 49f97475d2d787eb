"""A run that is ended at some moment, and what is left of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
OLD = "the old report"
CONFIG = """
model:
  input: {shape: [4]}
  layers: [Dense: {units: 5, activation: tanh, name: first}, Dense: {units: 2, name: second}]
split: {after: [first]}
"""
#: The command, in which Ctrl-C counts: a shell has its background jobs, such as these tests may be, ignore it.
INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\nfrom gradcheck.__main__ import run; run()"
)
#: What marks a process as begun by one run.
MARK = "GRADCHECK_INTERRUPTED"


class Left(NamedTuple):
    """What an interrupted run left behind; `report` is `old`, `new` or what is wrong with it."""

    status: int
    report: str
    files: tuple[str, ...]
    processes: tuple[int, ...]
    told: str


def interrupted(folder: Path, number: signal.Signals, after: float) -> Left:
    """Runs a config in `folder`, sends the signal after so many seconds, and looks around when the command is gone."""
    (folder / "a.yaml").write_text(CONFIG, encoding="utf-8")
    report = folder / "report.json"
    report.write_text(OLD, encoding="utf-8")
    mark = uuid.uuid4().hex
    environment = {**os.environ, MARK: mark, "PYTHONPATH": str(ROOT)}
    environment.pop("GRADCHECK_WORKERS", None)
    command = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "run", "a.yaml", "--format", "json", "-o", "report.json"],
        cwd=folder,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(after)
    command.send_signal(number)
    _, told = command.communicate(timeout=300)
    until = time.monotonic() + 5
    while (left := processes(mark)) and time.monotonic() < until:
        time.sleep(0.05)
    files = tuple(sorted(path.name for path in folder.iterdir()))
    return Left(command.returncode, _kind(report), files, left, told)


def _kind(report: Path) -> str:
    text = report.read_text(encoding="utf-8")
    if text == OLD:
        return "old"
    try:
        return "new" if json.loads(text)["summary"]["runs"] == 1 else text
    except ValueError:
        return f"half-written: {text[:100]!r}"


def processes(mark: str) -> tuple[int, ...]:
    """The processes whose environment has the mark."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # gone, or another user's
            continue
    return tuple(found)


def wrong(left: Left, number: signal.Signals) -> str | None:
    """What should not be so; None where all is well."""
    ended = {signal.SIGKILL: -signal.SIGKILL}.get(number, 130)
    early = left.report == "old" and "gradcheck" not in left.told  # Python itself was starting
    if left.status not in (ended, 0) and not early:
        return f"exit code {left.status}"
    if left.report not in ("old", "new") or (left.status == 0 and left.report != "new"):
        return f"the report: {left.report}"
    if left.files != ("a.yaml", "report.json"):
        return f"files: {left.files}"
    if left.processes:
        return f"processes: {left.processes}"
    if "Traceback" in left.told and not early:
        return f"told: {left.told}"
    return None
