"""What preprocessing finds by sums, and what it has found of the rows fitted last: a search fits the same rows."""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import chain
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.clients.simulation import MANY_CLIENTS, Simulation
from skfdrmfl.common.arrays import Float
from skfdrmfl.common.tree import registered
from skfdrmfl.data.categories import numeric_columns, with_codes
from skfdrmfl.data.held_out import Subset
from skfdrmfl.data.transforms import BlockSpectrum, BlockTransform, TableTransform
from skfdrmfl.fit import privacy_parameters as _privacy
from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.network_spec import NetworkSpec, views_of
from skfdrmfl.fit.parameters import is_private, value_of
from skfdrmfl.protocol.door import Block, Federation
from skfdrmfl.protocol.ledger import Ledger
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Inputs, Targets
from skfdrmfl.protocol.queries.counts import BYTES_OF_COUNTS
from skfdrmfl.protocol.queries.whitening import fit_blocks, whitened
from skfdrmfl.views.base import View

# Preparations kept, and bytes of all of them. Larger tables are neither hashed nor kept.
MOST_KEPT, MOST_BYTES = 16, 64_000_000
Made = TypeVar("Made")
# The outputs among the blocks of columns: no modality has this name.
OUTPUTS = ""


@registered
@dataclass(frozen=True, eq=False)
class FoundPreprocessing:
    """What preparation has found: all that it takes sums to know."""

    table: TableTransform
    target: BlockTransform
    left_out: tuple[int, ...] = ()  # positions of clients whom the guard of the sums has left out

    @cached_property
    def inputs(self) -> Inputs:
        """What encoders read."""
        return Inputs(self.table, dtype=TRAINING_DTYPE)

    @cached_property
    def targets(self) -> Targets:
        """What the network learns."""
        return Targets((self.target,), TRAINING_DTYPE)

    @cached_property
    def _made(self) -> dict[str, tuple[Any, Any]]:
        """What fits have made of it, one of a kind, each behind what it depends on besides."""
        return {}

    def once(self, kind: str, depends_on: Any, make: Callable[[], Made]) -> Made:
        """Return what a fit has made of it before that depends on the same, or make it."""
        before = self._made.get(kind)
        if before is None or before[0] != depends_on:
            before = self._made[kind] = depends_on, make()
        made: Made = before[1]
        return made


class Kept(NamedTuple):
    """A preparation, the messages that it took, and the rows of all clients after it."""

    found: FoundPreprocessing
    ledger: Ledger
    inputs: NDArray  # (n, columns)
    outputs: Float  # (n, q)
    of_clients: dict[int, Any]  # `ClientData.of_clients`: how many of their rows lie where
    n_bytes: int  # of all these arrays


