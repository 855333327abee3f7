"""All that a fit leaves, in one object that never changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from skfdrmfl.common.arrays import Arrays, Float, Indices, Present
from skfdrmfl.data.column_names import ColumnNames, flat
from skfdrmfl.data.label_columns import LabelColumns
from skfdrmfl.data.transforms import BlockTransform, TableTransform
from skfdrmfl.fit.network_spec import NetworkSpec
from skfdrmfl.fit.privacy_parameters import Account
from skfdrmfl.method.adaptation import Adaptation, Adapted
from skfdrmfl.method.domain import Domain
from skfdrmfl.method.intervals import HeldOutCounts
from skfdrmfl.method.mixture import Mixture
from skfdrmfl.method.network import Network
from skfdrmfl.method.suspects import SuspectRows
from skfdrmfl.method.trained_network import TrainedNetwork
from skfdrmfl.mixture.members import MemberTable
from skfdrmfl.protocol.ledger import Ledger
from skfdrmfl.server.history import History


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a fit leaves; training goes on from it, and every fitted attribute is read from it."""

    n_features: int
    feature_names: NDArray | None
    clients: NDArray  # (K,)
    n_samples_per_client: Indices | None  # (K,); None with privacy
    network_spec: NetworkSpec
    network: Network
    seed: int  # of the first weights, orders and draws
    shrinkage: float  # of the whitening
    table: TableTransform  # columns of X to encoder inputs
    target: BlockTransform  # y to what the network predicts
    y_ndim: int
    models: NDArray  # (1 + H, D), the global model as trained, then earlier ones
    weights: Arrays  # the global model as delivered
    variance: Float | None  # (n_components,); None with privacy
    history: History | dict[str, Float]  # a dict of old files
    n_rounds: int
    best_round: int | None
    ledger: Ledger
    # What the algorithm remembers: of the server, and of each client.
    memory: tuple[dict[str, NDArray], dict[str, NDArray]] = field(default_factory=lambda: ({}, {}))
    importances: Float | None = None  # (n_features,), how much each column moves predictions; None of old files
    dropped: list[dict[str, Any]] = field(default_factory=list)  # who was left out, why and when (`DroppedClient`)
    account: Account | None = None  # with privacy, what has been spent
    label_columns: tuple[int, ...] = ()  # columns of X that hold labels of rows; later tables may lack them
    central: bool = False  # whether no call said whose rows they are
    engine: str = "torch"  # key of `ENGINES`: which one trained last
    mixture: Mixture | None = None  # what predicts, where that is not the network alone
    lead: str = ""  # of a mixture, the network of most weight, whose record, weights and shrinkage these are
    lead_algorithm: str | None = None  # that trained it, where it is not the estimator's
    lead_learns_residual: bool = False  # whether it learned what a linear member leaves, not y
    members: MemberTable = field(default_factory=MemberTable)  # what predicts, and how much each counts
    number_names: Float | None = None  # (n_features,), names of columns that are numbers and no text
    held_out: HeldOutCounts | None = None  # how far off it is on rows held out, where any were
    domain: Domain | None = None  # where the rows lie; None with privacy, and of old files
    adaptation: Adaptation | None = None  # what few rows of a new instrument have changed
    versions: dict[str, str] = field(default_factory=dict)  # by which it was fitted; none of old files
    policies: dict[str, str] = field(default_factory=dict)  # of clients elsewhere by label, the hash of the policy
    suspects: SuspectRows | None = None  # rows that look corrupt; None where none were looked at

    @property
    def predictor(self) -> TrainedNetwork | Mixture | Adapted:
        """What predicts: the mixture, or the network alone, or one of these after an adaptation."""
        fitted = TrainedNetwork(self.table, self.network, self.weights) if self.mixture is None else self.mixture
        return fitted if self.adaptation is None else Adapted(fitted, self.adaptation)

    def as_read(self, table: NDArray) -> NDArray:
        """Return a table as the instruments of the fit would have read it, by which rows are judged."""
        return table if self.adaptation is None else self.adaptation.read(table)

    def evaluate(self, table: NDArray, present: Present | None) -> tuple[NDArray, NDArray]:
        """Return Z (n, c), and predictions (n, q) or (n,) in the units of y, of the rows of a table."""
        z, y_hat = self.predictor.evaluate(table, present)
        y_hat = self.target.undo(y_hat)
        return z.astype(table.dtype, copy=False), y_hat[:, 0] if self.y_ndim == 1 else y_hat

    def jacobians(self, table: NDArray, present: Present | None) -> Iterator[Float]:
        """Yield the derivatives (rows, q, n_features) of `evaluate`'s predictions by the table, a slab at a time.

        Derivatives by codes of categories are 0, as are those by columns of modalities that a row lacks.
        """
        return (self.target.unit[:, None] * slab for slab in self.predictor.jacobians(table, present))

    @property
    def is_linear(self) -> bool:
        """Whether predictions are a linear function of the columns of complete rows."""
        return self.predictor.is_linear

    def attributes(self) -> dict[str, Any]:
        """Return what an estimator keeps of it, by name: itself, and what scikit-learn looks for."""
        named = {} if self.feature_names is None else {"feature_names_in_": self.feature_names}
        return {"_fitted": self, "n_features_in_": self.n_features, **named}

    @property
    def column_names(self) -> ColumnNames | None:
        """What the columns of X are called; None where they had no names."""
        names = self.number_names if self.feature_names is None else self.feature_names
        spec = self.network_spec
        return None if names is None else ColumnNames(names.tolist(), spec.modalities, list(spec.categories))

    def table_of(self, X: Any) -> Any:
        """Return X as a table of this fit: columns under its names, zeros for labels of rows, which X may lack."""
        X = LabelColumns(self.label_columns, self.n_features, self.feature_names).blanked(flat(X))
        return X if self.column_names is None else self.column_names.matched(X)

    @property
    def tails(self) -> dict[str, float]:
        """`BlockTransform.tail` of each modality, and of the outputs as "y"."""
        return {name: block.tail for name, block in self.table.blocks.items()} | {"y": self.target.tail}

    @property
    def selected_features(self) -> Indices:
        """Columns of X that Z depends on, ascending."""
        return self.predictor.selected_features
