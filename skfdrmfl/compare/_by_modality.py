"""Columns of a comparison by modality: each alone, and each left out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils import _safe_indexing as take_columns

from skfdrmfl.compare._arguments import InvalidArgument
from skfdrmfl.compare._learning_curve import runs_of_draw
from skfdrmfl.compare._methods import Run, modality_columns
from skfdrmfl.compare._training import Rows
from skfdrmfl.compare._variation import Stage


def modality_stages(make_runs: Callable[[Any, Any], list[Run]], rows: Rows, transformer: Any) -> Iterator[Stage]:
    """Yield the fits to each modality alone and to all but each, seed by seed; refuse a single modality.

    `make_runs` gives the runs of a table and a transformer for it.
    """
    columns = modality_columns(rows.X, getattr(transformer, "modalities", None))
    if len(columns) < 2:
        fact = "needs two modalities or more, and there is one"
        remedy = 'pass a transformer with modalities={...} or "prefix", or leave it out'
        raise InvalidArgument("by_modality", True, fact, remedy)
    parts = {f"{name} alone": [name] for name in columns}
    if len(columns) > 2:  # without one of two is the other alone
        parts |= {f"without {name}": [other for other in columns if other != name] for name in columns}
    made = [(point, *_part(rows.X, transformer, columns, names)) for point, names in parts.items()]
    for draw, clients in enumerate(rows.clients):
        for point, X, of_part in made:
            mine = runs_of_draw(make_runs(X, of_part), draw)
            yield Stage("modalities", point, mine, rows._replace(X=X, clients=clients[None]))


def _part(X: ArrayLike, transformer: Any, columns: dict[str, Any], names: list[str]) -> tuple[Any, Any]:
    """Return the columns of some modalities, and the transformer for them."""
    kept = np.sort(np.concatenate([columns[name] for name in names]))
    part = clone(transformer)
    if part.modalities is not None:  # None finds them by itself
        part.set_params(modalities={name: np.searchsorted(kept, columns[name]) for name in names})
    if isinstance(encoders := getattr(part, "encoders", None), Mapping):
        part.set_params(encoders={name: encoder for name, encoder in encoders.items() if name in names} or None)
    return take_columns(X, kept, axis=1), part
