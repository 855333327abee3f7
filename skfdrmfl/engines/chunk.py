"""The clients that train together: their rows, batches and hyper-parameters."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields

import numpy as np

from skfdrmfl.common.arrays import U64, Indices
from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.engines.batches import BatchPlan, batch_width
from skfdrmfl.engines.dropout import draw_kept
from skfdrmfl.engines.rows import TrainingRows
from skfdrmfl.method.network import Network
from skfdrmfl.method.objective import lambdas_of, terms_of, uses
from skfdrmfl.protocol.plan import ClientTask, Settings

# The pass over all rows for the references takes this many batches' rows at a time.
REFERENCE_BATCHES = 8
TRAIN = ClientTask()
# Settings that only the server reads.
OF_SERVER = frozenset({"server_learning_rate", "server_momentum"})
# Settings of which each client of a chunk has its own; the others are one number for the whole chunk.
OF_EACH_CLIENT = frozenset({"terms", "input_l1", "modality_dropout"})


def shared_settings(settings: Settings) -> Hashable:
    """Return the settings that all clients of a chunk must have in common: every one that is not of each client."""
    return tuple(getattr(settings, f.name) for f in fields(settings) if f.name not in OF_EACH_CLIENT | OF_SERVER)


def batches_of(
    client_task: ClientTask, network: Network, sizes: Indices, batch_size: int, n_epochs: int
) -> tuple[int, int]:
    """Return most rows in a batch and the number of epochs of a round.

    Where clients take no step it is one pass over all rows, in batches that are larger, which costs less.
    """
    if client_task.sends_parameters:
        return batch_size, n_epochs
    whole = any(term.of == "batch" for term in terms_of(network))
    return int(sizes.max()) if whole else REFERENCE_BATCHES * batch_size, 1


def widths_of(sizes: Indices, batch_size: int) -> tuple[int, int]:
    """Return the slots of a batch, and of one of the pass for the references, of clients of `sizes` rows together."""
    return batch_width(sizes, batch_size), batch_width(sizes, REFERENCE_BATCHES * batch_size)


class Chunk:
    """Replicas trained together, alike in their shared settings, most steps first.

    Tensors are of the type and device of `like`. With `of_epoch`, rows are weighed for one sum over an epoch, and not
    for a step with each batch. `widths` are those of `widths_of`, None where they follow from the replicas that are
    here.
    """

    def __init__(
        self,
        rows: TrainingRows,
        like: Tensor,
        replicas: Indices,
        batch_size: int,
        n_epochs: int,
        *,
        of_epoch: bool = False,
        widths: Indices | None = None,
    ):
        cohort, device, dtype = rows.cohort, like.device, like.dtype
        self.replicas = replicas
        settings = [cohort.settings[run] for run in cohort.runs[replicas]]
        self.learning_rate, self.weight_decay = settings[0].learning_rate, settings[0].weight_decay
        self.proximal_weight = settings[0].proximal_weight
        self.runs = torch.as_tensor(cohort.runs[replicas], device=device)
        width, reference_width = (None, None) if widths is None else widths.tolist()
        self.plan = BatchPlan(cohort.sizes[replicas], batch_size, n_epochs, width)
        self.rows = np.concatenate([rows.rows_of(r) for r in replicas])
        self.weights = torch.as_tensor(self.plan.weights, dtype=dtype, device=device)
        self.pair_weights = torch.as_tensor(self.plan.pair_weights, dtype=dtype, device=device)
        self.total_steps = torch.as_tensor(self.plan.total_steps, dtype=dtype, device=device)
        if of_epoch:  # of all rows each has an equal share, not of its batch
            share = (1.0 / self.total_steps.new_tensor(cohort.sizes[replicas]))[self.plan.clients_and_epochs()[0]]
            self.weights = torch.where(self.weights > 0, share, 0.0)
            self.pair_weights = torch.where(self.pair_weights > 0, share, 0.0)
            self.total_steps = torch.ones_like(self.total_steps)
        self.lambdas = lambdas_of([s.terms for s in settings], like)
        self.needs_references = any(uses(s.terms, "references") for s in settings)
        input_l1 = [s.input_l1 for s in settings]
        self.input_l1 = torch.tensor(input_l1, dtype=dtype, device=device)[:, None, None] if any(input_l1) else None
        # Unit Z of the rows under the models of recent rounds, the latest first, and that latest round.
        self.references: Tensor | None = None
        self.reference_round = -1
        # One pass over the rows in their own order, for the references.
        self.reference_plan = BatchPlan(cohort.sizes[replicas], REFERENCE_BATCHES * batch_size, 1, reference_width)
        self.reference_slots = torch.as_tensor(self.reference_plan.in_order(), device=device)
        self.present = None if rows.present is None else rows.present[self.rows]
        self.dropout = cohort.dropout(replicas)

    def masks(self, slots: Indices, keys: U64, n_modalities: int) -> Tensor | None:
        """Return which modalities the row in each slot has and is left (n_slots, M); None: all."""
        mask = None if self.present is None else self.present[slots]
        if self.dropout is not None:
            client, epoch = self.plan.clients_and_epochs()
            if mask is None:
                mask = np.ones((len(slots), n_modalities), dtype=bool)
            mask = draw_kept(keys[client], epoch, slots - self.plan.offsets[client], self.dropout[client], mask)
        return None if mask is None else torch.as_tensor(mask, device=self.weights.device)
