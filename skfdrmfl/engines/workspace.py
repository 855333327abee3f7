"""The memory in which the clients of a chunk train: allocated once, used by every chunk."""

from __future__ import annotations

from collections.abc import Sequence

from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.method.equations.optimizers import adam_step_
from skfdrmfl.method.network import Network

# Rows of the memory. Some algorithms alone use the last three: what is added to every gradient, where clients started
# from, to which they are pulled back, and the sum of gradients as they were before any pull.
WEIGHTS, GRADIENT, FIRST_MOMENT, SECOND_MOMENT, SHIFT, ANCHOR, SUM = range(7)


class Workspace:
    """Parameters, gradient and moments of the chunk in training, of `most_clients` at most.

    In each row of the memory, every array of all clients is contiguous (`ParameterLayout.stacked`). The optimiser
    always steps over whole vectors; clients who are done are put aside, and what it does to their places is of no
    consequence. Bits: see docs/maintainers.md, "whole vectors". `like` is of the type and device of the rows.
    """

    def __init__(self, network: Network, most_clients: int, like: Tensor):
        self._layout = network.layout
        self._memory = like.new_zeros(SUM + 1, most_clients * self._layout.size)
        self._step = torch.zeros((), dtype=torch.float32, device=like.device)
        self._laid_out: tuple[int, list[int]] = (0, [])  # places, and rows in use

    def open(self, models: Tensor, runs: Tensor, shift: Tensor | None, *, anchored: bool, summed: bool) -> None:
        """Start each client from its run's row (C,) of `models` (runs, D), with zero moments.

        `shift` (C, D) is added to every gradient of each client.
        """
        n_clients = len(runs)
        extra = {SHIFT: shift is not None, ANCHOR: anchored, SUM: summed}
        self._used = [*range(SHIFT), *(row for row, used in extra.items() if used)]
        self._lay_out(n_clients)
        for row in self._used[GRADIENT:]:
            self._flats[row].zero_()  # of the gradient, the gaps between arrays
        self._step.zero_()
        for name, view in self._layout.views(models).items():
            torch.index_select(view, 0, runs, out=self._arrays[WEIGHTS][name])
        if shift is not None:
            for name, view in self._layout.views(shift).items():
                self._arrays[SHIFT][name].copy_(view)
        if anchored:
            self._flats[ANCHOR].copy_(self._flats[WEIGHTS])
        self._out = {row: models.new_zeros(n_clients, self._layout.size) for row in self._used if row in (WEIGHTS, SUM)}
        self._active = n_clients
        self._look()

    def narrow(self, active: int) -> None:
        """Let the first `active` clients go on; the others are done."""
        self._put_aside(active)
        if 2 * active <= self._laid_out[0]:
            self._pack(active)
        self._active = active
        self._look()

    def _look(self) -> None:
        """Make the leaves that autograd differentiates by: `views` of the weights, their gradients in the memory."""
        self.views = {}
        for name, array in self._arrays[WEIGHTS].items():
            # `data`, not `detach`: weights and gradients share memory, and with `detach` the count of writes, by which
            # autograd would take a gradient that is written for a change of the weights.
            self.views[name] = array[: self._active].data.requires_grad_()
        self._leaves = list(self.views.values())
        self._gradients = [array[: self._active] for array in self._arrays[GRADIENT].values()]

    def differentiate(self, values: Sequence[Tensor], shares: Sequence[Tensor]) -> None:
        """Write the gradient, by the parameters in `views`, of the sum of `values` times `shares`, and add it up."""
        of_parameters = [i for i, value in enumerate(values) if value.requires_grad]
        roots, weights = ([tensors[i] for i in of_parameters] for tensors in (values, shares))
        found = torch.autograd.grad(roots, self._leaves, weights, materialize_grads=True)
        torch._foreach_copy_(self._gradients, found)
        if SUM in self._used:
            self._flats[SUM].add_(self._flats[GRADIENT])

    def step_(self, learning_rate: float, decay: float, proximal_weight: float = 0.0) -> None:
        """Take one step of the optimiser."""
        rows = self._flats
        gradient = rows[GRADIENT]
        if SHIFT in self._used:
            gradient.add_(rows[SHIFT])
        if ANCHOR in self._used:
            gradient.add_(rows[WEIGHTS] - rows[ANCHOR], alpha=proximal_weight)
        adam_step_(rows[WEIGHTS], gradient, rows[FIRST_MOMENT], rows[SECOND_MOMENT], self._step, learning_rate, decay)

    def close(self) -> tuple[Tensor, Tensor | None]:
        """Return the parameters (C, D), and the sums of the gradients where they are added up."""
        self._put_aside(0)
        return self._out[WEIGHTS], self._out.get(SUM)

    def _lay_out(self, n_places: int) -> None:
        if (n_places, self._used) != self._laid_out:
            self._laid_out = n_places, self._used
            self._flats = self._memory[:, : n_places * self._layout.size].unbind()
            self._arrays = {row: self._layout.stacked(self._flats[row], n_places) for row in self._used}

    def _put_aside(self, active: int) -> None:
        done = slice(active, self._active)
        for row, out in self._out.items():
            for name, view in self._layout.views(out[done]).items():
                view.copy_(self._arrays[row][name][done])

    def _pack(self, active: int) -> None:
        """Move the first `active` clients together, to spare the optimiser the others' places."""
        before = self._arrays
        self._lay_out(active)
        for row in self._used:
            for name, array in before[row].items():  # each moves towards the front, past nothing not yet moved
                self._arrays[row][name].copy_(array[:active].clone())
