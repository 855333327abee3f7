"""fluke (PyPI: fluke-fl): its `CentralizedFL`, which is federated averaging, in one process.

    python run_fluke.py N_CLIENTS N_ROUNDS

`persistency=False` makes each client forget its optimiser after the round, as all contenders do. Of its two
loaders it gets its own, the fast one.
"""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any
from unittest.mock import MagicMock

import torch
import torchmetrics  # noqa: F401  (it must not see the stand-in below)
import workload

if find_spec("torchvision") is None:
    # fluke imports it for its image data sets, which are not used here.
    for name in ("torchvision", "torchvision.datasets", "torchvision.models", "torchvision.transforms"):
        sys.modules[name] = MagicMock()

from fluke import FlukeENV
from fluke.algorithms import CentralizedFL
from fluke.client import Client
from fluke.config import OptimizerConfigurator
from fluke.data import FastDataLoader
from fluke.server import Server
from fluke.utils import FederationObserver


class Clock(FederationObserver):
    """Seconds of each round."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.seconds: list[float] = []

    def start_round(self, round: int, global_model: Any) -> None:
        self.starts.append(time.perf_counter())

    def end_round(self, round: int) -> None:
        self.seconds.append(time.perf_counter() - self.starts[-1])


def main() -> None:
    torch.set_num_threads(1)
    n_clients, n_rounds = workload.arguments()
    FlukeENV().set_device("cpu")
    FlukeENV().set_eval_cfg(pre_fit=False, post_fit=False, locals=False, server=False)
    x, y = workload.rows(n_clients)
    optimizer = OptimizerConfigurator(
        {"name": torch.optim.AdamW, "lr": workload.LEARNING_RATE, "weight_decay": workload.WEIGHT_DECAY}
    )
    clients = [
        Client(
            index=k,
            train_set=FastDataLoader(
                torch.from_numpy(x[k]),
                torch.from_numpy(y[k]),
                num_labels=1,
                batch_size=workload.BATCH_SIZE,
                shuffle=True,
            ),
            test_set=None,
            optimizer_cfg=optimizer,
            loss_fn=torch.nn.MSELoss(),
            local_epochs=workload.N_EPOCHS,
            persistency=False,
        )
        for k in range(n_clients)
    ]
    server = Server(workload.Model(), None, clients, weighted=True)
    algorithm = CentralizedFL(n_clients, None, {}, clients=clients, server=server)
    clock = Clock()
    algorithm.set_callbacks(clock)
    algorithm.run(n_rounds, 1.0)
    loss = workload.mean_squared_error(server.model, x, y)
    workload.report(clock.seconds[1:], loss, version=version("fluke-fl"))


if __name__ == "__main__":
    main()
