"""The dtypes in a model that Keras has serialized, replaced by those of another precision."""

from __future__ import annotations

from typing import Any

from gradcheck.building.precision import FLOATING

#: Names of policies and dtypes in a saved model; all of these are replaced for a float64 twin.
_POLICIES = FLOATING | {"mixed_float16", "mixed_bfloat16"}


def converted(config: Any, policy: str, floatx: str, *, own: str = "float32") -> Any:
    """Return `config` with saved dtypes replaced: under float64 all floating ones, else the model's `own` policy alone.

    Layers keep a dtype that was set on purpose (a float32 softmax in a mixed model) unless everything must be float64.
    """
    if isinstance(config, (list, tuple)):
        return type(config)(converted(item, policy, floatx, own=own) for item in config)
    if not isinstance(config, dict):
        return config
    new = {key: converted(value, policy, floatx, own=own) for key, value in config.items()}
    key, name = _dtype_entry(new, policy, floatx)
    inner = new.get("config")
    replaced = _POLICIES if policy == "float64" else {own}
    if isinstance(inner, dict) and isinstance(inner.get(key), str) and inner[key] in replaced:
        return {**new, "config": {**inner, key: name}}
    return new


def _dtype_entry(saved: dict[str, Any], policy: str, floatx: str) -> tuple[str, str]:
    """Return the key under which a saved object's config names its dtype, and the new value; no key if it must stay."""
    kind = saved.get("class_name")
    if kind == "DTypePolicy":
        return "name", policy
    if kind == "InputLayer" or policy == "float64":  # operations that cast as well
        return "dtype", floatx
    # Keras before 3.2 saved a layer's policy as its bare name.
    return ("dtype" if str(saved.get("module")).startswith("keras.layers") else ""), policy
