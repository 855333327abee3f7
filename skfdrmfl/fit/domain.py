"""The domain of a fit: what it has found of the columns anyway, and how far out its rows lie of that."""

from __future__ import annotations

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.categories import split
from skfdrmfl.fit.network_spec import NetworkSpec
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.domain import BlockDomain, Domain, of_spectrum, of_transform, scaled_domain
from skfdrmfl.mixture.sums import ViewSums
from skfdrmfl.protocol.plan import Model
from skfdrmfl.protocol.queries.importance import ResponseSums


def domain_of_mixture(spec: NetworkSpec, sums: ViewSums, n_outputs: int) -> Domain:
    """Return the domain from the moments of the columns as they are, before rows are counted."""
    spectra, blocks, n_rows = sums.spectra(), {}, sums.present.sum(0)
    for m, (name, base) in enumerate(sums.table.blocks.items()):
        if name in spectra:
            blocks[name] = of_spectrum(spectra[name], float(n_rows[m]))
        else:
            base = sums.wide.blocks.get(name, base)
            blocks[name] = scaled_domain(base.mean, base.scale, float(n_rows[m]))
    return _of_blocks(spec, blocks, n_outputs)


def domain_of_network(fitted: Fitted, model: Model, sums: ResponseSums) -> Domain:
    """Return the domain of an earlier call, or from what preprocessing and `sums` say, before these rows are counted.

    Columns that were not preprocessed are standardised by these sums.
    """
    if fitted.domain is not None:
        return fitted.domain
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
    return _of_blocks(fitted.network_spec, blocks, len(fitted.target.mean))


def _deviation(mean: Float, square: Float) -> Float:
    """Return standard deviations, infinite where a mean square is that of the mean but for rounding."""
    variance = square - mean**2
    return np.where(variance > 1e-12 * square, np.sqrt(np.maximum(variance, 0.0)), np.inf)


def _of_blocks(spec: NetworkSpec, blocks: dict[str, BlockDomain], n_outputs: int) -> Domain:
    """Return the domain of all modalities, without rows; columns that encoders take for codes have no place in it."""
    numeric = {name: split(mine, spec.categories)[1] for name, mine in spec.modalities.items()}
    columns = {name: mine if len(blocks[name].mean) else mine[:0] for name, mine in numeric.items()}
    return Domain.without_rows(columns, blocks, np.array(sorted(spec.categories), dtype=np.int64), n_outputs)
