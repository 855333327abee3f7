"""Which of its rows a client uses: all, those of one split, or those of one fold."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import Indices

N_FOLDS = 3


@dataclass(frozen=True)
class Subset:
    """All rows of a client; subclasses choose some of them, by keys that client and server share."""

    def mask(self, blocks: Indices, position: int) -> NDArray[np.bool_]:
        """Return which rows (n,) the client at a position of `clients_` uses.

        `blocks` (n,) has the number of each row's block, by first appearance: rows of one block are never parted.
        """
        return np.ones(len(blocks), dtype=bool)


EVERYTHING = Subset()


@dataclass(frozen=True)
class Split(Subset):
    """One side of a split in two: a share of the rows is held out, rounded up to whole blocks, but never all."""

    fraction: float  # to hold out, in (0, 1)
    seed: int
    held_out: bool  # or the rows kept

    def mask(self, blocks: Indices, position: int) -> NDArray[np.bool_]:
        """Return which rows a client uses; see `Subset.mask`."""
        sizes = np.bincount(blocks)
        place = randomness.generator(self.seed, randomness.VALIDATION, position).permutation(len(sizes))
        n_out = ceil(Fraction(str(self.fraction)) * len(blocks))  # .07 of 100 is 7, not 7.000000000000001
        in_order = sizes[np.argsort(place)]
        before = np.concatenate(([0], np.cumsum(in_order)[:-1]))[place]  # rows of the blocks held out earlier
        out = ((before < n_out) & (place < len(sizes) - 1))[blocks]
        return out if self.held_out else ~out


@dataclass(frozen=True)
class Fold(Subset):
    """One side of one of `n_folds` folds; each client deals its blocks to the folds in an order of its own.

    A client with fewer blocks than folds is absent from the training or the test of some folds.
    """

    of: Subset
    seed: int
    number: int
    held_out: bool  # the rows of the fold, or all others
    n_folds: int = N_FOLDS

    def mask(self, blocks: Indices, position: int) -> NDArray[np.bool_]:
        """Return which rows a client uses; see `Subset.mask`."""
        inside = self.of.mask(blocks, position)
        members = number_blocks(blocks[inside])
        place = randomness.generator(self.seed, randomness.FOLDS, position).permutation(members.max(initial=-1) + 1)
        in_fold = (place[members] + position) % self.n_folds == self.number
        inside[inside] = in_fold if self.held_out else ~in_fold
        return inside


def inner_folds(of: Subset, seed: int, n_folds: int = N_FOLDS) -> list[tuple[Fold, Fold]]:
    """Return the rows kept and the rows held out of each fold."""
    return [(Fold(of, seed, fold, False, n_folds), Fold(of, seed, fold, True, n_folds)) for fold in range(n_folds)]


def number_blocks(labels: NDArray) -> Indices:
    """Return the number of each label (n,), in the order in which labels first appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse.reshape(-1)]


def check_held_out(n_clients: int) -> None:
    """Raise ValueError where no client holds out a row."""
    if not n_clients:
        raise ValueError(
            "early_stopping=True needs clients with two rows or more, of which some are held out, but every client "
            "has one row, or rows that belong together; set early_stopping=False."
        )
