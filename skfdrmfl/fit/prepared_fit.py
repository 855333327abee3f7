"""A fit that is ready to train, and what it leaves when it has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Float
from skfdrmfl.data.categories import numeric_columns
from skfdrmfl.fit.fit_preprocessing import FoundPreprocessing
from skfdrmfl.fit.network_spec import NetworkSpec
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.domain import BlockDomain, Domain, of_transform, scaled_domain, squares_of_outputs
from skfdrmfl.protocol import dropped_clients as left_out
from skfdrmfl.protocol.door import Federation, of_those_who_answer
from skfdrmfl.protocol.ledger import Ledger
from skfdrmfl.protocol.plan import Model, Plan, Targets
from skfdrmfl.protocol.queries.axes import CodeProducts, CodeSums, delivered
from skfdrmfl.protocol.queries.counts import DistanceCounts, NetworkErrorCounts, counted_rows, held_out_counts
from skfdrmfl.protocol.queries.importance import Responses, ResponseSums, importances
from skfdrmfl.protocol.replicas import Members
from skfdrmfl.server.history import Record, extend_history
from skfdrmfl.server.trained import Trained
from skfdrmfl.server.training import train


@dataclass(frozen=True)
class Repeats:
    """What clients may have sent more than once, because a fit was killed before it was written down."""

    preparations: int = 0  # times that preprocessing was begun and lost
    rounds: int = 0  # rounds of training that were lost, at most


class NoCheckpoint:
    """Nothing is kept."""

    seed: int | None = None
    preparation: Any = None
    found = False
    repeats = Repeats()
    goes_on = False
    keeps = False

    def prepare(self, seed: int, ledger: Ledger) -> None:
        """Do nothing."""

    def begin(self, seed: int, preparation: Any, ledger: Ledger, n_rounds: int) -> Ledger:
        """Return the ledger to count on with: this one."""
        return ledger

    def resume(self, members: Sequence[Members], number: int = 0) -> list[Trained] | None:
        """Return where the runs of a pass stood: nowhere."""
        return None

    def follow(self, stand: Any) -> None:
        """Do nothing."""

    def flush(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, eq=False)
class Fitting:
    """A fit that is ready to train."""

    federation: Federation
    plan: Plan
    fitted: Fitted  # what there is to go on from: all but what training will add
    checkpoint: NoCheckpoint = field(default_factory=NoCheckpoint)
    found: FoundPreprocessing | None = None  # what it stands on; None where it goes on from an earlier fit

    @property
    def n_rounds(self) -> int:
        """Rounds of training, at most."""
        return len(self.plan.schedule.rate_factors)

    def train(self, *, each_round: bool = True) -> Iterator[Trained]:
        """Train, yielding where training stands after every round, or without `each_round` now and then."""
        network, schedule, start = self.plan.network, self.plan.schedule, self.plan.runs[0].start
        training = self.federation.prepare(self.plan)
        resume = self.checkpoint.resume([training.cohort.members_of(0)])
        stands = train(training, network, [start], schedule, resume, each_round=each_round)
        return (trained for (trained,) in stands)

    def finish(self, stand: Trained) -> Fitted:
        """Return what the fit leaves, of where training stands."""
        models, record, run = stand.models, stand.record, self.plan.runs[0]
        ledger = self.federation.ledger
        ledger.round = self.fitted.n_rounds + record.n_rounds
        model = Model(self.plan.network, self.plan.network.arrays(models[0]), run.inputs)
        there = run.start.last_there(record.n_rounds)
        account, privacy = self.fitted.account, self.plan.schedule.privacy
        changed: dict[str, Any] = {"held_out": None}
        if account is not None and privacy is not None:  # the axes of Z are not paid for: it stays as trained
            changed |= {"weights": model.arrays, "variance": None, "importances": None, "domain": None}
            account = account.after("training rounds", privacy, record.n_rounds, record.clip_norms[-1])
        elif there is None or there.any():  # else nobody has trained, and nobody is there to ask
            changed = self._delivered(model, there)
        memory = stand.memory.of_all(record.positions, run.start.memory)
        best_round = self.fitted.best_round
        if record.best_round is not None:
            best_round = self.fitted.n_rounds + record.best_round
        return replace(
            self.fitted,
            models=models,
            memory=(dict(memory.server), dict(memory.clients)),
            history=extend_history(self.fitted.history, record, len(self.fitted.clients)),
            n_rounds=self.fitted.n_rounds + record.n_rounds,
            best_round=best_round,
            ledger=ledger,
            dropped=left_out.together(self.fitted.dropped, self.dropped(stand)),
            account=account,
            **changed,
        )

    def _delivered(self, model: Model, there: NDArray[np.bool_] | None) -> dict[str, Any]:
        """Return what the sums that follow training give, from those who are `there` (K,) and answer to the end."""
        run, target = self.plan.runs[0], Targets((self.fitted.target,))
        subset, n_outputs = run.subset, len(self.fitted.target.mean)

        def ask(federation: Federation) -> dict[str, Any]:
            first = Responses(model, subset), CodeSums(model, subset)
            counts = () if run.held_out is None else (NetworkErrorCounts(model, target, run.held_out),)
            responded, codes, *counted = federation.sum(*first, *counts)
            domain = self._domain(model, responded)
            whitened = {} if self.fitted.domain is not None else _whitened(domain, model)
            distances = DistanceCounts(domain, target, run.inputs, whitened)
            products, rows = federation.sum(CodeProducts(model, codes.center, subset), distances)
            weights, variance = delivered(model, codes, products)
            return {
                "weights": weights,
                "variance": variance,
                "importances": importances(model, responded, self.fitted.n_features),
                "domain": counted_rows(distances, rows),
                "held_out": held_out_counts(counted[0], n_outputs) if counted else None,
            }

        return of_those_who_answer(self.federation, there, ask)

    def _domain(self, model: Model, sums: ResponseSums) -> Domain:
        """Return the domain before rows are counted; of the same sums the one that a fit of these rows has had."""
        if self.fitted.domain is not None:
            return self.fitted.domain
        if self.found is None:
            return domain_of_network(self.fitted, model, sums)
        of_sums = [part.tobytes() for part in (sums.counts, sums.values, sums.squares)]
        return self.found.once("domain", of_sums, lambda: domain_of_network(self.fitted, model, sums))

    def dropped(self, stand: Trained) -> list[left_out.DroppedClient]:
        """Return who was left out of this fit."""
        return dropped_in([stand.record], self.federation, self.fitted)


def dropped_in(records: Sequence[Record], federation: Federation, before: Fitted) -> list[left_out.DroppedClient]:
    """Return who was left out of what runs have recorded, and by whatever looks after the federation."""
    out, labels = federation.left_out(), before.clients.tolist()
    for record in records:
        if record.dropped is not None:
            out += left_out.of_rounds(record.dropped, record.positions, labels, before.n_rounds)
    return out


def domain_of_network(fitted: Fitted, model: Model, sums: ResponseSums) -> Domain:
    """Return the domain by preprocessing and, of columns without it, by sums; without rows."""
    transform, blocks, start = model.inputs.transform, {}, 0
    for name, encoder in model.network.encoders.items():
        block, n_codes = transform.blocks[name], len(encoder.code_sizes)
        n_columns = len(transform.columns[name]) - n_codes
        first = start + sum(encoder.code_sizes)
        start, numeric = first + n_columns, slice(first, first + n_columns)
        n_rows = float(sums.counts[start - 1])
        if block.projection is None and not block.mean.any() and (block.scale == 1.0).all():
            mean = sums.values[numeric] / n_rows
            deviation = _deviation(mean, sums.squares[numeric] / n_rows)
            mean = block.centre[n_codes:] + block.units[n_codes:] * mean
            blocks[name] = scaled_domain(mean, block.units[n_codes:] * deviation, n_rows)
        else:
            blocks[name] = of_transform(block, fitted.shrinkage, n_codes, n_rows)
    return domain_of_blocks(fitted.network_spec, blocks, len(fitted.target.mean))


def _whitened(domain: Domain, model: Model) -> dict[str, Float]:
    """Return what `DistanceCounts` knows of encoder inputs, of a domain that comes from their preprocessing."""
    found = {}
    for name, encoder in model.network.encoders.items():
        by_output = squares_of_outputs(
            domain.blocks[name], model.inputs.transform.blocks[name], len(encoder.code_sizes)
        )
        if by_output is not None:
            start = model.network.columns[name].start
            found[name] = np.zeros(sum(model.network.widths.values()))
            found[name][start : start + len(by_output)] = by_output
    return found


def _deviation(mean: Float, square: Float) -> Float:
    """Return standard deviations, infinite where a mean square is that of the mean but for rounding."""
    variance = square - mean**2
    return np.where(variance > 1e-12 * square, np.sqrt(np.maximum(variance, 0.0)), np.inf)


def domain_of_blocks(spec: NetworkSpec, blocks: dict[str, BlockDomain], n_outputs: int) -> Domain:
    """Return the domain of all modalities, without rows; columns that encoders take for codes have no place in it."""
    numeric = numeric_columns(spec.modalities, spec.categories)
    columns = {name: mine if len(blocks[name].mean) else mine[:0] for name, mine in numeric.items()}
    return Domain.without_rows(columns, blocks, np.array(sorted(spec.categories), dtype=np.int64), n_outputs)
