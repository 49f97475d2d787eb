"""Checks of live objects, from a notebook or a test: no YAML, and nothing that is handed over is changed."""

from __future__ import annotations

from gradcheck.live.functions import check_function
from gradcheck.live.models import check_model, check_parts
from gradcheck.live.step import check_step
from gradcheck.live.training import check_training

__all__ = ["check_function", "check_model", "check_parts", "check_step", "check_training"]
