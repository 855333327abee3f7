"""How much each column of X moves the predictions, from one exchange of sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum
from typing import ClassVar, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float, Indices
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.method.mixture import Mixture
from skfdrmfl.protocol.door import Block, ClientRows, Query
from skfdrmfl.protocol.plan import Model


class ResponseSums(NamedTuple):
    """Sums over rows, for each of w places: a numeric column has one, a discrete column one for each category.

    n_rows; responses (w,), of squared slopes by a column and of squared changes by a category; counts (w,), rows that
    have the place's modality; values and squares (w,), of a column about a centre and of the indicator of a category.
    Columns are measured in `BlockTransform.units`, in which nothing overflows: as they are given, before any view.
    Where preparation has found how they vary, no row is looked at: values are 0, squares those of this deviation.
    """

    n_rows: float
    responses: Float
    counts: Float
    values: Float
    squares: Float


@dataclass(frozen=True, eq=False)
class Responses(Query):
    """How predictions of a model respond to each column, and how each column varies."""

    name: ClassVar[str] = "responses and spreads"
    powers: ClassVar[tuple[int, ...]] = (0, 0, 0, 1, 2)
    of_rows: ClassVar[bool] = True
    model: Model
    subset: Subset = EVERYTHING

    def __call__(self, client: ClientRows) -> ResponseSums | None:
        """Return a client's sums."""
        n_rows, responses = client.responses(self.model, self.subset)
        if not n_rows:
            return None
        by_subset = client.once(self.model.inputs, dict)  # whatever the network makes of these
        if self.subset not in by_subset:
            by_subset[self.subset] = self._spreads(client)
        return ResponseSums(float(n_rows), responses, *by_subset[self.subset])

    def _spreads(self, client: ClientRows) -> tuple[Float, Float, Float]:
        """Return counts, sums and squares (w,) of all places."""
        transform, spreads = self.model.inputs.transform, []
        for m, (name, encoder) in enumerate(self.model.network.encoders.items()):
            n_codes = len(encoder.code_sizes)
            block = transform.blocks[name]
            centre, units = block.centre[n_codes:], block.units[n_codes:]
            n_places = sum(encoder.code_sizes) + len(centre)
            count, values, squares = 0, np.zeros(n_places), np.zeros(n_places)
            if block.deviation is not None:
                count = int(client.presence(self.subset)[:, m].sum())
                squares = count * (block.deviation / units) ** 2
            for slab in client.slabs(Block(transform.columns[name], m), self.subset) if block.deviation is None else ():
                x = slab
                rows = x[:, n_codes:] - centre
                rows = np.divide(rows, units, out=np.zeros_like(rows), where=units > 0)
                if n_codes:
                    parts = [x[:, [j]] == np.arange(size) for j, size in enumerate(encoder.code_sizes)]
                    rows = np.concatenate([*parts, rows], axis=1).astype(np.float64)
                count += len(rows)
                values += rows.sum(0)
                squares += (rows**2).sum(0)
            spreads.append((np.full(n_places, float(count)), values, squares))
        counts, values, squares = map(np.concatenate, zip(*spreads, strict=True))
        return counts, values, squares


def places(model: Model) -> tuple[Indices, Indices]:
    """Return the column of X behind each place (w,), and the number of its codes, 0 for a numeric one."""
    columns, sizes = [], []
    for name, encoder in model.network.encoders.items():
        mine = model.inputs.transform.columns[name]
        codes = np.array(encoder.code_sizes, dtype=np.int64)
        columns += [np.repeat(mine[: len(codes)], codes), mine[len(codes) :]]
        sizes += [np.repeat(codes, codes), np.zeros(len(mine) - len(codes), dtype=np.int64)]
    return np.concatenate(columns), np.concatenate(sizes)


def importances(model: Model, sums: ResponseSums, n_features: int) -> Float:
    """Return the importance (n_features,) of each column of X for a model's predictions, from the clients' sums.

    They add up to 1, or are all 0. With y_hat standardised and means over rows and outputs, before they are divided by
    their sum:

    - of a numeric column, s_j sqrt(mean (d y_hat / d x_j)^2), with s_j the standard deviation of the column over rows
      that have it, in preparation where that found it: the root mean square Jacobian times the spread, to first order
      the change of y_hat that one standard deviation makes;
    - of a discrete column, sqrt(1/2 sum_l f_l mean (y_hat - y_hat(x_j = l))^2) over its codes l of frequencies f_l:
      half the mean square of what an independent draw of the column changes, of which the first is the form for small
      or linear changes. Its square, over the variance of y_hat, is the total index of Sobol as Jansen estimates it
      (Computer Physics Communications 117, 1999, eq. 10).

    Rows that lack a column's modality do not respond to it.
    """
    columns, sizes = places(model)
    counts = np.maximum(sums.counts, 1.0)
    mean = sums.values / counts
    variance = np.maximum(sums.squares / counts - mean**2, 0.0)
    response = sums.responses / sums.n_rows
    squared = np.bincount(columns, np.where(sizes > 0, 0.5 * mean, variance) * response, minlength=n_features)
    return _shares(np.sqrt(squared))


def _shares(found: Float) -> Float:
    """Return what adds up to 1, or is all 0."""
    total = fsum(found)  # exact: columns that count for nothing move no bit
    return found / total if total > 0 else found


class MixtureSums(NamedTuple):
    """Sums over rows: squared slopes by column (p,), and of codes the squared changes and counts (w,)."""

    n_rows: float
    squares: Float
    changes: Float
    counts: Float


@dataclass(frozen=True, eq=False)
class MixtureResponses(Query):
    """How predictions of a mixture respond to `columns` (p,); `sizes` are the numbers of codes of discrete ones."""

    name: ClassVar[str] = "responses of the mixture"
    powers: ClassVar[tuple[int, ...]] = (0, 0, 0, 0)
    mixture: Mixture
    columns: Indices
    sizes: Mapping[int, int]
    subset: Subset = EVERYTHING

    def __call__(self, client: ClientRows) -> MixtureSums | None:
        """Return a client's sums."""
        n_rows, squares, changes, counts = client.mixture_responses(self.mixture, self.sizes, self.subset)
        return MixtureSums(float(n_rows), squares[self.columns], changes, counts) if n_rows else None


def mixture_importances(query: MixtureResponses, sums: MixtureSums, deviation: Float) -> Float:
    """Return what `importances` does, of a mixture, from the total of what clients answer.

    `deviation` (n_features,) is the spread of each numeric column.
    """
    numeric, sizes = query.columns, query.sizes
    squared = np.zeros(len(deviation))
    squared[numeric] = sums.squares / sums.n_rows * deviation[numeric] ** 2
    columns = np.repeat(list(sizes), list(sizes.values())).astype(np.int64)
    squared += np.bincount(columns, 0.5 * sums.counts * sums.changes / sums.n_rows**2, minlength=len(squared))
    return _shares(np.sqrt(squared))
