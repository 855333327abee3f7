"""From what users pass to a fit that is ready to train: read, ask for sums, lay out the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.utils.validation import _num_samples

from skfdrmfl.clients.client_data import ClientData
from skfdrmfl.clients.simulation import Simulation
from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import Indices
from skfdrmfl.common.version import versions
from skfdrmfl.data.categories import Categories, column_name, discrete_columns
from skfdrmfl.data.column_names import flat
from skfdrmfl.data.held_out import EVERYTHING, Split, Subset, check_held_out
from skfdrmfl.data.label_columns import take_labels
from skfdrmfl.data.modalities import check_somebody_has
from skfdrmfl.data.partition import Partition, blocks_of
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.engines import engine_for
from skfdrmfl.fit import privacy_parameters as _privacy
from skfdrmfl.fit.check_input import (
    CheckedData,
    DataDescription,
    availability_of,
    check_some_round,
    check_somebody_begins,
    read,
    whose_rows,
)
from skfdrmfl.fit.fit_preprocessing import FoundPreprocessing, fit_preprocessing, numeric_blocks, widths_of
from skfdrmfl.fit.initial_model import check_continues, initial_plan, plan_from_earlier
from skfdrmfl.fit.mixture import MixtureFitting, MixturePlanner, NothingHeldOut, Ready, network_alone, why_alone
from skfdrmfl.fit.network_spec import NetworkSpec, network_spec_of, views_of
from skfdrmfl.fit.parameters import (
    check_algorithm,
    check_byzantine,
    device_of,
    is_private,
    schedule_of,
    settings_of,
    use_of_suspects,
)
from skfdrmfl.fit.prepared_fit import Fitting, NoCheckpoint
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.network import Network
from skfdrmfl.method.suspects import SuspectRows
from skfdrmfl.protocol.door import Block, Federation
from skfdrmfl.protocol.ledger import OF_MIXTURE, Ledger
from skfdrmfl.protocol.plan import Plan
from skfdrmfl.protocol.queries.labels import agree, rows_by_modality
from skfdrmfl.protocol.queries.whitening import compare_magnitudes
from skfdrmfl.server.outlying_clients import OutlyingClients
from skfdrmfl.server.suspects import without_suspects


def prepare(
    estimator: Any,
    X: Any,
    y: Any,
    client_ids: Any,
    groups: Any = None,
    *,
    earlier: Fitted | None = None,
    whole: bool = True,
) -> Ready:
    """Check everything, fix preprocessing and network unless there are `earlier` ones, return what is to be trained.

    `whole` says whether it is all of `fit` or one round.
    """
    estimator._validate_params()
    device = device_of(estimator.device)
    _privacy.check_private(estimator, None if earlier is None else earlier.account, earlier is not None)
    ledger = ledger_of(earlier)
    reading = _read(estimator, X, y, client_ids, groups, earlier, ledger)
    network_spec, network = build(estimator, reading, earlier)
    tables = client_data_of(estimator, reading, network_spec)
    if is_private(estimator):
        _privacy.check_complete(tables.present)
    engine, guard = engine_of(estimator, reading, network, device), guard_of(estimator, reading)
    n_threads = effective_n_jobs(estimator.n_jobs)
    federation = Simulation(tables, reading.partition, engine, device, ledger, guard, n_threads)
    return make_plan(estimator, reading, federation, network_spec, network, earlier=earlier, whole=whole)


def _read(
    estimator: Any, X: Any, y: Any, client_ids: Any, groups: Any, earlier: Fitted | None, ledger: Ledger
) -> CheckedData:
    """Return what users pass, checked, after the clients have agreed on categories."""
    check_same_rows(X=X, y=y, client_ids=client_ids, groups=groups)
    given = take_labels(flat(X), client_ids, groups, estimator.client_column, estimator.groups_column)
    if private := is_private(estimator):
        _privacy.check_no_labels(discrete_columns(given.X))
        given = given._replace(client_ids=_privacy.nameless(given.client_ids, _num_samples(X)))
        ledger.crowd = len(np.unique(given.client_ids))
    if earlier is not None:
        if earlier.column_names is not None:
            given = given._replace(X=earlier.column_names.matched(given.X))
        return read(estimator._draft(), given, y, earlier.network_spec.categories, earlier.clients)
    discrete = {} if private else {j: column_name(given.X, j) for j in discrete_columns(given.X)}
    categories = {}
    if discrete:
        clients, codes = whose_rows(given.client_ids, len(given.X))
        rows = Simulation(ClientData.of_labels(given.X, discrete), Partition.of_codes(codes), ledger=ledger)
        categories = agreed_categories(rows, discrete, clients, estimator.availability)
    return read(estimator._draft(), given, y, categories)


def agreed_categories(
    federation: Federation, discrete: Mapping[int, str], clients: NDArray, availability: Any
) -> Categories:
    """Return the categories of `discrete` columns, on which those agree who are there in the first round."""
    available = availability_of(availability, clients, federation.roster().positions, 1, 1)
    if available is not None:
        check_somebody_begins(available[0])
        federation = federation.restricted_to(available[0])
    return agree(federation, discrete)


def ledger_of(earlier: Fitted | None) -> Ledger:
    """Return the ledger to count on with."""
    if earlier is None:
        return Ledger()
    ledger = earlier.ledger.copy()
    ledger.round = earlier.n_rounds + 1
    return ledger


def client_data_of(estimator: Any, reading: CheckedData, network_spec: NetworkSpec) -> ClientData:
    """Return rows as clients keep them; ValueError where no encoder reads them."""
    suspects = use_of_suspects(estimator)
    parts = estimator.early_stopping or estimator.tuning is not None or suspects != "ignore"
    blocks = blocks_of(reading.table, reading.partition, reading.groups) if parts else None
    network_spec.check_rows(reading.table, reading.present)
    rows = reading.table, reading.targets, reading.present, blocks
    return ClientData(*rows, n_modalities=len(reading.modalities), suspects=suspects)


def build(estimator: Any, reading: DataDescription, earlier: Fitted | None) -> tuple[NetworkSpec, Network]:
    """Return what shapes the network, and one for all columns: encoders that do not fit are found before any sum."""
    if earlier is not None:
        check_continues(estimator, reading, earlier)
        return earlier.network_spec, earlier.network
    network_spec = network_spec_of(estimator, reading)
    widths = widths_of(reading, views_of(estimator, reading, network_spec))
    return network_spec, network_spec.network(widths, reading.n_outputs)


def engine_of(estimator: Any, reading: DataDescription, network: Network, device: str) -> str:
    """Return the engine that trains."""
    settings = [settings_of(estimator, len(reading.modalities))]
    return engine_for(estimator.engine, network, device, int(estimator.history_size), reading.sizes, settings)


def guard_of(estimator: Any, reading: DataDescription) -> OutlyingClients | None:
    """Return what looks at each client's sums; None where the server does not compare clients."""
    is_robust = schedule_of(estimator, whole=False).is_robust
    return OutlyingClients(reading.clients.tolist()) if is_robust else None


