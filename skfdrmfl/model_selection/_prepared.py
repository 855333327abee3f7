"""A fit that is prepared but not trained. All that a search asks of an estimator's inside is asked here."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any

from sklearn.base import clone

from skfdrmfl.common.threads import quiet_torch
from skfdrmfl.estimator._callbacks import OF_CALLBACKS
from skfdrmfl.estimator._fitting import Fitting
from skfdrmfl.estimator._running import check_converged
from skfdrmfl.federation.engines.rows import Run
from skfdrmfl.federation.runs import Schedule
from skfdrmfl.federation.simulation import Simulation
from skfdrmfl.federation.training import Trained
from skfdrmfl.federation.widths import trimmed
from skfdrmfl.model.network import Network


@dataclass
class PreparedFit:
    """A clone of the estimator to be fitted, and the run that will train it.

    Attributes
    ----------
    donor : FDRMFLTransformer
        The clone; once trained, it gives its fitted attributes to every estimator with the same parameters and rows.
    fitting : Fitting
    run : Run
        Its prepared rows.
    """

    donor: Any
    fitting: Fitting
    run: Run

    @classmethod
    def of(cls, estimator: Any, X: Any, y: Any, client_ids: Any, groups: Any) -> PreparedFit:
        """Do all that `fit` of the estimator does before training, in a clone."""
        donor = clone(estimator)
        with quiet_torch():
            fitting = donor._prepare_fit(X, y, client_ids, groups)
            return cls(donor, fitting, fitting.run)

    @property
    def network(self) -> Network:
        """The network to train."""
        return self.fitting.plan.network

    @property
    def schedule(self) -> Schedule:
        """The rounds it trains for."""
        return self.fitting.plan.schedule

    @property
    def engine(self) -> str:
        """Who trains it."""
        assert isinstance(self.fitting.federation, Simulation)
        return self.fitting.federation.engine

    @property
    def n_threads(self) -> int:
        """On how many threads it trains alone."""
        assert isinstance(self.fitting.federation, Simulation)
        return self.fitting.federation.n_threads

    @property
    def group(self) -> tuple:
        """What is equal in fits that train together.

        Their networks have one shape, but for the width of their inputs, and all of them mask modalities or none.
        """
        masked = self.run.present is not None or self.run.settings.modality_dropout > 0
        return (self.schedule, self.engine, self.run.x.device, masked, tuple(self.network.signature.items()))

    def take_over(self, network: Network, trained: Trained, i: int) -> None:
        """Make run `i` of what `network` was trained to the fitted model of the donor.

        Raises
        ------
        ValueError
            The run diverged.
        """
        check_converged(self.donor, trained, i)
        narrow = partial(trimmed, wide=network, network=self.network)
        self.fitting.federation.ledger.extend(trained.ledgers[i])
        models, memory = narrow(trained.models_of(i)), trained.memory_of(i).mapped(narrow)
        with quiet_torch():
            self.donor._keep(self.fitting.finish(models, memory, trained.record_of(i)))


def give_fitted_attributes(donor: Any, estimator: Any) -> None:
    """Copy to the estimator all that fitting has left on the donor."""
    others = estimator.get_params(deep=False).keys() | OF_CALLBACKS
    fitted = {name: value for name, value in vars(donor).items() if name not in others}
    vars(estimator).update(copy.deepcopy(fitted))
