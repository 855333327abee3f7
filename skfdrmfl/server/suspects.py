"""Rows that look corrupt, looked for before anything is learned from them; see `method.suspects`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.common.warn import warn_caller
from skfdrmfl.common.wording import counted
from skfdrmfl.diagnosis.suspect_table import in_words, is_alarming
from skfdrmfl.method.suspects import NOWHERE, Found, Look, SuspectRows
from skfdrmfl.protocol.door import Block, Federation
from skfdrmfl.protocol.queries.suspects import (
    Centers,
    OutlyingCounts,
    RobustMoments,
    Suspects,
    first_look,
    with_axes,
    with_limits,
)

# Of fewer rows in all nobody can say what is usual.
FEWEST_ROWS = 20
# Row numbers that a warning names.
MOST_SHOWN = 5


class SuspectRowsWarning(UserWarning):
    """Training rows look corrupt; `warnings.simplefilter("ignore", SuspectRowsWarning)`."""


def without_suspects(
    federation: Federation, first: Federation, blocks: Mapping[str, Block], labels: NDArray
) -> tuple[Federation, SuspectRows | None]:
    """Return the federation without the rows that clients drop, and which rows are suspect.

    Those are asked who are there `first`; `blocks` are the modalities' numeric columns, `labels` all clients'. Six
    exchanges; none of few rows, and None where the columns cannot be compared. ValueError: nobody keeps a row.
    """
    before = federation.roster()
    columns = [block.columns for block in blocks.values() if block.columns is not None]
    if not columns or first.roster().sizes.sum() < FEWEST_ROWS:
        return federation, None
    block = Block(np.concatenate(columns))
    look = _look(first, block, tuple(map(len, columns)))
    if look is None:
        return federation, None
    (told,) = first.sum(Suspects(look, block))
    kept = {position: (n, by_modality) for position, _, n, by_modality in told.clients}
    federation, found = federation.without_suspects(look, block, kept)
    after = federation.roster()
    if not len(after.positions):
        raise ValueError(
            'suspects="drop" leaves no client a row, as all of them look corrupt; look at X and y, or set '
            'suspects="warn" to fit them all.'
        )
    rows = _rows(found, columns, [of.modality or 0 for of in blocks.values()]) if found else _counts(told.clients)
    emptied = labels[np.setdiff1d(before.positions, after.positions)].tolist()
    n_rows = int(before.sizes.sum())
    _warn(rows, n_rows, n_rows - int(after.sizes.sum()), emptied)
    return federation, rows


def _look(federation: Federation, block: Block, widths: tuple[int, ...]) -> Look | None:
    """Return what clients hold their rows against; None where values are so large that nothing can be said."""
    (centers,) = federation.sum(Centers(block, widths))
    if centers is None or not all(np.isfinite(part).all() for part in centers):
        return None
    look = first_look(centers, widths)
    for is_last in (False, True):
        (moments,) = federation.sum(RobustMoments(look, block))
        if moments is None or not np.isfinite(moments.products).all():
            return None
        look = with_axes(look, moments)
        (counts,) = federation.sum(OutlyingCounts(look, block))
        look = with_limits(look, counts, is_last=is_last)
    return look


def _rows(found: dict[int, Found], columns: list[Indices], numbers: list[int]) -> SuspectRows:
    """Return the suspect rows of all clients in the order of X; `numbers` are those of the modalities of `columns`."""
    parts = [(position, *row) for position, mine in found.items() for row in zip(*mine, strict=True)]
    entries = []
    for position, row, reason, m, column in sorted(parts, key=lambda part: part[1]):
        of_x = m != NOWHERE
        place = columns[m][column] if of_x and column != NOWHERE else NOWHERE
        entries.append((position, row, reason, numbers[m] if of_x else NOWHERE, place, NOWHERE if of_x else column, 1))
    return _of_entries(entries, by_row=True)


def _counts(clients: Iterable[Any]) -> SuspectRows:
    """Return what a server knows: the numbers of rows by client and reason."""
    entries = [
        (position, NOWHERE, reason, NOWHERE, NOWHERE, NOWHERE, n)
        for position, by_reason, *_ in sorted(clients)
        for reason, n in enumerate(by_reason)
        if n
    ]
    return _of_entries(entries, by_row=False)


def _of_entries(entries: Sequence[tuple[int, ...]], *, by_row: bool) -> SuspectRows:
    """Return suspect rows, one or some an entry."""
    names = [field.name for field in fields(SuspectRows)][:-1]
    columns = np.array(entries, dtype=np.int64).reshape(-1, len(names)).T.copy()
    return SuspectRows(**dict(zip(names, columns, strict=True)), by_row=by_row)


def _warn(rows: SuspectRows, n_rows: int, n_dropped: int, emptied: list[Any]) -> None:
    """Warn once of rows that are suspect and kept, more than are usual, and of clients that have dropped all."""
    if emptied:
        names = ", ".join(map(repr, emptied))
        warn_caller(
            f"all rows of {counted(len(emptied), 'client')} look corrupt ({names}), who take no part; suspects_ names "
            'them, suspects="warn" fits them.',
            SuspectRowsWarning,
        )
    n = int(rows.counts.sum())
    if n_dropped < n and is_alarming(rows.by_reason(), n_rows):
        first = ", ".join(map(str, rows.rows[:MOST_SHOWN].tolist()))
        which = f"; first: rows {first}" if rows.by_row else ""
        kept = "" if not n_dropped else f", of which {n_dropped} are dropped"
        what = f"{in_words(rows.by_reason())}{which}"
        warn_caller(
            f"{n} of {n_rows} rows look corrupt ({what}){kept}; look at suspects_, and set "
            'suspects="drop" to fit without them, or suspects="ignore" to look at none.',
            SuspectRowsWarning,
        )
