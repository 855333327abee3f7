"""What is to be trained: one federation with its own rows, seed and hyper-parameters, and the schedule."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from skfdrmfl.common.arrays import Present
from skfdrmfl.data.partition import Partition
from skfdrmfl.model.linear_part import Linear


@dataclass(frozen=True)
class Settings:
    """Hyper-parameters that may differ from run to run without changing a shape or a step count."""

    learning_rate: float
    weight_decay: float
    input_l1: float
    mi_weight: float
    kl_weight: float
    contrastive_weight: float
    temperature: float
    modality_dropout: float = 0.0


@dataclass(frozen=True)
class Run:
    """One federation, ready to train.

    Attributes
    ----------
    x : Tensor of shape (n, columns); y : Tensor of shape (n, q)
        Preprocessed rows. Runs may share one tensor.
    partition : Partition
    settings : Settings
    seed : int
    weights : Tensor of shape (D,)
        Global model to start from.
    history : tuple of Tensor of shape (D,)
        Earlier global models, the latest first.
    round_index : int
        Rounds completed before.
    present : ndarray of bool of shape (n, M), or None
        Which modalities each row has; None: all.
    held_out : Partition, default=None
        Rows that its clients hold out.
    linear : Linear, default=None
        After training the model is to predict `share` times what the network predicts plus this.
    share : float
    """

    x: Tensor
    y: Tensor
    partition: Partition
    settings: Settings
    seed: int
    weights: Tensor
    history: tuple[Tensor, ...] = ()
    round_index: int = 0
    present: Present | None = None
    held_out: Partition | None = None
    linear: Linear | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """What runs that train together have in common.

    rate_factors, one a round, multiply the learning rate; local_epochs is E; patience is how many rounds without
    a better error on the rows held out end a run, None if it does not stop early.
    """

    rate_factors: tuple[float, ...]
    local_epochs: int
    batch_size: int
    participation: float
    history_size: int
    patience: int | None = None
