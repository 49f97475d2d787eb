"""Contradictions between sections that are valid by themselves. They are searched even if another section is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from gradcheck.config.findings import Finding
from gradcheck.config.sections.loss import LossSpec
from gradcheck.config.sections.methods import (
    ALL,
    DEFAULT,
    METHODS,
    STEPS_OF_ALL,
    CandidateOptions,
    MethodConfig,
)
from gradcheck.config.sections.model import SegmentsSource
from gradcheck.phrases import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def contradictions(data: dict[Any, Any], *, require_split: bool) -> Iterator[Finding]:
    """Yield a finding for a split given twice, or missing where one is required, and for methods that contradict a key.

    Args:
        data: the config as plain types; valid sections may also be models.
        require_split: whether a method that needs a split, in a config without one, is a mistake.
    """
    model, has_split = data.get("model"), data.get("split") is not None
    in_parts = isinstance(model, SegmentsSource) or (isinstance(model, dict) and model.get("segments") is not None)
    if has_split and in_parts:
        message = "`model.segments` already says where the model is cut"
        yield Finding(message=message, path=("split",), at="key", code="GC007", help="remove `split`")
    methods = _methods(data)
    # A misspelt `split` is an unknown key already: a missing split would be a second finding of one mistake.
    misspelt = any(key != "split" and nearest(key, ("split",)) for key in data)
    if require_split and not has_split and not misspelt and not in_parts:
        place = "split" if "split" in data else "model"  # an empty one is none
        yield from _without_split(methods, given=data.get("methods") is not None, place=place)
    every = _asks_for_all(data.get("methods"))
    steps = _steps(data.get("train"), default=STEPS_OF_ALL if every else 0)
    if steps == 0:
        yield from _without_steps(methods, every=every)
    elif isinstance(steps, int):
        gives_none = "does not train: it gives no gradients that an optimizer could take"
        yield from _only([name for name, info in METHODS.items() if info.trains], methods, "train", gives_none)
    yield from _one_loss_over_all(data, methods)
    if isinstance(data.get("microbatches"), int) and data["microbatches"] > 1:
        yield from _only(
            [name for name, info in METHODS.items() if info.slices],
            methods,
            "microbatches",
            "does not run in micro-batches",
        )
    if data.get("placement") is not None:
        yield from _placed(data, methods, steps=steps, is_cut=has_split or in_parts)


def _placed(data: dict[Any, Any], methods: dict[int, MethodConfig], *, steps: Any, is_cut: bool) -> Iterator[Finding]:
    """Yield a finding for what does not go with segments on devices of their own."""
    runs_here = "does not run on several devices"
    yield from _only([name for name, info in METHODS.items() if info.placed], methods, "placement", runs_here)
    excluded = {
        "execution": data.get("execution", "eager") in ("graph", "xla"),
        "train": bool(steps),
        "loss": _over_all(data.get("loss")) == "of_model",
    }
    for key in (key for key, given in excluded.items() if given):
        message = f"`{key}` as given here is not available for segments on devices of their own"
        yield Finding(message=message, path=(key,), at="key", code="GC007", help=f"remove `{key}` or `placement`")
    if not is_cut:
        message = "`placement` says where each segment runs, and the config has no split"
        yield Finding(message=message, path=("placement",), at="key", code="GC026", help="add `split: {every: layer}`")


def _one_loss_over_all(data: dict[Any, Any], methods: dict[int, MethodConfig]) -> Iterator[Finding]:
    """Yield a finding for what does not go with one loss over all outputs: weights of each, and methods."""
    key = _over_all(data.get("loss"))
    if key is not None and data.get("loss_weights") is not None:
        message = f"`{key}` is one loss for all outputs, and `loss_weights` has one for each"
        yield Finding(message=message, path=("loss_weights",), at="key", code="GC007", help="weigh the parts inside it")
    if key == "of_model":
        needs = "begins with the cotangents of the outputs, and a loss that calls the model itself gives none"
        yield from _only([name for name, info in METHODS.items() if info.of_model], methods, "loss.of_model", needs)


def _over_all(loss: Any) -> str | None:
    """Return `joint` or `of_model` if the loss is of that form. One that is wrong is reported by its section."""
    if isinstance(loss, dict):
        return "of_model" if "of_model" in loss else "joint" if loss.get("joint") is True else None
    return loss.over_all if isinstance(loss, LossSpec) else None


def _asks_for_all(methods: Any) -> bool:
    """Whether `methods` is `all`, or a list with it. A value of another type is reported by its section."""
    return methods == ALL or (isinstance(methods, (list, tuple)) and ALL in methods)


def _steps(train: Any, *, default: int) -> Any:
    """Return the requested number of training steps. A value that is no number is reported by its section."""
    if train is None:
        return default
    return train.get("steps", default) or 0 if isinstance(train, dict) else getattr(train, "steps", None)


def _methods(data: dict[Any, Any]) -> dict[int, MethodConfig]:
    """Return the valid entries of `methods`, by index."""
    raw = data.get("methods")
    if raw is None:
        return {0: MethodConfig.model_validate(DEFAULT)}
    entries = enumerate(raw if isinstance(raw, (list, tuple)) else ())
    methods = {index: _method(entry) for index, entry in entries}
    return {index: method for index, method in methods.items() if method is not None}


def _method(entry: Any) -> MethodConfig | None:
    """Return one entry of `methods`; None if it is wrong, which its section reports."""
    try:
        return MethodConfig.model_validate(entry)
    except ValidationError:
        return None


def _without_split(methods: dict[int, MethodConfig], *, given: bool, place: str) -> Iterator[Finding]:
    for index, method in methods.items():
        if method.info.splits:
            default = "" if given else ", the default,"
            yield Finding(
                message=f"method `{method.label}`{default} needs a split, and the config has none",
                path=("methods", index) if given else (place,),
                at="value" if given else "key",
                code="GC026",
                help="add `split: {every: layer}`, or name only methods of the whole model: "
                f"{', '.join(sorted(name for name, info in METHODS.items() if not info.splits))}",
            )


def _without_steps(methods: dict[int, MethodConfig], *, every: bool) -> Iterator[Finding]:
    if every:
        message = f"`{ALL}` names the ways of training, and there are no training steps"
        yield Finding(message=message, path=("methods",), code="GC007", help="leave out `train.steps`, or raise it")
    for index, method in methods.items():
        if isinstance(method.options, CandidateOptions) and method.options.train_step is not None:
            yield Finding(
                message="`train_step` is called once per training step, and there are none",
                path=("methods", index, "candidate", "train_step"),
                at="key",
                code="GC007",
                help="add `train: {steps: 3}`",
            )
        elif method.info.way:
            yield Finding(
                message=f"method `{method.label}` is a way of training, and there are no training steps",
                path=("methods", index),
                code="GC007",
                help="add `train: {steps: 3}`",
            )


def _only(allowed: Collection[str], methods: dict[int, MethodConfig], key: str, problem: str) -> Iterator[Finding]:
    """Yield a finding for each method that is not in `allowed`; `problem` completes the sentence after its name."""
    for index, method in methods.items():
        if method.method not in allowed:
            yield Finding(
                message=f"method `{method.label}` {problem}",
                path=("methods", index),
                code="GC007",
                help=f"remove `{key}`, or name only: {', '.join(sorted(allowed))}",
            )
