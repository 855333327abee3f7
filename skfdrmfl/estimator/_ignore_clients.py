"""A meta-transformer that puts any scikit-learn reducer in the slot of a federated one."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn import get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, TransformerMixin, clone
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import _estimator_has, check_is_fitted

from skfdrmfl.data.label_columns import LabelColumns
from skfdrmfl.estimator._html import DocumentationLink

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import ArrayLike, NDArray
    from sklearn.utils import Tags


def _x_scores(transformed: Any) -> Any:
    """Return the x-scores alone: cross-decomposition returns (x_scores, y_scores) when it is given y."""
    return transformed[0] if isinstance(transformed, tuple) else transformed


@dataclass(eq=False, repr=False)
class IgnoreClients(DocumentationLink, MetaEstimatorMixin, TransformerMixin, BaseEstimator):
    """Let a transformer that knows nothing of clients stand where a federated one stands.

    `fit` accepts `client_ids` and `groups` and ignores them; `transform` and `fit_transform` return only the x-scores.
    Both are needed to compare a federated transformer with the usual ones in one search: without the first,
    `client_ids` reaches `PCA.fit` and every rival scores NaN; without the second, a pipeline with
    :class:`~sklearn.cross_decomposition.PLSRegression` fails on the tuple its `fit_transform` returns.

    Around a federated transformer it gives the same model trained centrally, on all rows as one client; columns of
    labels are then named here, not there.

    Parameters
    ----------
    estimator : transformer
        Any estimator with `fit` and `transform`; it is cloned, never fitted itself. Its parameters are
        reached as `estimator__<name>`.
    client_column, groups_column : str or int, default=None
        Columns of X that hold labels for federated rivals, by name or position; the estimator never sees them. They
        must be there in `fit`, and may be missing later.

    Attributes
    ----------
    estimator_ : transformer
        The fitted clone of `estimator`; its own attributes (`n_components_`, `components_`, ...) are there.
    n_features_in_ : int
        Number of features seen by `estimator_`, and of columns of labels; only where `estimator_` has it.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features seen by `estimator_`, and of columns of labels; only where `estimator_` has them.

    Notes
    -----
    `client_ids` and `groups` are requested by the class, so that metadata routing brings them here without any
    `set_fit_request`; they are never passed on. Any other fit parameter goes to `estimator`: as it is with
    routing off, by the estimator's own requests with routing on.

    `get_feature_names_out`, `set_output`, `partial_fit` and `inverse_transform` exist where `estimator` has
    what they need.

    Examples
    --------
    >>> from sklearn.cross_decomposition import PLSRegression
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.linear_model import Ridge
    >>> from sklearn.pipeline import Pipeline
    >>> from skfdrmfl import IgnoreClients
    >>> X, y = make_regression(n_samples=30, n_features=5, random_state=0)
    >>> pipeline = Pipeline([("reduce", IgnoreClients(PLSRegression(n_components=2))), ("ridge", Ridge())])
    >>> pipeline.fit(X, y, reduce__client_ids=["north", "south"] * 15)[:-1].transform(X).shape
    (30, 2)
    """

    # Requested here, by the class, or every user would have to call set_fit_request on every rival.
    __metadata_request__fit: ClassVar = {"client_ids": True, "groups": True}
    __metadata_request__partial_fit: ClassVar = {"client_ids": True, "groups": True}

    estimator: Any
    _: KW_ONLY
    client_column: str | int | None = None
    groups_column: str | int | None = None

    def fit(
        self, X: ArrayLike, y: ArrayLike | None = None, client_ids: Any = None, groups: Any = None, **fit_params: Any
    ) -> Self:
        """Fit a clone of the estimator on all rows, whichever client they belong to.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Training rows.
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            Targets; estimators that learn without them ignore them.
        client_ids, groups : array-like of shape (n_samples,), default=None
            Ignored.
        **fit_params : dict
            Passed to the estimator's `fit`.

        Returns
        -------
        self : IgnoreClients

        Raises
        ------
        TypeError
            If `estimator` is not an instance with `fit` and `transform`. What the estimator itself raises
            is passed through.
        """
        self._fit_by("fit", X, y, fit_params)
        return self

    def fit_transform(
        self, X: ArrayLike, y: ArrayLike | None = None, client_ids: Any = None, groups: Any = None, **fit_params: Any
    ) -> NDArray[Any]:
        """Fit, then return the x-scores of the training rows (n_samples, n_components), never a tuple.

        Arguments are those of `fit`. The estimator's own `fit_transform` is used where it has one, because it may
        differ from `fit` followed by `transform` on purpose (:class:`~sklearn.preprocessing.TargetEncoder` cross-fits).
        """
        if not hasattr(self.estimator, "fit_transform"):
            return self.fit(X, y, **fit_params).transform(X)
        return _x_scores(self._fit_by("fit_transform", X, y, fit_params))

    @available_if(_estimator_has("partial_fit"))
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike | None = None, client_ids: Any = None, groups: Any = None, **fit_params: Any
    ) -> Self:
        """Go on fitting the estimator with more rows, whichever client they belong to; arguments are those of `fit`."""
        self._fit_by("partial_fit", X, y, fit_params)
        return self

    def transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return scores of the rows of X.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows of any client.

        Returns
        -------
        ndarray of shape (n_samples, n_components)
        """
        check_is_fitted(self)
        return _x_scores(self.estimator_.transform(self._labels.dropped(X)))

    @available_if(_estimator_has("inverse_transform"))
    def inverse_transform(self, X: ArrayLike) -> NDArray[Any]:
        """Return rows (n_samples, n_features) from their scores X (n_samples, n_components)."""
        check_is_fitted(self)
        return self.estimator_.inverse_transform(X)

    @available_if(_estimator_has("get_feature_names_out"))
    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[Any]:
        """Return names of the scores (n_components,), as the estimator gives them for `input_features`."""
        check_is_fitted(self)
        return self.estimator_.get_feature_names_out(input_features)

    @property
    def n_features_in_(self) -> int:
        """Number of features seen during `fit`."""
        n_features = self._fitted("n_features_in_")
        return n_features if not self._labels.columns else self._labels.n_features

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the features seen during `fit`, where they had any."""
        names = self._fitted("feature_names_in_")
        return names if self._labels.names is None else self._labels.names

    def get_metadata_routing(self) -> MetadataRouter:
        """Return what this object takes itself (`client_ids`, `groups`) and what it hands on to the estimator."""
        hand_on = MethodMapping()
        for method in ("fit", "fit_transform", "partial_fit"):
            hand_on.add(caller=method, callee=method)
        return MetadataRouter(owner=self).add_self_request(self).add(estimator=self.estimator, method_mapping=hand_on)

    def __sklearn_tags__(self) -> Tags:
        # All that the estimator says of its data holds for the wrapper; what it says of its kind does not:
        # PLSRegression is a regressor, PLSRegression in here has no `predict`.
        tags = get_tags(self.estimator)
        tags.estimator_type = tags.classifier_tags = tags.regressor_tags = None
        tags.transformer_tags = tags.transformer_tags or super().__sklearn_tags__().transformer_tags
        return tags

    def _fit_by(self, method: str, X: Any, y: Any, fit_params: dict[str, Any]) -> Any:
        """Return what one of the estimator's fitting methods returns; what has been fitted by it is kept."""
        labels: LabelColumns
        if method == "partial_fit" and hasattr(self, "estimator_"):
            estimator, labels = vars(self)["estimator_"], vars(self)["_labels"]
        else:
            estimator, labels = self._fresh_estimator(), LabelColumns.of(X, self.client_column, self.groups_column)
        returned = getattr(estimator, method)(labels.dropped(X), y, **self._params_for(method, fit_params))
        self.estimator_, self._labels = estimator, labels
        return returned

    def _fresh_estimator(self) -> Any:
        """Return an unfitted clone of `estimator`, or an error that says what to pass instead."""
        missing = [method for method in ("fit", "transform") if not hasattr(self.estimator, method)]
        if missing or isinstance(self.estimator, type):
            fault = f"has no {' and no '.join(missing)}" if missing else "is a class, not an instance"
            raise TypeError(f"estimator={self.estimator!r} {fault}; pass a transformer, as in IgnoreClients(PCA()).")
        return clone(self.estimator)

    def _params_for(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """Return the metadata that the estimator's `method` gets: all of it, or what it requests under routing.

        `client_ids` and `groups` are named arguments of every caller and so never among `params`: they go no further.
        """
        if get_config()["enable_metadata_routing"]:
            return process_routing(self, method, **params)["estimator"][method]
        return params

    def _fitted(self, attribute: str) -> Any:
        """Return an attribute of the fitted estimator; AttributeError before `fit`, as hasattr() expects."""
        if not hasattr(self, "estimator_"):
            raise AttributeError(f"{type(self).__name__} has no {attribute} before fit; call fit first.")
        return getattr(self.estimator_, attribute)
