"""Networks of unequal input widths in one stack: padding before training, trimming after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from torch import Tensor

from skfdrmfl.federation.engines.rows import Run
from skfdrmfl.model.network import Network


def stackable(runs: Sequence[Run], networks: Sequence[Network]) -> tuple[list[Run], Network]:
    """Return the runs with inputs padded to common widths, and the network for those.

    Columns of zeros move nothing: their weights start at zero and get no gradient.
    """
    widths = {name: max(n.encoders[name].n_inputs for n in networks) for name in networks[0].encoders}
    if all(network.widths == widths for network in networks):
        return list(runs), networks[0]
    wide = networks[0].widened(widths)
    tables: dict[int, Tensor] = {}  # runs that share rows go on sharing them
    padded = []
    for run, network in zip(runs, networks, strict=True):
        if id(run.x) not in tables:
            x = run.x.new_zeros(len(run.x), wide.n_columns)
            for name, columns in network.columns.items():
                first = wide.columns[name].start
                x[:, first : first + network.widths[name]] = run.x[:, columns]
            tables[id(run.x)] = x
        pad = partial(_padded, network=network, wide=wide)
        history = tuple(pad(flat) for flat in run.start.history)
        start = replace(run.start, weights=pad(run.start.weights), history=history, memory=run.start.memory.mapped(pad))
        padded.append(replace(run, x=tables[id(run.x)], start=start, n_parameters=network.layout.size))
    return padded, wide


def _padded(flat: Tensor, network: Network, wide: Network) -> Tensor:
    """Return the parameters (..., D) of a network among those of a wider one, zeros for the others."""
    out = flat.new_zeros(*flat.shape[:-1], wide.layout.size)
    views = wide.layout.views(out)
    for name, own in network.layout.views(flat).items():
        n_rows, n_columns = network.layout.shapes[name]
        views[name][..., :n_rows, :n_columns] = own
    return out


def trimmed(flat: Tensor, wide: Network, network: Network) -> Tensor:
    """Return the parameters (..., D) of `network`, given those of the network it was padded to."""
    if wide.layout.shapes == network.layout.shapes:
        return flat
    out = flat.new_zeros(*flat.shape[:-1], network.layout.size)
    views = wide.layout.views(flat)
    for name, own in network.layout.views(out).items():
        n_rows, n_columns = network.layout.shapes[name]
        own.copy_(views[name][..., :n_rows, :n_columns])
    return out
