"""What preprocessing finds by sums, and tuning where it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from numpy.typing import NDArray

from skfdrmfl.data.categories import split, with_codes
from skfdrmfl.data.held_out import Subset
from skfdrmfl.data.transforms import BlockSpectrum, BlockTransform, TableTransform
from skfdrmfl.fit import privacy_parameters as _privacy
from skfdrmfl.fit.callbacks import CallbackTask
from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.initial_model import FoundPreprocessing, first_weights
from skfdrmfl.fit.memo import prepared_once
from skfdrmfl.fit.network_spec import NetworkSpec
from skfdrmfl.fit.parameters import is_private, schedule_of, settings_of
from skfdrmfl.fit.pretreatment import views_of
from skfdrmfl.fit.tuning import DEFAULT_SHRINKAGE, Choice, Tuner, with_ridge
from skfdrmfl.method.linear_part import takes_linear
from skfdrmfl.method.network import Network
from skfdrmfl.protocol.door import Block, Federation
from skfdrmfl.protocol.plan import TRAINING_DTYPE, Targets
from skfdrmfl.protocol.queries.whitening import fit_blocks, transformations
from skfdrmfl.views.base import View

# The outputs among the blocks of columns: no modality has this name.
OUTPUTS = ""


def fit_preprocessing(
    estimator: Any,
    federation: Federation,
    reading: DataDescription,
    network_spec: NetworkSpec,
    seed: int,
    subset: Subset,
    task: CallbackTask,
) -> FoundPreprocessing:
    """Return what preprocessing finds, and tuning where it is asked for."""
    kinds = network_spec.kinds(estimator.preprocessing)
    views = views_of(estimator, reading, network_spec)
    blocks = {name: replace(block, view=views.get(name)) for name, block in numeric_blocks(reading).items()}
    n_outputs = reading.n_outputs

    def build(table: TableTransform, widths: Mapping[str, int]) -> tuple[Network, NDArray]:
        network = network_spec.network(widths, n_outputs, table.columns)
        return network, first_weights(network, table, seed)

    def preprocess(
        subset: Subset,
        shrinkages: Sequence[float],
        after: tuple[BlockTransform, ...] | None,
        federation: Federation = federation,
    ) -> tuple[list[TableTransform], BlockTransform | None]:
        outputs = {} if after is None else {OUTPUTS: Block(None, after=after)}
        asked = federation, blocks | outputs, {**kinds, OUTPUTS: "standardize"}
        if is_private(estimator):
            found = _privacy.noisy_blocks(estimator, *asked, reading.n_features, n_outputs)
        else:
            found = fit_blocks(*asked, subset)
        unit = found.pop(OUTPUTS, None)
        assert not isinstance(unit, BlockSpectrum)
        columns = {name: block.columns for name, block in blocks.items() if block.columns is not None}
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
    whitens = any(kinds[name] == "whiten" for name in blocks)
    tuned = None
    if estimator.tuning == "auto" or (estimator.shrinkage == "auto" and whitens):
        federation.ledger.stage = "tuning: "
        tuner = Tuner(
            federation,
            subset,
            whitens,
            preprocess,
            build,
            settings_of(estimator, len(reading.modalities)),
            schedule_of(estimator),
            seed,
            choice,
            verbose=int(estimator.verbose),
            task=task,
        )
        compared = _compared(estimator, tuner, reading, network_spec)
        choice = compared[0][0]
        tuned = [{**asdict(candidate), "validation_mse": error} for candidate, error in compared]
        federation.ledger.stage = ""
        federation.ledger.round = 0

    def prepare(federation: Federation) -> FoundPreprocessing:
        (table,), target = preprocess(subset, [choice.shrinkage], (), federation)
        assert target is not None
        linear, share = None, 1.0
        if choice.is_linear:
            _, linear, share = with_ridge(federation, choice, table, Targets((target,), TRAINING_DTYPE), subset)
        out = () if federation.guard is None else tuple(sorted(federation.guard.excluded))
        return FoundPreprocessing(choice, tuned, table, target, linear, share, out)

    # Neither what tuning found, which depends on training, nor anything private is kept, nor what a file keeps already.
    if tuned is not None or is_private(estimator) or estimator.checkpoint_path is not None:
        return prepare(federation)
    columns = {name: (block.columns, block.modality, block.view) for name, block in blocks.items()}
    read = columns, reading.modalities, list(reading.categories), kinds, choice.shrinkage, subset
    return prepared_once(federation, read, choice, prepare)


def _compared(
    estimator: Any, tuner: Tuner, reading: DataDescription, network_spec: NetworkSpec
) -> list[tuple[Choice, float]]:
    """Return the ways to fit that were compared by rows held out, the choice first."""
    if estimator.tuning is None:
        return tuner.shrinkage()
    # Codes of categories are no numbers; and where a row lacks a modality, the mean of fewer codes weighs
    # each more than a linear part knows.
    is_linear = not reading.categories and (len(reading.modalities) < 2 or estimator.fusion != "mean")
    widths = widths_of(reading, views_of(estimator, reading, network_spec))
    has_room = takes_linear(network_spec.network(widths, reading.n_outputs))
    return tuner.everything(linear=is_linear and has_room)


def numeric_blocks(reading: DataDescription) -> dict[str, Block]:
    """Return the columns of each modality that hold numbers, where it has any."""
    numeric = {name: split(columns, reading.categories)[1] for name, columns in reading.modalities.items()}
    return {name: Block(columns, m) for m, (name, columns) in enumerate(numeric.items()) if len(columns)}


def widths_of(reading: DataDescription, views: Mapping[str, View]) -> dict[str, int]:
    """Return the number of columns of each modality, after the view it may have."""
    appended = {name: view.n_appended for name, view in views.items()}
    return {name: len(columns) + appended.get(name, 0) for name, columns in reading.modalities.items()}
