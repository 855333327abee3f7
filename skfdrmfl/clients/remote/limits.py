"""What a question may be at most: of known kinds and sizes, with answers of one shape, from however many rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import is_dataclass
from typing import Any

import numpy as np

from skfdrmfl.clients.client_data import Client, ClientData
from skfdrmfl.clients.remote.packet import MOST_BYTES, WireError
from skfdrmfl.clients.remote.watch import Asked, blocks_of
from skfdrmfl.common.arrays import Indices
from skfdrmfl.data.held_out import EVERYTHING, Fold, Split, Subset
from skfdrmfl.protocol.door import Block
from skfdrmfl.protocol.plan import Plan
from skfdrmfl.protocol.queries.suspects import FEWEST_ROWS
from skfdrmfl.protocol.queries.whitening import MAX_EXACT_COLUMNS, SecondMoments

# A fit asks less at a time, parts rows in fewer folds, and trains fewer networks together.
MOST_QUERIES, MOST_FOLDS, MOST_RUNS = 1024, 32, 64


class _AnyRows(Client):
    """All rows, whatever subset a query is about."""

    def rows_of(self, subset: Subset) -> Indices:
        """Return the row numbers (n,) of all rows."""
        return self.rows


def check_queries(queries: Any, client: Client) -> None:
    """Raise WireError where something is no query, or larger than any that a fit asks."""
    if not isinstance(queries, (list, tuple)) or len(set(map(id, queries))) != len(queries):
        raise WireError("a list of queries was expected, each once")
    if len(queries) > MOST_QUERIES:
        raise WireError(f"{len(queries)} queries are asked at a time, and {MOST_QUERIES} are answered at most")
    for query in queries:
        kind: Any = type(query)
        if not (is_dataclass(query) and callable(query) and hasattr(kind, "powers")) or type(kind.name) is not str:
            raise WireError(f"a {kind.__name__} is no query")
        members = getattr(query, "members", query)
        folds = getattr(members, "folds", ())
        if len(folds) > MOST_FOLDS:
            raise WireError(f"{len(folds)} folds are asked for, and {MOST_FOLDS} are answered at most")
        for subset in (getattr(query, "subset", None), *folds):
            check_subset(subset)
        for block in blocks_of(query):
            _check_block(block, client.tables.table.shape[1])
        if isinstance(query, SecondMoments) and len(query.mean) > MAX_EXACT_COLUMNS:
            raise WireError(f"products of {len(query.mean)} columns are more than those of {MAX_EXACT_COLUMNS}")


def check_plan(plan: Any) -> None:
    """Raise WireError where something is no plan, or larger than any that a fit has."""
    if not isinstance(plan, Plan) or not 1 <= len(plan.runs) <= MOST_RUNS:
        raise WireError(f"a plan of 1 to {MOST_RUNS} runs was expected")
    for run in plan.runs:
        check_subset(run.subset)
        if run.held_out is not None:
            check_subset(run.held_out)


def check_subset(subset: Any) -> None:
    """Raise WireError where something is no subset of rows."""
    if subset is EVERYTHING:
        return
    if isinstance(subset, Fold) and not isinstance(subset.of, Fold):
        check_subset(subset.of)
        good = all(type(n) is int for n in (subset.number, subset.n_folds)) and 2 <= subset.n_folds <= MOST_FOLDS
    else:
        good = isinstance(subset, Split) and type(subset.fraction) is float and 0 < subset.fraction < 1
    if (
        not good
        or type(getattr(subset, "held_out", None)) is not bool
        or type(getattr(subset, "seed", None)) is not int
    ):
        raise WireError("a subset of rows is none that a fit asks about")


def answered(queries: Sequence[Any], client: Client, asked: Sequence[Asked]) -> list[Any]:
    """Return a client's answers; `asked` says of each query from how many rows.

    Raises WireError where they are more than a message holds, or would have other numbers of other rows: arrays of odd
    shapes in a question make an answer of rows out of a sum over them. An answer is held against that of fewer rows
    than any part of the client's has or, where a part may have as few, against those of two numbers of rows.
    """
    answers, n_bytes = [], 0
    others = client.once(_of_rows, lambda: (_of_rows(client, FEWEST_ROWS), _of_rows(client, FEWEST_ROWS + 1)))
    for query, one in zip(queries, asked, strict=True):
        answer = query(client)
        tries = 0 if answer is None else 1 if one.fewest > FEWEST_ROWS else 2
        for other in others[:tries]:
            if [*map(np.shape, query(other) or ())] != [*map(np.shape, answer)]:
                raise WireError(f"{query.name!r} would be larger of more rows, which is no sum over them")
        answers.append(answer)
        n_bytes += 8 * sum(map(np.size, answer or ()))
        if n_bytes > MOST_BYTES:
            raise WireError(f"answers would have more than {MOST_BYTES} bytes")
    return answers


def _of_rows(client: Client, n: int) -> Client:
    """Return a client of so many rows, all used for whatever is asked."""
    tables, mine = client.tables, np.resize(client.rows, n)
    present = None if tables.present is None else np.ones_like(tables.present[mine])
    labels: Any = {column: (known, places[mine]) for column, (known, places) in tables.labels.items()}
    few = ClientData(tables.table[mine], tables.targets[mine], present, None, labels, tables.n_modalities)
    return _AnyRows(few, np.arange(n), client.position)


def _check_block(block: Any, n_columns: int) -> None:
    """Raise WireError where something is no block of the table's columns, each once."""
    if not isinstance(block, Block) or (block.modality is not None and type(block.modality) is not int):
        raise WireError("a block of columns was expected")
    columns = block.columns
    if columns is not None and not (
        isinstance(columns, np.ndarray)
        and columns.ndim == 1
        and columns.dtype.kind == "i"
        and len(np.unique(columns)) == len(columns)
        and (len(columns) == 0 or (columns.min() >= 0 and columns.max() < n_columns))
    ):
        raise WireError("a block has columns that there are not, or has some twice")
