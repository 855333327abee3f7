"""An encoder of categories, given as integer codes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding

from skfdrmfl.encoders._spec import Encoder, check_layer_sizes, check_positive, part_name
from skfdrmfl.mlp import Views
from skfdrmfl.parts import FeaturePart


class CategoricalEncoder(Encoder):
    """Embeddings of categories: each column's category has a vector, and the code is an affine map of them all.

    Columns hold the integer codes 0 .. n - 1 and reach the encoder as they are. Every other integer, such as -1,
    is the reserved code of its column, "unknown": its vector starts at zero, and stays there unless training
    rows hold such codes.

    Parameters
    ----------
    n_categories : int or tuple of int
        Number n of categories, of all columns or of each.
    embedding_dim : int, default=4
        Entries of a category's vector.
    """

    strongest_preprocessing: ClassVar[str | None] = None

    def __init__(self, n_categories: int | Sequence[int], *, embedding_dim: int = 4):
        self.n_categories = n_categories
        self.embedding_dim = embedding_dim

    def build(self, name: str, n_columns: int, modality_dim: int, default_hidden: Sequence[int]) -> EmbeddingPart:
        """The network h_m from `n_columns` inputs to `modality_dim` outputs."""
        what = f"n_categories of the encoder of modality {name!r}"
        if isinstance(self.n_categories, Iterable):
            sizes = check_layer_sizes(self.n_categories, what)
            if len(sizes) != n_columns:
                raise ValueError(
                    f"{what} has {len(sizes)} entries but the modality has {n_columns} columns; "
                    "give one number for each column, or one for all."
                )
        else:
            sizes = (check_positive(self.n_categories, what),) * n_columns
        size = check_positive(self.embedding_dim, f"embedding_dim of the encoder of modality {name!r}")
        return EmbeddingPart(part_name(name), sizes, size, modality_dim)

    def check_rows(self, name: str, block: NDArray[np.floating]) -> None:
        """Raise ValueError where a column holds something else than whole numbers."""
        wrong = np.argwhere(block != np.round(block))
        if len(wrong):
            row, column = wrong[0]
            raise ValueError(
                f"column {column} of modality {name!r} holds {block[row, column]:g} in row {row}, which is no integer "
                "code; number its categories from 0 (OrdinalEncoder does), or give the modality another encoder."
            )


class EmbeddingPart(FeaturePart):
    """The vectors of a row's categories, one column after another.

    Parameters
    ----------
    n_categories : tuple of int
        Of each column; the table of vectors has one more for each, the last, which is that of unknown codes.
    size : int
        Entries of a vector.
    """

    def __init__(self, name: str, n_categories: tuple[int, ...], size: int, n_outputs: int):
        self.n_categories, self.size = n_categories, size
        n_columns, n_rows = len(n_categories), sum(n_categories) + len(n_categories)
        self._last = np.cumsum(np.add(n_categories, 1)) - 1  # row of each column's "unknown"
        super().__init__(
            name,
            n_columns,
            n_outputs,
            n_categories,
            size,
            layers={"embedding": (n_rows, size)},
            n_features=n_columns * size,
            skip=False,
        )

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> dict[str, np.ndarray]:
        """As everywhere, but zeros for unknown codes."""
        arrays = super().initial(rngs)
        arrays[self.first_weight][self._last] = 0.0
        return arrays

    def features(self, views: Views, x: Tensor) -> Tensor:
        """Vectors (C, columns * size, B) of the codes x (C, columns, B)."""
        table = views[self.first_weight]
        n_replicas, n_table, _ = table.shape
        n = torch.tensor(self.n_categories, device=x.device).view(1, -1, 1)
        last = torch.tensor(self._last, device=x.device).view(1, -1, 1)
        known = (x >= 0) & (x < n) & (x == x.round())
        rows = last - n + torch.where(known, x, n.to(x.dtype)).long()
        rows = rows + n_table * torch.arange(n_replicas, device=x.device).view(-1, 1, 1)
        vectors = embedding(rows, table.reshape(-1, self.size))  # (C, columns, B, size)
        return vectors.transpose(2, 3).flatten(1, 2)
