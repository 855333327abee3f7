"""The encoder of categories given as integer codes, and the parts of the network that embed them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Arrays
from skfdrmfl.common.late_torch import Tensor, torch
from skfdrmfl.common.tree import registered
from skfdrmfl.encoders._spec import Encoder, check_layer_sizes, check_positive
from skfdrmfl.method.mlp import MLP
from skfdrmfl.method.parts import GAIN, FeaturePart, Part, Views, part_name

# Default number of entries of the vectors that stand for categories of a DataFrame.
EMBEDDING_DIM = 8


@registered
@dataclass(eq=False, repr=False)
class CategoricalEncoder(Encoder):
    """Encoder of categories: each category of a column has a vector, and the code is an affine map of a row's vectors.

    Columns hold the integer codes 0 .. n - 1 and are not preprocessed. Every other integer, such as -1, is an unknown
    code: the column has one vector for all of them, which starts at zero and stays there unless training rows hold
    such codes. Discrete columns of a DataFrame get their codes from the transformer.

    Parameters
    ----------
    n_categories : int or tuple of int, default=None
        Number n of categories, one for all columns or one for each. None takes the numbers that the transformer counts
        in discrete columns of a DataFrame.
    embedding_dim : int, default=4
        Entries of a category's vector.
    """

    strongest_preprocessing: ClassVar[str | None] = None

    n_categories: int | Sequence[int] | None = None
    _: KW_ONLY
    embedding_dim: int = 4

    def build(self, name: str, n_columns: int, modality_dim: int, default_hidden: Sequence[int]) -> EmbeddingPart:
        """Return the network h_m from `n_columns` inputs to `modality_dim` outputs."""
        what = f"n_categories of the encoder of modality {name!r}"
        if self.n_categories is None:
            raise ValueError(
                f"{what} is None, but its columns are numeric; give the number of their codes, or pass a DataFrame "
                "whose columns are categories."
            )
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

    def build_embedded(
        self, name: str, n_categories: Sequence[int], n_columns: int, modality_dim: int, default_hidden: Sequence[int]
    ) -> EmbeddingPart:
        """Return the network h_m of the codes of a DataFrame's discrete columns."""
        if len(n_categories) < n_columns:
            raise ValueError(
                f"modality {name!r} has {n_columns - len(n_categories)} numeric columns beside its discrete ones, "
                f"which {type(self).__name__} cannot read; give them a modality of their own, or make them categories."
            )
        if self.n_categories is not None:
            raise ValueError(
                f"n_categories of the encoder of modality {name!r} is {self.n_categories!r}, but the categories of its "
                "discrete columns are counted; leave it None."
            )
        return CategoricalEncoder(tuple(n_categories), embedding_dim=self.embedding_dim).build(
            name, n_columns, modality_dim, default_hidden
        )

    def check_rows(self, name: str, block: NDArray[np.floating]) -> None:
        """Raise ValueError where a column holds anything but whole numbers."""
        wrong = np.argwhere(block != np.round(block))
        if len(wrong):
            row, column = wrong[0]
            raise ValueError(
                f"column {column} of modality {name!r} holds {block[row, column]:g} in row {row}, which is no integer "
                "code; number its categories from 0 (OrdinalEncoder does), or give the modality another encoder."
            )


