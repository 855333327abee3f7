"""Early stopping: the clients hold out rows of their own, and the model that errs least on them is kept."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.equations import prediction
from skfdrmfl.federation.cohort import Cohort
from skfdrmfl.federation.engines.batches import LANES
from skfdrmfl.model.mlp import Views
from skfdrmfl.model.network import Network

# Numbers gathered at a time to be sent through the network.
SLAB = 4_000_000


class EarlyStopping:
    """Follows each run's squared error on the rows its clients hold out, from before the first round on.

    Parameters
    ----------
    network : Network
    cohort : Cohort
        Every run of it holds out some rows.
    patience : int
        Rounds without a new best after which a run is done.
    weights : Tensor of shape (runs, D)
        The models before the first round.

    Attributes
    ----------
    best : Tensor of shape (runs, D)
        The model of each run's best round, or the one before all rounds if none was better.
    best_round : ndarray of shape (runs,)
        How many rounds it had been trained for.
    """

    def __init__(self, network: Network, cohort: Cohort, patience: int, weights: Tensor):
        self.network, self.x, self.y, self.patience = network, cohort.x, cohort.y, patience
        self.present = None if cohort.present is None else torch.as_tensor(cohort.present, device=cohort.x.device)
        x, held_out = cohort.x, cohort.held_out
        self._n_rounds = 0
        self.best_round = np.zeros(len(held_out), dtype=np.int64)
        self.best = weights
        # Runs of as many rows, in multiples of `LANES`, go through the network together: so a run's error is the
        # same, to the last bit, whatever other runs there are.
        self._groups: list[tuple[Tensor, Tensor, Tensor]] = []
        padded = np.array([-(-len(rows) // LANES) * LANES for rows in held_out])
        for n_slots in np.unique(padded).tolist():
            runs = np.flatnonzero(padded == n_slots).tolist()
            slots = np.stack([np.resize(held_out[run], n_slots) for run in runs])
            sizes = np.array([[len(held_out[run])] for run in runs])
            shares = np.where(np.arange(n_slots) < sizes, 1.0 / sizes, 0.0)
            group = torch.as_tensor(runs), torch.as_tensor(slots), torch.as_tensor(shares, dtype=x.dtype)
            self._groups.append((group[0].to(x.device), group[1].to(x.device), group[2].to(x.device)))
        self._lowest = self._errors(weights)

    def follow(self, weights: Tensor) -> NDArray[np.float64]:
        """Errors (runs,) of the models (runs, D) that a round ended with."""
        errors = self._errors(weights)
        self._n_rounds += 1
        better = errors < self._lowest
        self._lowest[better] = errors[better]
        self.best_round[better] = self._n_rounds
        self.best = torch.where(torch.as_tensor(better, device=weights.device).unsqueeze(-1), weights, self.best)
        return errors

    @property
    def done(self) -> NDArray[np.bool_]:
        """Runs that have gone `patience` rounds without a new best."""
        return self._n_rounds - self.best_round >= self.patience

    def _errors(self, weights: Tensor) -> NDArray[np.float64]:
        """Mean squared error (runs,) of each run on its rows: the sum of what its clients would send."""
        errors = np.empty(len(weights))
        for runs, slots, shares in self._groups:
            step = max(1, SLAB // (slots.shape[1] * self.x.shape[1]))
            for i in range(0, len(runs), step):
                here = slice(i, i + step)
                views = self.network.layout.views(weights.index_select(0, runs[here]))
                parts = slots[here].split(max(LANES, SLAB // self.x.shape[1] // LANES * LANES), 1)
                squares = torch.cat([self._squared_errors(views, rows) for rows in parts], 1)
                errors[runs[here].cpu().numpy()] = (squares * shares[here]).sum(-1).cpu().numpy()
        return errors

    def _squared_errors(self, views: Views, rows: Tensor) -> Tensor:
        """Of each row (runs, B)."""
        mask = None if self.present is None else self.present[rows]
        y_hat = self.network.forward(views, self.x[rows], mask, tape=False).y_hat
        return prediction.squared_error(y_hat, self.y[rows])
