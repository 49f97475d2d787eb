"""Stages in workers on loopback beside the same stages in one process: bytes that cross, memory, time of a step.

    python benchmarks/placement.py [--stages 4] [--units 1000] [--batch 256] [--steps 5]

Bytes are counted by a process that stands between everybody, in a step after the first: the batch has crossed by then.
Memory is what TensorFlow's allocator counts in each worker, time the fastest of the steps. The plan is held against
both.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def between(ports: list[int]) -> None:
    """Pass on what goes to and from `ports`, and print how many bytes that was, for each line of standard input."""
    passed: Counter[int] = Counter()

    def pump(source: socket.socket, target: socket.socket, port: int) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 20):
                passed[port] += len(data)
                target.sendall(data)

    def accept(listener: socket.socket, port: int) -> None:
        while True:
            near, _ = listener.accept()
            far = socket.create_connection(("127.0.0.1", port))
            for pair in ((near, far), (far, near)):
                pair[1].setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as TensorFlow's own are
                threading.Thread(target=pump, args=(*pair, port), daemon=True).start()

    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in ports]
    for listener, port in zip(listeners, ports, strict=True):
        threading.Thread(target=accept, args=(listener, port), daemon=True).start()
    print(*(listener.getsockname()[1] for listener in listeners), flush=True)
    for _ in sys.stdin:
        print(passed.total(), flush=True)


@contextmanager
def child(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is spoken to by lines."""
    command, pipe = [sys.executable, *arguments], subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def config(stages: int, units: int, batch: int, placement: dict[str, Any] | None) -> Any:
    from gradcheck.config.load import load_given

    layers = [{"Dense": {"units": units, "activation": "tanh", "name": f"stage_{i}"}} for i in range(stages)]
    given = {
        "model": {"input": {"shape": [units]}, "layers": layers},
        "split": {"every": "layer"},
        "loss": "MeanSquaredError",
        "data": {"batch_size": batch},
        "placement": placement,
    }
    return load_given(given, {})


def fastest(problem: Any, steps: int) -> float:
    """Seconds of the fastest of `steps` steps."""
    from gradcheck.config.sections.methods import MethodOptions
    from gradcheck.methods.by_segment.vjp import vjp

    def once() -> float:
        start = time.perf_counter()
        found = vjp(problem, MethodOptions())
        for tensor in found.tensors.values():
            found_norm(tensor)
        return time.perf_counter() - start

    once()
    return min(once() for _ in range(steps))


def found_norm(tensor: Any) -> None:
    """Wait for a tensor, where it is: one number comes back."""
    import tensorflow as tf

    from gradcheck.placement.devices import beside

    with beside(tensor):
        float(tf.reshape(tensor, [-1])[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in {"stages": 4, "units": 1000, "batch": 256, "steps": 5}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--between", type=int, nargs="*", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.between:
        between(given.between)
        return
    with ExitStack() as stack:
        workers = [stack.enter_context(child("-m", "gradcheck", "worker")) for _ in range(given.stages)]
        ports = [worker.stdout.readline().strip().rpartition(":")[2] for worker in workers if worker.stdout]
        counter = stack.enter_context(child(__file__, "--between", *ports))
        assert counter.stdin is not None
        assert counter.stdout is not None
        cluster = [f"127.0.0.1:{port}" for port in counter.stdout.readline().split()]

        def crossed() -> int:
            counter.stdin.write("\n")
            counter.stdin.flush()
            return int(counter.stdout.readline())

        measured(given, cluster, crossed)


def measured(given: argparse.Namespace, cluster: list[str], crossed: Any) -> None:
    from gradcheck.config.sections.methods import MethodOptions
    from gradcheck.methods.by_segment.vjp import vjp
    from gradcheck.placement.worker_questions import ask
    from gradcheck.problem.placed import Placed
    from gradcheck.problem.prepare import prepare, session

    devices = [f"/job:worker/task:{i}/device:CPU:0" for i in range(given.stages)]
    placed = config(given.stages, given.units, given.batch, {"devices": devices, "cluster": cluster})
    with session(placed.config):  # joins the cluster: before TensorFlow starts
        problem = prepare(placed.config, Path())
        on_workers = fastest(problem, given.steps)
        for device in devices:
            ask(device, {"ask": "memory", "restart": True})
        before = crossed()
        vjp(problem, MethodOptions())
        time.sleep(1)
        sent = crossed() - before
        held = [ask(device, {"ask": "memory", "restart": False}) for device in devices]
        planned = Placed(problem.graph, problem.segments, placed.config.placement, given.batch)
        traffic = planned.traffic(problem.plan)
        predicted = [device.memory for device in planned.devices()]
    here = config(given.stages, given.units, given.batch, None)
    with session(here.config):
        in_one = fastest(prepare(here.config, Path()), given.steps)
    due = traffic.boundaries + traffic.cotangents
    print(f"bytes of a step: {sent:,}, boundaries and cotangents {due:,}: ratio {sent / due:.4f}")
    if all(held):
        ratios = [memory["peak"] / bytes_ for memory, bytes_ in zip(held, predicted, strict=True)]
        print(f"peak memory of a worker beside the plan: {min(ratios):.2f} to {max(ratios):.2f}")
    overhead = (on_workers - in_one) / given.stages
    print(
        f"a step: {1e3 * on_workers:.1f} ms on workers, {1e3 * in_one:.1f} ms in one process: ratio "
        f"{on_workers / in_one:.2f}, {1e3 * overhead:.1f} ms more for a stage"
    )


if __name__ == "__main__":
    main()
