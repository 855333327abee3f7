"""Whether a prediction may be believed: the methods of `FDRMFLTransformer` that say so."""

from __future__ import annotations

from contextlib import suppress
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import clone
from sklearn.utils.validation import check_array

from skfdrmfl.common.arrays import check_unmasked
from skfdrmfl.common.threads import single_threaded
from skfdrmfl.common.warn import warn_caller
from skfdrmfl.data.row_names import check_same_rows
from skfdrmfl.diagnosis.domain_table import DomainTable
from skfdrmfl.estimator._adapt import adapted
from skfdrmfl.fit.check_input import check_finite, numbers_of
from skfdrmfl.fit.judgement import domain_table, far_rows, intervals
from skfdrmfl.fit.parameters import use_of_suspects
from skfdrmfl.fit.result import Fitted
from skfdrmfl.method.suspects import SuspectRows


class OutsideDomainWarning(UserWarning):
    """Rows to predict lie far outside the training rows; `warnings.simplefilter("ignore", OutsideDomainWarning)`."""


class Trust:
    """Where rows stand among the training rows, and how far off predictions may be."""

    _fitted: Fitted

    def domain(self, X: Any, level: float = 0.99) -> DomainTable:
        """Return where rows stand among the training rows.

        Of each modality's numeric columns T2 is the squared distance along the principal axes of the training rows, in
        units of their variances there, and Q what these axes leave. Of several modalities a row's are those of the
        modality in which it is farthest out. Both are of X alone: a row inside may still be predicted badly.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        level : float in (0, 1), default=0.99
            Share of usual rows within the limit of T2, and within that of Q.

        Returns
        -------
        DomainTable
            A dict of columns, (n_samples,) each: "T2", "T2_limit", "Q", "Q_limit"; "inside", within both, with no label
            that no training row had; "y_inside", whether the prediction lies in the range of the training y;
            "moved_by", for rows outside, up to three columns of X that moved them most; of several modalities
            "modality". `y_range` (n_outputs, 2) is that range.

        Raises
        ------
        NotFittedError
        ValueError
            `level` is no share; the model was fitted with privacy, or by a version without domains.
        """
        table, present = self._read(X)  # type: ignore[attr-defined]
        check_share("level", level)
        with single_threaded():
            return domain_table(self._fitted, table, present, level)

    def predict_interval(self, X: Any, confidence: float = 0.9, client_ids: ArrayLike | None = None) -> NDArray:
        """Return intervals in which y lies with a probability of `confidence`.

        They reach as far to both sides of the prediction as it erred on rows that the clients held out: of the same
        client where `client_ids` name it, so that they hold in each client; else of all K clients, so that they hold on
        average over these, where n rows are held out by confidence (n + 1) / (n + K) at least, and
        less often in a client whose rows err more than others'. Beyond the limits of `domain`
        (`level=.99`) they are as many times wider as the root of T2 or Q over its limit.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        confidence : float in (0, 1), default=0.9
        client_ids : array-like of shape (n_samples,), default=None
            Whose rows they are, as in `fit`; clients who were not there count as unknown.

        Returns
        -------
        ndarray of shape (n_samples, 2) or (n_samples, n_outputs, 2)
            Lower and upper ends, in the units of y; each output by itself.

        Raises
        ------
        NotFittedError
        ValueError
            No rows were held out: `tuning=None` without `early_stopping`, after `partial_fit`, with privacy. Or too few
            for this confidence; the message says how many it takes.
        """
        table, present = self._read(X)  # type: ignore[attr-defined]
        check_share("confidence", confidence)
        with single_threaded():
            return intervals(self._fitted, table, present, float(confidence), client_ids)

    def adapt(self, X: Any, y: ArrayLike, how: str = "auto") -> Any:
        """Return the fitted estimator for a new instrument or site, from few rows of it.

        What they change is chosen by errors on these rows, each left out: the smallest change whose mean absolute error
        is not shown (by 1.5 standard errors) to be larger than the least. `adapted_` says what was tried and done.

        Rows are used here and nowhere else: nothing leaves, nothing is trained again, and the model that they adapt
        stays as it is. `predict`, `transform`, `domain` and `predict_interval` of the new one are for the new
        instrument alone: its domain lies around these rows, its intervals are read off the errors on rows left out.
        `members_`, `history_`, `weights_`, `feature_importances_` and `suspects_` are those of the fit.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
            Rows of the new instrument, with the columns of the fit; ten or more, one a sample, that cover the range of
            y.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        how : {"auto", "bias", "slope", "input", "head"}, default="auto"
            "bias": y' = y_hat + b (from 2 rows on). "slope": y' = a y_hat + b (4). "input": spectra are read with a
            shift of their axis, a gain and an offset, found from X alone, then "bias" (5). "head": y' = y_hat + b +
            w'u, a ridge on scores u of whitened columns (6). "auto": what these rows are enough for, each output by
            itself, with "input" or without for all, or nothing at all.

        Returns
        -------
        FDRMFLTransformer
            Fitted; it saves, loads and predicts as others do. It trains no further: `partial_fit` and `warm_start` go
            on from the model that was adapted.

        Raises
        ------
        NotFittedError
        ValueError
            Too few rows; NaN; other columns; `how` asks for what the model does not know, such as axes with privacy;
            the model has been adapted already.

        Examples
        --------
        >>> from skfdrmfl import FDRMFLTransformer
        >>> from skfdrmfl.datasets import load_tecator
        >>> X, y = load_tecator(return_X_y=True)
        >>> model = FDRMFLTransformer(random_state=0).fit(X[:150], y[:150])
        >>> model.adapt(X[150:160], y[150:160] + 2.0).adapted_.how
        'bias'
        """
        check_same_rows(X=X, y=y)
        table, present = self._read(X)  # type: ignore[attr-defined]
        with single_threaded():
            new = clone(self)
            new._keep(adapted(self._fitted, table, present, self._targets(y, len(table)), how))
        return new

    def _suspects_before(self, X: Any, y: Any, client_ids: Any = None, groups: Any = None) -> SuspectRows | None:
        """Return the suspect rows that a fit would find, with its warning; None where it looks at none."""
        use = use_of_suspects(self)
        if use == "ignore":
            return None
        looking = clone(self).set_params(tuning=None, suspects=use, checkpoint_path=None)
        with suppress(ValueError):  # what cannot be fitted is refused by what follows
            found: SuspectRows | None = looking._prepare_fit(X, y, client_ids, groups).fitted.suspects
            return found
        return None

    def _targets(self, y: Any, n: int) -> NDArray:
        """Return y (n, q) of rows for which the model is to be adapted."""
        check_unmasked(y, "y")
        values = check_array(numbers_of(y), ensure_2d=False, ensure_all_finite=False, input_name="y")
        check_finite(values, "y")
        n_outputs, wanted = len(self._fitted.target.mean), self._fitted.y_ndim
        values = values.reshape(len(values), -1)
        if len(values) != n or values.shape[1] != n_outputs:
            shape = f"({n},)" if wanted == 1 else f"({n}, {n_outputs})"
            raise ValueError(
                f"y has the shape {np.shape(y)}; pass {shape}, a row for each of X and the outputs of the fit."
            )
        return values

    def _warn_if_far(self, table: NDArray, present: NDArray | None) -> None:
        """Warn once of rows that lie far outside."""
        far = far_rows(self._fitted, table, present)
        if len(far):
            warn_caller(
                f"{len(far)} of {len(table)} rows lie far outside the training rows (first: row {far[0]}), where "
                "predictions say little; domain(X) names what moved them.",
                OutsideDomainWarning,
            )


def check_share(name: str, value: Any) -> None:
    """Raise ValueError where a value is no number strictly between 0 and 1."""
    if not isinstance(value, Real) or not 0.0 < float(value) < 1.0:
        raise ValueError(f"{name} is {value!r}; pass a share between 0 and 1, such as 0.95.")
