"""Whether a prediction may be believed: the methods of `FDRMFLTransformer` that say so."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from skfdrmfl.common.threads import single_threaded
from skfdrmfl.common.warn import warn_caller
from skfdrmfl.diagnosis.domain_table import DomainTable
from skfdrmfl.fit.judgement import domain_table, far_rows, intervals
from skfdrmfl.fit.result import Fitted


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

    def _warn_if_far(self, table: NDArray, present: NDArray | None) -> None:
        """Warn once of rows that lie far outside."""
        with single_threaded():
            far = far_rows(self._fitted, table, present)
        if len(far):
            warn_caller(
                f"{len(far)} of {len(table)} rows lie far outside the training rows (first: row {far[0]}), where "
                "predictions say little; domain(X) names what moved them.",
                OutsideDomainWarning,
            )


def check_share(name: str, value: Any) -> None:
    """Raise ValueError where a value is not strictly between 0 and 1."""
    if not 0.0 < float(value) < 1.0:
        raise ValueError(f"{name} is {value!r}; pass a share between 0 and 1, such as 0.95.")
