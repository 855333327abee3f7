"""What the server makes of a round, and what it keeps: an algorithm a file."""

from skfdrmfl.server.algorithms.base import Algorithm
from skfdrmfl.server.algorithms.fedavg import FedAvg
from skfdrmfl.server.algorithms.fednova import FedNova
from skfdrmfl.server.algorithms.fedprox import FedProx
from skfdrmfl.server.algorithms.scaffold import Scaffold
from skfdrmfl.server.algorithms.server_optimizers import FedAdam, FedAvgM, FedSGD

ALGORITHMS: dict[str, Algorithm] = {
    "fedavg": FedAvg(),
    "fedprox": FedProx(),
    "scaffold": Scaffold(),
    "fedavgm": FedAvgM(),
    "fedadam": FedAdam(),
    "fedsgd": FedSGD(),
    "fednova": FedNova(),
}

__all__ = ["ALGORITHMS", "Algorithm", "FedAdam", "FedAvg", "FedAvgM", "FedNova", "FedProx", "FedSGD", "Scaffold"]
