from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest

from tests.cli.interruptions import interrupted, wrong

if TYPE_CHECKING:
    from pathlib import Path

#: Seconds after which TensorFlow is being loaded, on whatever machine.
MIDWAY = 2.0
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes where Linux lists them")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("after", [0.4, MIDWAY, 5.0])
def test_nothing_half_done_is_left(tmp_path: Path, number: signal.Signals, after: float) -> None:
    left = interrupted(tmp_path, number, after)
    assert wrong(left, number) is None, left
    if after == MIDWAY:
        assert left.status == (-signal.SIGKILL if number == signal.SIGKILL else 130)
    if left.status == 130:
        assert left.told.endswith("interrupted\n")
