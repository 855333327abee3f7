"""Statistics first: what sites say of their rows before anything is trained, by the queries that a fit begins with."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from skfdrmfl.clients.remote.channel import Channel
from skfdrmfl.common.threads import single_threaded
from skfdrmfl.data.column_names import ColumnNames
from skfdrmfl.diagnosis.tables import Table, aligned, csv_text
from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.fit_preprocessing import OUTPUTS, numeric_blocks
from skfdrmfl.fit.parameters import is_private
from skfdrmfl.fit.prepare import guard_of
from skfdrmfl.protocol.door import Block
from skfdrmfl.protocol.ledger import FederationLog
from skfdrmfl.protocol.queries.whitening import compare_magnitudes, fit_blocks
from skfdrmfl.site.remote_fit import gather

MOST_SHOWN = 12  # lines of a printed table
NUMBER, CATEGORIES, TARGET = "number", "categories", "target"


class FederationStatistics:
    """What a federation says of its rows; printed, two tables.

    Attributes
    ----------
    sites : dict of str to ndarray
        A row for each site: "site", "rows", and with several modalities "rows of NAME" for each.
    columns : dict of str to ndarray
        A row for each column of X, then of y: "column", its name; "kind", which is "number", "categories" or "target";
        "modality"; "position" on the axis that names give, NaN where they give none; "rows" it is made from; "mean" and
        "spread" (standard deviation) of numbers over the rows of all sites; "categories", a tuple of labels.
    log : FederationLog
        What the sites have sent for this.
    """

    def __init__(self, sites: Table, columns: Table, log: FederationLog):
        self.sites, self.columns, self.log = sites, columns, log

    def to_dict(self) -> dict[str, Any]:
        """Return both tables as plain values, and what was sent by kind; None for what is not there."""
        tables = {"sites": self.sites, "columns": self.columns}
        plain: dict[str, Any] = {
            title: [dict(zip(table, map(_plain, row), strict=True)) for row in zip(*table.values(), strict=True)]
            for title, table in tables.items()
        }
        return plain | {"ledger": self.log.by_kind()}

    def to_json(self) -> str:
        """Return `to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=1, ensure_ascii=False, default=str) + "\n"

    def to_csv(self) -> str:
        """Return the table of columns as CSV, labels of categories separated by semicolons."""
        return csv_text(self.columns)

    def __repr__(self) -> str:
        return f"{_shown(self.sites)}\n\n{_shown(self.columns)}"


def describe(estimator: Any, channel: Channel) -> FederationStatistics:
    """Return what the sites at the other end of a channel say of their rows; nothing is trained.

    The sites hold the estimator to theirs, and their policies are those of a fit: it begins with the same questions.

    Parameters
    ----------
    estimator : FDRMFLTransformer
        As the sites have it.
    channel : Channel
        Carries packets to the sites and back.

    Returns
    -------
    FederationStatistics

    Raises
    ------
    ValueError
        Sites do not fit together, or privacy is on: exact sums are not paid for.
    NoAnswer
        A site refuses, or does not answer.
    """
    estimator._validate_params()
    if is_private(estimator):
        raise ValueError(
            "statistics are exact sums, which privacy (dp_clip_norm, dp_noise_multiplier) does not pay for; describe "
            "the federation without, or fit at once."
        )
    with single_threaded():
        reading, federation = gather(estimator, channel, None)
        federation.guard = guard_of(estimator, reading)
        blocks = {**numeric_blocks(reading), OUTPUTS: Block(None)}
        if federation.guard is not None:
            compare_magnitudes(federation, blocks.values())
        found = fit_blocks(federation, blocks, dict.fromkeys(blocks, "standardize"))
    rows = {name: reading.sizes for name in reading.modalities}
    if federation.by_modality is not None:
        rows = dict(zip(reading.modalities, federation.by_modality.T, strict=True))
    of_sites: Table = {"site": reading.clients[reading.positions], "rows": reading.sizes}
    if len(rows) > 1:
        of_sites |= {f"rows of {name}": counts for name, counts in rows.items()}
    columns = _columns(reading, {name: int(counts.sum()) for name, counts in rows.items()}, blocks, found)
    return FederationStatistics(of_sites, columns, federation.ledger.log(reading.clients.tolist()))


def _columns(reading: DataDescription, rows: dict[str, int], blocks: dict[str, Block], found: dict[str, Any]) -> Table:
    """Return the table of columns, in the order of X, then y."""
    names = reading.number_names if reading.feature_names is None else reading.feature_names
    axis = None
    if names is not None:
        axis = ColumnNames(names.tolist(), reading.modalities, list(reading.categories)).axis
    n_x, n = reading.n_features, reading.n_features + reading.n_outputs
    table: Table = {
        "column": np.empty(n, dtype=object),
        "kind": np.full(n, NUMBER, dtype=object),
        "modality": np.full(n, "", dtype=object),
        "position": np.full(n, np.nan),
        "rows": np.full(n, int(reading.sizes.sum())),
        "mean": np.full(n, np.nan),
        "spread": np.full(n, np.nan),
        "categories": np.full(n, None, dtype=object),
    }
    table["column"][:n_x] = np.arange(n_x) if names is None else names
    table["column"][n_x:] = ["y"] if reading.n_outputs == 1 else [f"y{j}" for j in range(reading.n_outputs)]
    table["kind"][n_x:] = TARGET
    if axis is not None:
        table["position"][:n_x] = axis
    for name, mine in reading.modalities.items():
        table["modality"][mine], table["rows"][mine] = name, rows[name]
    for name, block in blocks.items():
        columns = np.arange(n_x, n) if block.columns is None else block.columns
        table["mean"][columns], table["spread"][columns] = found[name].mean, found[name].unit
    for j, known in reading.categories.items():
        table["kind"][j], table["categories"][j] = CATEGORIES, tuple(known.tolist())
    keep = np.ones(n, dtype=bool)
    keep[list(reading.label_columns)] = False  # whose rows they are is no column of X to anybody
    return {name: values[keep] for name, values in table.items()}


def _plain(value: Any) -> Any:
    """Return a value of a table as JSON takes it."""
    if isinstance(value, tuple):
        return list(value)
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _shown(table: Table) -> str:
    """Return a table as text, the middle of a long one left out, and columns that say nothing."""
    told = {name: [_cell(value) for value in values] for name, values in table.items()}
    told = {name: cells for name, cells in told.items() if any(cells)}
    rows, half = list(zip(*told.values(), strict=True)), MOST_SHOWN // 2
    shown = rows if len(rows) <= MOST_SHOWN else [*rows[:half], *rows[-half:]]
    text = aligned([list(told), *shown])
    if len(rows) > MOST_SHOWN:
        text.insert(1 + half, f"... {len(rows) - MOST_SHOWN} more")
    return "\n".join(text)


def _cell(value: Any) -> str:
    plain = _plain(value)
    if isinstance(plain, list):
        return ", ".join(map(str, plain))
    return "" if plain is None else f"{plain:.5g}" if isinstance(plain, float) else str(plain)
