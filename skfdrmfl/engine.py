"""One `run_round`, two backends: all clients at once on stacked weights, or one after another.

`StackedEngine` uses the hand-derived gradient, the fused optimiser and batches padded inside a chunk.
`LoopEngine` is its oracle: autograd on the same objective, the optimiser written out, no padding, one client
at a time. Both draw the same rows in the same order, and their results agree to rounding.

A replica is one client of one run; a run is one federation (a candidate, a fold, a seed). To the engine they
are all the same thing: rows of one big stack, each with its own data and hyper-parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl import _streams, optimizer
from skfdrmfl.batches import BatchPlan, Indices, steps_per_epoch
from skfdrmfl.client import (
    TERMS,
    Batch,
    TermWeights,
    local_gradient,
    local_objective,
    reference_codes,
    soft_threshold_,
)
from skfdrmfl.network import Network

# Parameters, gradient and moments of a chunk stay in cache up to about this size.
CHUNK_BYTES = 6_000_000
# Rows are gathered for as many steps at a time as fit here.
WINDOW_BYTES = 4_000_000


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


@dataclass(frozen=True)
class Cohort:
    """The replicas of all runs, and the rows they train on.

    Attributes
    ----------
    x : Tensor of shape (N, columns); y : Tensor of shape (N, q)
        Preprocessed rows.
    rows : ndarray
        Row numbers in x and y, replica after replica: replica r owns `rows[offsets[r]:offsets[r + 1]]`.
    offsets : ndarray of shape (R + 1,)
    runs, positions, seeds : ndarray of shape (R,)
        Run of each replica, its client's position in `clients_`, and the run's seed.
    settings : tuple of Settings, one a run
    """

    x: Tensor
    y: Tensor
    rows: Indices
    offsets: Indices
    runs: Indices
    positions: Indices
    seeds: _streams.U64
    settings: tuple[Settings, ...]

    @property
    def sizes(self) -> Indices:
        """Rows of each replica."""
        return np.diff(self.offsets)

    def rows_of(self, replica: int) -> Indices:
        """Row numbers of one replica."""
        return self.rows[self.offsets[replica] : self.offsets[replica + 1]]

    def keys(self, replicas: Indices, round_index: int) -> _streams.U64:
        """Each replica's key of this round."""
        return _streams.client_keys(
            self.seeds[replicas], round_index, self.positions[replicas].astype(np.uint64)
        )


@dataclass(frozen=True)
class Broadcast:
    """What the server sends out at the start of a round.

    weights (runs, D); history, earlier global models (runs, D) each; the round's number; and the factor that
    the schedule puts on every learning rate.
    """

    weights: Tensor
    history: tuple[Tensor, ...]
    round_index: int
    rate_factor: float


@dataclass(frozen=True)
class Update:
    """What some replicas return: parameters (C, D), and loss terms averaged over their steps (C, terms)."""

    replicas: Indices
    weights: Tensor
    losses: Tensor


def _term_weights(cohort: Cohort, replicas: Indices) -> TermWeights:
    settings = [cohort.settings[run] for run in cohort.runs[replicas]]

    def column(values: list[float]) -> Tensor:
        return torch.tensor(values, dtype=cohort.x.dtype, device=cohort.x.device).unsqueeze(-1)

    def term(values: list[float]) -> Tensor | None:
        return column(values) if any(values) else None

    return TermWeights(
        term([s.mi_weight for s in settings]),
        term([s.kl_weight for s in settings]),
        term([s.contrastive_weight for s in settings]),
        column([s.temperature for s in settings]),
    )


class _Chunk:
    """Replicas trained together, all with the same learning rate and decay, most steps first."""

    def __init__(self, cohort: Cohort, replicas: Indices, batch_size: int, n_epochs: int):
        device, dtype = cohort.x.device, cohort.x.dtype
        self.replicas = replicas
        self.settings = [cohort.settings[run] for run in cohort.runs[replicas]]
        self.runs = torch.as_tensor(cohort.runs[replicas], device=device)
        self.plan = BatchPlan(cohort.sizes[replicas], batch_size, n_epochs)
        self.review = BatchPlan(cohort.sizes[replicas], 8 * batch_size, 1)
        self.rows = np.concatenate([cohort.rows_of(r) for r in replicas])
        self.weights = torch.as_tensor(self.plan.weights, dtype=dtype, device=device)
        self.pair_weights = torch.as_tensor(self.plan.pair_weights, dtype=dtype, device=device)
        self.total_steps = torch.as_tensor(self.plan.total_steps, dtype=dtype, device=device)
        self.lambdas = _term_weights(cohort, replicas)
        input_l1 = [s.input_l1 for s in self.settings]
        self.input_l1 = (
            torch.tensor(input_l1, dtype=dtype, device=device)[:, None, None] if any(input_l1) else None
        )


