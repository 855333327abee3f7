"""The fit of a mixture: sums, then members and folds that train in the same rounds, then what each weighs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Arrays, Float
from skfdrmfl.data.held_out import Subset
from skfdrmfl.data.transforms import BlockTransform, TableTransform
from skfdrmfl.method.domain import Domain
from skfdrmfl.method.intervals import HeldOutCounts
from skfdrmfl.method.linear import Linear
from skfdrmfl.method.mixture import LinearPart, Mixture, NetworkPart
from skfdrmfl.method.network import Network
from skfdrmfl.mixture.linear import LinearMember
from skfdrmfl.mixture.members import MemberTable
from skfdrmfl.mixture.networks import NetworkRuns, Recipe, cropped
from skfdrmfl.mixture.scores import score_axes
from skfdrmfl.mixture.sums import ViewSums
from skfdrmfl.mixture.weights import WITHIN, mixture_weights
from skfdrmfl.protocol.door import Federation, NoAnswer, of_those_who_answer
from skfdrmfl.protocol.plan import Inputs, Plan, RunPlan, Schedule, Targets
from skfdrmfl.protocol.queries.counts import DistanceCounts, MixtureErrorCounts, counted_rows, held_out_counts
from skfdrmfl.protocol.queries.importance import MixtureResponses, mixture_importances
from skfdrmfl.protocol.queries.members import LinearMembers, MemberErrors, NetworkMember, ScoreProducts, ScoreSums
from skfdrmfl.protocol.replicas import Members
from skfdrmfl.server.trained import Trained
from skfdrmfl.server.training import train

Resume = Callable[[Sequence[Members], int], list[Trained] | None]


@dataclass(frozen=True, eq=False)
class Pass:
    """Networks of one shape, whose folds train together."""

    network: Network  # as wide as the widest of them reads
    build: Callable[[TableTransform], Network]  # makes it for what one of them reads
    members: tuple[NetworkRuns, ...]
    runs: tuple[RunPlan, ...]  # of each member its folds, then all rows
    schedule: Schedule

    @property
    def learns_residuals(self) -> bool:
        """Whether it is worth its rounds only where linear members err little enough beside networks."""
        return all(member.recipe.learns_residual for member in self.members)

    def of_member(self, number: int) -> slice:
        """Return which runs are a member's."""
        n_runs = len(self.runs) // len(self.members)
        return slice(number * n_runs, (number + 1) * n_runs)


class Errors(NamedTuple):
    """The networks of a mixture by pass and number, and how all members err, the linear ones first."""

    networks: dict[tuple[int, int], NetworkMember]
    products: Float  # (q, M, M), means over rows held out
    query: MemberErrors  # what was asked


@dataclass(frozen=True, eq=False)
class Stand:
    """Where the training of a mixture stands: the passes so far, the last of them perhaps under way."""

    passes: tuple[tuple[Trained, ...], ...]
    is_done: bool = False  # whether no pass follows
    errors: Errors | None = None  # of the members, where these were asked for already

    @property
    def n_rounds(self) -> int:
        """Rounds completed, of all passes."""
        return sum(map(_n_rounds, self.passes))

    @property
    def diverged(self) -> bool:
        """Whether nothing is left: never, as members that diverge get no weight."""
        return False

    def is_over(self, n_rounds: int) -> bool:
        """Return whether no round follows, of `n_rounds` at most."""
        return self.is_done

    def numbers(self) -> dict[str, float]:
        """Return what the last round reports of the network on all rows that was trained last."""
        return {**self.passes[-1][-1].numbers(), "round": self.n_rounds}


@dataclass(frozen=True, eq=False)
class Weighed:
    """A mixture, what its members are, and what else its rows have said of it."""

    mixture: Mixture
    members: MemberTable
    lead: tuple[int, int]  # pass and number of the network of most weight, of equals that which errs least
    importances: Float  # (n_features,)
    domain: Domain
    held_out: HeldOutCounts | None  # how far off it is on rows held out


