from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from gradcheck.config.sections.loss import LossSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.config.findings import Mistake
    from gradcheck.config.load import LoadedConfig


def test_a_joint_loss_and_one_of_the_model_are_one_loss(load: Callable[..., LoadedConfig], model: str) -> None:
    joint = load(f"{model}loss: {{factory: 'm:f', joint: true, kwargs: {{a: 1}}}}").config.loss
    of_model = load(f"{model}loss: {{of_model: 'm:f', kwargs: {{a: 1}}}}\nmethods: [numeric]").config.loss
    assert isinstance(joint, LossSpec)
    assert isinstance(of_model, LossSpec)
    assert (joint.factory, joint.over_all, joint.kwargs) == ("m:f", "joint", {"a": 1})
    assert (of_model.of_model, of_model.over_all, of_model.kwargs) == ("m:f", "of_model", {"a": 1})
    assert LossSpec.model_validate({"factory": "m:f"}).over_all is None
    assert LossSpec.model_validate("mse").over_all is None


@pytest.mark.parametrize(
    ("loss", "code", "place", "message"),
    [
        ("{factory: 'm:f', joint: 1}", "GC004", 31, "expected true or false"),
        ("{factory: 'm:f', of_model: 'm:g'}", "GC007", 24, "exclude each other"),
        ("{of_model: 'm:f', joint: true}", "GC007", 25, "`joint` is for a `factory`"),
        ("{of_model: nowhere}", "GC004", 18, "nowhere"),
        ("[{factory: 'm:f', joint: true}, mse]", "GC007", 25, "stands here as that of one of them"),
        ("{a: {of_model: 'm:f'}, b: mse}", "GC007", 12, "one loss for all outputs"),
        ("{factory: 'm:f', join: true}", "GC003", 24, "join"),
    ],
)
def test_mistakes(  # noqa: PLR0917 - one column each
    mistakes: Callable[..., list[Mistake]], model: str, loss: str, code: str, place: int, message: str
) -> None:
    (mistake,) = mistakes(f"{model}loss: {loss}\nmethods: [numeric]")
    assert (mistake.code, mistake.location.column) == (code, place)
    assert message in mistake.message


@pytest.mark.parametrize("loss", ["{factory: 'm:f', joint: true}", "{of_model: 'm:f'}"])
def test_weights_of_the_outputs_do_not_go_with_one_loss(
    mistakes: Callable[..., list[Mistake]], model: str, loss: str
) -> None:
    (mistake,) = mistakes(f"{model}loss: {loss}\nloss_weights: [1.0, 2.0]\nmethods: [numeric]")
    assert (mistake.code, mistake.location.column) == ("GC007", 1)
    assert "weigh the parts inside it" in (mistake.help or "")


@pytest.mark.parametrize("method", ["recompute", "jacobian", "graph", "graph_scalar"])
def test_methods_that_begin_with_the_outputs_cotangents(
    mistakes: Callable[..., list[Mistake]], model: str, method: str
) -> None:
    text = f"{model}split: {{every: layer}}\nloss: {{of_model: 'm:f'}}\nmethods: [vjp, naive, hvp, {method}]"
    (mistake,) = mistakes(text)
    assert (mistake.code, mistake.location.column) == ("GC007", 28)
    assert "a loss that calls the model itself" in mistake.message
    assert "remove `loss.of_model`, or name only: " in (mistake.help or "")


def test_a_candidate_needs_no_split(load: Callable[..., LoadedConfig], model: str) -> None:
    config: Any = load(f"{model}methods: [candidate: {{factory: 'm:f'}}]", require_split=True).config
    assert config.split is None
