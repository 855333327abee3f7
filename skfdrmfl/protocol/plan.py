"""What is to be trained: settings, schedule, and a plan that tells clients all they need to prepare."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import cos, pi

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Arrays
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.data.transforms import BlockTransform, TableTransform
from skfdrmfl.method.linear import Linear
from skfdrmfl.method.network import Network
from skfdrmfl.protocol.algorithm_state import AlgorithmState

# What is evaluated is of one precision, what trains of the other.
EXACT, TRAINING_DTYPE = np.dtype(np.float64), np.dtype(np.float32)


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters that may differ from run to run without changing a shape or a step count.

    `terms` holds the settings of the objective's terms, by name (`objective.term_settings`).
    """

    learning_rate: float
    weight_decay: float
    input_l1: float
    terms: Mapping[str, float] = field(hash=False)
    modality_dropout: float = 0.0
    proximal_weight: float = 0.0
    server_learning_rate: float = 1.0
    server_momentum: float = 0.0

    def by_name(self) -> dict[str, float]:
        """Return all of them by name, those of the terms beside the others."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "terms"} | dict(self.terms)


@dataclass(frozen=True)
class ClientTask:
    """What an algorithm has clients do in a round, and send."""

    # Whether clients take local steps and send the parameters these end with. If not, they stay at the broadcast model
    # and send, in the parameters' place, its gradient over all of their rows.
    sends_parameters: bool = True
    # Whether they send the mean of their steps' gradients too, as it was before any shift
    also_sends_mean_gradient: bool = False
    also_sends_steps: bool = False  # whether they send the number of their steps too


@dataclass(frozen=True)
class ServerStep:
    """What an algorithm's server does between rounds, for those who go through rounds in its place.

    Without any of these the mean of what clients send is the next model. Arrays are those of `AlgorithmState`, by name.
    """

    # Whether the next model is a step of Adam from the last, along the mean of gradients, with the decay of the
    # settings; or of parameters along the way to their mean, without. Of the server are "first", "second" and "steps".
    adam: bool = False
    # Whether each client adds the mean, by rows, of all "control" less its own to its gradients, and returns its mean
    # gradient as the next
    controls: bool = False


@dataclass(frozen=True)
class ClientPrivacy:
    """What protects clients in a round."""

    noise_multiplier: float  # sigma: standard deviation of the noise over the clip
    clip_norm: float  # C: the most that one client moves the sum, in l2
    sampling_rate: float  # q: probability with which each client takes part
    n_clients: int  # K, which is public
    # Share of updates that is to lie within the clip, which follows it; None: the clip stays
    target_share: float | None = None

    @property
    def n_expected(self) -> float:
        """Return q K, the number of clients expected in a round, whichever take part."""
        return self.sampling_rate * self.n_clients


def cosine_decay(t: int, n_rounds: int) -> float:
    """Return the factor on the learning rate in round t of n_rounds: from 1 towards 0 along half a cosine."""
    return 0.5 * (1.0 + cos(pi * t / n_rounds))


@dataclass(frozen=True)
class Schedule:
    """What runs that train together have in common."""

    rate_factors: tuple[float, ...]  # factor on the learning rate of each round
    local_epochs: int  # E
    batch_size: int
    participation: float  # share of the clients invited to a round
    history_size: int  # earlier global models kept as negatives
    # Rounds without a better error on the rows held out that end a run; None does not stop early
    patience: int | None = None
    algorithm: str = "fedavg"  # key of `ALGORITHMS`
    aggregation: str = "mean"  # key of `AGGREGATIONS`
    min_clients: int = 1  # A run of which fewer are there skips a round
    preaggregation: str | None = None  # key of `PREAGGREGATIONS`: what updates go through before they are aggregated
    n_byzantine: int = 0  # how many clients rules that need a number take for dishonest
    privacy: ClientPrivacy | None = None  # what protects clients; None: nothing

    @property
    def is_robust(self) -> bool:
        """Whether the server compares clients, and so needs what each sends and not only the total."""
        return self.aggregation != "mean" or self.preaggregation is not None


@dataclass(frozen=True, eq=False)
class Inputs:
    """What encoders read: a transformed table, each block padded with zero columns to a width."""

    transform: TableTransform
    widths: Mapping[str, int] | None = None  # None pads nothing
    dtype: np.dtype = EXACT  # precision to which the inputs are rounded


@dataclass(frozen=True, eq=False)
class Targets:
    """What networks learn: y after some standardisations, less what a linear model predicts, in units of `scale`."""

    steps: tuple[BlockTransform, ...]
    dtype: np.dtype = EXACT  # precision to which y is rounded after these
    linear: Linear | None = None  # what is subtracted, of the encoder inputs `inputs`
    inputs: Inputs | None = None
    scale: float = 1.0


@dataclass(frozen=True, eq=False)
class Model:
    """A network, its parameters, and what it reads."""

    network: Network
    arrays: Arrays
    inputs: Inputs


@dataclass(frozen=True)
class Start:
    """Where the server of a run begins."""

    weights: NDArray  # (D,), global model
    history: tuple[NDArray, ...] = ()  # each (D,), earlier global models, the latest first
    round_index: int = 0  # rounds completed before
    # What the algorithm keeps from earlier rounds, of all clients in the order of `clients_`
    memory: AlgorithmState = field(default_factory=AlgorithmState)
    # (rounds or more, K), which of `clients_` can be invited to each round to come; None: all
    available: NDArray[np.bool_] | None = None

    def last_there(self, n_rounds: int) -> NDArray[np.bool_] | None:
        """Return who is there (K,) in the last of some rounds, from 1, that anyone is there in; None: all."""
        if self.available is None:
            return None
        passed = self.available[: max(1, n_rounds)]
        somebody = np.flatnonzero(passed.any(1))
        return passed[somebody[-1]] if len(somebody) else np.zeros(passed.shape[1], dtype=bool)


@dataclass(frozen=True, eq=False)
class RunPlan:
    """What the clients of one run train on, and how."""

    inputs: Inputs
    targets: Targets
    settings: Settings
    seed: int
    start: Start  # where the server begins; clients are told round by round
    subset: Subset = EVERYTHING  # rows to train on
    held_out: Subset | None = None  # rows whose errors are asked for after each round


@dataclass(frozen=True, eq=False)
class Plan:
    """All that clients must know before the first round."""

    network: Network
    runs: tuple[RunPlan, ...]
    schedule: Schedule

    @property
    def as_told(self) -> Plan:
        """What clients are told of it: where a server begins is its own, they are told round by round."""
        nowhere = Start(np.zeros(0, TRAINING_DTYPE))
        return replace(self, runs=tuple(replace(run, start=nowhere) for run in self.runs))
