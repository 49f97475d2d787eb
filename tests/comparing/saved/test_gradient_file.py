"""The file of a saved reference: every kind of tensor survives, one at a time, and half a file is none."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import pytest

from gradcheck.comparing.saved.gradient_file import GradientFile, write
from gradcheck.errors import UsageError
from gradcheck.numerics import SparseRows
from gradcheck.problem.problem import TensorKey

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TENSORS: dict[str, Any] = {
    "float32": np.array([[1.5, -0.0], [np.nan, np.inf]], np.float32),
    "float64": np.arange(6.0)[::2],
    "float16": np.array([1e-7, 65504.0], np.float16),
    "bfloat16": np.array([1.5, -3e38], ml_dtypes.bfloat16),
    "complex64": np.array([1 + 2j], np.complex64),
    "int32": np.array([-1], np.int32),
    "scalar": np.asarray(ml_dtypes.bfloat16(0.25)),
    "empty": np.zeros((0, 3), np.float32),
}


def key(name: str) -> TensorKey:
    return TensorKey("weight", name)


def written(path: Path, tensors: dict[str, Any]) -> GradientFile:
    write(path, {"about": "them"}, ((key(name), tensor) for name, tensor in tensors.items()))
    return GradientFile(path)


def test_every_dtype_survives_bit_for_bit(tmp_path: Path) -> None:
    with written(tmp_path / "saved.npz", TENSORS) as file:
        assert [found.path for found in file] == list(TENSORS)
        assert file.about["about"] == "them"
        for name, tensor in TENSORS.items():
            found = file[key(name)]
            assert isinstance(found, np.ndarray)
            assert (found.dtype, found.shape, found.tobytes()) == (tensor.dtype, tensor.shape, tensor.tobytes())


def test_sparse_rows_and_no_gradient_survive(tmp_path: Path) -> None:
    rows = SparseRows(np.array([3, 1, 3]), np.ones((3, 2), ml_dtypes.bfloat16), (5, 2))
    with written(tmp_path / "saved.npz", {"rows": rows, "none": None}) as file:
        found = file[key("rows")]
        assert isinstance(found, SparseRows)
        assert (found.indices.tolist(), found.values.tolist(), found.shape) == ([3, 1, 3], rows.values.tolist(), (5, 2))
        assert found.dtype == rows.dtype
        assert file[key("none")] is None
        assert key("other") not in file


def test_a_tensor_is_read_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    original = zipfile.ZipFile.open

    def noting(self: Any, name: Any, *args: Any, **more: Any) -> Any:
        read.append(name)
        return original(self, name, *args, **more)

    with written(tmp_path / "saved.npz", TENSORS) as file:
        monkeypatch.setattr(zipfile.ZipFile, "open", noting)
        assert len(file) == len(TENSORS)
        assert key("float16") in file
        assert read == []
        _ = file[key("float16")]
        assert set(read) == {"2values.npy"}


def test_what_fails_half_way_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "saved.npz"
    written(path, {"a": np.ones(2)})
    before = path.read_bytes()

    def failing() -> Iterator[tuple[TensorKey, Any]]:
        yield key("a"), np.zeros(2)
        raise MemoryError

    with pytest.raises(MemoryError):
        write(path, {}, failing())
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["saved.npz"]


@pytest.mark.parametrize("content", [b"", b"model: {}", b"PK\x03\x04 half a file"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.npz"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="is no saved reference"):
        GradientFile(path)


def test_arrays_of_somebody_else_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "batch.npz", x=np.ones(2))
    with pytest.raises(UsageError, match="is no saved reference"):
        GradientFile(tmp_path / "batch.npz")
    np.save(tmp_path / "one.npy", np.ones(2))
    with pytest.raises(UsageError, match="is no saved reference"):
        GradientFile(tmp_path / "one.npy")


def test_pickles_are_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", gradcheck=np.array([object()], dtype=object))
    with pytest.raises(UsageError, match="is no saved reference"):
        GradientFile(tmp_path / "evil.npz")


def test_a_file_that_is_missing_says_how_to_write_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file") as found:
        GradientFile(tmp_path / "none.npz")
    assert "--save-gradients" in str(found.value.help)


def test_another_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradcheck.comparing.saved.gradient_file.VERSION", 2)
    written(tmp_path / "new.npz", {})
    monkeypatch.undo()
    with pytest.raises(UsageError, match=r"another version\. Received: 2"):
        GradientFile(tmp_path / "new.npz")


def test_a_damaged_tensor_is_named(tmp_path: Path) -> None:
    path = tmp_path / "saved.npz"
    written(path, {"first": np.arange(64.0), "second": np.ones(2)})
    content = bytearray(path.read_bytes())
    content[content.index(np.arange(64.0).tobytes()) + 8] ^= 1
    path.write_bytes(content)
    with GradientFile(path) as file:
        assert file[key("second")] is not None
        with pytest.raises(UsageError, match="is damaged: weight first"):
            _ = file[key("first")]
