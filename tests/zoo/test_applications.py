"""One member of each family of Keras applications, cut in four, dropout and batch norm in training: no mismatch."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from gradcheck.results.report import RunReport

#: The smallest input that each takes. They stand in threes: chains, sums, several towers, squeeze and excitation, and
#: others.
SIZES = {
    "MobileNet": 32,
    "VGG16": 32,
    "VGG19": 32,
    "ResNet50V2": 32,
    "ResNet50": 32,
    "Xception": 71,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
    "NASNetMobile": 32,
    "MobileNetV3Small": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "DenseNet121": 32,
    "ConvNeXtTiny": 32,
    "MobileNetV2": 32,
}


@pytest.mark.slow
@pytest.mark.zoo
@pytest.mark.third
@pytest.mark.parametrize("name", SIZES)
def test_an_application_cut_in_four_matches(run: Callable[..., RunReport], zoo: Callable[..., None], name: str) -> None:
    size = SIZES[name]
    model = {"application": name, "kwargs": {"weights": None, "input_shape": [size, size, 3], "classes": 7}}
    report = run({"model": model, "split": {"parts": 4}, "data": {"batch_size": 2}})
    zoo("application", name, report)
    assert len(report.segments) == 4
    assert report.coverage.compared == report.coverage.trainable > 30


def test_no_family_of_applications_is_missing() -> None:
    from keras import applications

    family = {name: f.__module__ for name, f in vars(applications).items() if inspect.isfunction(f)}
    assert {family[name] for name in SIZES} == set(family.values())