class StackedEngine:
    """All clients at once: leading replica axis, batched products, chunks that stay in cache."""

    def __init__(self, network: Network, cohort: Cohort, *, batch_size: int, n_epochs: int):
        self.network, self.cohort = network, cohort
        self.batch_size, self.n_epochs = batch_size, n_epochs
        self._participants: Indices | None = None
        self._chunks: list[_Chunk] = []

    def run_round(self, participants: Indices, broadcast: Broadcast) -> Iterator[Update]:
        """Train every participant from the broadcast weights; yield updates chunk by chunk."""
        if self._participants is None or not np.array_equal(participants, self._participants):
            self._chunks = [
                _Chunk(self.cohort, replicas, self.batch_size, self.n_epochs)
                for replicas in self._split(participants)
            ]
            self._participants = participants
        for chunk in self._chunks:
            yield self._train(chunk, broadcast)

    def _split(self, participants: Indices) -> list[Indices]:
        """Chunks of equal optimiser settings and similar step counts, sized to stay in cache."""
        sizes = self.cohort.sizes[participants]
        steps = steps_per_epoch(sizes, self.batch_size)
        kinds: dict[tuple[float, float], int] = {}
        settings = self.cohort.settings
        kind_of_run = np.array(
            [kinds.setdefault((s.learning_rate, s.weight_decay), len(kinds)) for s in settings]
        )
        kind = kind_of_run[self.cohort.runs[participants]]
        order = np.lexsort((-sizes, -steps, kind))
        width = int(min(self.batch_size, sizes.max()))
        bytes_each = self.cohort.x.element_size() * (
            4 * self.network.layout.size + 4 * width * (self.network.n_columns + 64)
        )
        most = max(1, CHUNK_BYTES // bytes_each)
        chunks = []
        for k in range(len(kinds)):
            members = participants[order[kind[order] == k]]
            if len(members):
                chunks += np.array_split(members, -(-len(members) // most))
        return chunks

    def _references(self, chunk: _Chunk, broadcast: Broadcast, weights: Tensor) -> Tensor | None:
        """Each row's unit Z under the broadcast model and under earlier ones (rows, 1 + H, c)."""
        if chunk.lambdas.contrastive is None or not broadcast.history:
            return None
        x, plan = self.cohort.x, chunk.review
        local = torch.as_tensor(plan.in_order(), device=x.device)
        rows = torch.as_tensor(chunk.rows, device=x.device)[local]
        n_sets = 1 + len(broadcast.history)
        out = x.new_empty(len(chunk.rows), n_sets, self.network.n_components)
        sets = [weights, *(h.index_select(0, chunk.runs) for h in broadcast.history)]
        views = [self.network.layout.views(s) for s in sets]
        for t, active in enumerate(plan.active.tolist()):
            here = slice(int(plan.starts[t]), int(plan.starts[t + 1]))
            batch = x.index_select(0, rows[here]).view(active, plan.width, -1)
            for h in range(n_sets):
                narrow = {name: view[:active] for name, view in views[h].items()}
                out[local[here], h] = reference_codes(self.network, narrow, batch).flatten(0, 1)
        return out

    def _train(self, chunk: _Chunk, broadcast: Broadcast) -> Update:
        network, cohort, plan = self.network, self.cohort, chunk.plan
        device = cohort.x.device
        w = broadcast.weights.index_select(0, chunk.runs)
        references = self._references(chunk, broadcast, w)
        gradient = torch.zeros_like(w)
        moments = optimizer.Moments.fresh(w)
        views, grads = network.layout.views(w), network.layout.views(gradient)
        thin_weights = [encoder.first_weight for encoder in network.encoders.values()]
        totals = w.new_zeros(len(chunk.replicas), len(TERMS))
        rate = chunk.settings[0].learning_rate * broadcast.rate_factor
        decay = chunk.settings[0].weight_decay

        slots = plan.draw(cohort.keys(chunk.replicas, broadcast.round_index))
        rows = torch.as_tensor(chunk.rows[slots], device=device)
        partner_rows = rows[torch.as_tensor(plan.partners, device=device)]
        local = torch.as_tensor(slots, device=device)
        y, y_marginal = cohort.y.index_select(0, rows), cohort.y.index_select(0, partner_rows)
        window_slots = WINDOW_BYTES // (cohort.x.element_size() * network.n_columns)

        active, lambdas = len(chunk.replicas), chunk.lambdas
        v, g, m, w_now, g_now = views, grads, moments, w, gradient
        for t0, t1 in plan.windows(window_slots):
            first = int(plan.starts[t0])
            x = cohort.x.index_select(0, rows[first : int(plan.starts[t1])])
            for t in range(t0, t1):
                if plan.active[t] != active:  # some clients are done: the rest are a prefix
                    active = int(plan.active[t])
                    lambdas = chunk.lambdas.narrow(active)
                    v = {name: view[:active] for name, view in views.items()}
                    g = {name: view[:active] for name, view in grads.items()}
                    w_now, g_now = w[:active], gradient[:active]
                    m = optimizer.Moments(moments.first[:active], moments.second[:active], moments.step)
                here = slice(int(plan.starts[t]), int(plan.starts[t + 1]))
                shape = (active, plan.width, -1)
                batch = Batch(
                    x[here.start - first : here.stop - first].view(shape),
                    y[here].view(shape),
                    y_marginal[here].view(shape),
                    None
                    if references is None
                    else references.index_select(0, local[here]).unflatten(0, shape[:2]),
                    chunk.weights[here].view(shape[:2]),
                    chunk.pair_weights[here].view(shape[:2]),
                )
                totals[:active] += local_gradient(network, v, g, batch, lambdas)
                optimizer.step_(w_now, g_now, m, rate, decay)
                if chunk.input_l1 is not None:
                    for name in thin_weights:
                        soft_threshold_(v[name], rate * chunk.input_l1[:active])
        return Update(chunk.replicas, w, totals / chunk.total_steps.unsqueeze(-1))


class LoopEngine:
    """One client after another, as a federation would run: the oracle of `StackedEngine`."""

    def __init__(self, network: Network, cohort: Cohort, *, batch_size: int, n_epochs: int):
        self.network, self.cohort = network, cohort
        self.batch_size, self.n_epochs = batch_size, n_epochs

    def run_round(self, participants: Indices, broadcast: Broadcast) -> Iterator[Update]:
        """Train every participant from the broadcast weights; yield updates client by client."""
        for replica in participants:
            yield self._train(int(replica), broadcast)

    def _train(self, replica: int, broadcast: Broadcast) -> Update:
        network, cohort = self.network, self.cohort
        run = int(cohort.runs[replica])
        settings = cohort.settings[run]
        rows = torch.as_tensor(cohort.rows_of(replica), device=cohort.x.device)
        x, y = cohort.x[rows], cohort.y[rows]
        lambdas = _term_weights(cohort, np.array([replica]))

        w = broadcast.weights[run : run + 1].clone()
        references = None
        if lambdas.contrastive is not None and broadcast.history:
            models = [w, *(h[run : run + 1] for h in broadcast.history)]
            references = torch.stack(
                [reference_codes(network, network.layout.views(model), x[None]) for model in models], -2
            )
        moments = optimizer.Moments.fresh(w)
        rate = settings.learning_rate * broadcast.rate_factor
        totals = w.new_zeros(1, len(TERMS))
        batches = self._batches(replica, broadcast.round_index)
        for batch_rows in batches:
            index = torch.as_tensor(batch_rows, device=x.device)
            n = len(batch_rows)
            share = x.new_full((1, n), 1.0 / n)
            batch = Batch(
                x[index][None],
                y[index][None],
                y[index.roll(-1)][None],
                None if references is None else references[:, index],
                share,
                share if n > 1 else torch.zeros_like(share),
            )
            with torch.enable_grad():
                w.requires_grad_()
                values = local_objective(network, network.layout.views(w), batch, lambdas)
                (gradient,) = torch.autograd.grad(values[0, 0], w)
            w.requires_grad_(False)
            totals += values.detach()
            optimizer.adam_step_(w, gradient, moments, rate, settings.weight_decay)
            if settings.input_l1:
                views = network.layout.views(w)
                for encoder in network.encoders.values():
                    soft_threshold_(views[encoder.first_weight], rate * settings.input_l1)
        return Update(np.array([replica]), w, totals / len(batches))

    def _batches(self, replica: int, round_index: int) -> list[Indices]:
        """Row numbers (within the client) of each step: equal batches of each epoch's own order."""
        seed, position = int(self.cohort.seeds[replica]), int(self.cohort.positions[replica])
        n = len(self.cohort.rows_of(replica))
        n_steps = int(steps_per_epoch(np.array(n), self.batch_size))
        ends = [n * j // n_steps for j in range(1, n_steps)]
        batches: list[NDArray[np.int64]] = []
        for epoch in range(self.n_epochs):
            batches += np.split(_streams.permutation(seed, round_index, position, epoch, n), ends)
        return batches


ENGINES = {"stacked": StackedEngine, "loop": LoopEngine}