def make_plan(
    estimator: Any,
    reading: DataDescription,
    federation: Federation,
    network_spec: NetworkSpec,
    network: Network,
    *,
    earlier: Fitted | None = None,
    whole: bool = True,
    n_networks: int | None = None,
) -> Ready:
    """Return what is to be trained by a federation, after its sums have been asked for.

    The parameters of the estimator have been checked, spec and network come from `build`, `n_networks` is the most that
    a mixture has; the rest is as of `prepare`.
    """
    schedule = schedule_of(estimator, whole=whole)
    check_algorithm(estimator, schedule)
    check_byzantine(int(estimator.n_byzantine), len(reading.positions), float(estimator.participation))
    available = _available(estimator, reading, earlier, whole)
    if whole:  # partial_fit may be called with newcomers alone
        check_some_round(int(estimator.min_clients), len(reading.positions), available)
    seed = randomness.seed_of(estimator.random_state) if earlier is None else earlier.seed
    checkpoint = NoCheckpoint()
    if whole and estimator.checkpoint_path is not None:
        checkpoint = _checkpoint(estimator, reading, earlier, available, federation.engine, n_networks)
        seed = seed if checkpoint.seed is None else checkpoint.seed
    subset, held_out = EVERYTHING, None
    if whole and estimator.early_stopping:
        subset, held_out = (Split(float(estimator.validation_fraction), seed, side) for side in (False, True))
    first, begin = federation, None if earlier is not None or available is None else available[0]
    if begin is not None:  # those who are there in the first round
        check_somebody_begins(begin)
        first = federation.restricted_to(begin)
    if federation.guard is not None:
        compare_magnitudes(first, [*numeric_blocks(reading).values(), Block(None)], subset)
    suspects = None
    if whole and use_of_suspects(estimator) != "ignore" and not is_private(estimator):  # no bill pays for looks
        federation, suspects = without_suspects(federation, first, numeric_blocks(reading), reading.clients)
        reading = replace(reading, **vars(federation.roster()))
        first = federation if begin is None else federation.restricted_to(begin)
    if held_out is not None:
        check_held_out(len(federation.roster(held_out).positions))
    alone = None
    if estimator.tuning is not None:
        alone = why_alone(estimator, first, whole=whole, goes_on=earlier is not None)
        if alone is None:
            rows = subset, held_out, available
            try:
                planner = MixturePlanner(estimator, first, reading, network_spec, seed, *rows, n_networks)
                return _mixture(planner, federation, network, checkpoint, suspects)
            except NothingHeldOut as error:
                alone = str(error)
                federation.ledger.stage = ""
    found = None
    if earlier is None:
        found = _find(estimator, first, reading, network_spec, seed, subset, checkpoint)
        run, fitted = initial_plan(estimator, reading, network_spec, network, seed, found)
    else:
        run, fitted = plan_from_earlier(estimator, reading, earlier), earlier
    run = replace(run, start=replace(run.start, available=available), subset=subset, held_out=held_out)
    federation.ledger = checkpoint.begin(run.seed, found, federation.ledger, len(schedule.rate_factors))
    account = fitted.account
    if is_private(estimator):
        account = account or _privacy.account_of(estimator, len(reading.positions))
        run, schedule = _privacy.made_private(estimator, run, schedule, account, len(reading.positions))
        account = account.repeated(schedule.privacy, checkpoint.repeats.preparations, checkpoint.repeats.rounds)
    others = {"account": account, "members": network_alone(alone), "suspects": suspects if whole else fitted.suspects}
    fitted = _of_federation(estimator, fitted, reading, federation, **others)
    return Fitting(federation, Plan(fitted.network, (run,), schedule), fitted, checkpoint, found)


