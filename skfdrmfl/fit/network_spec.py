"""What the parameters and the columns say the network is to be; built for the widths that preprocessing leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skfdrmfl.common.arrays import Indices, Present
from skfdrmfl.data.categories import Categories, numeric_columns
from skfdrmfl.encoders import DenseEncoder
from skfdrmfl.encoders._spec import Encoder, check_layer_sizes, preprocessing_of
from skfdrmfl.fit.check_input import DataDescription
from skfdrmfl.fit.parameters import value_of
from skfdrmfl.method.fusion import FUSIONS
from skfdrmfl.method.network import Network
from skfdrmfl.views import VIEWS
from skfdrmfl.views.base import View


def specs_of(encoders: Any, modalities: Sequence[str]) -> dict[str, Any]:
    """Return one encoder spec a modality, from the parameter `encoders`."""
    given = encoders if isinstance(encoders, Mapping) else dict.fromkeys(modalities, encoders)
    unknown = [name for name in given if name not in modalities]
    if unknown:
        raise ValueError(
            f"encoders names the modality {unknown[0]!r}, which does not exist; "
            f"the modalities are {', '.join(map(repr, modalities))}."
        )
    specs = {}
    for name in modalities:
        spec = given.get(name)
        specs[name] = DenseEncoder() if spec is None else spec
        if not hasattr(specs[name], "build") or isinstance(specs[name], type):
            raise ValueError(f"the encoder of modality {name!r} is {spec!r}; pass an encoder such as DenseEncoder().")
    return specs


@dataclass(frozen=True)
class NetworkSpec:
    """All that shapes the network but the widths of its inputs and outputs; parameters keep their names."""

    specs: dict[str, Any]  # an encoder a modality, see `specs_of`
    modalities: dict[str, Indices]  # columns of each
    categories: Categories  # labels of each discrete column
    n_components: int
    modality_dim: int
    hidden_layer_sizes: Sequence[int]
    head_hidden_layer_sizes: Sequence[int]
    fusion: str
    alignment: str

    def network(
        self, widths: Mapping[str, int], n_outputs: int, columns: Mapping[str, Indices] | None = None
    ) -> Network:
        """Return the network for encoder inputs of these widths, which come from `columns` (None: from all)."""
        columns = columns or self.modalities
        hidden = check_layer_sizes(self.hidden_layer_sizes, "hidden_layer_sizes")

        def encoder(name: str, width: int) -> Any:
            sizes = [len(self.categories[j]) for j in columns[name].tolist() if j in self.categories]
            if sizes:
                return self.specs[name].build_embedded(name, sizes, width, self.modality_dim, hidden)
            return self.specs[name].build(name, width, self.modality_dim, hidden)

        return Network(
            {name: encoder(name, width) for name, width in widths.items()},
            FUSIONS[self.fusion](),
            modality_dim=self.modality_dim,
            n_components=self.n_components,
            n_outputs=n_outputs,
            hidden=hidden,
            head_hidden=check_layer_sizes(self.head_hidden_layer_sizes, "head_hidden_layer_sizes"),
            alignment=self.alignment,
        )

    def kinds(self, preprocessing: str | None) -> dict[str, str | None]:
        """Return what each modality's columns go through when `preprocessing` is asked for."""
        return {name: preprocessing_of(spec, preprocessing) for name, spec in self.specs.items()}

    def check_rows(self, table: NDArray, present: Present | None) -> None:
        """Raise where columns of the table hold what the encoder of their modality cannot read."""
        for m, (name, columns) in enumerate(self.modalities.items()):
            spec = self.specs[name]
            if getattr(type(spec), "check_rows", Encoder.check_rows) is not Encoder.check_rows:
                block = table[:, columns]
                spec.check_rows(name, block if present is None else np.where(present[:, [m]], block, 0.0))


def network_spec_of(estimator: Any, reading: DataDescription) -> NetworkSpec:
    """Return what parameters and columns say the network is to be."""
    return NetworkSpec(
        specs_of(estimator.encoders, list(reading.modalities)),
        reading.modalities,
        reading.categories,
        estimator.n_components,
        estimator.modality_dim,
        value_of(estimator, "hidden_layer_sizes"),
        estimator.head_hidden_layer_sizes,
        estimator.fusion,
        estimator.alignment,
    )


def views_of(estimator: Any, reading: DataDescription, spec: NetworkSpec) -> dict[str, View]:
    """Return the view of each modality of numbers that is pre-treated; ValueError where a view does not suit one."""
    name = estimator.pretreatment
    if not isinstance(name, str) or name == "auto":  # a list is for the mixture
        return {}
    view, views = VIEWS[name], {}
    for modality, columns in numeric_columns(reading.modalities, reading.categories).items():
        encoder, n_columns = spec.specs[modality], len(columns)
        if not n_columns or getattr(encoder, "strongest_preprocessing", "whiten") is None:
            continue
        if n_columns < view.least_columns:
            raise ValueError(
                f"pretreatment={name!r} needs modalities of {view.least_columns} columns or more, but {modality!r} has "
                f"{n_columns}; set pretreatment=None, and pre-treat the columns of the others before X is passed."
            )
        series = getattr(encoder, "reads_series", None)
        if series is False or (series and view.n_appended):
            why = "takes the columns for one series, but these are several, or an image"
            if series:
                why = f"appends {view.n_appended} columns, which have no place in a series"
            raise ValueError(
                f"pretreatment={name!r} does not go with the {type(encoder).__name__} of modality {modality!r}: it "
                f"{why}; give the modality a DenseEncoder, or set pretreatment=None."
            )
        views[modality] = view
    return views
