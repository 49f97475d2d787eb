"""The time limits of a diagnosis that replays faults. A module of its own, so that changing them imports nothing."""

from __future__ import annotations

#: The least number of seconds, for a candidate that is fast.
SECONDS = 10.0
#: The limit as a multiple of the time of reference and candidate.
FACTOR = 8
#: The factor for a training run: each replay is another training run.
TRAINING = 6
