"""The domain of a fit: what it has found of the columns anyway, and how far out its rows lie of that."""

from __future__ import annotations

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.categories import Categories, split
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.domain import BlockDomain, Domain, of_spectrum, of_transform, scaled_domain
from skfdrmfl.mixture.sums import ViewSums
from skfdrmfl.protocol.door import Federation
from skfdrmfl.protocol.plan import Model, Targets
from skfdrmfl.protocol.queries.distances import count_rows
from skfdrmfl.protocol.queries.importance import ResponseSums


def domain_of_mixture(federation: Federation, fitted: Fitted, sums: ViewSums) -> Domain:
    """Return the domain from the moments of the columns as they are; one exchange."""
    spectra, blocks, n_rows = sums.spectra(), {}, sums.present.sum(0)
    for m, (name, base) in enumerate(sums.table.blocks.items()):
        if name in spectra:
            blocks[name] = of_spectrum(spectra[name], float(n_rows[m]))
        else:
            base = sums.wide.blocks.get(name, base)
            blocks[name] = scaled_domain(base.mean, base.scale, float(n_rows[m]))
    return _counted(federation, fitted, blocks)


def domain_of_network(federation: Federation, fitted: Fitted, model: Model, sums: ResponseSums) -> Domain:
    """Return the domain of an earlier call, or from what preprocessing and `sums` say, with these rows; one exchange.

    Columns that were not preprocessed are standardised by these sums.
    """
    if fitted.domain is not None:
        return count_rows(federation, fitted.domain, Targets((fitted.target,)))
    transform, blocks, start = model.inputs.transform, {}, 0
    for name, encoder in model.network.encoders.items():
        block, n_codes = transform.blocks[name], len(encoder.code_sizes)
        n_columns = len(transform.columns[name]) - n_codes
        first = start + sum(encoder.code_sizes)
        start, numeric = first + n_columns, slice(first, first + n_columns)
        n_rows = float(sums.counts[start - 1])
        if block.projection is None and not block.mean.any() and (block.scale == 1.0).all():
            mean = sums.values[numeric] / n_rows
            deviation = _deviation(mean, sums.squares[numeric] / n_rows)
            mean = block.centre[n_codes:] + block.units[n_codes:] * mean
            blocks[name] = scaled_domain(mean, block.units[n_codes:] * deviation, n_rows)
        else:
            blocks[name] = of_transform(block, fitted.shrinkage, n_codes, n_rows)
    return _counted(federation, fitted, blocks)


def _deviation(mean: Float, square: Float) -> Float:
    """Return standard deviations, infinite where a mean square is that of the mean but for rounding."""
    variance = square - mean**2
    return np.where(variance > 1e-12 * square, np.sqrt(np.maximum(variance, 0.0)), np.inf)


def _counted(federation: Federation, fitted: Fitted, blocks: dict[str, BlockDomain]) -> Domain:
    """Return the domain of all modalities, with all rows of those who are there."""
    categories: Categories = fitted.network_spec.categories
    columns = {name: split(mine, categories)[1] for name, mine in fitted.network_spec.modalities.items()}
    discrete = np.array(sorted(categories), dtype=np.int64)
    domain = Domain.without_rows(columns, blocks, discrete, len(fitted.target.mean))
    return count_rows(federation, domain, Targets((fitted.target,)))
