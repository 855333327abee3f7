"""The work that every contender does: same rows, same network, same first weights, same optimiser.

One round of federated averaging over K clients with 64 rows of 100 columns: each client starts from the global
model with a fresh AdamW and trains 3 epochs in shuffled batches of 32; the server averages. This module
needs only NumPy and PyTorch, so that it runs in any contender's environment.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

N_ROWS, N_COLUMNS = 64, 100  # of one client
LAYERS = (100, 64, 64, 8, 2, 1)  # silu after the first two; the 8 -> 2 -> 1 at the end is fusion and head
N_EPOCHS, BATCH_SIZE = 3, 32
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.01


@cache
def rows(n_clients: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of all clients, (K, 64, 100) and (K, 64, 1), float32: a smooth function of 20 columns, and noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n_clients, N_ROWS, N_COLUMNS), dtype=np.float32)
    direction = np.random.default_rng(1).standard_normal(20).astype(np.float32) / np.float32(np.sqrt(20))
    y = np.tanh(2.0 * x[..., :20] @ direction) + 0.1 * rng.standard_normal(x.shape[:2], dtype=np.float32)
    return x, y[..., None].astype(np.float32)


def first_weights() -> list[tuple[np.ndarray, np.ndarray]]:
    """Weight (out, in) and bias (out,) of each layer, float32."""
    rng = np.random.default_rng(2)
    return [
        (
            (rng.standard_normal((wide_out, wide_in)) / np.sqrt(wide_in)).astype(np.float32),
            np.zeros(wide_out, dtype=np.float32),
        )
        for wide_in, wide_out in itertools.pairwise(LAYERS)
    ]


class Model(nn.Sequential):
    """The network in plain PyTorch, at the first weights."""

    def __init__(self) -> None:
        dense = [nn.Linear(i, o) for i, o in itertools.pairwise(LAYERS)]
        super().__init__(dense[0], nn.SiLU(), dense[1], nn.SiLU(), *dense[2:])
        with torch.no_grad():
            for layer, (weight, bias) in zip(dense, first_weights(), strict=True):
                layer.weight.copy_(torch.from_numpy(weight))
                layer.bias.copy_(torch.from_numpy(bias))


def optimizer(parameters: object) -> torch.optim.AdamW:
    """A client's optimiser, new in every round."""
    return torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)  # type: ignore[arg-type]


def mean_squared_error(model: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Of the global model, over all clients' rows."""
    with torch.no_grad():
        predicted: Tensor = model(torch.from_numpy(x).flatten(0, 1))
        return float(((predicted - torch.from_numpy(y).flatten(0, 1)) ** 2).mean())


def arguments() -> tuple[int, int]:
    """K and the number of rounds, from the command line of a contender's script."""
    n_clients, n_rounds = map(int, sys.argv[1:])
    return n_clients, n_rounds


def report(seconds: Sequence[float], final_loss: float, **more: object) -> None:
    """Print the result of a contender's script: one line of JSON, the last on standard output."""
    result = {"seconds": list(seconds), "final_loss": final_loss, **more}
    print(json.dumps(result), flush=True)