class EmbeddingTable:
    """The vectors, of `size` entries, of the categories of several columns, one below another in one matrix.

    Behind the rows of each column's categories the matrix has one for the column's unknown codes.
    """

    def __init__(self, n_categories: tuple[int, ...], size: int):
        self.n_categories, self.size = n_categories, size
        self.shape = (sum(n_categories) + len(n_categories), size)
        self.n_features = len(n_categories) * size
        self.unknown = np.cumsum(np.add(n_categories, 1)) - 1  # row of each column's unknown codes

    def features(self, table: Tensor, x: Tensor) -> Tensor:
        """Return the vectors (C, columns * size, B) of the codes x (C, columns, B) from the matrix (C, *shape)."""
        n_replicas, n_table, _ = table.shape
        n = torch.tensor(self.n_categories, device=x.device).view(1, -1, 1)
        unknown = torch.tensor(self.unknown, device=x.device).view(1, -1, 1)
        known = (x >= 0) & (x < n) & (x == x.round())
        rows = unknown - n + torch.where(known, x, n.to(x.dtype)).long()
        rows = rows + n_table * torch.arange(n_replicas, device=x.device).view(-1, 1, 1)
        vectors = torch.nn.functional.embedding(rows, table.reshape(-1, self.size))  # (C, columns, B, size)
        return vectors.transpose(2, 3).flatten(1, 2)


class EmbeddingPart(FeaturePart):
    """An affine map of the vectors of a row's categories, column after column; parameters as of `EmbeddingTable`."""

    def __init__(self, name: str, n_categories: tuple[int, ...], size: int, n_outputs: int):
        self.table = EmbeddingTable(n_categories, size)
        self.code_sizes = tuple(n_categories)
        self.layers = [(f"{name}.weight_out", f"{name}.bias_out")]
        super().__init__(
            name,
            len(n_categories),
            n_outputs,
            n_categories,
            size,
            layers={"embedding": self.table.shape},
            n_features=self.table.n_features,
            skip=False,
        )

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> Arrays:
        """Return weights as those of `FeaturePart`, but zeros for unknown codes."""
        arrays = super().initial(rngs)
        arrays[self.first_weight][self.table.unknown] = 0.0
        return arrays

    def features(self, views: Views, x: Tensor) -> Tensor:
        """Return the vectors (C, columns * size, B) of the codes x (C, columns, B)."""
        return self.table.features(views[self.first_weight], x)


class EmbeddedMLP(Part):
    """Dense layers over the vectors, of `size`, of a row's categories, its first inputs, and its numeric inputs."""

    def __init__(
        self,
        name: str,
        n_categories: Sequence[int],
        size: int,
        n_inputs: int,
        hidden: Sequence[int],
        n_outputs: int,
        *,
        skip: bool,
    ):
        super().__init__(name, n_inputs, n_outputs, tuple(n_categories), size)
        self.table = EmbeddingTable(tuple(n_categories), size)
        self.n_codes = len(n_categories)
        self.code_sizes = tuple(n_categories)
        self.mlp = MLP(name, self.table.n_features + n_inputs - self.n_codes, hidden, n_outputs, skip=skip)
        self.layers, self.skip, self.first_weight = self.mlp.layers, self.mlp.skip, self.mlp.first_weight
        self._embedding = f"{name}.embedding"
        self.shapes = {self._embedding: self.table.shape, **self.mlp.shapes}

    @property
    def signature(self) -> tuple:
        """All that describes the part but the number of numeric inputs."""
        return (type(self).__name__, *self._options, *self.mlp.signature)

    def initial(self, rngs: Iterator[np.random.Generator], input_power: float | None = None) -> Arrays:
        """Return Gaussian vectors, zeros for unknown codes, and the layers' first weights."""
        deviation = GAIN / np.sqrt(self.table.size)
        vectors = deviation * next(rngs).standard_normal(self.table.shape)
        vectors[self.table.unknown] = 0.0
        power = (input_power or 0.0) + self.table.n_features * deviation**2
        return {self._embedding: vectors, **self.mlp.initial(rngs, power)}

    def forward(self, views: Views, x: Tensor) -> Tensor:
        """Return outputs (C, B, n_outputs) for inputs x (C, B, n_inputs)."""
        codes, numeric = x[..., : self.n_codes].transpose(1, 2), x[..., self.n_codes :]
        vectors = self.table.features(views[self._embedding], codes).transpose(1, 2)
        return self.mlp.forward(views, torch.cat((vectors, numeric), -1))
