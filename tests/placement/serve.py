"""Several workers in one process, for the tests: `python serve.py COUNT` prints the address of each."""

from __future__ import annotations

import sys
import threading

import tensorflow as tf

from gradcheck.placement.hosting import Worker

first = Worker("127.0.0.1", 0)
# The function that answers is known to the whole process.
others = [
    tf.distribute.Server({"local": ["127.0.0.1:0"]}, job_name="local", task_index=0)
    for _ in range(int(sys.argv[1]) - 1)
]
sys.stdout.write(" ".join([first.address, *(server.target.removeprefix("grpc://") for server in others)]) + "\n")
sys.stdout.flush()
threading.Event().wait()
