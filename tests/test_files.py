from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradcheck import files
from gradcheck.errors import UsageError
from gradcheck.files import write_file


def test_a_failure_half_way_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.txt"
    path.write_text("old")

    def full(_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_permissions", full)
    with pytest.raises(UsageError, match="no space left on device"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.txt"]


def test_permissions_are_those_of_the_file_or_of_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    write_file(path, "a")
    assert path.stat().st_mode & 0o777 == 0o666 & ~_mask()
    path.chmod(0o640)
    write_file(path, "b")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("b", 0o640)


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_file(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"


def test_a_file_that_is_there_is_kept_where_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "report.txt"
    path.write_text("old")
    with pytest.raises(UsageError, match="exists already"):
        write_file(path, "new", replace=False)
    assert path.read_text() == "old"


def test_a_device_is_written_to_not_replaced() -> None:
    write_file(Path(os.devnull), "x")
    assert not Path(os.devnull).is_file()
