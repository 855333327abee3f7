"""pfl (PyPI: pfl): `FederatedAveraging` on its `SimulatedBackend`, one process.

    python run_pfl.py N_CLIENTS N_ROUNDS

pfl slices a client's rows into batches once and does not shuffle them: a little less work than the others do.
Its evaluations before and after local training are switched off, except in the first round, which it insists on
and which is not timed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from importlib.metadata import version
from itertools import cycle

import torch
import workload
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.federated_dataset import FederatedDataset
from pfl.data.pytorch import PyTorchTensorDataset
from pfl.hyperparam.base import NNEvalHyperParams, NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel


class Network(workload.Model):
    """With the two methods that pfl asks of a module."""

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return ((self(x) - y) ** 2).mean()

    def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, Weighted]:
        return {"loss": Weighted(self.loss(x, y).item() * len(x), len(x))}


class Clock(TrainingProcessCallback):
    """Seconds of each round."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_begin(self, *, model: PyTorchModel) -> Metrics:
        self.times.append(time.perf_counter())
        return Metrics()

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        self.times.append(time.perf_counter())
        return False, Metrics()


def main() -> None:
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    n_clients, n_rounds = workload.arguments()
    x, y = workload.rows(n_clients)
    users = [
        PyTorchTensorDataset((torch.from_numpy(x[k]), torch.from_numpy(y[k])), user_id=str(k)) for k in range(n_clients)
    ]
    everyone: Iterator[int] = cycle(range(n_clients))
    data = FederatedDataset(users.__getitem__, lambda: next(everyone))
    network = Network()
    model = PyTorchModel(
        network,
        lambda parameters, lr: torch.optim.AdamW(parameters, lr=lr, weight_decay=workload.WEIGHT_DECAY),
        torch.optim.SGD(network.parameters(), lr=1.0),  # the average, applied as it is
    )
    clock = Clock()
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=n_rounds,
            evaluation_frequency=10**9,
            train_cohort_size=n_clients,
            val_cohort_size=None,
        ),
        backend=SimulatedBackend(data, data),
        model=model,
        model_train_params=NNTrainHyperParams(
            local_num_epochs=workload.N_EPOCHS,
            local_learning_rate=workload.LEARNING_RATE,
            local_batch_size=workload.BATCH_SIZE,
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=None),
        callbacks=[clock],
        send_metrics_to_platform=False,
    )
    seconds = [b - a for a, b in zip(clock.times[:-1], clock.times[1:], strict=True)]
    workload.report(seconds[1:], workload.mean_squared_error(network, x, y), version=version("pfl"))


if __name__ == "__main__":
    main()
