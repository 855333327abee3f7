"""All clients at once: stacked weights, autograd, the fused optimiser, chunks that stay in cache."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from dataclasses import replace

import numpy as np

from skfdrmfl.common.arrays import Indices
from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.engines.base import Engine
from skfdrmfl.engines.batches import steps_per_epoch
from skfdrmfl.engines.chunk import Chunk, batches_of, shared_settings, widths_of
from skfdrmfl.engines.workspace import Workspace
from skfdrmfl.method.equations.optimizers import soft_threshold_
from skfdrmfl.method.network import Network
from skfdrmfl.method.objective import Batch, reference_codes, summary, term_means, term_shares, term_values
from skfdrmfl.protocol.messages import Broadcast, Update
from skfdrmfl.protocol.plan import TRAINING_DTYPE, ClientTask
from skfdrmfl.protocol.replicas import Replicas

# Parameters, gradient and moments of a chunk stay in cache up to about this size.
CHUNK_BYTES = 6_000_000
# Rows are gathered for as many steps at a time as fit here.
WINDOW_BYTES = 4_000_000


class TorchEngine(Engine):
    """All clients at once: leading replica axis, batched products, autograd, chunks that stay in cache."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._x, self._y = (torch.from_numpy(array).to(self.device) for array in (self.rows.x, self.rows.y))
        self._chunked: Indices | None = None  # of the chunks: who trains, and how wide
        self._chunks: list[Chunk] = []

    @staticmethod
    def chunking(
        network: Network, cohort: Replicas, participants: Indices, batch_size: int, client_task: ClientTask
    ) -> tuple[list[Indices], Indices]:
        """Return the chunks in which replicas train and answer, and `widths_of` each replica (R, 2) in its chunk."""
        batch_size, _ = batches_of(client_task, network, cohort.sizes, batch_size, 1)
        chunks = chunks_of(network, cohort, participants, batch_size, TRAINING_DTYPE.itemsize)
        widths = np.zeros((len(cohort.runs), 2), dtype=np.int64)
        for chunk in chunks:
            widths[chunk] = widths_of(cohort.sizes[chunk], batch_size)
        return chunks, widths

    def run_round(self, participants: Indices, broadcast: Broadcast) -> Iterator[Update]:
        """Train every participant from the broadcast weights; yield updates chunk by chunk."""
        broadcast = on_device(broadcast, self._x)
        widths = broadcast.widths
        company = participants if widths is None else np.column_stack((participants, widths[participants]))
        if self._chunked is None or not np.array_equal(company, self._chunked):
            self._chunks = [
                Chunk(
                    self.rows,
                    self._x,
                    replicas,
                    self.batch_size,
                    self.n_epochs,
                    of_epoch=not self.client_task.sends_parameters,
                    widths=None if widths is None else widths[replicas].max(0),
                )
                for replicas in chunks_of(
                    self.network, self.cohort, participants, self.batch_size, self.rows.x.itemsize, widths
                )
            ]
            self._chunked = company
            self._space = Workspace(self.network, max(len(chunk.replicas) for chunk in self._chunks), self._x)
        for chunk in self._chunks:
            with torch.no_grad():
                weights, losses, gradients = self._train(chunk, broadcast)
            found = (None if part is None else part.cpu().numpy() for part in (weights, losses, gradients))
            yield Update(chunk.replicas, *found)

    def _references(self, chunk: Chunk, broadcast: Broadcast) -> Tensor | None:
        """Return each row's unit Z under the broadcast model and under earlier ones (rows, 1 + H, c).

        A chunk that trained in the round before still has its rows' Z under all models but the newest.
        """
        if not (self.keep_history and chunk.needs_references):
            return None
        models = [broadcast.weights, *broadcast.history]
        kept = chunk.references if chunk.reference_round == broadcast.round_index - 1 else None
        n_new = 1 if kept is not None and kept.shape[1] >= len(models) - 1 else len(models)
        parts = [self._reference_pass(chunk, model.index_select(0, chunk.runs)) for model in models[:n_new]]
        if kept is not None and n_new == 1:
            parts.append(kept[:, : len(models) - 1])
        chunk.references = torch.cat(parts, 1)
        chunk.reference_round = broadcast.round_index
        return chunk.references if broadcast.history else None

    def _reference_pass(self, chunk: Chunk, weights: Tensor) -> Tensor:
        """Return the unit Z (rows, 1, c) of the chunk's rows, each under its client's row of `weights` (C, D)."""
        x, plan = self._x, chunk.reference_plan
        rows = torch.as_tensor(chunk.rows, device=x.device)
        views = self.network.layout.views(weights)
        present = None if chunk.present is None else torch.as_tensor(chunk.present, device=x.device)
        out = x.new_empty(len(chunk.rows), 1, self.network.n_components)
        for t, active in enumerate(plan.active.tolist()):
            step = chunk.reference_slots[int(plan.starts[t]) : int(plan.starts[t + 1])]
            batch = x.index_select(0, rows[step]).view(active, plan.width, -1)
            mask = None if present is None else present.index_select(0, step).view(active, plan.width, -1)
            narrow = {name: view[:active] for name, view in views.items()}
            out[step, 0] = reference_codes(self.network, narrow, batch, mask).flatten(0, 1)
        return out

    def _train(self, chunk: Chunk, broadcast: Broadcast) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return what the clients of a chunk send: weights, losses, and gradients where they are asked for."""
        network, cohort, plan = self.network, self.cohort, chunk.plan
        x, space = self._x, self._space
        references = self._references(chunk, broadcast)
        shift = None if broadcast.shift is None else broadcast.shift[torch.as_tensor(chunk.replicas, device=x.device)]
        pulled = bool(chunk.proximal_weight)
        space.open(broadcast.weights, chunk.runs, shift, anchored=pulled, summed=self._sums_gradients)
        rate = chunk.learning_rate * broadcast.rate_factor

        keys = cohort.keys(chunk.replicas, broadcast.round_index)
        slots = plan.draw(keys)
        masks = chunk.masks(slots, keys, len(network.encoders))
        slot_rows = chunk.rows[slots]
        rows = torch.as_tensor(slot_rows, device=x.device)
        y_rows = torch.as_tensor(plan.pairs(slot_rows), device=x.device)
        references = None if references is None else references[torch.as_tensor(slots, device=x.device)]
        totals: dict[str, Tensor] = {}
        active, lambdas = len(chunk.replicas), chunk.lambdas
        for t0, t1 in plan.step_ranges(WINDOW_BYTES // (x.element_size() * network.n_columns)):
            if plan.active[t0] != active:  # some clients are done, the rest are a prefix
                active = int(plan.active[t0])
                lambdas = {name: values[:active] for name, values in lambdas.items()}
                space.narrow(active)
            slots_now = slice(int(plan.starts[t0]), int(plan.starts[t1]))
            pairs = slice(2 * slots_now.start, 2 * slots_now.stop)
            shape = (t1 - t0, active, plan.width)
            window = Batch(
                x.index_select(0, rows[slots_now]).view(*shape, -1),
                self._y.index_select(0, y_rows[pairs]).view(t1 - t0, active, 2 * plan.width, -1),
                None if references is None else references[slots_now].view(*shape, *references.shape[1:]),
                chunk.weights[slots_now].view(shape),
                chunk.pair_weights[slots_now].view(shape),
                None if masks is None else masks[slots_now].view(*shape, -1),
            )
            shares = term_shares(network, window, lambdas)
            shares_of_steps = zip(*(share.unbind() for share in shares.values()), strict=True)
            found: list[dict[str, Tensor]] = []
            for batch, shares_now in zip(window.steps(), shares_of_steps, strict=True):
                with torch.enable_grad():
                    values = term_values(network, space.views, batch, lambdas)
                space.differentiate([values[name] for name in shares], shares_now)
                found.append({name: value.detach() for name, value in values.items()})
                if not self.client_task.sends_parameters:
                    continue
                space.step_(rate, chunk.weight_decay, chunk.proximal_weight)
                if chunk.input_l1 is not None:
                    for encoder in network.encoders.values():
                        soft_threshold_(space.views[encoder.first_weight], rate * chunk.input_l1[:active])
            values = {name: torch.stack([step[name] for step in found]) for name in found[0]}
            for name, of_steps in term_means(network, values, window).items():
                if name not in totals:
                    totals[name] = x.new_zeros(len(chunk.replicas))
                totals[name][:active] += of_steps.sum(0)
        means = {name: total / chunk.total_steps for name, total in totals.items()}
        losses = summary(means, chunk.lambdas)
        weights, gradients = space.close()
        if gradients is None:
            return weights, losses, None
        if not self.client_task.sends_parameters:
            return gradients, losses, None
        return weights, losses, gradients / chunk.total_steps.unsqueeze(-1)


def on_device(broadcast: Broadcast, like: Tensor) -> Broadcast:
    """Return what is broadcast as tensors of the type and device of `like`."""
    weights, shift, *history = (
        None if array is None else torch.as_tensor(array).to(like)
        for array in (broadcast.weights, broadcast.shift, *broadcast.history)
    )
    return replace(broadcast, weights=weights, history=tuple(history), shift=shift)


def chunks_of(
    network: Network,
    cohort: Replicas,
    participants: Indices,
    batch_size: int,
    n_bytes: int,
    widths: Indices | None = None,
) -> list[Indices]:
    """Return chunks of equal shared settings, most steps first, of `participants` (C,), sized to stay in cache.

    A run that fits is never cut, and runs share a chunk only if their batches are equally wide. Bits: see
    docs/maintainers.md, "chunks". Chunks follow from sizes alone: a server that has no rows knows them too. `n_bytes`
    are those of a number; `widths` (R, 2) are `widths_of` each replica, where they do not follow from those who are
    here.
    """
    sizes = cohort.sizes
    width = int(min(batch_size, sizes[participants].max()))
    most = max(1, CHUNK_BYTES // (n_bytes * (4 * network.layout.size + 4 * width * (network.n_columns + 64))))
    of_run = cohort.runs[participants]
    by_kind: dict[Hashable, list[Indices]] = {}
    for run in np.unique(of_run):
        members = participants[of_run == run]
        wide = widths_of(sizes[members], batch_size) if widths is None else tuple(widths[members].max(0).tolist())
        batches = by_kind.setdefault((shared_settings(cohort.settings[run]), *wide), [])
        if batches and len(batches[-1]) + len(members) <= most:
            batches[-1] = np.concatenate((batches[-1], members))
        else:
            batches.append(members)
    chunks = []
    for members in (members for batches in by_kind.values() for members in batches):
        steps = steps_per_epoch(sizes[members], batch_size)
        members = members[np.lexsort((-sizes[members], -steps))]
        chunks += np.array_split(members, -(-len(members) // most))
    return chunks
