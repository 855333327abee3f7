"""What clients tell of themselves before anything is computed: labels of categories, and which modalities they have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices
from skfdrmfl.data.categories import Categories, check_kind
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.protocol.door import ClientRows, EachSaid, Federation, OfAllRows, Query


class LabelSets(NamedTuple):
    """The labels of a column."""

    labels: EachSaid


@dataclass(frozen=True)
class ColumnLabels(OfAllRows):
    """The labels of a discrete column, each once."""

    name: ClassVar[str] = "labels of categories"
    powers: ClassVar[tuple[int, ...]] = (0,)
    column: int

    def __call__(self, client: ClientRows) -> LabelSets:
        """Return a client's labels."""
        return LabelSets(EachSaid(client.labels(self.column)))


def agree(federation: Federation, columns: Mapping[int, str]) -> Categories:
    """Return the sorted categories of each of `columns` (number to name), None last where values are missing.

    Raises ValueError for labels that cannot be compared or have no order.
    """
    agreed: Categories = {}
    answers = federation.sum(*(ColumnLabels(j) for j in columns))
    for (j, name), answer in zip(columns.items(), answers, strict=True):
        known = [label for label in answer.labels if label is not None]
        check_kind(known, name)  # clients may each be consistent and yet differ
        known = sorted(known)
        agreed[j] = np.array([*known, None], dtype=object) if None in answer.labels else np.array(known)
    return agreed


class PresenceCounts(NamedTuple):
    """The number of rows, and of those that have each modality (M,)."""

    n_rows: float
    by_modality: NDArray[np.int64]


@dataclass(frozen=True)
class Presence(Query):
    """How many rows have each modality."""

    name: ClassVar[str] = "rows by modality"
    powers: ClassVar[tuple[int, ...]] = (0, 0)
    of_rows: ClassVar[bool] = True
    subset: Subset = EVERYTHING

    def __call__(self, client: ClientRows) -> PresenceCounts | None:
        """Return a client's counts."""
        present = client.presence(self.subset)
        return PresenceCounts(len(present), present.sum(0)) if len(present) else None


def rows_by_modality(federation: Federation, n_modalities: int, subset: Subset = EVERYTHING) -> tuple[int, Indices]:
    """Return the number of rows of all clients, and of those that have each modality (M,)."""
    (answer,) = federation.sum(Presence(subset))
    if answer is None:
        return 0, np.zeros(n_modalities, dtype=np.int64)
    return int(answer.n_rows), answer.by_modality
