"""Models out of each source that a config can name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.config.model import SegmentsSource
from gradcheck.models.keyed import at
from gradcheck.models.sources import segments
from gradcheck.models.sources.built import BuiltModel
from gradcheck.models.sources.matching import match_variables
from gradcheck.models.sources.single import BUILDERS, build_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.config.model import ModelSource

__all__ = ["REGISTRY", "BuiltModel", "build_model", "match_variables"]

#: What builds each `model:` source.
REGISTRY: dict[type, Callable[[Any, Path], BuiltModel]] = {
    **dict.fromkeys(BUILDERS, build_whole),
    SegmentsSource: segments.build,
}


def build_model(source: ModelSource, base: Path) -> BuiltModel:
    """The model that `source` describes.

    Call it inside `precision_scope`, after clearing the session and seeding: names and weights depend on both.

    Args:
        source: the `model:` section.
        base: the folder of the config, which paths are relative to.

    Raises:
        ConfigError: what the config says is wrong; a `KeyedError` says at which key.
        RunError: GC051 if the model could not be built.
    """
    with at("model"):
        return REGISTRY[type(source)](source, base)
