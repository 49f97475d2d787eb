"""Time limits: of a diagnosis that replays faults, and of verifying the reference unasked.

A module of its own, so that changing them imports nothing.
"""

from __future__ import annotations

#: The least number of seconds, for a candidate that is fast.
SECONDS = 10.0
#: The limit as a multiple of the time of reference and candidate.
FACTOR = 8
#: The factor for a training run: each replay is another training run.
TRAINING = 6
#: With `verify_reference: auto` a reference whose gradients take fewer seconds is always verified: that costs little.
QUICK = 0.5
