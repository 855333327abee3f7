"""From checked arrays to a fit that is ready to train, and from what was trained to what the fit leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import Indices, Present
from skfdrmfl.data.categories import split, with_codes
from skfdrmfl.data.held_out import EVERYTHING, Split, Subset, check_held_out
from skfdrmfl.data.missing import check_somebody_has
from skfdrmfl.data.partition import blocks_of
from skfdrmfl.data.transforms import BlockSpectrum, BlockTransform, TableTransform
from skfdrmfl.estimator._availability import availability_of, check_somebody_begins, last_there
from skfdrmfl.estimator._beginning import Preparation, begin, built
from skfdrmfl.estimator._blueprint import Blueprint, check_rows, specs_of
from skfdrmfl.estimator._checkpoint import Checkpoint, NoCheckpoint
from skfdrmfl.estimator._fingerprint import fingerprint
from skfdrmfl.estimator._fitted import Fitted
from skfdrmfl.estimator._parameters import cosine, device_of, engine_of, schedule_of, settings_of
from skfdrmfl.estimator._reading import Reading, accepts_nan, present_in, read
from skfdrmfl.estimator._tuning import DEFAULT_SHRINKAGE, Choice, Tuner, with_ridge
from skfdrmfl.federation.client import Tables
from skfdrmfl.federation.door import Block, Federation
from skfdrmfl.federation.engines.rows import Run
from skfdrmfl.federation.ledger import Ledger
from skfdrmfl.federation.memory import Memory
from skfdrmfl.federation.record import Record, extend_history
from skfdrmfl.federation.runs import Inputs, Model, Plan, RunPlan, Start, Targets
from skfdrmfl.federation.simulation import TRAINING_DTYPE, Simulation
from skfdrmfl.federation.sums.axes import deliver
from skfdrmfl.federation.sums.importance import importances
from skfdrmfl.federation.sums.labels import rows_by_modality
from skfdrmfl.federation.sums.whitening import fit_blocks, transformations
from skfdrmfl.federation.training import Trained, train
from skfdrmfl.model.linear_part import Linear, takes_linear, with_linear
from skfdrmfl.model.network import Network

# The outputs among the blocks of columns: no modality has this name.
OUTPUTS = ""


@dataclass(frozen=True, eq=False)
class Fitting:
    """A fit that is ready to train.

    Attributes
    ----------
    simulation : Simulation
    plan : Plan
    fitted : Fitted
        What there is to go on from: all but what training will add.
    linear : Linear, default=None
        After training the model is to predict `share` times what the network predicts plus this.
    share : float
    preparation : Preparation, default=None
        None where it is that of an earlier fit.
    checkpoint : Checkpoint
    """

    simulation: Simulation
    plan: Plan
    fitted: Fitted
    linear: Linear | None = None
    share: float = 1.0
    preparation: Preparation | None = None
    checkpoint: NoCheckpoint = field(default_factory=NoCheckpoint)

    @property
    def run(self) -> Run:
        """The prepared rows, for those who train many fits together."""
        (run,) = self.simulation.runs(self.plan)
        return run

    def train(self) -> Iterator[Trained]:
        """Train, yielding where training stands after every round."""
        starts = [run.start for run in self.plan.runs]
        training = self.simulation.prepare(self.plan)
        resume = self.checkpoint.resume(training, starts, self.simulation.device)
        return train(training, self.plan.network, starts, self.plan.schedule, resume)

    def finish(self, models: Tensor, memory: Memory, record: Record) -> Fitted:
        """Return what the fit leaves.

        Parameters
        ----------
        models : Tensor of shape (1 + H, D)
            The global model and earlier ones.
        memory : Memory
            What the algorithm remembers of this run.
        record : Record
        """
        network, run = self.plan.network, self.plan.runs[0]
        models = models.cpu()
        arrays = network.arrays(models[0])
        if self.linear is not None:
            arrays = with_linear(network, arrays, self.linear, self.share)
            models = network.layout.pack(arrays, dtype=TRAINING_DTYPE)[None]  # earlier ones had another Z
        ledger = self.simulation.ledger
        ledger.round = self.fitted.n_rounds + len(record.losses)
        model = Model(network, arrays, run.inputs)
        weights, variance, importance = self.fitted.weights, self.fitted.variance, self.fitted.importances
        available = run.start.available
        there = None if available is None else last_there(available[: max(1, len(record.losses))])
        if there is None or there.any():  # else nobody has trained, and nobody is there to ask
            simulation = self.simulation if there is None else self.simulation.among(there)
            weights, variance = deliver(simulation, model, run.subset)
            importance = importances(simulation, model, self.fitted.n_features, run.subset)
        history = extend_history(self.fitted.history, record, len(self.fitted.clients))
        best_round = self.fitted.best_round
        if record.best_round is not None:
            best_round = self.fitted.n_rounds + record.best_round
        return replace(
            self.fitted,
            models=models.numpy(),
            memory=(_arrays(memory.server), _arrays(memory.clients)),
            weights=weights,
            variance=variance,
            importances=importance,
            history=history,
            n_rounds=self.fitted.n_rounds + len(record.losses),
            best_round=best_round,
            ledger=ledger,
        )


def prepare(
    estimator: Any,
    X: Any,
    y: Any,
    client_ids: Any,
    groups: Any = None,
    *,
    earlier: Fitted | None = None,
    whole: bool = True,
) -> Fitting:
    """Check everything, fix preprocessing and network unless there are earlier ones, and return what is to be trained.

    Parameters
    ----------
    estimator : FDRMFLTransformer
    X, y, client_ids, groups
        As of `fit`.
    earlier : Fitted, default=None
        The fit to go on from.
    whole : bool, default=True
        Whether it is all of `fit`, or one round.
    """
    estimator._validate_params()
    device = device_of(estimator.device)
    draft = estimator._draft()
    ledger = Ledger() if earlier is None else earlier.ledger.copy()
    known = None
    if earlier is not None:
        known = {"clients": earlier.clients, "categories": earlier.blueprint.categories}
        ledger.round = earlier.n_rounds + 1
    reading = read(draft, X, y, client_ids, groups, ledger, known)
    seed = randomness.seed_of(estimator.random_state) if earlier is None else earlier.seed
    available = _available(estimator, reading, earlier, whole)
    checkpoint = NoCheckpoint()
    if whole and estimator.checkpoint_path is not None:
        of_this_fit = fingerprint(estimator, reading, earlier, available)
        checkpoint = Checkpoint(estimator.checkpoint_path, int(estimator.checkpoint_every), of_this_fit)
        seed = seed if checkpoint.seed is None else checkpoint.seed
        if checkpoint.found and estimator.verbose:
            print(f"[FDRMFL] goes on from {checkpoint.path}", flush=True)
    subset, held_out = EVERYTHING, None
    if whole and estimator.early_stopping:
        subset, held_out = (Split(float(estimator.validation_fraction), seed, side) for side in (False, True))
    if earlier is None:
        blueprint = blueprint_of(estimator, reading)
        # Encoders that do not fit are found before anything is computed.
        blueprint.network(_widths(reading), reading.targets.shape[1])
    else:
        _check_continues(estimator, reading, earlier)
        blueprint = earlier.blueprint
    present = _present(reading, estimator.modalities)
    blocks = blocks_of(reading.table, reading.partition, reading.groups) if _splits(estimator) else None
    tables = Tables(reading.table, reading.targets, present, blocks, n_modalities=len(reading.modalities))
    simulation = Simulation(tables, reading.partition, engine_of(estimator), device, ledger)
    there = simulation
    if available is not None and earlier is None:
        check_somebody_begins(available[0])
        there = simulation.among(available[0])
    if held_out is not None:
        check_held_out(sum(len(c.rows_of(held_out)) > 0 for c in simulation.clients))
    if earlier is None:
        _check_modalities(there, reading, subset)
    check_rows(blueprint.readers, reading.modalities, reading.table, present)
    if earlier is None:
        found = checkpoint.preparation or _find(estimator, there, reading, blueprint, seed, subset)
        network, run, fitted = begin(estimator, reading, blueprint, seed, found, simulation.device)
        plan = Plan(network, (run,), schedule_of(estimator, ()))
        fitting = Fitting(simulation, plan, fitted, found.linear, found.share, found)
    else:
        fitting = _go_on(estimator, simulation, reading, earlier)
    rates = cosine(estimator.n_rounds) if whole else (1.0,)
    if whole and earlier is None and fitting.fitted.choice.start == "ridge":
        rates = ()
    run = fitting.plan.runs[0]
    run = replace(run, start=replace(run.start, available=available), subset=subset, held_out=held_out)
    plan = replace(fitting.plan, runs=(run,), schedule=schedule_of(estimator, rates, stops=whole))
    simulation.ledger = checkpoint.begin(seed, fitting.preparation, simulation.ledger)
    fitted = replace(_with_counts(fitting.fitted, reading), ledger=simulation.ledger)
    return replace(fitting, plan=plan, fitted=fitted, checkpoint=checkpoint)


def _available(estimator: Any, reading: Reading, earlier: Fitted | None, whole: bool) -> NDArray[np.bool_] | None:
    """Return who is there in each round to come; ValueError where early stopping would compare unlike rows."""
    if estimator.availability is None:
        return None
    if whole and estimator.early_stopping:
        raise ValueError(
            "early_stopping=True compares rounds on the same rows held out, but with availability clients come and go; "
            "set early_stopping=False, or use participation for clients drawn at random."
        )
    first_round = 1 if earlier is None else earlier.n_rounds + 1
    n_rounds = int(estimator.n_rounds) if whole else 1
    return availability_of(estimator.availability, reading.clients, reading.partition.positions, first_round, n_rounds)


def blueprint_of(estimator: Any, reading: Reading) -> Blueprint:
    """Return what parameters and columns say the network is to be."""
    return Blueprint(
        specs_of(estimator.encoders, list(reading.modalities)),
        reading.modalities,
        reading.categories,
        estimator.n_components,
        estimator.modality_dim,
        estimator.hidden_layer_sizes,
        estimator.head_hidden_layer_sizes,
        estimator.fusion,
        estimator.alignment,
    )


def _find(
    estimator: Any, simulation: Simulation, reading: Reading, blueprint: Blueprint, seed: int, subset: Subset
) -> Preparation:
    """Return what preprocessing finds, and tuning where it is asked for."""
    kinds = blueprint.kinds(estimator.preprocessing)
    numeric = {name: split(columns, reading.categories)[1] for name, columns in reading.modalities.items()}
    blocks = {name: Block(columns, m) for m, (name, columns) in enumerate(numeric.items()) if len(columns)}
    n_outputs = reading.targets.shape[1]

    def build(table: TableTransform, widths: Mapping[str, int]) -> tuple[Network, Tensor]:
        return built(blueprint, table, widths, n_outputs, seed)

    def preprocess(
        subset: Subset, shrinkages: Sequence[float], after: tuple[BlockTransform, ...] | None
    ) -> tuple[list[TableTransform], BlockTransform | None]:
        outputs = {} if after is None else {OUTPUTS: Block(None, after=after)}
        found = fit_blocks(simulation, blocks | outputs, {**kinds, OUTPUTS: "standardize"}, subset)
        unit = found.pop(OUTPUTS, None)
        assert not isinstance(unit, BlockSpectrum)
        columns = {name: numeric[name] for name in blocks}
        tables = [
            with_codes(TableTransform(columns, of_blocks), reading.modalities, reading.categories)
            for of_blocks in transformations(found, shrinkages)
        ]
        return tables, unit

    choice = Choice(
        "random",
        DEFAULT_SHRINKAGE if estimator.shrinkage == "auto" else float(estimator.shrinkage),
        float(estimator.weight_decay),
    )
    settings = settings_of(estimator, len(reading.modalities))
    whitens = any(kinds[name] == "whiten" for name in blocks)
    tuned = None
    if estimator.tuning == "auto" or (estimator.shrinkage == "auto" and whitens):
        simulation.ledger.stage = "tuning: "
        tuner = Tuner(
            simulation,
            subset,
            len(reading.modalities),
            whitens,
            preprocess,
            build,
            settings,
            schedule_of(estimator, cosine(estimator.n_rounds)),
            seed,
            choice,
            report=estimator.verbose > 0,
        )
        compared = _compared(estimator, tuner, reading, blueprint)
        choice = compared[0][0]
        tuned = [{**asdict(candidate), "validation_mse": error} for candidate, error in compared]
        simulation.ledger.stage = ""
        simulation.ledger.round = 0
    (table,), target = preprocess(subset, [choice.shrinkage], ())
    assert target is not None
    linear, share = None, 1.0
    if choice.is_linear:
        _, linear, share = with_ridge(simulation, choice, table, Targets((target,), TRAINING_DTYPE), subset)
    return Preparation(choice, tuned, table, target, linear, share)


def _compared(estimator: Any, tuner: Tuner, reading: Reading, blueprint: Blueprint) -> list[tuple[Choice, float]]:
    """Return the ways to fit that were compared by rows held out, the choice first."""
    if estimator.tuning is None:
        return tuner.shrinkage()
    # Codes of categories are no numbers; and where a row lacks a modality, the mean of fewer codes weighs
    # each more than a linear part knows.
    is_linear = not reading.categories and (len(reading.modalities) < 2 or estimator.fusion != "mean")
    has_room = takes_linear(blueprint.network(_widths(reading), reading.targets.shape[1]))
    return tuner.everything(linear=is_linear and has_room)


def _splits(estimator: Any) -> bool:
    """Return whether clients hold out rows for some purpose."""
    return estimator.early_stopping or estimator.tuning == "auto" or estimator.shrinkage == "auto"


def _widths(reading: Reading) -> dict[str, int]:
    """Return the number of columns of each modality."""
    return {name: len(columns) for name, columns in reading.modalities.items()}


def _go_on(estimator: Any, simulation: Simulation, reading: Reading, earlier: Fitted) -> Fitting:
    """Return a fit that goes on from an earlier one, whose preprocessing and network stay."""
    tuned = {} if estimator.tuning is None else {"weight_decay": earlier.choice.weight_decay}
    device = simulation.device
    models = torch.tensor(earlier.models, device=device)  # copied: mapped models are read-only
    server, clients = ({n: torch.tensor(a, device=device) for n, a in part.items()} for part in earlier.memory)
    run = RunPlan(
        Inputs(earlier.table, dtype=TRAINING_DTYPE),
        Targets((earlier.target,), TRAINING_DTYPE),
        settings_of(estimator, len(reading.modalities), **tuned),
        earlier.seed,
        Start(models[0], tuple(models[1 : 1 + estimator.history_size]), earlier.n_rounds, Memory(server, clients)),
    )
    fitted = replace(earlier, ledger=simulation.ledger)
    return Fitting(simulation, Plan(earlier.network, (run,), schedule_of(estimator, ())), fitted)


def _arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray]:
    """Return tensors as numpy arrays, which load anywhere."""
    return {name: tensor.cpu().numpy() for name, tensor in tensors.items()}


def _with_counts(fitted: Fitted, reading: Reading) -> Fitted:
    """Return what is fitted with the clients and the numbers of their rows up to now."""
    counts: Indices = np.zeros(len(reading.clients), dtype=np.int64)
    counts[: len(fitted.n_samples_per_client)] = fitted.n_samples_per_client
    counts[reading.partition.positions] += reading.partition.sizes
    return replace(fitted, clients=reading.clients, n_samples_per_client=counts)


def _present(reading: Reading, modalities: Any) -> Present | None:
    """Return which modalities each row has; None: all."""
    nan_passed = accepts_nan(modalities, len(reading.categories), reading.n_features) is not True
    return present_in(reading.table, reading.modalities, reading.categories, nan_passed)


def _check_modalities(federation: Federation, reading: Reading, subset: Subset) -> None:
    """Raise ValueError where no client has one of the modalities, or none keeps a row that has it."""
    if len(reading.modalities) < 2:
        return
    n_modalities = len(reading.modalities)
    n_rows, everywhere = rows_by_modality(federation, n_modalities)
    kept = everywhere if subset is EVERYTHING else rows_by_modality(federation, n_modalities, subset)[1]
    check_somebody_has(list(reading.modalities), n_rows, everywhere, kept)


def _check_continues(estimator: Any, reading: Reading, earlier: Fitted) -> None:
    """Raise ValueError where what the network was built with has changed since."""
    built = earlier.network.signature
    n_outputs = reading.targets.shape[1]
    if n_outputs != built["n_outputs"]:
        raise ValueError(
            f"y has {n_outputs} outputs but the model was trained on {built['n_outputs']}; "
            "pass the same outputs, or fit a new estimator."
        )
    before, now = earlier.blueprint.modalities, reading.modalities
    changed = []
    if list(before) != list(now) or not all(np.array_equal(before[name], now[name]) for name in now):
        changed = ["modalities"]
    else:
        signature = blueprint_of(estimator, reading).network(earlier.table.widths, n_outputs).signature
        changed = [name for name, value in signature.items() if value != built[name]]
    if changed:
        # None for all encoders means those of `hidden_layer_sizes`.
        what = "hidden_layer_sizes" if changed[0] == "encoders" and estimator.encoders is None else changed[0]
        raise ValueError(
            f"{what} is {getattr(estimator, what)!r} now, but the model to go on from was built "
            "with another value; set it back, or clone the estimator and fit it anew."
        )
