"""How long a diagnosis may replay mistakes. Apart from what replays them, so that nothing is imported to change it."""

from __future__ import annotations

#: Seconds, however short the candidate took.
SECONDS = 10.0
#: A multiple of the time that reference and candidate took.
FACTOR = 8
#: How many times longer for a training run, of which each replay is another.
TRAINING = 6
