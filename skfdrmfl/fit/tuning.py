"""Choosing shrinkage, decay and the part of a linear model by rows that the clients hold out.

Folds live inside the clients: each trains on some of its rows and sends sums of squared errors on the rest.
All networks of a fold train together, as runs of one stacked pass; a federated ridge comes from sums alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.common.progress import Bar
from skfdrmfl.data.held_out import EVERYTHING, Fold, Subset, inner_folds
from skfdrmfl.data.transforms import BlockTransform, TableTransform
from skfdrmfl.fit.callbacks import CallbackTask, Rounds
from skfdrmfl.method.linear_part import Linear
from skfdrmfl.method.network import Network
from skfdrmfl.protocol.door import Federation
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Inputs, Model, Plan, RunPlan, Schedule, Settings, Start, Targets
from skfdrmfl.protocol.queries.errors import Candidate, FoldErrors, ResidualSquares
from skfdrmfl.protocol.queries.labels import Presence
from skfdrmfl.protocol.queries.ridge import Ridge, fit_ridge
from skfdrmfl.protocol.queries.whitening import fit_targets
from skfdrmfl.server.trained import Trained
from skfdrmfl.server.training import train

# Fits, on a subset, the transformation of the table for each of some shrinkages, and the standardisation of outputs
# that have gone through other transformations (None: none is needed).
Preprocess = Callable[
    [Subset, Sequence[float], tuple[BlockTransform, ...] | None], tuple[list[TableTransform], BlockTransform | None]
]

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
    """One way to fit."""

    start: str  # the network alone ("random"), the "ridge" alone, or a network on its "residual"
    shrinkage: float
    weight_decay: float
    share: float = 1.0  # of the network in the prediction, the rest is the ridge's; 1 for one on what the ridge leaves
    penalty: float = float("inf")  # of the ridge, relative to the largest eigenvalue; infinity is the mean

    @property
    def is_linear(self) -> bool:
        """Whether there is a ridge in it."""
        return self.start != "random" or self.share < 1.0


class Errors(NamedTuple):
    """What a client sends of a network and a ridge, of standardised y.

    With a and b their errors on a row and v = (a a, a b, b b), each summed over outputs: the sums over rows held out of
    v (3,) and of its products (3, 3).
    """

    sums: Float
    products: Float

    def plus(self, other: Errors) -> Errors:
        """Return the errors on both sets of rows together."""
        return Errors(self.sums + other.sums, self.products + other.products)

    def at(self, share: float) -> float:
        """Return the squared error of the mean of both, with this share of the network."""
        return float(_factors(share) @ self.sums)

    @property
    def best_share(self) -> float:
        """The share with the least squared error."""
        network, both, ridge = self.sums.tolist()
        apart = network - 2 * both + ridge
        return float(np.clip((ridge - both) / apart, 0.0, 1.0)) if apart > 0 else 1.0

    def clearly_better(self, share: float, n_rows: int) -> bool:
        """Return whether that mean's squared error is below the ridge's by more than `CLEAR` standard errors."""
        change = _factors(share) - _factors(0.0)
        gain = -float(change @ self.sums)
        variance = float(change @ self.products @ change) - gain**2 / n_rows
        return gain > CLEAR * np.sqrt(max(variance, 0.0))


class Compared(NamedTuple):
    """A choice, its errors on rows held out, and their squared sum."""

    choice: Choice
    errors: Errors
    squares: float


def _factors(share: float) -> Float:
    """Return factors: the squared error of share a + (1 - share) b is the product of these and (a a, a b, b b)."""
    return np.array([share**2, 2 * share * (1 - share), (1 - share) ** 2])


# What is added to the errors of a network that diverged, which are sent as zeros.
DIVERGED = Errors(np.array([np.inf, 0.0, 0.0]), np.zeros((3, 3)))


@dataclass(frozen=True, eq=False)
class Tuner:
    """What all candidates have in common."""

    federation: Federation
    subset: Subset  # rows to tune on
    whitens: bool  # whether a shrinkage makes a difference
    preprocess: Preprocess
    # Makes the network for encoder inputs of given widths, and its first weights.
    build: Callable[[TableTransform, Mapping[str, int]], tuple[Network, NDArray]]
    settings: Settings
    schedule: Schedule
    seed: int
    fallback: Choice  # what to do where nothing can be compared
    verbose: int  # 1 shows a bar, more prints a line for each fold
    task: CallbackTask  # what tuning is part of

    def shrinkage(self) -> list[tuple[Choice, float]]:
        """Return the networks of all shrinkages and their mean squared errors, best first."""
        return self._compare([self._default(s) for s in SHRINKAGES], linear=False)

    def everything(self, *, linear: bool) -> list[tuple[Choice, float]]:
        """Return all candidates and their mean squared errors on rows held out, of standardised y, the choice first.

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
        return self._compare(choices, linear=linear)

    def _default(self, shrinkage: float) -> Choice:
        return Choice("random", shrinkage, self.settings.weight_decay)

    def _compare(self, choices: list[Choice], *, linear: bool) -> list[tuple[Choice, float]]:
        """Return all with their errors, the choice first; the fallback alone where nothing can be held out."""
        folds, n_rows = self._folds()
        y = fit_targets(self.federation, self.subset)
        penalty = self._penalty(y) if linear and folds else None
        errors = [Errors(np.zeros(3), np.zeros((3, 3)))] * len(choices)
        task, n_rounds = self.task.sub("tuning", len(folds)), len(self.schedule.rate_factors)
        with closing(Bar("[FDRMFL] tuning", len(folds) * n_rounds, "round", shown=self.verbose == 1)) as bar:
            for i, (kept, held_out) in enumerate(folds):
                if self.verbose > 1:
                    print(f"[FDRMFL] tuning, fold {i + 1}/{len(folds)}: {len(choices)} networks", flush=True)
                fold = task.sub("fold", n_rounds)
                follow = partial(_follow, Rounds(fold, n_rounds), bar, i * n_rounds, n_rounds)
                sent = self._fold(kept, held_out, y, choices, penalty, follow)
                errors = [before.plus(now) for before, now in zip(errors, sent, strict=True)]
                fold.end()
        task.end()
        networks = []
        for choice, error in zip(choices, errors, strict=True):
            shares = [1.0]
            # A network mixed with the mean is the same Z, smaller: a regression behind it would undo that.
            mixes = penalty is not None and np.isfinite(penalty) and choice.start == "random"
            if mixes and 0 < error.best_share < 1:
                shares.append(error.best_share)
            networks += [Compared(replace(choice, share=share), error, error.at(share)) for share in shares]
        if not folds or not any(network.squares > 0 for network in networks):
            return [(self.fallback, float("nan"))]
        compared = sorted(networks, key=lambda network: network.squares)
        if penalty is not None:
            compared = self._beside_ridge(compared, penalty, n_rows)
        return [(candidate.choice, candidate.squares / (n_rows * len(y.mean))) for candidate in compared]

    def _beside_ridge(self, networks: Sequence[Compared], penalty: float, n_rows: int) -> list[Compared]:
        """Return the first network, or the ridge where that is not clearly better; then the others by their errors."""
        networks = [network._replace(choice=replace(network.choice, penalty=penalty)) for network in networks]
        # The ridge's error beside the networks', on the same folds: with the least shrinkage it is nearest to itself.
        beside = min(networks, key=lambda network: network.choice.shrinkage).errors
        alone = Choice("ridge", RIDGE_SHRINKAGE, self.settings.weight_decay, 0.0, penalty)
        ridge = Compared(alone, beside, float(beside.sums[-1]))
        best, *others = networks
        if not best.errors.clearly_better(best.choice.share, n_rows):
            return [ridge, *networks]
        return [best, *sorted([ridge, *others], key=lambda candidate: candidate.squares)]

    def _folds(self) -> tuple[list[tuple[Fold, Fold]], int]:
        """Return the folds that can be used, and the number of rows that they hold out.

        In each, some rows are held out, and among those kept each modality is present somewhere.
        """
        usable, n_rows = [], 0
        for kept, held_out in inner_folds(self.subset, self.seed):
            train_counts, test_counts = self.federation.sum(Presence(kept), Presence(held_out))
            if train_counts is not None and test_counts is not None and train_counts.by_modality.all():
                usable.append((kept, held_out))
                n_rows += int(test_counts.n_rows)
        return usable, n_rows

    def _penalty(self, y: BlockTransform) -> float:
        """Return the ridge's penalty, by leaving out the blocks of all rows in turn."""
        (transform,), _ = self.preprocess(self.subset, [RIDGE_SHRINKAGE], None)
        return Ridge(self.federation, Inputs(transform), Targets((y,)), self.subset).best_penalty()

    def _fold(
        self,
        kept: Fold,
        held_out: Fold,
        y: BlockTransform,
        choices: Sequence[Choice],
        penalty: float | None,
        follow: Callable[[Sequence[Trained]], None],
    ) -> list[Errors]:
        """Return what the clients send of each choice, fitted on the rows kept; `penalty` is None without a ridge."""
        self.federation.ledger.round = 0
        shrinkages = sorted({choice.shrinkage for choice in choices})
        transforms, unit = self.preprocess(kept, shrinkages, (y,))
        assert unit is not None
        fitted = dict(zip(shrinkages, transforms, strict=True))
        # Shrinkages drop different directions: one network, as wide as the widest, holds them all.
        widths = {name: max(t.widths[name] for t in transforms) for name in transforms[0].widths}
        built = {s: self.build(t, widths) for s, t in fitted.items()}
        network = built[shrinkages[0]][0]
        # Runs that learn from the same rows are given the same inputs, which the clients then hold once.
        inputs = {s: Inputs(t, widths, TRAINING_DTYPE) for s, t in fitted.items()}
        exact = {s: Inputs(t) for s, t in fitted.items()}
        targets = Targets((y, unit))
        linear: dict[float, Linear | None] = dict.fromkeys(shrinkages)
        if penalty is not None:
            linear = {s: fit_ridge(self.federation, exact[s], targets, penalty, kept) for s in shrinkages}
        runs, scales = [], []
        for choice in choices:
            s, mine, scale = choice.shrinkage, targets, None
            if choice.start == "residual":
                mine = residual(self.federation, targets, linear[s], exact[s], kept)
                scale = mine.scale
            settings = replace(self.settings, weight_decay=choice.weight_decay)
            runs.append(RunPlan(inputs[s], mine, settings, self.seed, Start(built[s][1]), kept))
            scales.append(scale)
        schedule = replace(self.schedule, patience=None)
        training = self.federation.prepare(Plan(network, tuple(runs), schedule))
        starts, heard = [run.start for run in runs], self.verbose > 0 or self.task.is_heard
        for last in train(training, network, starts, schedule, each_round=heard):
            follow(last)
        candidates = []
        for i, (choice, scale) in enumerate(zip(choices, scales, strict=True)):
            s, model = choice.shrinkage, None
            if not last[i].diverged:
                model = Model(network, network.arrays(last[i].models[0]), inputs[s])
            candidates.append(Candidate(model, linear[s], exact[s], scale))
        (sent,) = self.federation.sum(FoldErrors(tuple(candidates), unit, Targets((y,)), held_out))
        return [
            Errors(sums, products).plus(DIVERGED) if candidate.model is None else Errors(sums, products)
            for candidate, sums, products in zip(candidates, sent.sums, sent.products, strict=True)
        ]


