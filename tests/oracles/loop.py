"""One client after another, as a federation would run: the oracle of the engines.

Autograd on the same objective, the optimiser written out, no padding, one client at a time.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from oracles.adam import plain_adam_step_
from oracles.order import permutation
from skfdrmfl.common.arrays import Indices, Present
from skfdrmfl.engines.base import Engine
from skfdrmfl.engines.batches import steps_per_epoch
from skfdrmfl.engines.dropout import draw_kept
from skfdrmfl.engines.torch import on_device
from skfdrmfl.method.equations.optimizers import soft_threshold_
from skfdrmfl.method.objective import Batch, lambdas_of, local_objective, reference_codes, term_names, uses
from skfdrmfl.protocol.messages import Broadcast, Update


class LoopEngine(Engine):
    """One client after another, as a federation would run."""

    def run_round(self, participants: Indices, broadcast: Broadcast) -> Iterator[Update]:
        """Train every participant from the broadcast weights; yield updates client by client."""
        self._x, self._y = torch.as_tensor(self.rows.x), torch.as_tensor(self.rows.y)
        broadcast = on_device(broadcast, self._x)
        for replica in participants:
            found = self._train(int(replica), broadcast)
            yield Update(np.array([replica]), *(None if part is None else part.numpy() for part in found))

    def _train(self, replica: int, broadcast: Broadcast) -> tuple[Tensor, Tensor, Tensor | None]:
        network, cohort = self.network, self.cohort
        run = int(cohort.runs[replica])
        settings = cohort.settings[run]
        mine = self.rows.rows_of(replica)
        rows = torch.as_tensor(mine, device=self._x.device)
        x, y = self._x[rows], self._y[rows]
        present = None if self.rows.present is None else self.rows.present[mine]
        mask = None if present is None else torch.as_tensor(present, device=x.device)[None]
        lambdas = lambdas_of([settings.terms], x)

        w = broadcast.weights[run : run + 1].clone()
        references = None
        if uses(settings.terms, "references") and broadcast.history:
            models = [w, *(h[run : run + 1] for h in broadcast.history)]
            references = torch.stack(
                [reference_codes(network, network.layout.views(model), x[None], mask) for model in models], -2
            )
        start, first, second, sum_of_gradients = w.clone(), *torch.zeros(3, *w.shape, dtype=w.dtype, device=w.device)
        step = torch.zeros((), dtype=torch.float32, device=x.device)
        rate = settings.learning_rate * broadcast.rate_factor
        totals = dict.fromkeys(term_names(), torch.zeros((), dtype=x.dtype, device=x.device))
        batches = self._batches(replica, broadcast.round_index)
        n_means = len(batches) if self.client_task.sends_parameters else 1
        for i, batch_rows in enumerate(batches):
            index = torch.as_tensor(batch_rows, device=x.device)
            n = len(batch_rows)
            share = x.new_full((1, n), 1.0 / (n if self.client_task.sends_parameters else len(mine)))
            batch = Batch(
                x[index][None],
                y[torch.cat((index, index.roll(-1)))][None],
                None if references is None else references[:, index],
                share,
                share if n > 1 else torch.zeros_like(share),
                self._mask(replica, broadcast.round_index, i * self.n_epochs // len(batches), batch_rows, present),
            )
            with torch.enable_grad():
                w.requires_grad_()
                terms = local_objective(network, network.layout.views(w), batch, lambdas)
                (gradient,) = torch.autograd.grad(terms["loss"].sum(), w)
            w.requires_grad_(False)
            totals |= {name: totals[name] + value.detach() for name, value in terms.items()}
            sum_of_gradients = sum_of_gradients + gradient
            if not self.client_task.sends_parameters:
                continue
            if broadcast.shift is not None:
                gradient = gradient + broadcast.shift[replica]
            if settings.proximal_weight:
                gradient = gradient + settings.proximal_weight * (w - start)
            plain_adam_step_(w, gradient, first, second, step, rate, settings.weight_decay)
            if settings.input_l1:
                views = network.layout.views(w)
                for encoder in network.encoders.values():
                    soft_threshold_(views[encoder.first_weight], rate * settings.input_l1)
        means = torch.stack([totals[name].expand(1) for name in term_names()], -1) / n_means
        if not self.client_task.sends_parameters:
            return sum_of_gradients, means, None
        gradients = sum_of_gradients / len(batches) if self.client_task.also_sends_mean_gradient else None
        return w, means, gradients

    def _mask(
        self, replica: int, round_index: int, epoch: int, batch_rows: Indices, present: Present | None
    ) -> Tensor | None:
        """Return which modalities are left to each row of a batch (1, B, M); None: all."""
        left = None if present is None else present[batch_rows]
        one = np.array([replica])
        probability = self.cohort.dropout(one)
        if probability is not None:
            n = len(batch_rows)
            if left is None:
                left = np.ones((n, len(self.network.encoders)), dtype=bool)
            key = self.cohort.keys(one, round_index)
            left = draw_kept(key.repeat(n), np.full(n, epoch), batch_rows, probability.repeat(n), left)
        return None if left is None else torch.as_tensor(left, device=self._x.device)[None]

    def _batches(self, replica: int, round_index: int) -> list[Indices]:
        """Return the row numbers (within the client) of each step: equal batches of each epoch's own order."""
        seed, position = int(self.cohort.seeds[replica]), int(self.cohort.positions[replica])
        n = len(self.rows.rows_of(replica))
        n_steps = int(steps_per_epoch(np.array(n), self.batch_size))
        ends = [n * j // n_steps for j in range(1, n_steps)]
        batches: list[Indices] = []
        for epoch in range(self.n_epochs):
            batches += np.split(permutation(seed, round_index, position, epoch, n), ends)
        return batches
