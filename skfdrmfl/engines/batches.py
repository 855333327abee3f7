"""Which row stands where in which step of local training, for many clients of unequal size at once.

A client of n rows takes ceil(n / batch_size) steps an epoch in batches of (as nearly as can be) equal size.
Clients are ordered by their number of steps, so that the ones still busy at any step are a prefix: nobody is
padded to the longest, and an idle client costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import U64, Indices

# The slots of a batch are rounded up to a multiple of this many. Bits: see docs/maintainers.md, "lanes".
LANES = 16


def steps_per_epoch(sizes: Indices, batch_size: int) -> Indices:
    """Return the local steps an epoch of clients of `sizes` rows."""
    return -(-sizes // batch_size)


def batch_width(sizes: Indices, batch_size: int) -> int:
    """Return the slots for the largest batch of clients of `sizes` rows, a multiple of `LANES`."""
    largest = int((-(-sizes // steps_per_epoch(sizes, batch_size))).max())
    return -(-largest // LANES) * LANES


class BatchPlan:
    """The batches of one chunk of clients, of `sizes` rows, in one round; steps must not increase along the chunk.

    A slot is a place for a row: step t holds `active[t]` clients times `width` slots, flattened, from `starts[t]` on.
    Rows are numbered inside the chunk: client k owns `offsets[k]` to `offsets[k + 1]`. The `width` is at least the
    `batch_width` of these clients, which it is by default. `weights` (n_slots,) are 1 / (rows in the batch), 0 for
    padding; `pair_weights` are 0 too where a batch has one row and so no marginal pair.
    """

    def __init__(self, sizes: Indices, batch_size: int, n_epochs: int, width: int | None = None):
        steps = steps_per_epoch(sizes, batch_size)
        total_steps = steps * n_epochs
        if np.any(np.diff(total_steps) > 0):
            raise ValueError("clients of a chunk must be ordered by decreasing number of steps.")
        self.total_steps = total_steps
        self.width = batch_width(sizes, batch_size) if width is None else width
        self.offsets = np.concatenate(([0], np.cumsum(sizes)))
        n_steps = int(total_steps[0])
        self.active = np.searchsorted(-total_steps, -np.arange(n_steps), side="left")
        self.starts = np.concatenate(([0], np.cumsum(self.active * self.width)))

        # One entry a (client, epoch, rank in the epoch's order), epochs of a client side by side.
        segment_sizes = np.repeat(sizes, n_epochs)
        segments = np.repeat(np.arange(len(segment_sizes)), segment_sizes)
        first = np.cumsum(segment_sizes) - segment_sizes
        rank = np.arange(len(segments)) - first[segments]
        client = segments // n_epochs
        epoch = segments % n_epochs
        n, s = sizes[client], steps[client]
        batch = ((rank + 1) * s - 1) // n  # batch j holds ranks floor(j n / s) .. floor((j + 1) n / s) - 1
        batch_first = batch * n // s
        batch_rows = (batch + 1) * n // s - batch_first
        base = self.starts[epoch * s + batch] + client * self.width
        self._slots = base + rank - batch_first
        self._client = client
        self._rows = self.offsets[client] + rank  # the rows of each segment in their own order
        self._segments = segments.astype(np.uint64) << np.uint64(40)
        self._counters = randomness.counters(epoch, rank)

        n_slots = int(self.starts[-1])
        self.weights = np.zeros(n_slots)
        self.weights[self._slots] = 1.0 / batch_rows
        self.pair_weights = np.where(self.weights < 1.0, self.weights, 0.0)
        partners = np.arange(n_slots)  # slot of the next row of the batch, cyclically; itself for padding
        partners[self._slots] = base + (rank - batch_first + 1) % batch_rows
        both = np.stack((np.arange(n_slots).reshape(-1, self.width), partners.reshape(-1, self.width)), 1)
        self._pairs = both.ravel()
        # Padding repeats a row of its own client. Bits: see docs/maintainers.md, "select, not multiply".
        self._slot_client = np.concatenate([np.repeat(np.arange(a), self.width) for a in self.active])
        self._padding = self.offsets[self._slot_client]
        self._steps = steps

    def in_order(self) -> Indices:
        """Return the row of the chunk in each slot, every epoch in the order of the rows."""
        rows = self._padding.copy()
        rows[self._slots] = self._rows
        return rows

    def draw(self, keys: U64) -> Indices:
        """Return the row of the chunk in each slot, each client's epochs shuffled by its own key (C,)."""
        bits = randomness.mix(keys[self._client] + self._counters) >> np.uint64(24)
        rows = self._padding.copy()
        rows[self._slots] = self._rows[np.argsort(self._segments | bits, kind="stable")]
        return rows

    def clients_and_epochs(self) -> tuple[Indices, Indices]:
        """Return client and epoch of each slot."""
        step = np.repeat(np.arange(len(self.active)), self.active * self.width)
        return self._slot_client, step // self._steps[self._slot_client]

    def pairs(self, rows: Indices) -> Indices:
        """Return each batch of `rows` (n_slots,) twice: as it is, then shifted cyclically (2 n_slots,)."""
        return rows[self._pairs]

    def step_ranges(self, most_slots: int) -> Iterator[tuple[int, int]]:
        """Yield consecutive ranges of steps [t0, t1) with the same clients active, of at most `most_slots` slots.

        A range is never less than one step.
        """
        t0, n_steps = 0, len(self.active)
        while t0 < n_steps:
            same = int(np.searchsorted(-self.active, -self.active[t0], side="right"))
            fits = max(1, most_slots // int(self.active[t0] * self.width))
            yield t0, min(same, t0 + fits)
            t0 = min(same, t0 + fits)
