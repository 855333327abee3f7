"""Choosing shrinkage, decay and the part of a linear model by rows that the clients hold out.

Folds live inside the clients: each trains on some of its rows and sends sums of squared errors on the rest.
All networks of a fold train together, as runs of one stacked pass; a federated ridge comes from sums alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common.arrays import Float, Indices, Present
from skfdrmfl.data.held_out import inner_folds
from skfdrmfl.data.partition import Partition
from skfdrmfl.data.transforms import TableTransform
from skfdrmfl.federation.runs import Run, Schedule, Settings
from skfdrmfl.federation.sums.ridge import MAX_COLUMNS, Ridge
from skfdrmfl.federation.sums.whitening import fit_targets
from skfdrmfl.federation.training import train
from skfdrmfl.model.evaluate import evaluate
from skfdrmfl.model.linear_part import Linear
from skfdrmfl.model.network import Network

SHRINKAGES = (3e-2, 1e-2, 1e-3, 2e-4, 1e-5)
DEFAULT_SHRINKAGE = 2e-4
# Factors on the decay asked for: less of it helps where several layers have much to learn.
DECAY_FACTORS = (1.0, 1 / 3)
# What the ridge leaves is learned at these: it is little, and mostly in directions of little variance.
RESIDUAL_SHRINKAGES = (1e-2, 2e-4)
# The ridge alone keeps all directions but rounding: its own penalty does the shrinking.
RIDGE_SHRINKAGE = 1e-5
# A network must be better than the ridge by this many standard errors of the difference: few rows held out choose
# among dozens of networks, one of which always happens to do well, and a ridge, which gains most from rows, looks
# worse beside them on the rows that folds keep than it is.
CLEAR = 2.0


@dataclass(frozen=True)
class Choice:
    """One way to fit.

    Attributes
    ----------
    start : {"random", "ridge", "residual"}
        The network alone, the federated ridge alone, or a network on what the ridge leaves.
    shrinkage, weight_decay : float
    share : float
        Of the network in the prediction, the rest is the ridge's; 1 for the network alone, and for one on what the
        ridge leaves, which comes on top of it.
    penalty : float
        Of the ridge, relative to the largest eigenvalue; infinity is the mean.
    """

    start: str
    shrinkage: float
    weight_decay: float
    share: float = 1.0
    penalty: float = float("inf")

    @property
    def is_linear(self) -> bool:
        """Whether there is a ridge in it."""
        return self.start != "random" or self.share < 1.0


class _Errors(NamedTuple):
    """What a client sends of a network and a ridge, of standardised y.

    With a and b their errors on a row and v = (a a, a b, b b), each summed over outputs: the sums over rows held out of
    v (3,) and of its products (3, 3).
    """

    sums: Float
    products: Float

    @classmethod
    def of(cls, a: Float, b: Float) -> _Errors:
        """From the errors (n, q) of both."""
        v = np.stack([(a * a).sum(1), (a * b).sum(1), (b * b).sum(1)])
        return cls(v.sum(1), v @ v.T)

    def plus(self, other: _Errors) -> _Errors:
        """Those of both sets of rows."""
        return _Errors(self.sums + other.sums, self.products + other.products)

    def at(self, share: float) -> float:
        """Squared error of the mean of both, with this share of the network."""
        return float(_factors(share) @ self.sums)

    @property
    def best_share(self) -> float:
        """The share with the least squared error."""
        network, both, ridge = self.sums.tolist()
        apart = network - 2 * both + ridge
        return float(np.clip((ridge - both) / apart, 0.0, 1.0)) if apart > 0 else 1.0

    def clearly_better(self, share: float, n_rows: int) -> bool:
        """Whether that mean's squared error is below the ridge's by more than `CLEAR` standard errors."""
        change = _factors(share) - _factors(0.0)
        gain = -float(change @ self.sums)
        variance = float(change @ self.products @ change) - gain**2 / n_rows
        return gain > CLEAR * np.sqrt(max(variance, 0.0))


class _Candidate(NamedTuple):
    """A choice, its errors on rows held out, and their squared sum."""

    choice: Choice
    errors: _Errors
    squares: float


def _factors(share: float) -> Float:
    """The squared error of share a + (1 - share) b is the product of these and (a a, a b, b b)."""
    return np.array([share**2, 2 * share * (1 - share), (1 - share) ** 2])


_LOST = _Errors(np.array([np.inf, 0.0, 0.0]), np.zeros((3, 3)))  # of a network that diverged


def fit_ridge(x: Float, y: Float, partition: Partition, gains: Float, penalty: float) -> Linear:
    """Federated ridge of y (n, q) on encoder inputs x (n, p)."""
    if np.isinf(penalty):  # the mean: no products need to be sent
        mean = Ridge(x[:, :0], y, partition, gains[:0]).linear(penalty)
        return Linear(np.zeros((x.shape[1], y.shape[1])), mean.intercept)
    return Ridge(x, y, partition, gains).linear(penalty)


@dataclass(frozen=True)
class Tuner:
    """What all candidates have in common.

    table, targets : ndarray
        The rows as given.
    present : ndarray of bool of shape (n, M), or None
        Which modalities each row has; None: all.
    whitens : bool
        Whether a shrinkage makes a difference.
    preprocess : callable
        The transformations of the table, fitted on the rows of a partition, one for each shrinkage.
    start : callable
        Builds the network for encoder inputs of given widths, and its first weights.
    settings, schedule, engine, device, seed
        Of the training.
    fallback : Choice
        What to do where nothing can be compared.
    report : bool
        Whether to print a line for each fold.
    """

    table: NDArray
    targets: Float
    present: Present | None
    whitens: bool
    preprocess: Callable[[Partition, Sequence[float]], list[TableTransform]]
    start: Callable[[TableTransform, Mapping[str, int]], tuple[Network, Tensor]]
    settings: Settings
    schedule: Schedule
    engine: str
    device: torch.device
    seed: int
    fallback: Choice
    report: bool = False

    def shrinkage(self, partition: Partition) -> list[tuple[Choice, float]]:
        """The networks of all shrinkages and their mean squared errors, best first."""
        return self._compare(partition, [self._default(s) for s in SHRINKAGES], linear=False)

    def everything(self, partition: Partition, *, linear: bool) -> list[tuple[Choice, float]]:
        """All candidates and their mean squared errors on rows held out, of standardised y, the choice first.

        Networks of all shrinkages and decays; if `linear`, also each of them mixed with a ridge, that ridge, and
        networks on what it leaves. The choice is the best, or the ridge where the best is not clearly better; the
        others follow by their errors.
        """
        shrinkages = SHRINKAGES if self.whitens else (DEFAULT_SHRINKAGE,)
        decays = DECAY_FACTORS if self.settings.weight_decay else (1.0,)
        choices = [
            replace(self._default(s), weight_decay=factor * self.settings.weight_decay)
            for s in shrinkages
            for factor in decays
        ]
        if linear:
            residual = RESIDUAL_SHRINKAGES if self.whitens else (DEFAULT_SHRINKAGE,)
            choices += [replace(self._default(s), start="residual") for s in residual]
        return self._compare(partition, choices, linear=linear)

    def _default(self, shrinkage: float) -> Choice:
        return Choice("random", shrinkage, self.settings.weight_decay)

    def _compare(self, partition: Partition, choices: list[Choice], *, linear: bool) -> list[tuple[Choice, float]]:
        """All with their errors, the choice first; the fallback alone where nothing can be held out."""
        folds = [fold for fold in inner_folds(partition, self.seed) if self._somebody_has_each(fold[0])]
        y = fit_targets(self.targets, partition).apply(torch.as_tensor(self.targets)).numpy()
        n_rows = int(sum(held_out.sizes.sum() for _, held_out in folds))
        penalty = self._penalty(partition, y) if linear and folds else None
        errors = [_Errors(np.zeros(3), np.zeros((3, 3)))] * len(choices)
        for i, (kept, held_out) in enumerate(folds, 1):
            if self.report:
                print(f"[FDRMFL] tuning, fold {i}/{len(folds)}: {len(choices)} networks", flush=True)
            sent = self._fold(kept, held_out, y, choices, penalty)
            errors = [before.plus(now) for before, now in zip(errors, sent, strict=True)]
        networks = []
        for choice, error in zip(choices, errors, strict=True):
            shares = [1.0]
            # A network mixed with the mean is the same Z, smaller: a regression behind it would undo that.
            mixes = penalty is not None and np.isfinite(penalty) and choice.start == "random"
            if mixes and 0 < error.best_share < 1:
                shares.append(error.best_share)
            networks += [_Candidate(replace(choice, share=share), error, error.at(share)) for share in shares]
        if not folds or not any(network.squares > 0 for network in networks):
            return [(self.fallback, float("nan"))]
        compared = sorted(networks, key=lambda network: network.squares)
        if penalty is not None:
            compared = self._beside_ridge(compared, penalty, n_rows)
        return [(candidate.choice, candidate.squares / (n_rows * y.shape[1])) for candidate in compared]

    def _beside_ridge(self, networks: Sequence[_Candidate], penalty: float, n_rows: int) -> list[_Candidate]:
        """The first of the networks, or the ridge where that is not clearly better; then the others by their errors."""
        networks = [network._replace(choice=replace(network.choice, penalty=penalty)) for network in networks]
        # The ridge's error beside the networks', on the same folds: with the least shrinkage it is nearest to itself.
        beside = min(networks, key=lambda network: network.choice.shrinkage).errors
        alone = Choice("ridge", RIDGE_SHRINKAGE, self.settings.weight_decay, 0.0, penalty)
        ridge = _Candidate(alone, beside, float(beside.sums[-1]))
        best, *others = networks
        if not best.errors.clearly_better(best.choice.share, n_rows):
            return [ridge, *networks]
        return [best, *sorted([ridge, *others], key=lambda candidate: candidate.squares)]

    def _somebody_has_each(self, kept: Partition) -> bool:
        return self.present is None or bool(self.present[np.concatenate(kept.rows)].any(0).all())

    def _penalty(self, partition: Partition, y: Float) -> float:
        """The ridge's penalty."""
        (transform,) = self.preprocess(partition, [RIDGE_SHRINKAGE])
        x, gains = transform.apply(self.table, torch.float64, present=self.present).numpy(), transform.gains
        if x.shape[1] > MAX_COLUMNS:
            x, gains = x[:, :0], gains[:0]  # the mean alone
        return Ridge(x, y, partition, gains).best_penalty()

    def _fold(
        self, kept: Partition, held_out: Partition, y: Float, choices: Sequence[Choice], penalty: float | None
    ) -> list[_Errors]:
        """What the clients send of each choice, fitted on the rows kept; `penalty` is None without a ridge."""
        shrinkages = sorted({choice.shrinkage for choice in choices})
        fitted = dict(zip(shrinkages, self.preprocess(kept, shrinkages), strict=True))
        # Shrinkages drop different directions: one network, as wide as the widest, holds them all.
        widths = {name: max(t.widths[name] for t in fitted.values()) for name in fitted[shrinkages[0]].widths}
        tables = {s: t.apply(self.table, torch.float32, widths, self.present) for s, t in fitted.items()}
        starts = {s: self.start(t, widths) for s, t in fitted.items()}
        network = starts[shrinkages[0]][0]
        unit = fit_targets(y, kept)
        y_kept = unit.apply(torch.as_tensor(y))
        linear: dict[float, Float] = {}  # predictions of the ridge, of y_kept
        of_ridge = dict.fromkeys(shrinkages, np.zeros_like(y))  # and its errors, of y
        if penalty is not None:
            for s, transform in fitted.items():
                x = transform.apply(self.table, torch.float64, present=self.present).numpy()
                linear[s] = fit_ridge(x, y_kept.numpy(), kept, transform.gains, penalty).predict(x)
                of_ridge[s] = unit.undo(linear[s]) - y
        # Runs that learn from the same rows are given the same tensors, which the cohort then holds once.
        inputs = {s: x.to(self.device) for s, x in tables.items()}
        target = y_kept.to(self.device, torch.float32)
        runs, scales = [], []
        for choice in choices:
            s, mine, scale = choice.shrinkage, target, 1.0
            if choice.start == "residual":
                residual, scale = standardised_residual(y_kept.numpy() - linear[s], kept)
                mine = torch.as_tensor(residual).to(target)
            settings = replace(self.settings, weight_decay=choice.weight_decay)
            first = starts[s][1].to(self.device)
            runs.append(Run(inputs[s], mine, kept, settings, self.seed, first, present=self.present))
            scales.append(scale)
        *_, last = train(network, runs, self.schedule, self.engine)
        sent = []
        for i, choice in enumerate(choices):
            s = choice.shrinkage
            if last.diverged[i]:
                sent.append(held_out.sum_over_clients(_client_errors(0.0 * y, of_ridge[s])).plus(_LOST))
                continue
            _, y_hat = evaluate(network, network.arrays(last.models_of(i)[0]), tables[s], self.present)
            if choice.start == "residual":
                y_hat = scales[i] * y_hat + linear[s]
            of_network = unit.undo(y_hat) - y
            sent.append(held_out.sum_over_clients(_client_errors(of_network, of_ridge[s])))
        return sent


