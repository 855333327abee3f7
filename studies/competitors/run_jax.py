"""The workload in JAX, on one core: a round is compiled whole, steps in a scan, clients in a vmap.

python run_jax.py K ROUNDS
"""

from __future__ import annotations

import os
import time
from importlib.metadata import version

if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import jax
import jax.numpy as jnp
import torch
import workload

SECONDS = 3.0  # to measure for


def predicted(layers: list, x: jax.Array) -> jax.Array:
    """What the network says of rows (n, 100)."""
    for i, (weight, bias) in enumerate(layers):
        x = x @ weight.T + bias
        if i < 2:
            x = jax.nn.silu(x)
    return x


def loss(layers: list, x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean squared error."""
    return jnp.mean((predicted(layers, x) - y) ** 2)


def trained(layers: list, x: jax.Array, y: jax.Array, key: jax.Array) -> list:
    """One client's model after its epochs, from the global one, by AdamW begun afresh."""
    keys = jax.random.split(key, workload.N_EPOCHS)
    orders = jax.vmap(lambda k: jax.random.permutation(k, workload.N_ROWS))(keys)
    batches = orders.reshape(-1, workload.BATCH_SIZE)
    nothing = jax.tree.map(jnp.zeros_like, layers)

    def step(state: tuple, batch: jax.Array) -> tuple:
        w, first, second, t = state
        gradient = jax.grad(loss)(w, x[batch], y[batch])
        t = t + 1
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
        rate, decay = workload.LEARNING_RATE, 1.0 - workload.LEARNING_RATE * workload.WEIGHT_DECAY

        def moved(w: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            root = jnp.sqrt(v / (1.0 - 0.999**t)) + 1e-8
            return w * decay - rate * m / (1.0 - 0.9**t) / root

        return (jax.tree.map(moved, w, first, second), first, second, t), None

    (w, *_), _ = jax.lax.scan(step, (layers, nothing, nothing, 0.0), batches)
    return w


@jax.jit
def one_round(layers: list, x: jax.Array, y: jax.Array, key: jax.Array) -> list:
    """The mean of all clients' models."""
    models = jax.vmap(trained, (None, 0, 0, 0))(layers, x, y, jax.random.split(key, len(x)))
    return jax.tree.map(lambda w: w.mean(0), models)


def main() -> None:
    """Check the loss after some rounds, then time rounds."""
    n_clients, n_rounds = workload.arguments()
    x, y = map(jnp.asarray, workload.rows(n_clients))
    layers = [(jnp.asarray(w), jnp.asarray(b)) for w, b in workload.first_weights()]
    key = jax.random.key(0)
    for t in range(n_rounds):
        layers = one_round(layers, x, y, jax.random.fold_in(key, t))
    final = float(loss(layers, x.reshape(-1, x.shape[-1]), y.reshape(-1, 1)))
    seconds: list[float] = []
    while sum(seconds) < SECONDS:
        start = time.perf_counter()
        layers = jax.block_until_ready(one_round(layers, x, y, jax.random.fold_in(key, n_rounds + len(seconds))))
        seconds.append(time.perf_counter() - start)
    workload.report(seconds, final, version=version("jax"))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
