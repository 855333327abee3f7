"""From what users pass to a fit that is ready to train: read, ask for sums, lay out the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.utils.validation import _num_samples

from skfdrmfl.common import randomness
from skfdrmfl.common.arrays import Indices, Present
from skfdrmfl.data.categories import discrete_columns
from skfdrmfl.data.held_out import EVERYTHING, Split, Subset, check_held_out
from skfdrmfl.data.label_columns import take_labels
from skfdrmfl.data.missing import check_somebody_has
from skfdrmfl.data.partition import blocks_of
from skfdrmfl.estimator import _privacy
from skfdrmfl.estimator._availability import availability_of, check_somebody_begins
from skfdrmfl.estimator._beginning import begin
from skfdrmfl.estimator._blueprint import Blueprint, blueprint_of, check_rows
from skfdrmfl.estimator._callbacks import Task
from skfdrmfl.estimator._checkpoint import Checkpoint, NoCheckpoint
from skfdrmfl.estimator._continuing import check_continues, go_on
from skfdrmfl.estimator._finding import find, numeric_blocks, widths_of
from skfdrmfl.estimator._fingerprint import fingerprint
from skfdrmfl.estimator._fitted import Fitted
from skfdrmfl.estimator._fitting import Fitting
from skfdrmfl.estimator._parameters import (
    check_algorithm,
    check_byzantine,
    cosine,
    device_of,
    schedule_of,
    settings_of,
)
from skfdrmfl.estimator._reading import Description, Reading, accepts_nan, present_in, read
from skfdrmfl.federation.client import Tables
from skfdrmfl.federation.door import Block, Federation
from skfdrmfl.federation.engines import engine_for
from skfdrmfl.federation.guard import Guard
from skfdrmfl.federation.ledger import Ledger
from skfdrmfl.federation.runs import Plan
from skfdrmfl.federation.simulation import Simulation
from skfdrmfl.federation.sums.labels import rows_by_modality
from skfdrmfl.federation.sums.magnitudes import compare_magnitudes


def prepare(
    estimator: Any,
    X: Any,
    y: Any,
    client_ids: Any,
    groups: Any = None,
    *,
    earlier: Fitted | None = None,
    whole: bool = True,
    task: Task | None = None,
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
    task : Task, default=None
        What tuning is to be part of.
    """
    estimator._validate_params()
    device = device_of(estimator.device)
    draft = estimator._draft()
    ledger, known = ledger_of(earlier), None
    if earlier is not None:
        known = {"clients": earlier.clients, "categories": earlier.blueprint.categories}
    private = _privacy.is_private(estimator)
    _privacy.check_private(estimator, None if earlier is None else earlier.account, earlier is not None)
    given = take_labels(X, client_ids, groups, estimator.client_column, estimator.groups_column)
    if private:
        _privacy.check_no_labels(discrete_columns(given.X))
        given = given._replace(client_ids=_privacy.nameless(given.client_ids, _num_samples(X)))
        ledger.crowd = len(np.unique(given.client_ids))
    reading = read(draft, given, y, ledger, known)

    def gather(blueprint: Blueprint, engine: str) -> Simulation:
        tables = tables_of(estimator, reading, blueprint)
        if private:
            _privacy.check_complete(tables.present)
        n_threads = effective_n_jobs(estimator.n_jobs)
        return Simulation(tables, reading.partition, engine, device, ledger, n_threads=n_threads)

    return lay_out(estimator, reading, gather, device, earlier=earlier, whole=whole, task=task)


def ledger_of(earlier: Fitted | None) -> Ledger:
    """Return the ledger to count on with."""
    if earlier is None:
        return Ledger()
    ledger = earlier.ledger.copy()
    ledger.round = earlier.n_rounds + 1
    return ledger


def tables_of(estimator: Any, reading: Reading, blueprint: Blueprint) -> Tables:
    """Return rows as those who hold them keep them.

    Raises
    ------
    ValueError
        They lack parts of modalities, or hold what the encoders cannot read.
    """
    present = _present(reading, estimator.modalities)
    blocks = blocks_of(reading.table, reading.partition, reading.groups) if _splits(estimator) else None
    check_rows(blueprint.readers, reading.modalities, reading.table, present)
    return Tables(reading.table, reading.targets, present, blocks, n_modalities=len(reading.modalities))