def _follow(rounds: Rounds, bar: Bar, n_before: int, n_rounds: int, stands: Sequence[Trained]) -> None:
    """Tell callbacks, who cannot stop a fold, and the bar of a round of all candidates."""
    rounds.follow(is_over=all(trained.is_over(n_rounds) for trained in stands))
    bar.reach(n_before + max(trained.n_rounds for trained in stands))


def residual(
    federation: Federation, targets: Targets, linear: Linear | None, inputs: Inputs, subset: Subset = EVERYTHING
) -> Targets:
    """Return what a ridge leaves of `targets`, of unit mean square over the rows of a subset, all outputs alike."""
    left = replace(targets, linear=linear, inputs=inputs)
    (sums,) = federation.sum(ResidualSquares(left, subset))
    return replace(left, scale=float(np.sqrt(sums.squares / sums.n_values)) or 1.0)


def with_ridge(
    federation: Federation, choice: Choice, transform: TableTransform, targets: Targets, subset: Subset
) -> tuple[Targets, Linear, float]:
    """Return what the run of a choice with a ridge learns, then the linear part and the network's share to end with."""
    inputs = Inputs(transform)
    linear = fit_ridge(federation, inputs, targets, choice.penalty, subset)
    if choice.start == "residual":
        left = residual(federation, targets, linear, inputs, subset)
        return left, linear, left.scale
    share = 1.0 - choice.share
    return targets, Linear(share * linear.coefficients, share * linear.intercept), choice.share
