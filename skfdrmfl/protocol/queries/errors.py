"""Errors of the candidates of tuning on rows that clients hold out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.data.transforms import BlockTransform
from skfdrmfl.method.linear_part import Linear
from skfdrmfl.protocol.door import ClientRows
from skfdrmfl.protocol.plan import Inputs, Model, Targets


class CandidateErrors(NamedTuple):
    """Sums over held-out rows for each candidate of tuning.

    With a and b the errors of a network and of a ridge on a row, and v = (a a, a b, b b), each summed over outputs: the
    sums of v (candidates, 3), and of its products (candidates, 3, 3).
    """

    sums: Float
    products: Float

    @classmethod
    def of(cls, pairs: Sequence[tuple[Float, Float]]) -> CandidateErrors:
        """Return the sums for each pair of errors (n, q) of a network and a ridge."""
        v = [np.stack([(a * a).sum(1), (a * b).sum(1), (b * b).sum(1)]) for a, b in pairs]
        return cls(np.stack([w.sum(1) for w in v]), np.stack([w @ w.T for w in v]))


@dataclass(frozen=True, eq=False)
class Candidate:
    """A trained network and a ridge beside it."""

    model: Model | None  # None where training diverged
    linear: Linear | None  # the ridge, of `inputs`; None where there is none
    inputs: Inputs
    # For a network that learned what the ridge leaves, the unit it learned that in; else None
    scale: float | None = None


@dataclass(frozen=True, eq=False)
class FoldErrors:
    """How candidates err on the rows that a fold holds out."""

    name: ClassVar[str] = "errors of candidates"
    powers: ClassVar[tuple[int, ...]] = (0, 0)
    candidates: tuple[Candidate, ...]
    unit: BlockTransform  # what candidates predict is in its units
    targets: Targets  # y, in the units of the answer
    subset: Subset = EVERYTHING

    def __call__(self, client: ClientRows) -> CandidateErrors | None:
        """Return a client's sums."""
        y = client.targets(self.targets, self.subset)
        if not len(y):
            return None
        pairs = []
        for candidate in self.candidates:
            ridge = np.zeros_like(y)
            of_ridge = np.zeros_like(y)
            if candidate.linear is not None:
                ridge = client.linear(candidate.linear, candidate.inputs, self.subset)
                of_ridge = self.unit.undo(ridge) - y
            of_network = np.zeros_like(y)
            if candidate.model is not None:
                _, y_hat = client.codes(candidate.model, self.subset)
                if candidate.scale is not None:
                    y_hat = candidate.scale * y_hat + ridge
                of_network = self.unit.undo(y_hat) - y
            pairs.append((of_network, of_ridge))
        return CandidateErrors.of(pairs)


class Squares(NamedTuple):
    """How many values there are, and the sum of their squares."""

    n_values: float
    squares: float


@dataclass(frozen=True, eq=False)
class ResidualSquares:
    """How much a linear model leaves of y: `targets` says which."""

    name: ClassVar[str] = "squares of what a ridge leaves"
    powers: ClassVar[tuple[int, ...]] = (0, 2)
    targets: Targets
    subset: Subset = EVERYTHING

    def __call__(self, client: ClientRows) -> Squares | None:
        """Return a client's number of values and their squares."""
        residual = client.targets(self.targets, self.subset)
        return Squares(float(residual.size), float((residual**2).sum())) if len(residual) else None
