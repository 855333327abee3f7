"""What the server makes of a round, and what it keeps: an algorithm a file."""

from skfdrmfl.federation.algorithms.base import Algorithm
from skfdrmfl.federation.algorithms.fedavg import FedAvg
from skfdrmfl.federation.algorithms.fednova import FedNova
from skfdrmfl.federation.algorithms.fedprox import FedProx
from skfdrmfl.federation.algorithms.scaffold import Scaffold
from skfdrmfl.federation.algorithms.server_optimizers import FedAdam, FedAvgM, FedSGD

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
