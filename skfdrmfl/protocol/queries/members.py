"""What members of a mixture follow from, what they leave of y on rows held out, and what Z is made of.

All rows of a subset are held out in exactly one fold, so what a fold keeps is the total less its own sums: of these
every linear model of kept rows follows, and its errors on the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import ClassVar, NamedTuple

import numpy as np

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.held_out import EVERYTHING, Subset
from skfdrmfl.data.transforms import BlockTransform
from skfdrmfl.method.linear import Linear
from skfdrmfl.method.mixture import Mixture
from skfdrmfl.protocol.door import ClientRows, Query
from skfdrmfl.protocol.plan import Inputs, Model, Targets


class FoldSums(NamedTuple):
    """Sums over the rows x (p,), y (q,) that each of K folds holds out, as the fields of `mixture.moments.Moments`."""

    n: Float  # (K,)
    x: Float  # (K, p)
    y: Float  # (K, q)
    xx: Float  # (K, p, p)
    xy: Float  # (K, p, q)
    yy: Float  # (K, q, q)


@dataclass(frozen=True, eq=False)
class FoldMoments(Query):
    """Sums and products of encoder inputs and outputs over the rows that each of some folds holds out.

    `inputs` centre and scale columns at most, and `targets` are standardised: sums about pooled means, in units of
    pooled deviations, keep the digits that the server's differences need.
    """

    name: ClassVar[str] = "products by fold"
    powers: ClassVar[tuple[int, ...]] = (0, 1, 1, 2, 2, 2)
    inputs: Inputs
    targets: Targets
    folds: tuple[Subset, ...]  # the rows held out, K sides that hold each row of `subset` once
    subset: Subset = EVERYTHING

    def __call__(self, client: ClientRows) -> FoldSums | None:
        """Return a client's sums, of zeros for a fold that it has no row of."""
        sums = [self._of_fold(client, fold) for fold in self.folds]
        return FoldSums(*map(np.stack, zip(*sums, strict=True))) if any(n for n, *_ in sums) else None

    def _of_fold(self, client: ClientRows, fold: Subset) -> tuple[float, Float, Float, Float, Float, Float]:
        pairs = client.inputs_and_targets(self.inputs, self.targets, fold)
        parts = [(float(len(a)), a.sum(0), b.sum(0), a.T @ a, a.T @ b, b.T @ b) for a, b in pairs]
        return reduce(lambda total, part: tuple(map(add, total, part)), parts)


@dataclass(frozen=True, eq=False)
class LinearMembers:
    """Linear members of the same inputs, fitted on the rows that each fold keeps.

    The outputs of the model of a fold are those of all members, side by side: (p, members q).
    """

    inputs: Inputs
    by_fold: tuple[Linear, ...]


@dataclass(frozen=True, eq=False)
class NetworkMember:
    """A network trained on the rows that each fold keeps.

    It predicts y in the `units` of its fold; of one that learned what a linear member leaves, `beside` is the number of
    that member and `scales` are the units that it learned that in.
    """

    by_fold: tuple[Model, ...]
    units: tuple[BlockTransform, ...]
    scales: tuple[float, ...] = ()
    beside: int | None = None


class ErrorSums(NamedTuple):
    """Votes, and sums over rows held out of the products of errors of all members (q, M, M), of standardised y.

    A vote is a row, or with `MemberErrors.equal_votes` a client, whose sums are then means over its rows.
    """

    votes: float
    products: Float


@dataclass(frozen=True, eq=False)
class MemberErrors(Query):
    """How members err on the rows that they have not seen: the linear ones first, then the networks."""

    name: ClassVar[str] = "products of errors"
    powers: ClassVar[tuple[int, ...]] = (0, 0)
    linear: tuple[LinearMembers, ...]
    networks: tuple[NetworkMember, ...]
    targets: Targets  # y, in the units of the answer
    folds: tuple[Subset, ...]  # the rows held out
    equal_votes: bool = False
    subset: Subset = EVERYTHING

    def __call__(self, client: ClientRows) -> ErrorSums | None:
        """Return a client's sums."""
        n_rows, products = 0, None
        for errors in self.of(client):
            part = errors @ errors.swapaxes(1, 2)
            products = part if products is None else products + part
            n_rows += errors.shape[2]
        if products is None:
            return None
        return ErrorSums(1.0, products / n_rows) if self.equal_votes else ErrorSums(float(n_rows), products)

    def of(self, client: ClientRows) -> Iterator[Float]:
        """Yield the errors (q, M, n) of a client's rows, fold by fold."""
        for number, fold in enumerate(self.folds):
            y = client.targets(self.targets, fold)
            if len(y):
                yield self._errors(client, number, fold, y)

    def _errors(self, client: ClientRows, number: int, fold: Subset, y: Float) -> Float:
        """Return the errors (q, M, n) on the rows of one fold."""
        n, q = y.shape
        predicted = [
            client.linear(members.by_fold[number], members.inputs, fold).reshape(n, -1, q) for members in self.linear
        ]
        linear = np.concatenate(predicted, 1) if predicted else np.empty((n, 0, q))
        for member in self.networks:
            _, y_hat = client.codes(member.by_fold[number], fold)
            if member.beside is not None:
                y_hat = member.scales[number] * y_hat + linear[:, member.beside]
            else:
                y_hat = member.units[number].undo(y_hat)
            predicted.append(y_hat[:, None])
        return (np.concatenate(predicted, 1) - y[:, None]).transpose(2, 1, 0)


class ScoreSums(NamedTuple):
    """Rows, and over them the sums of v (s,) and of its products (s, s), v being scores, predictions and y."""

    n_rows: float
    sums: Float
    products: Float


@dataclass(frozen=True, eq=False)
class ScoreProducts(Query):
    """Products of scores, predictions and standardised y."""

    name: ClassVar[str] = "products of scores"
    powers: ClassVar[tuple[int, ...]] = (0, 0, 0)
    model: Mixture  # whose Z are the scores
    targets: Targets
    subset: Subset = EVERYTHING

    def __call__(self, client: ClientRows) -> ScoreSums | None:
        """Return a client's sums."""
        z, y_hat = client.codes(self.model, self.subset)
        v = np.concatenate((z, y_hat, client.targets(self.targets, self.subset)), 1)
        return ScoreSums(float(len(v)), v.sum(0), v.T @ v) if len(v) else None
