"""`images`: a folder with one sub-folder of images per class."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from gradcheck.batch.loss import specs_by_output
from gradcheck.batch.raw import RawBatch
from gradcheck.batch.targets import from_classes
from gradcheck.building.endpoints import input_names, output_names
from gradcheck.building.messages import described
from gradcheck.config.keyed import KeyedError, KeyedRunError, at
from gradcheck.errors import RunError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from gradcheck.batch.raw import Request

_ENDINGS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png"})
#: Whatever a file is called, Pillow goes by its content, and runs a program for some formats (PostScript).
_FORMATS = ("BMP", "GIF", "JPEG", "PNG")
_COLOR_MODES = {1: "grayscale", 3: "rgb", 4: "rgba"}
_IMAGE_RANK = 4


def load(request: Request) -> RawBatch:
    """Return the first images of each class in turn, scaled to 0..1, and their classes in the form that the loss takes.

    Classes are the sub-folders in alphabetical order, counted from 0. Images are resized, and have as many channels as
    the model's input.

    Raises:
        KeyedError: GC030 if the model takes no images, or there are too few.
        RunError: GC058 if Pillow is not installed, GC052 if an image cannot be read.
    """
    spec = request.config.images
    if spec is None:
        raise ValueError("the config has no images")
    with at("images"):
        channels = _channels(request.model)
        with at("directory"):
            classes = _files_by_class((request.base / spec.directory).resolve())
            chosen = _spread(classes, request.config.batch_size)
        pixels = np.stack([_read(path, spec.image_size, _COLOR_MODES[channels]) for path, _ in chosen])
        labels = np.array([label for _, label in chosen])
        return RawBatch(inputs={input_names(request.model)[0]: pixels}, targets=_targets(labels, len(classes), request))


def _channels(model: keras.Model) -> int:
    shapes = [tuple(tensor.shape) for tensor in model.inputs]
    if len(shapes) != 1 or len(shapes[0]) != _IMAGE_RANK or shapes[0][-1] not in _COLOR_MODES:
        message = (
            f"images are for a model with one input of shape (batch, height, width, 1, 3 or 4). Received: {shapes}"
        )
        raise KeyedError(message, code="GC030")
    return int(shapes[0][-1])


def _files_by_class(directory: Path) -> list[list[Path]]:
    """Return the images of each class, both in alphabetical order; empty classes are left out."""
    if not directory.is_dir():
        raise KeyedError(f"no such folder: {directory}", code="GC001", help="paths are relative to the config file")
    folders = sorted(path for path in directory.iterdir() if path.is_dir())
    files = [sorted(p for p in folder.rglob("*") if p.suffix.lower() in _ENDINGS and p.is_file()) for folder in folders]
    return [images for images in files if images]


def _spread(classes: list[list[Path]], count: int) -> list[tuple[Path, int]]:
    """Return `count` images with their class: the first of every class, then the second of every class, and so on."""
    labelled = [[(path, label) for path in images] for label, images in enumerate(classes)]
    in_turn = (item for row in itertools.zip_longest(*labelled) for item in row if item is not None)
    chosen = list(itertools.islice(in_turn, count))
    if len(chosen) < count:
        message = f"batch_size is {count}. Received: {len(chosen)} images in {len(classes)} classes"
        raise KeyedError(message, code="GC030", help="one sub-folder a class, with .png, .jpg, .bmp or .gif files")
    return chosen


def _read(path: Path, size: tuple[int, int], color_mode: str) -> NDArray[Any]:
    try:
        _check_format(path)
        image = keras.utils.load_img(path, target_size=size, color_mode=color_mode)
    except ImportError as error:
        raise RunError("reading images needs Pillow", code="GC058", help="pip install pillow") from error
    except Exception as error:
        raise KeyedRunError(f"{path} cannot be read: {described(error)}", code="GC052") from error
    pixels: NDArray[Any] = keras.utils.img_to_array(image, dtype="float64")
    return pixels / 255.0


def _check_format(path: Path) -> None:
    from PIL import Image  # noqa: PLC0415 - an extra, which only images need

    with Image.open(path, formats=_FORMATS):
        """It has one of the formats."""


def _targets(labels: NDArray[Any], classes: int, request: Request) -> dict[str, NDArray[Any]]:
    """Return the classes for every output whose loss takes classes."""
    targets = {}
    specs = specs_by_output(request.losses, request.model)
    for name, spec, output in zip(output_names(request.model), specs, request.model.outputs, strict=True):
        made = None if spec is None else from_classes(spec, labels, classes, tuple(output.shape))
        if made is not None:
            targets[name] = made
    return targets
