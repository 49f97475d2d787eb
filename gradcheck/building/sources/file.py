"""`file`: a saved `.keras` model."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING

import keras

from gradcheck.building.messages import described, raised
from gradcheck.building.saved_dtypes import converted
from gradcheck.building.sources.built import existing
from gradcheck.building.sources.contents import check_model
from gradcheck.config.keyed import KeyedRunError, at
from gradcheck.errors import GradcheckError

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.config.sections.model import FileSource


def build(source: FileSource, base: Path) -> keras.Model:
    """Load the saved model, in the precision of the config; as it was saved if that is float32.

    Unless `trust` is true, the file may hold nothing but Keras's own objects that run no code, and Keras's safe mode is
    on.

    Raises:
        KeyedError: GC001 if there is no such file.
        KeyedRunError: GC051 if Keras cannot load it, or it would run code; GC009 if it expands to too much.
    """
    path = existing(source.file, base, "file")
    with at("file"):
        try:
            if not source.trust:
                check_model(path)
            if keras.config.dtype_policy().name == "float32":
                return keras.models.load_model(path, compile=False, safe_mode=not source.trust)
            return _in_this_precision(path, safe_mode=not source.trust)
        except GradcheckError:
            raise
        except Exception as error:
            help_ = None
            if "safe_mode" in str(error) or "unsafe" in str(error):
                help_ = "the file contains code; with `trust: true` it is run as yours"
            message = f"{source.file} cannot be loaded: {described(error)}"
            raise raised(message, error, "GC051", help_=help_, kind=KeyedRunError) from error


def _in_this_precision(path: Path, *, safe_mode: bool) -> keras.Model:
    """Rebuild the model of `path` under the current dtype policy, with its weights."""
    if not zipfile.is_zipfile(path):
        raise ValueError("only a .keras file can be rebuilt in another precision")
    with zipfile.ZipFile(path) as archive:
        config = json.loads(archive.read("config.json"))
    policy, floatx = keras.config.dtype_policy().name, keras.config.floatx()
    model = keras.saving.deserialize_keras_object(converted(config, policy, floatx), safe_mode=safe_mode)
    model.load_weights(path)
    return model
