"""Flower (PyPI: flwr[simulation]): its simulation on Ray, as many clients at once as there are processors.

    python run_flower.py N_CLIENTS N_ROUNDS

Rounds are timed between the moments when the server configures them, so that starting Ray, about ten
seconds, does not count. A client's process makes the rows once and keeps them.
"""

from __future__ import annotations

import logging
import os
import time
from importlib.metadata import version
from typing import Any

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}

import itertools

import torch
import workload
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch.utils.data import DataLoader, TensorDataset

N_CLIENTS, N_ROUNDS = workload.arguments()

client_app = ClientApp()
server_app = ServerApp()


@client_app.train()
def train(message: Message, context: Context) -> Message:
    """One client's round."""
    torch.set_num_threads(1)
    k = int(context.node_config["partition-id"])
    x, y = (torch.from_numpy(a[k]) for a in workload.rows(int(context.node_config["num-partitions"])))
    model = workload.Model()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimizer = workload.optimizer(model.parameters())
    loader = DataLoader(TensorDataset(x, y), batch_size=workload.BATCH_SIZE, shuffle=True)
    for _ in range(workload.N_EPOCHS):
        for x_batch, y_batch in loader:
            optimizer.zero_grad()
            ((model(x_batch) - y_batch) ** 2).mean().backward()
            optimizer.step()
    reply = {
        "arrays": ArrayRecord(model.state_dict()),
        "metrics": MetricRecord({"num-examples": len(x)}),
    }
    return Message(content=RecordDict(reply), reply_to=message)


class TimedFedAvg(FedAvg):
    """Notes when each round begins."""

    starts: list[float]

    def configure_train(self, *args: Any, **kwargs: Any) -> Any:
        self.starts.append(time.perf_counter())
        return super().configure_train(*args, **kwargs)


@server_app.main()
def serve(grid: Grid, context: Context) -> None:
    """All rounds."""
    strategy = TimedFedAvg(
        fraction_train=1.0,
        fraction_evaluate=0.0,
        min_train_nodes=N_CLIENTS,
        min_available_nodes=N_CLIENTS,
    )
    strategy.starts = []
    model = workload.Model()
    result = strategy.start(grid=grid, initial_arrays=ArrayRecord(model.state_dict()), num_rounds=N_ROUNDS)
    strategy.starts.append(time.perf_counter())
    model.load_state_dict(result.arrays.to_torch_state_dict())
    starts = strategy.starts
    seconds = [b - a for a, b in itertools.pairwise(starts)]
    loss = workload.mean_squared_error(model, *workload.rows(N_CLIENTS))
    workload.report(seconds[1:], loss, version=version("flwr"))


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    run_simulation(
        server_app,
        client_app,
        num_supernodes=N_CLIENTS,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": os.cpu_count() or 1, "include_dashboard": False},
        },
    )
