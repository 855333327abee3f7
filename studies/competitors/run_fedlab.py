"""FedLab (PyPI: fedlab): its serial trainer and synchronous server, which is federated averaging, in one process.

    python run_fedlab.py N_CLIENTS N_ROUNDS

Its trainer makes one optimiser for all clients and rounds; here it gets a new one for each, as all contenders do.
"""

from __future__ import annotations

import logging
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any
from unittest.mock import MagicMock

import torch
import workload
from torch.utils.data import DataLoader, TensorDataset

if find_spec("torchvision") is None:
    # FedLab imports it for its image data sets, which are not used here.
    for name in ("torchvision", "torchvision.transforms"):
        sys.modules[name] = MagicMock()

from fedlab.contrib.algorithm.basic_client import SGDSerialClientTrainer
from fedlab.contrib.algorithm.basic_server import SyncServerHandler
from fedlab.core.standalone import StandalonePipeline


class Clients:
    """The data set that the trainer asks for loaders."""

    def __init__(self, n_clients: int):
        x, y = map(torch.from_numpy, workload.rows(n_clients))
        self.tables = [TensorDataset(*rows) for rows in zip(x, y, strict=True)]

    def get_dataloader(self, client: int, batch_size: int) -> DataLoader:
        return DataLoader(self.tables[client], batch_size=batch_size, shuffle=True)


class Trainer(SGDSerialClientTrainer):
    """FedLab's own loop, with this workload's loss and optimiser."""

    def train(self, model_parameters: torch.Tensor, train_loader: DataLoader) -> list[torch.Tensor]:
        self.optimizer = workload.optimizer(self._model.parameters())
        return super().train(model_parameters, train_loader)


class Timed(StandalonePipeline):
    """Seconds of each round: `evaluate` is what the pipeline calls at the end of one."""

    def __init__(self, *args: Any):
        super().__init__(*args)
        self.ends = [time.perf_counter()]

    def evaluate(self) -> None:
        self.ends.append(time.perf_counter())


def main() -> None:
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    n_clients, n_rounds = workload.arguments()
    trainer = Trainer(workload.Model(), n_clients)
    trainer.setup_dataset(Clients(n_clients))
    trainer.setup_optim(workload.N_EPOCHS, workload.BATCH_SIZE, workload.LEARNING_RATE)
    trainer.criterion = torch.nn.MSELoss()
    handler = SyncServerHandler(workload.Model(), n_rounds, 1.0)
    rounds = Timed(handler, trainer)
    rounds.main()
    seconds = [end - start for start, end in zip(rounds.ends, rounds.ends[1:], strict=False)]
    loss = workload.mean_squared_error(handler.model, *workload.rows(n_clients))
    workload.report(seconds[1:], loss, version=version("fedlab"))


if __name__ == "__main__":
    main()