def _of_federation(
    estimator: Any, fitted: Fitted, reading: DataDescription, federation: Federation, **others: Any
) -> Fitted:
    """Return what there is before the first round, with the clients of this fit, their rows so far, and others."""
    counts: Indices | None = None
    if not is_private(estimator):
        counts = np.zeros(len(reading.clients), dtype=np.int64)
        if fitted.n_samples_per_client is not None:
            counts[: len(fitted.n_samples_per_client)] = fitted.n_samples_per_client
        counts[reading.positions] += reading.sizes
    return replace(
        fitted,
        clients=reading.clients,
        n_samples_per_client=counts,
        ledger=federation.ledger,
        central=reading.central and fitted.central,
        engine=federation.engine,
        policies=fitted.policies | reading.policies,
        versions=dict(versions()),
        **others,
    )


def _mixture(
    planner: MixturePlanner,
    federation: Federation,
    network: Network,
    checkpoint: NoCheckpoint,
    suspects: SuspectRows | None,
) -> MixtureFitting:
    """Return the fit of a mixture, ready to train; `network` is that of all columns. Raises NothingHeldOut."""
    reading = planner.reading
    federation.ledger.stage = OF_MIXTURE
    _check_modalities(planner.federation, reading, planner.subset)
    task = planner.task()
    there = task.passes[0].runs[0].start.last_there(int(planner.estimator.n_rounds))
    if there is not None:
        last = federation.restricted_to(there)
        if not any(len(last.roster(fold).positions) for fold in task.folds):
            raise NothingHeldOut("those who are there in the last round hold out no rows, by which members are weighed")
    federation.ledger = checkpoint.begin(planner.seed, None, federation.ledger, task.n_rounds)
    federation.ledger.stage = OF_MIXTURE
    found = FoundPreprocessing(task.passes[0].members[0].tables[-1], task.unit)
    _, fitted = initial_plan(planner.estimator, reading, planner.spec, network, planner.seed, found)
    fitted = _of_federation(planner.estimator, fitted, reading, federation, suspects=suspects)
    return MixtureFitting(federation, task, fitted, checkpoint)