def lay_out(
    estimator: Any,
    reading: Description,
    gather: Callable[[Blueprint, str], Federation],
    device: torch.device,
    *,
    earlier: Fitted | None = None,
    whole: bool = True,
    task: Task | None = None,
) -> Fitting:
    """Return what is to be trained by a federation, after its sums have been asked for.

    Parameters
    ----------
    estimator : FDRMFLTransformer
        Its parameters have been checked.
    reading : Description
        What is known of the rows.
    gather : callable
        Returns the federation that has them, given what the network is to be and which engine trains; nothing is asked
        of it before.
    device : torch.device
        Where clients train.
    earlier, whole, task
        As of `prepare`.
    """
    private = _privacy.is_private(estimator)
    n_clients = len(reading.positions)
    seed = randomness.seed_of(estimator.random_state) if earlier is None else earlier.seed
    available = _available(estimator, reading, earlier, whole)
    if earlier is None:
        blueprint = blueprint_of(estimator, reading)
        # Encoders that do not fit are found before anything is computed.
        network = blueprint.network(widths_of(reading), reading.n_outputs)
    else:
        check_continues(estimator, reading, earlier)
        blueprint, network = earlier.blueprint, earlier.network
    settings = [settings_of(estimator, len(reading.modalities))]
    engine = engine_for(estimator.engine, network, device, int(estimator.history_size), reading.sizes, settings)
    checkpoint = NoCheckpoint()
    if whole and estimator.checkpoint_path is not None:
        of_this_fit = fingerprint(estimator, reading, earlier, available, engine, is_private=private)
        every = int(estimator.checkpoint_every)
        checkpoint = Checkpoint(estimator.checkpoint_path, every, of_this_fit, is_private=private)
        seed = seed if checkpoint.seed is None else checkpoint.seed
        if checkpoint.found and estimator.verbose:
            print(f"[FDRMFL] goes on from {checkpoint.path}", flush=True)
    subset, held_out = EVERYTHING, None
    if whole and estimator.early_stopping:
        subset, held_out = (Split(float(estimator.validation_fraction), seed, side) for side in (False, True))
    schedule = schedule_of(estimator, ())
    check_algorithm(estimator, schedule)
    check_byzantine(int(estimator.n_byzantine), n_clients, float(estimator.participation))
    federation = gather(blueprint, engine)
    there = federation
    if available is not None and earlier is None:
        check_somebody_begins(available[0])
        there = federation.among(available[0])
    if schedule.is_robust:
        there.guard = federation.guard = Guard(reading.clients.tolist())
        compare_magnitudes(there, [*numeric_blocks(reading).values(), Block(None)], subset)
    if held_out is not None:
        check_held_out(len(federation.roster(held_out).positions))
    if earlier is None and not private:
        _check_modalities(there, reading, subset)
    if earlier is None:
        if private:
            kinds = blueprint.kinds(estimator.preprocessing)
            _privacy.check_bounds(estimator.dp_bounds, kinds, reading.n_features, reading.n_outputs)
        checkpoint.prepare(seed, federation.ledger)
        task = Task(estimator) if task is None else task
        found = checkpoint.preparation or find(estimator, there, reading, blueprint, seed, subset, task)
        if federation.guard is not None:
            federation.guard.excluded.update(found.left_out)
        network, run, fitted = begin(estimator, reading, blueprint, seed, found, federation.device)
        fitted = replace(fitted, account=_privacy.account_of(estimator, n_clients))
        plan = Plan(network, (run,), schedule)
        fitting = Fitting(federation, plan, fitted, found.linear, found.share, found)
    else:
        fitting = go_on(estimator, federation, reading, earlier)
    rates = cosine(estimator.n_rounds) if whole else (1.0,)
    if whole and earlier is None and fitting.fitted.choice.start == "ridge":
        rates = ()
    run = fitting.plan.runs[0]
    run = replace(run, start=replace(run.start, available=available), subset=subset, held_out=held_out)
    schedule = schedule_of(estimator, rates, stops=whole)
    federation.ledger = checkpoint.begin(seed, fitting.preparation, federation.ledger, len(rates))
    central = reading.central and (earlier is None or earlier.central)
    fitted = replace(_with_counts(fitting.fitted, reading), ledger=federation.ledger, central=central, engine=engine)
    if (account := fitted.account) is not None:
        run, schedule = _privacy.made_private(estimator, run, schedule, account, n_clients)
        account = account.repeated(schedule.privacy, checkpoint.repeats.preparations, checkpoint.repeats.rounds)
        fitted = replace(fitted, n_samples_per_client=None, account=account)
    plan = replace(fitting.plan, runs=(run,), schedule=schedule)
    return replace(fitting, plan=plan, fitted=fitted, checkpoint=checkpoint)


def _available(estimator: Any, reading: Description, earlier: Fitted | None, whole: bool) -> NDArray[np.bool_] | None:
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


def _splits(estimator: Any) -> bool:
    """Return whether clients hold out rows for some purpose."""
    return estimator.early_stopping or estimator.tuning == "auto" or estimator.shrinkage == "auto"


def _with_counts(fitted: Fitted, reading: Description) -> Fitted:
    """Return what is fitted with the clients and the numbers of their rows up to now."""
    counts: Indices = np.zeros(len(reading.clients), dtype=np.int64)
    if fitted.n_samples_per_client is not None:
        counts[: len(fitted.n_samples_per_client)] = fitted.n_samples_per_client
    counts[reading.positions] += reading.sizes
    return replace(fitted, clients=reading.clients, n_samples_per_client=counts)


def _present(reading: Reading, modalities: Any) -> Present | None:
    """Return which modalities each row has; None: all."""
    n_features = reading.n_features - len(reading.label_columns)
    nan_passed = accepts_nan(modalities, len(reading.categories), n_features) is not True
    return present_in(reading.table, reading.modalities, reading.categories, nan_passed)


def _check_modalities(federation: Federation, reading: Description, subset: Subset) -> None:
    """Raise ValueError where no client has one of the modalities, or none keeps a row that has it."""
    if len(reading.modalities) < 2:
        return
    n_modalities = len(reading.modalities)
    n_rows, everywhere = rows_by_modality(federation, n_modalities)
    kept = everywhere if subset is EVERYTHING else rows_by_modality(federation, n_modalities, subset)[1]
    check_somebody_has(list(reading.modalities), n_rows, everywhere, kept)
