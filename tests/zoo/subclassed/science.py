"""Models of science, as subclasses: fields, operators, graphs, equations."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import Input, layers, ops


class NeRF(keras.Model):
    """A point in space to its colour and density; the encoded point comes in once more half-way."""

    def __init__(self, num_frequencies: int, width: int, depth: int, skip: int) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        self.skip = skip
        self.hidden = [layers.Dense(width, activation="relu") for _ in range(depth)]
        self.rgb = layers.Dense(3, activation="sigmoid")
        self.sigma = layers.Dense(1, activation="softplus")

    def encode_position(self, x: Any) -> Any:
        positions = [x]
        for i in range(self.num_frequencies):
            positions.extend(fn(2.0**i * x) for fn in (ops.sin, ops.cos))
        return ops.concatenate(positions, axis=-1)

    def call(self, rays: Any) -> Any:
        encoded = self.encode_position(rays)
        x = encoded
        for i, dense in enumerate(self.hidden):
            x = dense(x)
            if i % self.skip == 0 and i > 0:
                x = ops.concatenate([x, encoded], axis=-1)
        return {"rgb": self.rgb(x), "sigma": self.sigma(x)}


def nerf() -> keras.Model:
    return NeRF(num_frequencies=2, width=6, depth=4, skip=2)


class DeepONet(keras.Model):
    """An operator: a function at sensors, and where to ask for the result."""

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.branch1 = layers.Dense(width, activation="tanh")
        self.branch2 = layers.Dense(latent)
        self.trunk1 = layers.Dense(width, activation="tanh")
        self.trunk2 = layers.Dense(latent, activation="tanh")
        self.dot = layers.Dot(axes=-1)

    def call(self, inputs: Any) -> Any:
        b = self.branch2(self.branch1(inputs["sensors"]))
        t = self.trunk2(self.trunk1(inputs["location"]))
        return self.dot([b, t])


def deeponet() -> keras.Model:
    return DeepONet(width=6, latent=4)


def deeponet_twin() -> keras.Model:
    sensors, location = Input((8,), name="sensors"), Input((2,), name="location")
    b = layers.Dense(4, name="branch2")(layers.Dense(6, activation="tanh", name="branch1")(sensors))
    t = layers.Dense(6, activation="tanh", name="trunk1")(location)
    t = layers.Dense(4, activation="tanh", name="trunk2")(t)
    return keras.Model({"sensors": sensors, "location": location}, layers.Dot(axes=-1, name="dot")([b, t]))


class PINN(keras.Model):
    """A field, and how far it is from solving the heat equation."""

    def __init__(self, width: int, diffusivity: float = 0.1) -> None:
        super().__init__()
        self.diffusivity = diffusivity
        self.field = keras.Sequential(
            [layers.Dense(width, activation="tanh"), layers.Dense(width, activation="tanh"), layers.Dense(1)]
        )

    def call(self, inputs: Any) -> Any:
        t, x = inputs[:, 0:1], inputs[:, 1:2]
        with tf.GradientTape() as second:
            second.watch(x)
            with tf.GradientTape(persistent=True) as first:
                first.watch([t, x])
                u = self.field(tf.concat([t, x], axis=1))
            u_t, u_x = first.gradient(u, t), first.gradient(u, x)
        u_xx = second.gradient(u_x, x)
        return {"u": u, "residual": u_t - self.diffusivity * u_xx}


def pinn() -> keras.Model:
    return PINN(width=6)


class Forces(layers.Layer):
    """Minus the gradient of a potential, and the potential."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = layers.Dense(width, activation="tanh")
        self.energy = layers.Dense(1)

    def call(self, positions: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(positions)
            energy = self.energy(self.hidden(positions))
        return energy, -tape.gradient(energy, positions)


class ForceField(keras.Model):
    """A potential over features of the atoms, and a friction beside its forces."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = layers.Dense(width, activation="tanh")
        self.forces = Forces(width)
        self.friction = layers.Dense(width, use_bias=False)
        self.readout = layers.Dense(3)

    def call(self, positions: Any) -> Any:
        h = self.features(positions)
        energy, forces = self.forces(h)
        return self.readout(forces - self.friction(h)), energy


def force_field() -> keras.Model:
    return ForceField(width=5)


class GraphConv(layers.Layer):
    """Projects the nodes, then averages each over its neighbours."""

    def __init__(self, units: int, activation: str | None = None) -> None:
        super().__init__()
        self.project = layers.Dense(units, use_bias=False)
        self.norm = layers.LayerNormalization()
        self.activation = keras.activations.get(activation)

    def call(self, inputs: Any) -> Any:
        nodes, adjacency = inputs
        degree = ops.sum(adjacency, axis=-1, keepdims=True)
        messages = ops.matmul(adjacency / ops.maximum(degree, 1.0), self.project(nodes))
        return self.activation(self.norm(messages + self.project(nodes)))


class GCN(keras.Model):
    """Nodes and adjacency as a tuple; one answer for the graph."""

    def __init__(self, hidden: int, num_classes: int) -> None:
        super().__init__()
        self.gcn1 = GraphConv(hidden, "relu")
        self.gcn2 = GraphConv(hidden)
        self.dropout = layers.Dropout(0.3)
        self.readout = layers.Dense(num_classes)

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: FBT002 - as many write it
        x, a = inputs
        x = self.gcn1((x, a))
        x = self.dropout(x, training=training)
        x = self.gcn2([x, a])
        return self.readout(ops.mean(x, axis=1))


def graph_convolution() -> keras.Model:
    return GCN(hidden=5, num_classes=3)


class SineLayer(layers.Layer):
    """A dense layer under a sine."""

    def __init__(self, units: int, omega: float = 3.0) -> None:
        super().__init__()
        self.omega = omega
        bound = keras.initializers.RandomUniform(-0.5, 0.5)
        self.linear = layers.Dense(units, kernel_initializer=bound)

    def call(self, x: Any) -> Any:
        return ops.sin(self.omega * self.linear(x))


class FourierSiren(keras.Model):
    """Random Fourier features that are not trained, then layers of sines."""

    def __init__(self, features: int, width: int, seed: int = 0) -> None:
        super().__init__()
        self.frequencies = np.random.default_rng(seed).normal(size=(2, features)).astype("float32")
        self.net = keras.Sequential([SineLayer(width), SineLayer(width)], name="net")
        self.final = layers.Dense(3)

    def call(self, coordinates: Any) -> Any:
        projected = 2 * np.pi * ops.matmul(coordinates, self.frequencies)
        x = ops.concatenate([ops.sin(projected), ops.cos(projected)], axis=-1)
        return self.final(self.net(x))


def siren() -> keras.Model:
    return FourierSiren(features=3, width=6)


class Dynamics(layers.Layer):
    """The derivative of the state in time."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.dense1 = layers.Dense(width, activation="tanh")
        self.dense2 = layers.Dense(dim)

    def call(self, state: Any, t: float) -> Any:
        return self.dense2(self.dense1(state)) * (1.0 - 0.1 * t)


class NeuralODE(keras.Model):
    """Integrates learned dynamics by the classical method of Runge and Kutta."""

    def __init__(self, dim: int, width: int, steps: int = 2) -> None:
        super().__init__()
        self.steps, self.h = steps, 1.0 / steps
        self.lift = layers.Dense(dim)
        self.f = Dynamics(width, dim)
        self.readout = layers.Dense(1)

    def call(self, x: Any) -> Any:
        y, h = self.lift(x), self.h
        for step in range(self.steps):
            t = step * h
            k1 = self.f(y, t=t)
            k2 = self.f(y + h / 2 * k1, t=t + h / 2)
            k3 = self.f(y + h / 2 * k2, t=t + h / 2)
            k4 = self.f(y + h * k3, t=t + h)
            y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        return self.readout(y)


def neural_ode() -> keras.Model:
    return NeuralODE(dim=4, width=6)
