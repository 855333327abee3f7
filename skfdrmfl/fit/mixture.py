"""The fit of a mixture, from the parameters: its views, members, folds and networks; and what it leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.progress import tell
from skfdrmfl.data.categories import numeric_columns, with_codes
from skfdrmfl.data.held_out import EVERYTHING, Subset, inner_folds
from skfdrmfl.data.transforms import BlockTransform, TableTransform
from skfdrmfl.encoders import DenseEncoder, LinearEncoder
from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.initial_model import first_weights
from skfdrmfl.fit.network_spec import NetworkSpec
from skfdrmfl.fit.parameters import ALONE, AUTO, is_auto, is_private, schedule_of, settings_of, use_of_suspects
from skfdrmfl.fit.prepared_fit import Fitting, NoCheckpoint, domain_of_blocks, dropped_in
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.domain import Domain, of_spectrum, scaled_domain
from skfdrmfl.method.network import Network
from skfdrmfl.mixture.fitting import MixtureTask, Pass, Stand
from skfdrmfl.mixture.forecast import forecast, most_sent
from skfdrmfl.mixture.linear import LinearMember, linear_members, mean_member
from skfdrmfl.mixture.members import MemberTable
from skfdrmfl.mixture.networks import NetworkRuns, Recipe, of_residual, of_y, recipes_of_rule
from skfdrmfl.mixture.sums import PARTS_OF_VIEW, ViewSums, ask
from skfdrmfl.protocol import dropped_clients as left_out
from skfdrmfl.protocol.door import Block, Federation
from skfdrmfl.protocol.ledger import FederationLog
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Inputs, Plan, RunPlan, Settings, Start, Targets
from skfdrmfl.protocol.queries import suspects
from skfdrmfl.protocol.queries.whitening import MAX_EXACT_COLUMNS
from skfdrmfl.server.history import extend_history
from skfdrmfl.server.training import train
from skfdrmfl.views.base import FEWEST_SMOOTH

N_FOLDS = 5
# Clients of fewer rows can hold out too little.
FEWEST_ROWS = 6
# Networks train without as many folds as hold out so many rows together: more tell no more of the weights.
ENOUGH_ROWS = 100
MOST_NETWORK_FOLDS = 3
# Clients are unlike each other if their first gradients spread so much about the mean one, relative to that, and so
# much for each further client: on Tecator dealt at random it is .4 (3 clients), 3 (10), 11 (60), sorted by y 9 to 49
# (10). Networks trained by full gradients then join; they take so many times the rounds.
UNLIKE, UNLIKE_EACH, GRADIENT_ROUNDS = 6.0, 0.5, 10


def why_alone(estimator: Any, federation: Federation, *, whole: bool, goes_on: bool) -> str | None:
    """Return why the network alone is trained, of those who are there in the first round; None: a mixture is."""
    if is_private(estimator):
        return "with privacy, sums by fold would have to be paid for"
    if not whole or goes_on or estimator.warm_start:
        return "training goes on from a network: partial_fit, warm_start"
    sizes = federation.roster().sizes
    if 2 * sizes[sizes < FEWEST_ROWS].sum() > sizes.sum():
        return f"clients of fewer than {FEWEST_ROWS} rows hold most rows"
    return None


def most_of_sums(estimator: Any, reading: DataDescription) -> int:
    """Return how many bytes each client sends at most before the first round of a mixture."""
    columns = list(map(len, numeric_columns(reading.modalities, reading.categories).values()))
    viewed = estimator.pretreatment is not None and max(columns) >= FEWEST_SMOOTH
    looks = use_of_suspects(estimator) != "ignore"
    of_looks = suspects.most_sent([p for p in columns if p], reading.n_outputs) if looks else 0
    return of_looks + most_sent(columns, reading.n_outputs, N_FOLDS, viewed=viewed)


def network_alone(why: str | None) -> MemberTable:
    """Return what `members_` says of the network alone, and why it is alone."""
    row = {"name": "network", "view": "", "weight": 1.0, "error": None}
    return MemberTable([row], "" if why is None else f"the network alone: {why}")


def domain_of_mixture(spec: NetworkSpec, sums: ViewSums, n_outputs: int) -> Domain:
    """Return the domain from the moments of the columns as they are, before rows are counted."""
    spectra, blocks, n_rows = sums.spectra(), {}, sums.present.sum(0)
    for m, (name, base) in enumerate(sums.table.blocks.items()):
        if name in spectra:
            blocks[name] = of_spectrum(spectra[name], float(n_rows[m]))
        else:
            base = sums.wide.blocks.get(name, base)
            blocks[name] = scaled_domain(base.mean, base.scale, float(n_rows[m]))
    return domain_of_blocks(spec, blocks, n_outputs)


class NothingHeldOut(Exception):
    """No fold keeps some rows and holds out others; or those who are there in the end hold out none."""


@dataclass(frozen=True, eq=False)
class MixturePlanner:
    """What a mixture is laid out from: parameters, clients, columns, and the rows to use."""

    estimator: Any
    federation: Federation  # of those who are there in the first round: sums are theirs
    reading: DataDescription
    spec: NetworkSpec
    seed: int
    subset: Subset = EVERYTHING
    held_out: Subset | None = None  # with early stopping, the rows that say when networks stop
    available: NDArray[np.bool_] | None = None  # (rounds, K), who is there in each round; None: all
    n_networks: int | None = None  # how many networks there are at most, in the order of the rule; None: all

    def task(self) -> MixtureTask:
        """Return what is to be trained and weighed, after the sums; raises NothingHeldOut."""
        folds = inner_folds(self.subset, self.seed, N_FOLDS)
        sums, y = self._sums([side for _, side in folds])
        raw = sums[None]
        linear = [mean_member(raw), *linear_members(sums, self._views(raw.smooth))]
        n_folds = min(MOST_NETWORK_FOLDS, ceil(N_FOLDS * ENOUGH_ROWS / float(raw.total.n)))
        numbers = raw.usable_folds()[:n_folds]
        if not numbers:
            raise NothingHeldOut("every client's rows are equal, or belong together, so that none can be held out")
        codes = self.spec.categories
        return MixtureTask(
            sums,
            tuple(linear),
            tuple(self._passes(numbers, [folds[i][0] for i in numbers], sums, linear, y)),
            Targets((y,)),
            tuple(numbers),
            tuple(folds[i][1] for i in numbers),
            self.subset,
            int(self.estimator.n_components),
            self.reading.n_features,
            {j: len(known) for j, known in codes.items()},
            y,
            domain_of_mixture(self.spec, raw, self.reading.n_outputs),
        )

    def _views(self, smooth: Sequence[str]) -> tuple[str, ...]:
        """Return the views of smooth modalities: all, none, or those asked for, beside the columns as they are."""
        asked = self.estimator.pretreatment
        if not smooth or asked is None:
            return ("raw",)
        if asked == AUTO:
            return tuple(PARTS_OF_VIEW)
        return (asked,) if isinstance(asked, str) else ("raw", *asked)

    def _sums(self, sides: Sequence[Subset]) -> tuple[dict[str | None, ViewSums], BlockTransform]:
        """Return the sums of each base view, and the standardisation of y."""
        numeric = numeric_columns(self.reading.modalities, self.reading.categories)
        blocks = {name: Block(columns, m) for m, (name, columns) in enumerate(numeric.items())}
        series = [
            name
            for name, block in blocks.items()
            if type(self.spec.specs[name]) in (DenseEncoder, LinearEncoder)
            and FEWEST_SMOOTH <= len(np.asarray(block.columns)) <= MAX_EXACT_COLUMNS
        ]
        bases = [PARTS_OF_VIEW[view][0] for view in self._views(series)]
        return ask(self.federation, blocks, bases, series, sides, self.subset)

    def _recipes(self, views: Sequence[str], best: LinearMember, *, wide: bool) -> list[Recipe]:
        """Return the networks of the rule, with what the user has set."""
        recipes = recipes_of_rule(views, best.view, ALONE, wide=wide)
        asked: dict[str, Any] = {
            name: float(getattr(self.estimator, name))
            for name in ("weight_decay", "shrinkage")
            if not is_auto(getattr(self.estimator, name))
        }
        if self.estimator.input_l1:
            asked["input_l1"] = None
        if not is_auto(self.estimator.hidden_layer_sizes):
            recipes = [
                replace(recipe, shape=tuple(part for part in recipe.shape if part[0] != "hidden_layer_sizes"))
                for recipe in recipes
            ]
        return [replace(recipe, **asked) for recipe in recipes]

    def _passes(
        self,
        numbers: Sequence[int],
        kept: Sequence[Subset],
        sums: Mapping[str | None, ViewSums],
        linear: Sequence[LinearMember],
        y: BlockTransform,
    ) -> list[Pass]:
        """Return the networks, those of one shape together; those that learn what linear members leave come last."""
        kinds = self.spec.kinds(self.estimator.preprocessing)
        tell("networks")
        beside = min(range(len(linear)), key=lambda i: float(linear[i].squares.sum()))
        wide = bool(sums[None].wide.blocks)
        if wide:
            kinds = {name: "standardize" if kind == "whiten" else kind for name, kind in kinds.items()}
        sets = [*numbers, -1]
        shapes: dict[Any, list[NetworkRuns]] = {}
        recipes = self._recipes(self._views(sums[None].smooth), linear[beside], wide=wide)
        for recipe in recipes[: self.n_networks]:
            of_view = sums[PARTS_OF_VIEW[recipe.view][0]]
            tables = [
                with_codes(table, self.reading.modalities, self.reading.categories)
                for table in of_view.transforms(recipe.view, kinds, recipe.shrinkage, sets)
            ]
            if recipe.learns_residual:
                base = linear[beside].base
                runs = of_residual(recipe, tables, sets, sums[base], y, linear, beside, Inputs(sums[base].table))
            else:
                runs = of_y(recipe, tables, sets, of_view, y)
            shapes.setdefault((recipe.shape, recipe.learns_residual), []).append(runs)
        passes = [self._pass(kept, members) for members in shapes.values()]
        unlike = max(UNLIKE, UNLIKE_EACH * (len(self.reading.positions) - 1))
        has_room = self.n_networks is None or self.n_networks > len(recipes)
        if is_auto(self.estimator.algorithm) and not wide and has_room and self._drift(passes[0]) > unlike:
            by_gradients = [
                replace(m, recipe=replace(m.recipe, name=f"{m.recipe.name} by gradients", algorithm="fedsgd"))
                for m in passes[0].members
            ]
            passes.insert(1, self._pass(kept, by_gradients))
        return passes

    def _pass(self, kept: Sequence[Subset], members: Sequence[NetworkRuns]) -> Pass:
        """Return the runs of networks of one shape."""
        recipe, spec = members[0].recipe, replace(self.spec, **dict(members[0].recipe.shape))

        def build(table: TableTransform, widths: Mapping[str, int] | None = None) -> Network:
            return spec.network(widths or table.widths, self.reading.n_outputs, table.columns)

        all_tables = [table for member in members for table in member.tables]
        widths = {name: max(table.widths[name] for table in all_tables) for name in all_tables[0].widths}
        network = build(all_tables[0], widths)
        subsets = [*kept, self.subset]
        times = 1 if recipe.algorithm is None else GRADIENT_ROUNDS
        available = None if self.available is None else np.repeat(self.available, times, axis=0)
        runs = [
            RunPlan(
                Inputs(table, widths, TRAINING_DTYPE),
                targets,
                self._settings(member.recipe),
                self.seed,
                Start(first_weights(network, table, self.seed), available=available),
                rows,
                self.held_out,
            )
            for member in members
            for table, targets, rows in zip(member.tables, member.targets, subsets, strict=True)
        ]
        schedule = schedule_of(self.estimator, recipe.algorithm, times=times)
        if recipe.batch_size is not None:
            schedule = replace(schedule, batch_size=recipe.batch_size)
        return Pass(network, build, tuple(members), tuple(runs), schedule)

    def _settings(self, recipe: Recipe) -> Settings:
        """Return the settings of a network: those asked for, or where nothing was, those of its recipe."""
        asked = settings_of(self.estimator, len(self.reading.modalities), recipe.algorithm)
        found = replace(asked, weight_decay=recipe.weight_decay)
        return found if recipe.input_l1 is None else replace(found, input_l1=recipe.input_l1)

    def _drift(self, one: Pass) -> float:
        """Return how unlike the clients' gradients are, in a round of full gradients of a pass's first network."""
        recipe = replace(one.members[0].recipe, algorithm="fedsgd")
        run = one.runs[one.of_member(0)][-1]
        settings, start = replace(self._settings(recipe), input_l1=0.0), replace(run.start, available=None)
        run = replace(run, settings=settings, start=start, held_out=None)
        schedule = replace(schedule_of(self.estimator, "fedsgd", whole=False), participation=1.0)
        training = self.federation.prepare(Plan(one.network, (run,), schedule))
        *_, (trained,) = train(training, one.network, [run.start], schedule)
        return float(trained.record.numbers().get("drift", 0.0))


@dataclass(frozen=True, eq=False)
class MixtureFitting:
    """A fit of a mixture that is ready to train, as `Fitting` is."""

    federation: Federation
    task: MixtureTask
    fitted: Fitted
    checkpoint: NoCheckpoint = field(default_factory=NoCheckpoint)

    @property
    def n_rounds(self) -> int:
        """Rounds of all passes."""
        return self.task.n_rounds

    def train(self, *, each_round: bool = True) -> Iterator[Stand]:
        """Train, yielding where training stands after every round, or without `each_round` now and then."""
        return self.task.train(self.federation, self.checkpoint.resume, each_round=each_round)

    def finish(self, stand: Stand) -> Fitted:
        """Return what the fit leaves: the mixture as it stands, and the record of its network of most weight."""
        ledger = self.federation.ledger
        ledger.round = stand.n_rounds
        weighed = self.task.weigh(self.federation, stand)
        p, number = weighed.lead
        one = self.task.passes[p]
        trained = stand.passes[p][one.of_member(number)][-1]
        network, arrays = self.task.lead(p, number, trained)
        runs, spec = one.members[number], self.fitted.network_spec
        ledger.stage = ""
        return replace(
            self.fitted,
            network_spec=replace(spec, **dict(runs.recipe.shape)),
            network=network,
            table=runs.tables[-1],
            models=network.layout.pack(arrays, dtype=TRAINING_DTYPE)[None],
            weights=arrays,
            variance=np.maximum(np.diagonal(weighed.mixture.covariance), 0.0),
            shrinkage=runs.recipe.shrinkage,
            lead=runs.recipe.name,
            lead_algorithm=runs.recipe.algorithm,
            lead_learns_residual=runs.recipe.learns_residual,
            importances=weighed.importances,
            history=extend_history({}, trained.record, len(self.fitted.clients)),
            n_rounds=trained.n_rounds,
            best_round=trained.record.best_round,
            ledger=ledger,
            dropped=left_out.together(self.fitted.dropped, self.dropped(stand)),
            mixture=weighed.mixture,
            members=weighed.members,
            domain=weighed.domain,
            held_out=weighed.held_out,
        )

    def forecast(self) -> FederationLog:
        """Return the log as it will be where clients are elsewhere; see `forecast.forecast`."""
        return forecast(self.task, self.federation).log(self.fitted.clients.tolist())

    def dropped(self, stand: Stand) -> list[left_out.DroppedClient]:
        """Return who was left out of this fit."""
        return dropped_in([stands[-1].record for stands in stand.passes], self.federation, self.fitted)


# A fit that is ready to train.
Ready = Fitting | MixtureFitting
