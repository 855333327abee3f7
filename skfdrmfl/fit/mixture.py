"""The fit of a mixture, from the parameters: its views, members, folds and networks; and what it leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

import numpy as np

from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.data.categories import split, with_codes
from skfdrmfl.data.held_out import EVERYTHING, Subset, inner_folds
from skfdrmfl.data.transforms import TableTransform
from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.initial_model import first_weights
from skfdrmfl.fit.network_spec import NetworkSpec
from skfdrmfl.fit.parameters import is_auto, is_private, schedule_of, settings_of
from skfdrmfl.fit.prepared_fit import NoCheckpoint
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.network import Network
from skfdrmfl.mixture.fitting import MixtureTask, Pass, Stand
from skfdrmfl.mixture.linear import LinearMember, linear_members
from skfdrmfl.mixture.members import MemberTable
from skfdrmfl.mixture.networks import NetworkRuns, Recipe, of_residual, of_y
from skfdrmfl.mixture.sums import PARTS_OF_VIEW, ViewSums, ask, smooth_modalities
from skfdrmfl.protocol import dropped_clients as left_out
from skfdrmfl.protocol.door import Block, Federation
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Inputs, RunPlan, Settings, Start, Targets
from skfdrmfl.protocol.queries.importance import mixture_importances
from skfdrmfl.protocol.queries.whitening import fit_targets
from skfdrmfl.server.history import extend_history

# A modality is smooth if it has so many columns, and neighbouring ones correlate so much in the median: spectra have
# .99 to 1, tables .04 to .6.
FEWEST_SMOOTH, SMOOTH_CORRELATION = 20, 0.9
N_FOLDS = 5
# Clients of fewer rows can hold out too little.
FEWEST_ROWS = 6
# Networks train without as many folds as hold out so many rows together: more tell no more of the weights.
ENOUGH_ROWS = 100
VIEWS_OF_SMOOTH = ("raw", "snv", "sg1", "sg2", "snv+sg1")
MOST_NETWORK_FOLDS = 3
DEFAULT_SHRINKAGE, DEFAULT_DECAY = 2e-4, 0.3
DEEP, LITTLE_DECAY, SNV_SHRINKAGE = (("hidden_layer_sizes", (32, 32)),), 0.1, 2e-2
# Of wide tables that are not smooth a few columns are to be found: a linear encoder, thinned, and a small head.
SPARSE = (("hidden_layer_sizes", ()), ("head_hidden_layer_sizes", (8,)), ("modality_dim", 2))
SHALLOW = (("hidden_layer_sizes", (32,)),)


def why_alone(
    estimator: Any, reading: DataDescription, federation: Federation, *, whole: bool, goes_on: bool
) -> str | None:
    """Return why the network alone is trained where a mixture was asked for; None: nothing speaks against one."""
    if is_private(estimator):
        return "with privacy, sums by fold would have to be paid for"
    if not whole or goes_on or estimator.warm_start:
        return "training goes on from a network: partial_fit, warm_start"
    if estimator.availability is not None:
        return "clients come and go: availability"
    if not isinstance(federation, Simulation):
        return "rows are elsewhere"
    small = reading.sizes[reading.sizes < FEWEST_ROWS].sum()
    if 2 * small > reading.sizes.sum():
        return f"clients of fewer than {FEWEST_ROWS} rows hold most rows"
    return None


def network_alone(why: str | None) -> MemberTable:
    """Return what `members_` says of the network alone, and why it is alone."""
    row = {"name": "network", "view": "", "weight": 1.0, "error": float("nan")}
    return MemberTable([row], "" if why is None else f"the network alone: {why}")


def mixture_task(
    estimator: Any,
    federation: Federation,
    reading: DataDescription,
    network_spec: NetworkSpec,
    seed: int,
    subset: Subset = EVERYTHING,
    held_out: Subset | None = None,
) -> MixtureTask:
    """Return what is to be trained and weighed, after the sums have been asked for."""
    blocks = {
        name: Block(split(columns, reading.categories)[1], m)
        for m, (name, columns) in enumerate(reading.modalities.items())
    }
    folds = inner_folds(subset, seed, N_FOLDS)
    y = fit_targets(federation, subset)
    targets = Targets((y,))
    sides = [side for _, side in folds]
    raw = ask(federation, None, blocks, (), targets, sides, subset)
    smooth = smooth_modalities(raw, FEWEST_SMOOTH, SMOOTH_CORRELATION)
    raw = replace(raw, smooth=smooth)
    views = VIEWS_OF_SMOOTH if smooth else ("raw",)
    sums: dict[str | None, ViewSums] = {None: raw}
    if any(PARTS_OF_VIEW[view][0] == "snv" for view in views):
        sums["snv"] = ask(federation, "snv", blocks, smooth, targets, sides, subset)
    linear = [_mean(raw), *linear_members(sums, views)]
    n_folds = min(MOST_NETWORK_FOLDS, ceil(N_FOLDS * ENOUGH_ROWS / float(raw.total.n)))
    passes = _passes(estimator, reading, network_spec, seed, folds[:n_folds], subset, held_out, sums, linear, y, smooth)
    return MixtureTask(
        sums,
        tuple(linear),
        tuple(passes),
        targets,
        tuple(sides[:n_folds]),
        subset,
        int(estimator.n_components),
        y,
    )


def _mean(sums: ViewSums) -> LinearMember:
    """Return the member that predicts the mean of the rows it has seen."""
    n_sets, p, q = len(sums.kept.n), len(sums.axes), sums.kept.y.shape[-1]
    squares = sums.held_out.squared_errors(np.zeros((n_sets - 1, sums.axes.shape[1], q)), sums.kept.mean_y[:-1]).sum(0)
    return LinearMember("mean", "raw", None, np.zeros((n_sets, p, q)), sums.kept.mean_y, squares, (0.0,) * q)


def _recipes(estimator: Any, best: LinearMember, smooth: Sequence[str], *, wide: bool) -> list[Recipe]:
    """Return the networks of the rule, with what the user has set."""
    if wide:
        recipes = [Recipe("network sparse", "raw", SPARSE, 0.0, 0.0, input_l1=0.1, batch_size=128)]
    else:
        recipes = [Recipe("network raw", "raw", DEEP, LITTLE_DECAY, DEFAULT_SHRINKAGE)]
        if smooth:
            recipes.append(Recipe("network snv", "snv", DEEP, LITTLE_DECAY, SNV_SHRINKAGE))
        recipes.append(
            Recipe("network of residuals", best.view, SHALLOW, DEFAULT_DECAY, DEFAULT_SHRINKAGE, learns_residual=True)
        )
    asked: dict[str, Any] = {
        name: float(getattr(estimator, name))
        for name in ("weight_decay", "shrinkage")
        if not is_auto(getattr(estimator, name))
    }
    if estimator.input_l1:
        asked["input_l1"] = None
    if not is_auto(estimator.hidden_layer_sizes):
        recipes = [
            replace(recipe, shape=tuple(part for part in recipe.shape if part[0] != "hidden_layer_sizes"))
            for recipe in recipes
        ]
    return [replace(recipe, **asked) for recipe in recipes]


def _passes(
    estimator: Any,
    reading: DataDescription,
    network_spec: NetworkSpec,
    seed: int,
    folds: Sequence[tuple[Subset, Subset]],
    subset: Subset,
    held_out: Subset | None,
    sums: Mapping[str | None, ViewSums],
    linear: Sequence[LinearMember],
    y: Any,
    smooth: Sequence[str],
) -> list[Pass]:
    """Return the networks, those of one shape together."""
    kinds = network_spec.kinds(estimator.preprocessing)
    beside = min(range(len(linear)), key=lambda i: float(linear[i].squares.sum()))
    shapes: dict[Any, list[NetworkRuns]] = {}
    wide = bool(sums[None].wide.blocks)
    if wide:
        kinds = {name: "standardize" if kind == "whiten" else kind for name, kind in kinds.items()}
    for recipe in _recipes(estimator, linear[beside], smooth, wide=wide):
        of_view = sums[PARTS_OF_VIEW[recipe.view][0]]
        sets = [*range(len(folds)), -1]
        tables = [
            with_codes(table, reading.modalities, reading.categories)
            for table in of_view.transforms(recipe.view, kinds, recipe.shrinkage, sets)
        ]
        if recipe.learns_residual:
            base = linear[beside].base
            runs = of_residual(recipe, tables, sets, sums[base], y, linear, beside, Inputs(sums[base].table))
        else:
            runs = of_y(recipe, tables, sets, of_view, y)
        shapes.setdefault((recipe.shape, recipe.algorithm), []).append(runs)
    return [
        _pass(estimator, reading, replace(network_spec, **dict(shape)), seed, folds, subset, held_out, members)
        for (shape, _), members in shapes.items()
    ]


def _pass(
    estimator: Any,
    reading: DataDescription,
    spec: NetworkSpec,
    seed: int,
    folds: Sequence[tuple[Subset, Subset]],
    subset: Subset,
    held_out: Subset | None,
    members: Sequence[NetworkRuns],
) -> Pass:
    """Return the runs of networks of one shape."""

    def build(table: TableTransform, widths: Mapping[str, int] | None = None) -> Network:
        return spec.network(widths or table.widths, reading.n_outputs, table.columns)

    all_tables = [table for member in members for table in member.tables]
    widths = {name: max(table.widths[name] for table in all_tables) for name in all_tables[0].widths}
    network = build(all_tables[0], widths)
    subsets = [*(kept for kept, _ in folds), subset]
    runs = [
        RunPlan(
            Inputs(table, widths, TRAINING_DTYPE),
            targets,
            _settings(estimator, len(reading.modalities), member.recipe),
            seed,
            Start(first_weights(network, table, seed)),
            rows,
            held_out,
        )
        for member in members
        for table, targets, rows in zip(member.tables, member.targets, subsets, strict=True)
    ]
    schedule = schedule_of(estimator)
    if members[0].recipe.batch_size is not None:
        schedule = replace(schedule, batch_size=members[0].recipe.batch_size)
    return Pass(network, build, tuple(members), tuple(runs), schedule)


def _settings(estimator: Any, n_modalities: int, recipe: Recipe) -> Settings:
    """Return the settings of a network: those asked for, or where nothing was, those of its recipe."""
    found = replace(settings_of(estimator, n_modalities), weight_decay=recipe.weight_decay)
    return found if recipe.input_l1 is None else replace(found, input_l1=recipe.input_l1)


@dataclass(frozen=True, eq=False)
class MixtureFitting:
    """A fit of a mixture that is ready to train. See `prepared_fit.Fitting`."""

    federation: Federation
    task: MixtureTask
    fitted: Fitted
    spec: NetworkSpec
    checkpoint: NoCheckpoint = field(default_factory=NoCheckpoint)

    @property
    def n_rounds(self) -> int:
        """Rounds of all passes."""
        return self.task.n_rounds

    def on(self, federation: Federation) -> MixtureFitting:
        """Return the same fit on another federation of the same clients."""
        return replace(self, federation=federation)

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
        runs = one.members[number]
        importance = mixture_importances(
            self.federation,
            weighed.mixture,
            self.task.sums[None].deviation(self.fitted.n_features),
            {j: len(known) for j, known in self.spec.categories.items()},
            self.task.subset,
        )
        ledger.stage = ""
        return replace(
            self.fitted,
            network_spec=self._spec(p),
            network=network,
            table=runs.tables[-1],
            models=network.layout.pack(arrays, dtype=TRAINING_DTYPE)[None],
            weights=arrays,
            variance=weighed.variance,
            importances=importance,
            history=extend_history({}, trained.record, len(self.fitted.clients)),
            n_rounds=trained.n_rounds,
            best_round=trained.record.best_round,
            ledger=ledger,
            dropped=left_out.together(self.fitted.dropped, self.dropped(stand)),
            mixture=weighed.mixture,
            members=weighed.members,
        )

    def _spec(self, p: int) -> NetworkSpec:
        return replace(self.spec, **dict(self.task.passes[p].members[0].recipe.shape))

    def dropped(self, stand: Stand) -> list[left_out.DroppedClient]:
        """Return who was left out of this fit."""
        out = self.federation.left_out()
        labels = self.fitted.clients.tolist()
        for stands in stand.passes:
            for trained in stands[-1:]:
                if trained.record.dropped is not None:
                    out += left_out.of_rounds(trained.record.dropped, trained.record.positions, labels, 0)
        return out
