"""`file`: a saved `.keras` model."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import keras

from gradcheck.building import user_code
from gradcheck.building.messages import described, raised
from gradcheck.building.saved_dtypes import converted
from gradcheck.building.sources.built import existing
from gradcheck.building.sources.contents import check_model
from gradcheck.config.keyed import KeyedRunError, at
from gradcheck.errors import GradcheckError

if TYPE_CHECKING:
    from pathlib import Path

    from gradcheck.config.sections.model import FileSource


#: The packages whose objects Keras finds by itself.
_INSTALLED = frozenset({"keras", "keras_hub", "keras_cv", "keras_nlp", "builtins"})


def build(source: FileSource, base: Path) -> keras.Model:
    """Load the saved model, in the precision of the config; as it was saved if that is float32.

    Unless `trust` is true, the file may hold nothing but Keras's own objects that run no code, and Keras's safe mode is
    on. With `trust` its own classes are imported from the modules that it names, which may lie beside the config.

    Raises:
        KeyedError: GC001 if there is no such file.
        KeyedRunError: GC051 if Keras cannot load it, or it would run code; GC009 if it expands to too much.
    """
    path = existing(source.file, base, "file")
    with at("file"):
        try:
            if not source.trust:
                check_model(path)
            config = _config(path)
            with keras.saving.custom_object_scope(_classes(config, base) if source.trust else {}):
                if config is None or keras.config.dtype_policy().name == "float32":
                    return keras.models.load_model(path, compile=False, safe_mode=not source.trust)
                return _in_this_precision(path, config, safe_mode=not source.trust)
        except GradcheckError:
            raise
        except Exception as error:
            help_ = None
            if "safe_mode" in str(error) or "unsafe" in str(error):
                help_ = "the file contains code; with `trust: true` it is run as yours"
            elif "Could not locate" in str(error):
                help_ = "with `trust: true` its classes are imported from the modules that it names, beside the config"
            message = f"{source.file} cannot be loaded: {described(error)}"
            raise raised(message, error, "GC051", help_=help_, kind=KeyedRunError) from error


def _config(path: Path) -> Any:
    """Return the configuration of the model in a .keras file; None for another file under float32.

    Raises:
        ValueError: for another file in another precision.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    if keras.config.dtype_policy().name != "float32":
        raise ValueError("only a .keras file can be rebuilt in another precision")
    return None


def _classes(config: Any, base: Path) -> dict[str, Any]:
    """Return the user's own classes and functions in a saved configuration, by the names that Keras looks up.

    They are imported from the modules in which they were defined, which may lie in `base`.
    """
    if isinstance(config, list):
        return {name: found for item in config for name, found in _classes(item, base).items()}
    if not isinstance(config, dict):
        return {}
    classes = _classes(list(config.values()), base)
    module, name = config.get("module"), config.get("class_name")
    if isinstance(module, str) and isinstance(name, str) and module.partition(".")[0] not in _INSTALLED:
        classes[config.get("registered_name") or name] = user_code.load(f"{module}:{name}", base, code="GC051")
    return classes


def _in_this_precision(path: Path, config: Any, *, safe_mode: bool) -> keras.Model:
    """Rebuild the model of `path`, which has this configuration, under the current dtype policy, with its weights."""
    policy, floatx = keras.config.dtype_policy().name, keras.config.floatx()
    model = keras.saving.deserialize_keras_object(converted(config, policy, floatx), safe_mode=safe_mode)
    model.load_weights(path)
    return model
