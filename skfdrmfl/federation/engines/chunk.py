"""The clients that train together: their rows, batches and weights of terms."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from skfdrmfl.common.arrays import U64, Indices
from skfdrmfl.federation.cohort import Cohort, term_weights
from skfdrmfl.federation.engines.batches import BatchPlan
from skfdrmfl.federation.engines.dropout import draw_kept

# The pass over all rows for the references takes this many batches' rows at a time.
REVIEW_BATCHES = 8


class Chunk:
    """Replicas trained together, all with the same learning rate and decay, most steps first."""

    def __init__(self, cohort: Cohort, replicas: Indices, batch_size: int, n_epochs: int):
        device, dtype = cohort.x.device, cohort.x.dtype
        self.replicas = replicas
        self.settings = [cohort.settings[run] for run in cohort.runs[replicas]]
        self.runs = torch.as_tensor(cohort.runs[replicas], device=device)
        self.plan = BatchPlan(cohort.sizes[replicas], batch_size, n_epochs)
        self.rows = np.concatenate([cohort.rows_of(r) for r in replicas])
        self.weights = torch.as_tensor(self.plan.weights, dtype=dtype, device=device)
        self.pair_weights = torch.as_tensor(self.plan.pair_weights, dtype=dtype, device=device)
        self.total_steps = torch.as_tensor(self.plan.total_steps, dtype=dtype, device=device)
        self.lambdas = term_weights(cohort, replicas)
        input_l1 = [s.input_l1 for s in self.settings]
        self.input_l1 = torch.tensor(input_l1, dtype=dtype, device=device)[:, None, None] if any(input_l1) else None
        # Unit Z of the rows under the models of recent rounds, the latest first, and that latest round.
        self.references: Tensor | None = None
        self.reference_round = -1
        # One pass over the rows in their own order, for the references.
        self.review = BatchPlan(cohort.sizes[replicas], REVIEW_BATCHES * batch_size, 1)
        self.review_slots = torch.as_tensor(self.review.in_order(), device=device)
        self.present = None if cohort.present is None else cohort.present[self.rows]
        self.dropout = cohort.dropout(replicas)

    def masks(self, slots: Indices, keys: U64, n_modalities: int) -> Tensor | None:
        """Which modalities the row in each slot has and is left (n_slots, M); None: all."""
        mask = None if self.present is None else self.present[slots]
        if self.dropout is not None:
            client, epoch = self.plan.whose()
            if mask is None:
                mask = np.ones((len(slots), n_modalities), dtype=bool)
            mask = draw_kept(keys[client], epoch, slots - self.plan.offsets[client], self.dropout[client], mask)
        return None if mask is None else torch.as_tensor(mask, device=self.weights.device)
