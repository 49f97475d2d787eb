"""Records as files."""

from __future__ import annotations

import json
import math
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from gradcheck.auditing.records.files import read, read_with_children, write
from gradcheck.auditing.records.record import Record
from gradcheck.cli.main import main
from gradcheck.errors import UsageError
from tests.auditing.records.planted import C, H, came, left, normal, two

if TYPE_CHECKING:
    from collections.abc import Callable


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
        (lambda _: None, "a.npz cannot be read: no such file or directory"),
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
