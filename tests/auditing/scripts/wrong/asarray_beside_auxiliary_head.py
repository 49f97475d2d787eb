"""Encoder with an auxiliary reconstruction head, watched for units that saturate."""

from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf


@dataclass
class Config:
    dim: int = 6
    code: int = 5
    batch: int = 8
    steps: int = 6
    aux_weight: float = 0.3
    seed: int = 17


@dataclass
class Nets:
    cfg: Config
    encoder: keras.Model = field(init=False)
    main_head: keras.Model = field(init=False)
    aux_head: keras.Model = field(init=False)
    opt: keras.optimizers.Optimizer = field(init=False)

    def __post_init__(self):
        c = self.cfg
        self.encoder = keras.Sequential([keras.Input((c.dim,)), keras.layers.Dense(c.code, activation="tanh")])
        self.main_head = keras.Sequential(
            [keras.Input((c.code,)), keras.layers.Dense(6, "tanh"), keras.layers.Dense(1)]
        )
        self.aux_head = keras.Sequential([keras.Input((c.code,)), keras.layers.Dense(c.dim)])
        self.opt = keras.optimizers.AdamW(5e-3)

    @property
    def weights(self):
        nets = (self.encoder, self.main_head, self.aux_head)
        return [w for net in nets for w in net.trainable_weights]


def saturation_checked(code, log):
    """The code as it is; how much of it is near -1 or 1 goes to the log."""
    values = np.asarray(code)
    log.append(float((np.abs(values) > 0.99).mean()))
    return values


def train_step(nets, x, y, log):
    with tf.GradientTape() as tape:
        code = nets.encoder(x)
        main = tf.reduce_mean((nets.main_head(saturation_checked(code, log)) - y) ** 2)  # expect: GC102
        aux = tf.reduce_mean((nets.aux_head(code) - x) ** 2)
        loss = main + nets.cfg.aux_weight * aux
    nets.opt.apply_gradients(zip(tape.gradient(loss, nets.weights), nets.weights))
    return main, aux


def main():
    cfg = Config()
    keras.utils.set_random_seed(cfg.seed)
    rng = np.random.default_rng(cfg.seed)
    nets = Nets(cfg)
    log = []
    for step in range(cfg.steps):
        x = rng.normal(size=(cfg.batch, cfg.dim)).astype("float32")
        y = np.abs(x[:, :1]) + 0.5 * x[:, 1:2]
        main_loss, aux_loss = train_step(nets, x, y, log)
        print(f"{step}: main {main_loss.numpy():.3f} aux {aux_loss.numpy():.3f} saturated {log[-1]:.0%}")
    return nets


if __name__ == "__main__":
    nets = main()
