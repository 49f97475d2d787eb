# ruff: noqa: ANN001, ANN201, ANN204, B905, ERA001 - training code as people write it
"""SplitNN, as in the tutorials: `client.forward`, `server.train_step`, `client.backward`."""

import numpy as np
import tensorflow as tf


def batch():
    rng = np.random.default_rng(3)
    images = rng.normal(size=(8, 6, 6, 1)).astype("float32")
    return images, np.eye(3, dtype="float32")[[2, 0, 1, 1, 2, 0, 2, 1]]


class Client:
    def __init__(self, model):
        self.model = model
        self.tapes, self.smashed = {}, {}
        self.grads = [tf.zeros_like(v) for v in model.trainable_variables]

    def forward(self, step, x):
        with tf.GradientTape() as self.tapes[step]:
            self.smashed[step] = self.model(x, training=True)
        return tf.identity(self.smashed[step])

    def backward(self, step, grad):
        found = self.tapes[step].gradient(self.smashed[step], self.model.trainable_variables, output_gradients=grad)
        self.grads = [a + b for a, b in zip(self.grads, found)]


class Server:
    def __init__(self, check, parts=1):
        self.model, self.loss_fn, self.parts = check.segments[-1], check.loss, parts
        self.loss, self.grads = 0.0, [tf.zeros_like(v) for v in self.model.trainable_variables]

    def train_step(self, smashed, y):
        with tf.GradientTape() as tape:
            tape.watch(smashed)
            loss = self.loss_fn(y, self.model(smashed, training=True)) / self.parts
        grads, grad_to_client = tape.gradient(loss, [self.model.trainable_variables, smashed])
        self.loss += loss
        self.grads = [a + b for a, b in zip(self.grads, grads)]
        return grad_to_client


def micro_batches(check, parts):
    return list(zip(tf.split(check.x, parts), tf.split(check.y, parts)))


def right(check):
    client, server = Client(check.segments[0]), Server(check, parts=4)
    for step, (x, y) in enumerate(micro_batches(check, 4)):
        client.backward(step, server.train_step(client.forward(step, x), y))
    return server.loss, [*client.grads, *server.grads]


def right_with_one_batch(check):
    client, server = Client(check.segments[0]), Server(check)
    client.backward(0, server.train_step(client.forward(0, check.x), check.y))
    return server.loss, client.grads + server.grads


# expect: GC110 boundary 0 → 1
def stale_reply(check):
    """The client does not wait for the server: it uses the reply to the micro-batch before (to the first, its own)."""
    client, server = Client(check.segments[0]), Server(check, parts=4)
    reply = None
    for step, (x, y) in enumerate(micro_batches(check, 4)):
        last, reply = reply, server.train_step(client.forward(step, x), y)
        client.backward(step, reply if last is None else last)
    return server.loss, [*client.grads, *server.grads]


# expect: GC110 boundary 0 → 1
def one_key_for_all_replies(check):
    """The replies lie in a dict by the client's name, so that the last one stays for every micro-batch."""
    client, server = Client(check.segments[0]), Server(check, parts=4)
    replies, pairs = {}, micro_batches(check, 4)
    for step, (x, y) in enumerate(pairs):
        replies["client_0"] = server.train_step(client.forward(step, x), y)
    for step in range(len(pairs)):
        client.backward(step, replies["client_0"])
    return server.loss, [*client.grads, *server.grads]


# expect: GC204
def one_micro_batch_kept(check):
    """Left from a test: the gradients of the third micro-batch alone."""
    client, server = Client(check.segments[0]), Server(check)
    for step, (x, y) in enumerate(micro_batches(check, 4)):
        grad = server.train_step(client.forward(step, x), y)
        if step == 2:
            client.backward(step, grad)
            kept = list(server.grads)
        server.grads = [tf.zeros_like(g) for g in server.grads]
    return server.loss / 4, [*client.grads, *kept]


# expect: GC109
def labels_are_a_micro_batch_ahead(check):
    """Two queues, and the one of the labels has been read from once already."""
    client, server = Client(check.segments[0]), Server(check, parts=4)
    pairs = micro_batches(check, 4)
    for step, (x, _) in enumerate(pairs):
        _, labels = pairs[(step + 1) % len(pairs)]
        client.backward(step, server.train_step(client.forward(step, x), labels))
    return server.loss, [*client.grads, *server.grads]


# expect: GC111 boundary 0 → 1
def client_reads_backwards(check):
    """The server answers with the last example first."""
    client, server = Client(check.segments[0]), Server(check)
    grad = server.train_step(client.forward(0, check.x), check.y)
    client.backward(0, tf.reverse(grad, axis=[0]))
    return server.loss, client.grads + server.grads


# expect: GC111 boundary 0 → 1
def sorted_by_label(check):
    """The server sorts the examples by class for its sampler, and sends the gradient back in that order."""
    client, server = Client(check.segments[0]), Server(check)
    order = tf.argsort(tf.argmax(check.y, axis=1), stable=True)
    smashed = client.forward(0, check.x)
    grad = server.train_step(tf.gather(smashed, order), tf.gather(check.y, order))
    client.backward(0, grad)
    return server.loss, client.grads + server.grads


# expect: GC111 boundary 0 → 1
def two_workers_answers_joined(check):
    """Two workers have every other example, and their answers are concatenated, not interleaved."""
    client, server = Client(check.segments[0]), Server(check, parts=2)
    smashed = client.forward(0, check.x)
    grads = [server.train_step(smashed[worker::2], check.y[worker::2]) for worker in range(2)]
    client.backward(0, tf.concat(grads, axis=0))
    return server.loss, client.grads + server.grads


# expect: GC112 boundary 0 → 1
def dummy_loss_with_a_mean(check):
    """A scalar for the client's optimizer: `reduce_mean` where `reduce_sum` belongs."""
    client_model, server = check.segments[0], Server(check)
    with tf.GradientTape() as tape:
        smashed = client_model(check.x, training=True)
        grad = server.train_step(tf.identity(smashed), check.y)
        dummy_loss = tf.reduce_mean(smashed * tf.stop_gradient(grad))
    return server.loss, tape.gradient(dummy_loss, client_model.trainable_variables) + server.grads


# expect: GC112 boundary 0 → 1
def averaged_over_two_servers(check):
    """There is one server left, and its gradient is still divided by two."""
    client, server = Client(check.segments[0]), Server(check)
    replies = [server.train_step(client.forward(0, check.x), check.y)]
    client.backward(0, tf.add_n(replies) / 2)
    return server.loss, client.grads + server.grads


# expect: GC101 None
def watched_the_wrong_copy(check):
    """What is watched is the client's tensor; what the server's model gets is a copy made before."""
    client, server = Client(check.segments[0]), check.segments[1]
    received = client.forward(0, check.x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(client.smashed[0])
        loss = check.loss(check.y, server(received, training=True))
    grads = tape.gradient(loss, server.trainable_variables)
    client.backward(0, tape.gradient(loss, received))
    return loss, client.grads + grads