def _checkpoint(
    estimator: Any,
    reading: DataDescription,
    earlier: Fitted | None,
    available: NDArray[np.bool_] | None,
    engine: str,
    n_networks: int | None,
) -> NoCheckpoint:
    """Return the file of this fit, which may have been begun before."""
    from skfdrmfl.fit.checkpoint import Checkpoint
    from skfdrmfl.fit.fingerprint import fingerprint

    private = is_private(estimator)
    of_this_fit = fingerprint(estimator, reading, earlier, available, engine, is_private=private)
    if n_networks is not None and estimator.tuning is not None:
        of_this_fit["networks"] = str(n_networks)
    every = int(estimator.checkpoint_every)
    checkpoint = Checkpoint(estimator.checkpoint_path, every, of_this_fit, is_private=private)
    if checkpoint.found and estimator.verbose:
        print(f"[FDRMFL] goes on from {checkpoint.path}", flush=True)
    return checkpoint


def _find(
    estimator: Any,
    federation: Federation,
    reading: DataDescription,
    network_spec: NetworkSpec,
    seed: int,
    subset: Subset,
    checkpoint: NoCheckpoint,
) -> FoundPreprocessing:
    """Return what preprocessing finds, or what the checkpoint has of it."""
    if not is_private(estimator):
        _check_modalities(federation, reading, subset)
    else:
        kinds = network_spec.kinds(estimator.preprocessing)
        _privacy.check_bounds(estimator.dp_bounds, kinds, reading.n_features, reading.n_outputs)
    checkpoint.prepare(seed, federation.ledger)
    found = checkpoint.preparation or fit_preprocessing(estimator, federation, reading, network_spec, subset)
    if federation.guard is not None:
        federation.guard.excluded.update(found.left_out)
    return found


def _available(
    estimator: Any, reading: DataDescription, earlier: Fitted | None, whole: bool
) -> NDArray[np.bool_] | None:
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
    positions = reading.positions
    there = availability_of(estimator.availability, reading.clients, positions, first_round, n_rounds)
    # After one round of `partial_fit` anybody may come again; after `fit` nobody has to be remembered.
    return there if whole or there is None else np.concatenate((there, np.ones_like(there)))


def _check_modalities(federation: Federation, reading: DataDescription, subset: Subset) -> None:
    """Raise ValueError where no client has one of the modalities, or none keeps a row that has it."""
    if len(reading.modalities) < 2:
        return
    n_modalities = len(reading.modalities)
    n_rows, everywhere = rows_by_modality(federation, n_modalities)
    kept = everywhere if subset is EVERYTHING else rows_by_modality(federation, n_modalities, subset)[1]
    check_somebody_has(list(reading.modalities), n_rows, everywhere, kept)
