from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gradcheck.building.target import model
from gradcheck.errors import GradcheckError

if TYPE_CHECKING:
    from pathlib import Path

KERNEL = {"filters": 2, "kernel_size": 2}
CODE = """
import tensorflow as tf

def product(x):
    return tf.linalg.matmul(x, [[1.0], [2.0]])
"""


@pytest.mark.parametrize(
    ("target", "shape", "help_"),
    [
        ("Conv1D", [5, 6, 2], "the batch axis is added for layers: did you mean `--input-shape 6,2`?"),
        ("Conv1D", [5, 6, 2, 2], None),  # that is too many, too
        ("Conv1D", [6], None),
        ("./code.py:product", [3, 5], None),  # a function has no batch axis
    ],
)
def test_a_batch_axis_that_was_given_too_is_told(
    tmp_path: Path, target: str, shape: list[int], help_: str | None
) -> None:
    (tmp_path / "code.py").write_text(CODE, encoding="utf-8")
    kwargs = KERNEL if target == "Conv1D" else {}
    with pytest.raises(GradcheckError) as caught:
        model(target, str(tmp_path), {"x": {"shape": shape, "dtype": None}}, kwargs)
    assert caught.value.help == help_
