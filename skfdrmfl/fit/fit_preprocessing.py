"""What preprocessing finds by sums."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skfdrmfl.data.categories import numeric_columns, with_codes
from skfdrmfl.data.held_out import Subset
from skfdrmfl.data.transforms import BlockSpectrum, TableTransform
from skfdrmfl.fit import privacy_parameters as _privacy
from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.initial_model import FoundPreprocessing
from skfdrmfl.fit.memo import prepared_once
from skfdrmfl.fit.network_spec import NetworkSpec, views_of
from skfdrmfl.fit.parameters import is_private, value_of
from skfdrmfl.protocol.door import Block, Federation
from skfdrmfl.protocol.queries.whitening import fit_blocks, whitened
from skfdrmfl.views.base import View

# The outputs among the blocks of columns: no modality has this name.
OUTPUTS = ""


def fit_preprocessing(
    estimator: Any, federation: Federation, reading: DataDescription, network_spec: NetworkSpec, subset: Subset
) -> FoundPreprocessing:
    """Return what preprocessing finds of the columns and the outputs."""
    kinds = network_spec.kinds(estimator.preprocessing)
    views = views_of(estimator, reading, network_spec)
    blocks = {name: replace(block, view=views.get(name)) for name, block in numeric_blocks(reading).items()}
    shrinkage = float(value_of(estimator, "shrinkage"))

    def prepare(federation: Federation) -> FoundPreprocessing:
        asked = federation, blocks | {OUTPUTS: Block(None)}, {**kinds, OUTPUTS: "standardize"}
        if is_private(estimator):
            found = _privacy.noisy_blocks(estimator, *asked, reading.n_features, reading.n_outputs)
        else:
            found = fit_blocks(*asked, subset)
        target = found.pop(OUTPUTS)
        assert not isinstance(target, BlockSpectrum)
        columns = {name: block.columns for name, block in blocks.items() if block.columns is not None}
        table = with_codes(TableTransform(columns, whitened(found, shrinkage)), reading.modalities, reading.categories)
        out = () if federation.guard is None else tuple(sorted(federation.guard.excluded))
        return FoundPreprocessing(table, target, out)

    if is_private(estimator) or estimator.checkpoint_path is not None:  # nothing private is kept, nor twice
        return prepare(federation)
    columns = {name: (block.columns, block.modality, block.view) for name, block in blocks.items()}
    read = columns, reading.modalities, list(reading.categories), kinds, shrinkage, subset
    return prepared_once(federation, read, prepare)


def numeric_blocks(reading: DataDescription) -> dict[str, Block]:
    """Return the columns of each modality that hold numbers, where it has any."""
    numeric = numeric_columns(reading.modalities, reading.categories)
    return {name: Block(columns, m) for m, (name, columns) in enumerate(numeric.items()) if len(columns)}


def widths_of(reading: DataDescription, views: Mapping[str, View]) -> dict[str, int]:
    """Return the number of columns of each modality, after the view it may have."""
    appended = {name: view.n_appended for name, view in views.items()}
    return {name: len(columns) + appended.get(name, 0) for name, columns in reading.modalities.items()}
