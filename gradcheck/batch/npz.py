"""`npz`: arrays saved with numpy.savez. Nothing in them is ever unpickled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from gradcheck.batch.raw import RawBatch, Request, inputs_by_name, outputs_by_name
from gradcheck.building.endpoints import input_names, output_names, output_positions
from gradcheck.building.messages import described
from gradcheck.config.checks.files import LARGEST, is_bomb
from gradcheck.config.keyed import KeyedError, at
from gradcheck.phrases import listed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

#: The names of the only input, the only output, and the weights of the examples.
X, Y, SAMPLE_WEIGHT = "x", "y", "sample_weight"


def load(request: Request) -> RawBatch:
    """Return the arrays of the file: `x` and `y`, or one by the name of each input and output, and `sample_weight`.

    Raises:
        KeyedError: GC001 if there is no such file, GC030 if it is no npz file or its arrays do not fit the model.
    """
    with at("npz"):
        arrays = read(str(request.config.npz), request.base)
        inputs, outputs = input_names(request.model), output_positions(request.model)
        named_inputs = {name: arrays[name] for name in inputs if name in arrays}
        named_outputs = {name: arrays[name] for name in outputs if name in arrays and name not in named_inputs}
        _check_known(arrays, {X, Y, SAMPLE_WEIGHT, *inputs, *outputs})
        if not named_inputs and X not in arrays:
            wanted = f"x, or {listed(inputs)}"
            raise KeyedError(f"the file has no {wanted}. Received: {listed(arrays)}", code="GC030")
        x = named_inputs or arrays[X]
        y = named_outputs or arrays.get(Y)
        weight = arrays.get(SAMPLE_WEIGHT)
        return RawBatch(
            inputs=inputs_by_name(x, request.model),
            targets={} if y is None else outputs_by_name(y, request.model),
            weights={} if weight is None else dict.fromkeys(output_names(request.model), weight),
        )


def _check_known(arrays: Collection[str], known: Collection[str]) -> None:
    unknown = [name for name in arrays if name not in known]
    if unknown:
        message = f"the file has arrays that are neither inputs nor outputs: {listed(unknown)}"
        raise KeyedError(message, code="GC030", help=f"names that can stand in it: {listed(sorted(known))}")


def read(file: str, base: Path) -> Mapping[str, NDArray[Any]]:
    """Return every array of `file`, relative to `base`.

    Raises:
        KeyedError: GC001 if there is no such file, GC030 if it cannot be read without unpickling, GC009 if a small file
            expands to more than memory may hold.
    """
    path = (base / file).resolve()
    if not path.is_file():
        raise KeyedError(f"no such file: {path}", code="GC001", help="paths are relative to the config file")
    if is_bomb(path):
        message = f"{file} is {path.stat().st_size:,} bytes and expands to more than {LARGEST >> 30} GiB"
        raise KeyedError(message, code="GC009", help="save it with numpy.savez, which compresses nothing")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:
        message = f"{file} is no npz file of plain arrays: {described(error)}"
        raise KeyedError(message, code="GC030", help="save it with numpy.savez(file, x=..., y=...)") from error


def one_array(file: str, key: str | None, names: Sequence[str], base: Path) -> NDArray[Any]:
    """Return one array of `file`: `key`, else the first of `names` that it has, else the only one.

    Raises:
        KeyedError: as `read`, and GC030 if the file has no such array.
    """
    arrays = read(file, base)
    wanted = list(names) if key is None else [key]
    found = next((arrays[name] for name in wanted if name in arrays), None)
    if found is None and key is None and len(arrays) == 1:
        (found,) = arrays.values()
    if found is None:
        message = f"{file} has no array {wanted[0]}. Received: {listed(arrays)}"
        raise KeyedError(message, code="GC030", help="name one: {npz: {file: ..., key: ...}}")
    return found
