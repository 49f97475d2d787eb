"""What an engine's process is given to do beside questions."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def modules(_: Callable[[str], None]) -> tuple[int, str, list[str]]:
    """Its number, the backend, and what is loaded of the packages that matter."""
    import keras

    top = {name.partition(".")[0] for name in sys.modules}
    return os.getpid(), keras.backend.backend(), sorted(top & {"tensorflow", "jax", "torch"})


def ends(_: Callable[[str], None]) -> None:
    os._exit(3)


def sleeps(_: Callable[[str], None]) -> None:
    time.sleep(60)