@dataclass(frozen=True, eq=False)
class MixtureTask:
    """All that is to be trained and weighed."""

    sums: dict[str | None, ViewSums]  # by base view
    linear: tuple[LinearMember, ...]  # in the order of their base views
    passes: tuple[Pass, ...]
    targets: Targets  # standardised y
    numbers: tuple[int, ...]  # of the folds that networks train without
    folds: tuple[Subset, ...]  # and the rows that these hold out
    subset: Subset
    n_components: int
    n_features: int
    n_codes: dict[int, int]  # of each discrete column
    unit: BlockTransform  # y to standardised y
    domain: Domain  # of the columns, before rows are counted

    @property
    def n_rounds(self) -> int:
        """Rounds of all passes."""
        return sum(len(one.schedule.rate_factors) for one in self.passes)

    def train(self, federation: Federation, resume: Resume, *, each_round: bool) -> Iterator[Stand]:
        """Train, yielding where training stands after every round, or without `each_round` now and then.

        `resume` returns where the runs of a pass by number, with these members, stood before; None: nowhere.
        """
        done: tuple[tuple[Trained, ...], ...] = ()
        for number, (one, after) in enumerate(zip_longest(self.passes, self.passes[1:])):
            training = federation.prepare(Plan(one.network, one.runs, one.schedule))
            starts, n_rounds = [run.start for run in one.runs], len(one.schedule.rate_factors)
            members = [training.cohort.members_of(run) for run in range(len(starts))]
            before = resume(members, number)
            was_over = before is not None and all(trained.is_over(n_rounds) for trained in before)
            # What a pass that had ended asked is on the ledger already.
            asked = replace(federation, ledger=federation.ledger.copy()) if was_over else federation  # type: ignore
            for stands in train(training, one.network, starts, one.schedule, before, each_round=each_round):
                stand = Stand((*done, stands))
                if all(trained.is_over(n_rounds) for trained in stands):
                    stand = self._ended(asked, stand, after)
                yield stand
            if stand.is_done:
                return
            done = stand.passes

    def _ended(self, federation: Federation, stand: Stand, after: Pass | None) -> Stand:
        """Return where training stands at the end of a pass.

        It is done if no pass follows, or one that adds to linear members that err too much, beside networks, to get a
        weight.
        """
        if after is None:
            return replace(stand, is_done=True)
        if not after.learns_residuals:
            return stand
        errors = of_those_who_answer(federation, self._there(stand), lambda those: self._errors(those, stand))
        squares = np.diagonal(errors.products, axis1=1, axis2=2)  # (q, M)
        n_linear = len(self.linear)
        least = squares[:, n_linear:].min(1, initial=np.inf)
        is_hopeless = bool((squares[:, :n_linear].min(1) > WITHIN**2 * least).all())
        return replace(stand, is_done=is_hopeless, errors=errors)

    # ------------------------------------------------------------------------------------------------ weighing

    def weigh(self, federation: Federation, stand: Stand) -> Weighed:
        """Return the mixture of the members as they stand; two exchanges, or one if their errors are known."""
        return of_those_who_answer(federation, self._there(stand), lambda those: self._weigh(those, stand))

    def _there(self, stand: Stand) -> NDArray[np.bool_] | None:
        """Return who is there (K,) after the rounds so far; None: all."""
        return self.passes[len(stand.passes) - 1].runs[0].start.last_there(_n_rounds(stand.passes[-1]))

    def _weigh(self, federation: Federation, stand: Stand) -> Weighed:
        errors = self._errors(federation, stand) if stand.errors is None else stand.errors
        weights = np.stack([mixture_weights(of_output) for of_output in errors.products], 1)  # (M, q)
        members = self._table(weights, errors)
        place = {row["name"]: i for i, row in enumerate(members)}
        by_place = {place[self.passes[p].members[number].recipe.name]: (p, number) for p, number in errors.networks}
        lead = by_place[min(by_place)] if by_place else (0, 0)
        mixture = self.mixture_of(weights, errors.networks, stand)
        queries = self.asking_of_mixture(mixture, MixtureErrorCounts(errors.query, weights))
        products, responses, distances, _ = queries
        totals, responded, rows, counts = federation.sum(*queries)
        return Weighed(
            self._with_scores(mixture, products, totals),
            members,
            lead,
            mixture_importances(responses, responded, self.sums[None].deviation(self.n_features)),
            counted_rows(distances, rows),
            held_out_counts(counts, weights.shape[1]),
        )

    def _trained(self, stand: Stand, p: int, number: int) -> tuple[Trained, ...]:
        """Return where the runs of a network stand."""
        return stand.passes[p][self.passes[p].of_member(number)]

    def _errors(self, federation: Federation, stand: Stand) -> Errors:
        """Ask how the members err as they stand, but for networks that have diverged."""
        query, networks = self.asking_for_errors(stand, equal_votes=federation.guard is not None)
        (answer,) = federation.sum(query)
        if answer is None:
            raise NoAnswer(
                "nobody who answers holds out rows, and members are weighed by these; let clients who do be there."
            )
        return Errors(networks, answer.products / answer.votes, query)

    def asking_for_errors(
        self, stand: Stand, *, equal_votes: bool
    ) -> tuple[MemberErrors, dict[tuple[int, int], NetworkMember]]:
        """Return the query for the errors of the members as they stand, and its networks by pass and number."""
        networks: dict[tuple[int, int], NetworkMember] = {}
        for p, one in enumerate(self.passes[: len(stand.passes)]):
            for number, runs in enumerate(one.members):
                inputs = [run.inputs for run in one.runs[one.of_member(number)]]
                member = runs.member(one.network, inputs, self._trained(stand, p, number))
                if member is not None:
                    networks[p, number] = member
        linear = tuple(
            LinearMembers(Inputs(sums.table), self._side_by_side([m for m in self.linear if m.base == base]))
            for base, sums in self.sums.items()
        )
        rows = self.targets, self.folds, equal_votes, self.subset
        return MemberErrors(linear, tuple(networks.values()), *rows), networks

    def _side_by_side(self, members: Sequence[LinearMember]) -> tuple[Linear, ...]:
        """Return the models of each fold, the outputs of all members side by side."""
        return tuple(
            Linear(
                np.concatenate([m.coefficients[i] for m in members], 1),
                np.concatenate([m.intercept[i] for m in members]),
            )
            for i in self.numbers
        )

    def mixture_of(self, weights: Float, networks: dict[tuple[int, int], NetworkMember], stand: Stand) -> Mixture:
        """Return what members predict, each by its weights (M, q), fitted on all rows."""
        q, of_networks = weights.shape[1], weights[len(self.linear) :]
        shares = weights[: len(self.linear)].copy()
        for member, weight in zip(networks.values(), of_networks, strict=True):
            if member.beside is not None:
                shares[member.beside] += weight
        linear: list[LinearPart] = []
        for base, sums in self.sums.items():
            mine = [(m, share) for m, share in zip(self.linear, shares, strict=True) if m.base == base]
            coefficients = sum(share * m.coefficients[-1] for m, share in mine)
            intercept = sum(share * m.intercept[-1] for m, share in mine)
            linear.append(LinearPart(sums.table, Linear(np.asarray(coefficients), np.asarray(intercept))))
        parts = []
        for (p, number), weight in zip(networks, of_networks, strict=True):
            if weight.any():
                runs = self.passes[p].members[number]
                network, arrays = self.lead(p, number, self._trained(stand, p, number)[-1])
                parts.append(
                    NetworkPart(runs.tables[-1], network, arrays, weight * (runs.scales[-1] if runs.scales else 1.0))
                )
        return Mixture((*linear, *parts), np.eye(q), linear[0], np.eye(q))

    def lead(self, p: int, number: int, trained: Trained) -> tuple[Network, Arrays]:
        """Return a member's network for all rows and its weights, without the inputs that others have more."""
        one = self.passes[p]
        network = one.build(one.members[number].tables[-1])
        return network, cropped(network, one.network.arrays(trained.models[0]))

    def asking_of_mixture(
        self, mixture: Mixture, counts: MixtureErrorCounts
    ) -> tuple[ScoreProducts, MixtureResponses, DistanceCounts, MixtureErrorCounts]:
        """Return what is asked once the weights are known, at once, for Z, importances, domain and intervals."""
        sums = next(iter(self.sums.values()))
        q = len(mixture.from_prediction)
        cxx, _, _ = sums.total.covariances()
        axes = np.linalg.eigh(cxx)[1] if cxx.size else cxx
        along = sums.axes @ axes[:, ::-1][:, : self.n_components + q]  # (p, s)
        blank = LinearPart(sums.table, Linear(along, np.zeros(along.shape[1])))
        probe = replace(mixture, from_prediction=np.zeros((q, along.shape[1])), spare=blank)
        numeric = np.flatnonzero(self.sums[None].deviation(self.n_features))
        responses = MixtureResponses(probe, numeric, self.n_codes, self.subset)
        scores = ScoreProducts(probe, self.targets, self.subset)
        return scores, responses, DistanceCounts(self.domain, self.targets), counts

    def _with_scores(self, mixture: Mixture, products: ScoreProducts, answer: ScoreSums) -> Mixture:
        """Return the mixture with its Z, from the total of what clients answer."""
        blank = products.model.spare
        scores = blank.linear.coefficients
        from_prediction, from_scores, intercept, covariance = score_axes(
            self.n_components, scores.shape[1], answer.n_rows, answer.sums, answer.products
        )
        spare = LinearPart(blank.table, Linear(scores @ from_scores, intercept))
        return replace(mixture, from_prediction=from_prediction, spare=spare, covariance=covariance)

    def _table(self, weights: Float, errors: Errors) -> MemberTable:
        """Return the rows of `members_`: the mixture first, then the members by weight."""
        products = errors.products
        squares = np.maximum(np.einsum("mq,qmn,nq->q", weights, products, weights), 0.0)
        recipes = [self.passes[p].members[number].recipe for p, number in errors.networks]
        members: list[LinearMember | Recipe] = [*self.linear, *recipes]
        rows = [self._row(m.name, m.view, weights[i], products[:, i, i]) for i, m in enumerate(members)]
        rows.sort(key=lambda row: (-float(np.sum(row["weight"])), float(np.sum(row["error"]))))
        return MemberTable([self._row("mixture", "", weights.sum(0), squares), *rows])

    def _row(self, name: str, view: str, weight: Float, squares: Float) -> dict[str, Any]:
        """Return a row of the table: weights and squared errors (q,) as one number, or a list of one an output."""
        found = {"weight": weight, "error": np.sqrt(squares) * self.unit.unit}
        plain = {what: of.tolist() if len(of) > 1 else float(of[0]) for what, of in found.items()}
        return {"name": name, "view": view, **plain}


def _n_rounds(stands: tuple[Trained, ...]) -> int:
    return max(trained.n_rounds for trained in stands)
