"""The memory in which the clients of a chunk train: allocated once, used by every chunk."""

from __future__ import annotations

import torch
from torch import Tensor

from skfdrmfl.equations.optimizers import step_
from skfdrmfl.model.network import Network

# Rows of the memory. What the optimiser follows is the gradient, or, where an algorithm shifts it, another row: the
# gradient of a term not in use is not written anew, and a shift added in place would pile up.
WEIGHTS, GRADIENT, FIRST_MOMENT, SECOND_MOMENT, SHIFT, FOLLOWED = range(6)


class Workspace:
    """Parameters, gradient and moments of the chunk in training.

    In each row of the memory, every array of all clients is contiguous (`ParameterLayout.stacked`). The optimiser
    always steps over whole, aligned vectors, so that it treats an element alike wherever it stands: clients
    who are done are put aside, and what it does to their places is of no consequence.

    Parameters
    ----------
    network : Network
    most_clients : int
        Of any chunk.
    like : Tensor
        Of the type and device of the rows.
    shifted : bool
        Whether there are shifts of the gradients.
    """

    def __init__(self, network: Network, most_clients: int, like: Tensor, *, shifted: bool = False):
        self._layout = network.layout
        self.most_clients, self.shifted = most_clients, shifted
        n_rows = FOLLOWED + 1 if shifted else SECOND_MOMENT + 1
        self._memory = like.new_zeros(n_rows, most_clients * self._layout.size)
        self._step = torch.zeros((), dtype=torch.float32, device=like.device)
        self._n_places = 0

    def open(self, models: Tensor, runs: Tensor, shift: Tensor | None = None) -> None:
        """Start each client from its run's row (C,) of `models` (runs, D), with zero gradient and moments.

        `shift` (C, D) is added to every gradient of each client.
        """
        n_clients = len(runs)
        self._lay_out(n_clients)
        self._memory[GRADIENT:].zero_()  # the gradient too: a term not in use writes none
        self._step.zero_()
        for name, view in self._layout.views(models).items():
            if len(models) == 1:
                self._arrays[WEIGHTS][name].copy_(view)
            else:
                torch.index_select(view, 0, runs, out=self._arrays[WEIGHTS][name])
        if shift is not None:
            for name, view in self._layout.views(shift).items():
                self._arrays[SHIFT][name].copy_(view)
        self._out = models.new_zeros(n_clients, self._layout.size)
        self.views, self.grads = self._arrays[WEIGHTS], self._arrays[GRADIENT]
        self._active = n_clients

    def narrow(self, active: int) -> None:
        """Let the first `active` clients go on; the others are done."""
        self._put_aside(active)
        if 2 * active <= self._n_places:
            self._pack(active)
        self._active = active
        self.views, self.grads = (
            {name: array[:active] for name, array in self._arrays[row].items()} for row in (WEIGHTS, GRADIENT)
        )

    def step_(self, learning_rate: float, decay: float) -> None:
        """Take one step of the optimiser."""
        rows = self._flats
        followed = rows[GRADIENT]
        if self.shifted:
            followed = torch.add(followed, rows[SHIFT], out=rows[FOLLOWED])
        step_(rows[WEIGHTS], followed, rows[FIRST_MOMENT], rows[SECOND_MOMENT], self._step, learning_rate, decay)

    def close(self) -> Tensor:
        """Return the parameters (C, D)."""
        self._put_aside(0)
        return self._out

    def _lay_out(self, n_places: int) -> None:
        if n_places != self._n_places:
            self._n_places = n_places
            self._flats = self._memory[:, : n_places * self._layout.size].unbind()
            self._arrays = [self._layout.stacked(flat, n_places) for flat in self._flats]

    def _put_aside(self, active: int) -> None:
        done = slice(active, self._active)
        for name, view in self._layout.views(self._out[done]).items():
            view.copy_(self._arrays[WEIGHTS][name][done])

    def _pack(self, active: int) -> None:
        """Move the first `active` clients together, to spare the optimiser the others' places."""
        before = self._arrays
        self._lay_out(active)
        for old, new in zip(before, self._arrays, strict=True):
            for name, array in old.items():  # each moves towards the front, past nothing not yet moved
                new[name].copy_(array[:active].clone())
