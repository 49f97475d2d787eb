"""Every layer of Keras, in a small model that is cut on both sides of it, in training: no mismatch, no crash."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from gradcheck.results.report import PROVEN
from tests.zoo.layers import CASES, EXCLUDED

LAYERS = {case.layer for case in CASES}

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport
    from tests.zoo.layers import Case


#: Whose gradient in TensorFlow is not the derivative: that of a projective transform interpolates where an adjoint
#: would scatter, and those of hue and saturation are None. A split agrees with the whole; the trial of the reference
#: says it.
TRANSFORMS = ("Pipeline", "RandomPerspective", "RandomRotation", "RandomShear", "RandomTranslation", "RandomZoom")
APPROXIMATE = frozenset((*TRANSFORMS, "RandomColorJitter", "RandomHue", "RandomSaturation"))


@pytest.mark.zoo
@pytest.mark.third
@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_layer_cut_on_both_sides_matches(run: Callable[..., RunReport], zoo: Callable[..., None], case: Case) -> None:
    import keras

    if not hasattr(keras.layers, case.layer):
        pytest.skip(f"Keras {keras.__version__} has no {case.layer}")
    trial = {"verify_reference": "never"} if case.layer in APPROXIMATE else {}
    split = {"after": list(case.after)}
    report = run({"model": case.model, "split": split, "data": {"batch_size": 4, **case.data}, **trial})
    zoo("layer", case.name, report)
    assert len(report.segments) == len(case.after) + 1
    gradients = [t for t in report.checks[0].of_kind("weight", "boundary") if "float" in t.dtype]
    before = {t.status for t in gradients if t.layer.startswith("before")}
    assert before in ({"absent"}, {"dead"}) if case.stops else before <= PROVEN
    assert {t.status for t in gradients if not t.layer.startswith("before")} <= PROVEN


def test_no_layer_of_keras_is_missing() -> None:
    from keras import layers

    public = {c for c in vars(layers).values() if inspect.isclass(c) and issubclass(c, layers.Layer)}
    tried, excluded = ({getattr(layers, name, None) for name in names} for names in (LAYERS, EXCLUDED))
    assert public - tried == excluded - {None}, "a layer is in the table, or there is a reason why not"


def test_every_name_stands_for_one_case() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