def _client_errors(of_network: Float, of_ridge: Float) -> Callable[[Indices], _Errors]:
    return lambda rows: _Errors.of(of_network[rows], of_ridge[rows])


class _Squares(NamedTuple):
    n_values: float
    squares: float


def standardised_residual(residual: Float, partition: Partition) -> tuple[Float, float]:
    """The residual (n, q) of unit mean square over the clients' rows, all outputs alike, and its scale."""

    def client(rows: Indices) -> _Squares:
        return _Squares(float(residual[rows].size), float((residual[rows] ** 2).sum()))

    sums = partition.sum_over_clients(client)
    scale = float(np.sqrt(sums.squares / sums.n_values)) or 1.0
    return residual / scale, scale


def with_ridge(run: Run, choice: Choice, transform: TableTransform, table: NDArray) -> Run:
    """The run of a choice that has a ridge in it: what it learns, and what its prediction is mixed with."""
    x = transform.apply(table, torch.float64, present=run.present).numpy()
    y = run.y.cpu().double().numpy()
    linear = fit_ridge(x, y, run.partition, transform.gains, choice.penalty)
    if choice.start == "residual":
        residual, scale = standardised_residual(y - linear.predict(x), run.partition)
        return replace(run, y=torch.as_tensor(residual).to(run.y), linear=linear, share=scale)
    share = 1.0 - choice.share
    part = Linear(share * linear.coefficients, share * linear.intercept)
    return replace(run, linear=part, share=choice.share)
