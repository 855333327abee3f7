"""What the server makes of a round, and what it remembers: an algorithm a file."""

from skfdrmfl.federation.algorithms.base import Algorithm, Memory
from skfdrmfl.federation.algorithms.fedavg import FedAvg

ALGORITHMS: dict[str, Algorithm] = {"fedavg": FedAvg()}

__all__ = ["ALGORITHMS", "Algorithm", "FedAvg", "Memory"]