class Memo:
    """Preparations of one process, by a hash of all that they depend on.

    Each holds the preprocessing and the rows as networks read them, not X. The `MOST_KEPT` used last are held, up to
    `MOST_BYTES` together, until others take their place, `clear` is called or the process ends. Threads share them; a
    fork begins without any.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._lock = threading.Lock()  # a new one: that of a forked process may be held by a thread it does not have
        self._kept: dict[bytes, Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes) -> Kept | None:
        """Return what is kept under a key."""
        return self._kept.get(key)

    def keep(self, key: bytes, used: Kept) -> None:
        """Keep what was found or used; what was used longest ago makes room for it."""
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = used
            while len(self._kept) > MOST_KEPT or sum([kept.n_bytes for kept in self._kept.values()]) > MOST_BYTES:
                del self._kept[next(iter(self._kept))]


MEMO = Memo()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=MEMO.clear)


def fit_preprocessing(
    estimator: Any, federation: Federation, reading: DataDescription, network_spec: NetworkSpec, subset: Subset
) -> FoundPreprocessing:
    """Return what preprocessing finds of the columns and the outputs."""
    kinds = network_spec.kinds(estimator.preprocessing)
    views = views_of(estimator, reading, network_spec)
    blocks = {name: replace(block, view=views.get(name)) for name, block in numeric_blocks(reading).items()}
    shrinkage = float(value_of(estimator, "shrinkage"))

    def prepare(federation: Federation) -> FoundPreprocessing:
        asked = federation, blocks | {OUTPUTS: Block(None)}, {**kinds, OUTPUTS: "standardize"}
        if is_private(estimator):
            found = _privacy.noisy_blocks(estimator, *asked, reading.n_features, reading.n_outputs)
        else:
            found = fit_blocks(*asked, subset)
        target = found.pop(OUTPUTS)
        assert not isinstance(target, BlockSpectrum)
        columns = {name: block.columns for name, block in blocks.items() if block.columns is not None}
        table = with_codes(TableTransform(columns, whitened(found, shrinkage)), reading.modalities, reading.categories)
        out = () if federation.guard is None else tuple(sorted(federation.guard.excluded))
        return FoundPreprocessing(table, target, out)

    if is_private(estimator) or estimator.checkpoint_path is not None:  # nothing private is kept, nor twice
        return prepare(federation)
    columns = {name: (block.columns, block.modality, block.view) for name, block in blocks.items()}
    read = columns, reading.modalities, list(reading.categories), kinds, shrinkage, subset
    return prepared_once(federation, read, prepare)


def numeric_blocks(reading: DataDescription) -> dict[str, Block]:
    """Return the columns of each modality that hold numbers, where it has any."""
    numeric = numeric_columns(reading.modalities, reading.categories)
    return {name: Block(columns, m) for m, (name, columns) in enumerate(numeric.items()) if len(columns)}


def widths_of(reading: DataDescription, views: Mapping[str, View]) -> dict[str, int]:
    """Return the number of columns of each modality, after the view it may have."""
    appended = {name: view.n_appended for name, view in views.items()}
    return {name: len(columns) + appended.get(name, 0) for name, columns in reading.modalities.items()}


def prepared_once(
    federation: Federation, settings: Sequence[Any], prepare: Callable[[Federation], FoundPreprocessing]
) -> FoundPreprocessing:
    """Return what `prepare` finds, or what it found of the same rows before; its messages count each time.

    Only rows in this memory are looked up, and only without a guard, which has to see every answer. `settings` is all
    that preparation reads beside the rows.
    """
    if not isinstance(federation, Simulation) or federation.guard is not None:
        return prepare(federation)
    tables = federation.tables
    if tables.table.nbytes > MOST_BYTES:
        return prepare(federation)
    key = _key(federation, settings)
    kept = MEMO.get(key)
    if kept is None:
        apart = replace(federation, ledger=Ledger())
        found = prepare(apart)
        rows = tables.inputs(found.inputs), tables.outputs(found.targets)
        blocks = [vars(block).values() for block in (found.target, *found.table.blocks.values())]
        n_bytes = sum([value.nbytes for value in (*rows, *chain(*blocks)) if isinstance(value, np.ndarray)])
        n_bytes += min(len(federation.partition.positions), MANY_CLIENTS) * len(found.table.blocks) * BYTES_OF_COUNTS
        kept = Kept(found, apart.ledger, *rows, {}, n_bytes)
    MEMO.keep(key, kept)
    found, tables.of_clients = kept.found, kept.of_clients
    tables.know(found.inputs, kept.inputs)
    tables.know(found.targets, kept.outputs)
    federation.ledger.extend(kept.ledger)
    return found


def _key(federation: Simulation, settings: Sequence[Any]) -> bytes:
    """Return a hash of the rows, how they lie in memory, whose they are, and settings."""
    tables, partition = federation.tables, federation.partition
    arrays = [tables.table, tables.targets, tables.present, tables.blocks]
    arrays += [partition.positions, partition.sizes, partition.joined]
    strides = [None if array is None else array.strides for array in arrays]
    buffers: list[pickle.PickleBuffer] = []
    total = sha256(pickle.dumps((arrays, strides, settings), 5, buffer_callback=buffers.append))
    for buffer in buffers:
        total.update(buffer.raw())
    return total.digest()
