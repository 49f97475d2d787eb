"""Devices by TensorFlow's names: which there are, what runs on them, and tensors that are in another process."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import tensorflow as tf
from tensorflow.python.eager import context

if TYPE_CHECKING:
    from collections.abc import Sequence

#: The job of the servers in `placement.cluster`.
JOB = "worker"
_FIRST = tf.DeviceSpec(job="localhost", replica=0, task=0, device_type="CPU", device_index=0)


def on(device: str) -> AbstractContextManager[Any]:
    """Return the scope of a device; without one ("") TensorFlow chooses."""
    return tf.device(device) if device else nullcontext()


def beside(tensor: Any) -> AbstractContextManager[Any]:
    """Return the scope of the device that holds `tensor`, from which TensorFlow would copy it to the first one."""
    return on(tensor.device if tf.executing_eagerly() else "")


def current_worker() -> str:
    """Return the full name of the device of this scope if it is a worker's, else ""."""
    name = context.context().device_name or ""
    return name if f"/job:{JOB}/" in name else ""


def is_remote(tensor: Any) -> bool:
    """Whether `tensor` (or `IndexedSlices`, or a variable) is in the memory of a worker."""
    return f"/job:{JOB}/" in (getattr(tensor, "device", None) or "")


def same_bits(first: Any, second: Any) -> bool:
    """Whether two tensors that a worker holds are equal bit for bit; the answer alone leaves it."""
    with beside(first):
        return bool(tf.reduce_all(tf.bitcast(first, tf.uint8) == tf.bitcast(second, tf.uint8)))


def known_devices() -> tuple[str, ...]:
    """Return the names of all devices, of workers too."""
    return tuple(device.name for device in tf.config.list_logical_devices())


def resolved(name: str, known: Sequence[str]) -> str | None:
    """Return the device among `known` that `name` stands for; what it leaves out is 0, or this process, or a CPU."""
    wanted = full_name(name)
    return next((device for device in known if full_name(device) == wanted), None)


def full_name(name: str) -> str:
    """Return a device's name with all of its parts; one that is no device's stays as it is."""
    try:
        return str(_FIRST.make_merged_spec(tf.DeviceSpec.from_string(f"/{name.lstrip('/')}")).to_string())
    except ValueError:
        return name


def task_of(name: str) -> int | None:
    """Return the index of the worker that a device with this full name belongs to; None for one of this process."""
    spec = tf.DeviceSpec.from_string(name)
    return spec.task if spec.job == JOB else None


def split_cpu(count: int) -> None:
    """Have `count` logical CPU devices, if TensorFlow has not started yet.

    Raises:
        RuntimeError: if it has, with fewer.
    """
    (cpu,) = tf.config.list_physical_devices("CPU")
    if len(tf.config.get_logical_device_configuration(cpu) or [None]) < count:
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)


def copied_to(device: str, held: tf.Variable) -> tf.Variable:
    """Return a variable on `device` with the value and the settings of `held`."""
    with tf.device(device):
        return tf.Variable(held, trainable=held.trainable, dtype=held.dtype, name=held.name.partition(":")[0])
