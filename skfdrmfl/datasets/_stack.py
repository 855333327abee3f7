"""Laying the arrays of several modalities out as one table, which scikit-learn's tools can split."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from skfdrmfl.common.arrays import check_unmasked
from skfdrmfl.common.extras import import_extra


@overload
def stack_modalities(
    blocks: Mapping[str, Any], *, as_frame: Literal[False] = ...
) -> tuple[NDArray[Any], dict[str, slice]]: ...
@overload
def stack_modalities(blocks: Mapping[str, Any], *, as_frame: Literal[True]) -> Any: ...
def stack_modalities(blocks: Mapping[str, Any], *, as_frame: bool = False) -> Any:
    """Lay the arrays of several modalities side by side in one table.

    Cross-validation, Pipelines and searches index the rows of X: a dict or a list of arrays does not survive
    them, one table does.

    Parameters
    ----------
    blocks : mapping of str to array-like
        One entry a modality, row i the same sample in all: numeric arrays of shape (n, ...), or pandas or
        polars DataFrames. Images and sequences are flattened (C order), a 1-D array is one column. Names are
        non-empty, hold no "__" (which divides a modality's name from a column's) and do not end in "_".
    as_frame : bool, default=False
        Return a pandas DataFrame instead of an array with slices.

    Returns
    -------
    X, modalities : ndarray of shape (n, total width), dict of str to slice; if not `as_frame`
        For ``FDRMFLTransformer(modalities=modalities).fit(X, y)``. A new array of the blocks' common dtype.
    X : DataFrame of shape (n, total width); if `as_frame`
        For ``FDRMFLTransformer(modalities="prefix").fit(X, y)``. The same numbers in columns called
        ``name__j``, j from 0, or ``name__column`` where the block had named columns; the index is that of
        the pandas blocks.

    Raises
    ------
    TypeError
        If `blocks` is not a mapping, or a block is sparse or not numeric.
    ValueError
        If there is no block, a name is not as above, a block is empty, or row counts or indexes differ.
    ImportError
        If `as_frame` and pandas is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> from skfdrmfl.datasets import stack_modalities
    >>> X, modalities = stack_modalities({"image": np.zeros((5, 3, 8, 8)), "age": np.ones(5)})
    >>> X.shape, modalities
    ((5, 193), {'image': slice(0, 192, None), 'age': slice(192, 193, None)})
    """
    if not isinstance(blocks, Mapping):
        raise TypeError(f"blocks is a {type(blocks).__name__}; pass a dict from modality names to arrays.")
    if not blocks:
        raise ValueError("blocks is empty; pass at least one modality.")
    arrays = {name: _as_2d(name, block) for name, block in blocks.items()}
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        raise ValueError(f"Modalities differ in their numbers of rows: {rows}; row i must be one sample in all.")
    indexes = {name: block.index for name, block in blocks.items() if hasattr(block, "iloc")}
    first = next(iter(indexes), "")
    for name, index in indexes.items():
        if not index.equals(indexes[first]):  # rows side by side would be of other samples
            raise ValueError(
                f"Modalities {first!r} and {name!r} have different indexes; align them with .loc, or call "
                ".reset_index(drop=True) on each if row i is the same sample."
            )
    X = np.concatenate(list(arrays.values()), axis=1)
    if as_frame:
        columns = [
            f"{name}__{column}"
            for name, array in arrays.items()
            for column in getattr(blocks[name], "columns", range(array.shape[1]))
        ]
        return import_extra("pandas", "table", "as_frame=True needs").DataFrame(
            X, columns=columns, index=indexes.get(first)
        )
    ends = accumulate(array.shape[1] for array in arrays.values())
    return X, {name: slice(end - array.shape[1], end) for (name, array), end in zip(arrays.items(), ends, strict=True)}


def _as_2d(name: object, block: Any) -> NDArray[Any]:
    """Return one modality as a numeric array of shape (n, width)."""
    if not isinstance(name, str) or not name or "__" in name or name.endswith("_"):
        raise ValueError(f"Modality name {name!r} will not do; use a non-empty string without '__', not ending in '_'.")
    if issparse(block):
        raise TypeError(f"Modality {name!r} is sparse; pass .toarray().")
    check_unmasked(block, f"modality {name!r}")
    array = np.asarray(block)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"Modality {name!r} has dtype {array.dtype}; encode it as numbers first.")
    if array.size == 0 or array.ndim == 0:
        raise ValueError(f"Modality {name!r} has shape {array.shape}; it needs at least one row and column.")
    return array.reshape(len(array), -1)
