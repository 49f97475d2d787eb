"""Models from each source that a config can name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gradcheck.building.sources import segments
from gradcheck.building.sources.built import BuiltModel
from gradcheck.building.sources.matching import match_variables
from gradcheck.building.sources.single import BUILDERS, NOTHING, KnownBatch, build_whole
from gradcheck.config.keyed import at
from gradcheck.config.sections.model import SegmentsSource

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gradcheck.config.sections.model import ModelSource

__all__ = ["REGISTRY", "BuiltModel", "KnownBatch", "build_model", "match_variables"]

#: The builder of each `model:` source.
REGISTRY: dict[type, Callable[[Any, Path, KnownBatch], BuiltModel]] = {
    **dict.fromkeys(BUILDERS, build_whole),
    SegmentsSource: segments.build,
}


def build_model(source: ModelSource, base: Path, given: KnownBatch = NOTHING) -> BuiltModel:
    """Build the model that `source` describes.

    Call it inside `precision_scope`, after clearing the session and seeding: names and weights depend on both.

    Args:
        source: the `model:` section.
        base: the folder of the config, which paths are relative to.
        given: what is known of the batch: a model without symbolic inputs is called on tensors like its inputs.

    Raises:
        ConfigError: if the config is wrong; a `KeyedError` has the key.
        RunError: GC051 if the model could not be built.
    """
    with at("model"):
        return REGISTRY[type(source)](source, base, given)
