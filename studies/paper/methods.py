"""What is compared: each method is a recipe from training rows to a scikit-learn estimator.

An estimator with `transform` is a reducer, and the protocol puts its regressors behind it. One with `predict` is
scored as it is too. FDRMFL has both: its Z and its own head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import settings
import torch
from cases import Float, Rows
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.dummy import DummyRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.linear_model import LassoCV, RidgeCV
from sklearn.model_selection import GridSearchCV, GroupKFold, ParameterGrid, cross_val_predict
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.random_projection import GaussianRandomProjection
from treatments import CHOICES, on_columns

from skfdrmfl import FDRMFLTransformer, IgnoreClients

ALPHAS = np.logspace(-6, 3, 10)
SHARE = 0.9  # of the variance, where "90 %" is said
N_LATENT = 16
# By so many standard errors a candidate has to be better than the first: few rows choose among many.
CLEAR = 2.0


@dataclass(frozen=True)
class TrainingRows:
    """All that a method may see: rows of the training fold, and whose they are."""

    case: str
    X: Float
    y: Float
    modalities: Mapping[str, slice]
    groups: Rows
    client_ids: Rows

    def of(self, client: int) -> TrainingRows:
        """Those of one client."""
        mine = self.client_ids == client
        return replace(self, X=self.X[mine], y=self.y[mine], groups=self.groups[mine], client_ids=self.client_ids[mine])

    def inner_folds(self, n: int) -> list[tuple[Rows, Rows]]:
        """Folds of these rows that keep groups together."""
        return list(GroupKFold(n, shuffle=True, random_state=0).split(self.X, groups=self.groups))


@dataclass(frozen=True)
class Method:
    """`build(rows, seed)` gives the unfitted estimator.

    `ids` is the parameter of `fit` that says who holds which row. `alone` ones are fitted by each client on its own
    rows, and the clients' errors are averaged; what is neither sees all training rows pooled.
    """

    build: Callable[[TrainingRows, int], BaseEstimator]
    ids: str = ""
    alone: bool = False

    def fitted(self, rows: TrainingRows, seed: int) -> Iterator[tuple[BaseEstimator, TrainingRows]]:
        """The fitted estimator and the rows it saw; one pair a client where each is alone."""
        told = {self.ids: rows.client_ids} if self.ids else {}
        for seen in [rows.of(client) for client in np.unique(rows.client_ids)] if self.alone else [rows]:
            yield self.build(seen, seed).fit(seen.X, seen.y, **told), seen


# ------------------------------------------------------------------------------------------------ rivals


class LikePCA(TransformerMixin, BaseEstimator):
    """`reducer` with as many components as hold `share` of the variance."""

    def __init__(self, reducer: BaseEstimator, share: float = SHARE):
        self.reducer, self.share = reducer, share

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> LikePCA:
        centred = np.asarray(X) - np.mean(X, axis=0)
        gram = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
        variance = np.linalg.eigvalsh(gram)[::-1]
        n = int(np.searchsorted(np.cumsum(variance) / variance.sum(), self.share)) + 1
        self.reducer_ = clone(self.reducer).set_params(n_components=n).fit(X)
        return self

    def transform(self, X: ArrayLike) -> Float:
        return self.reducer_.transform(X)


class VAE(TransformerMixin, BaseEstimator):
    """A plain variational autoencoder, unit Gaussian prior and noise; features are the posterior means."""

    def __init__(
        self, n_components: int = N_LATENT, n_hidden: int = 64, n_epochs: int = 100, random_state: int | None = None
    ):
        self.n_components, self.n_hidden, self.n_epochs = n_components, n_hidden, n_epochs
        self.random_state = random_state

    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> VAE:
        rows = torch.as_tensor(np.asarray(X), dtype=torch.float32)
        p, h, c = rows.shape[1], self.n_hidden, self.n_components
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state or 0)
            encoder = torch.nn.Sequential(torch.nn.Linear(p, h), torch.nn.SiLU(), torch.nn.Linear(h, 2 * c))
            decoder = torch.nn.Sequential(torch.nn.Linear(c, h), torch.nn.SiLU(), torch.nn.Linear(h, p))
            adam = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
            for _ in range(self.n_epochs):
                for batch in rows[torch.randperm(len(rows))].split(32):
                    mean, log_variance = encoder(batch).chunk(2, dim=1)
                    z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
                    misfit = 0.5 * (decoder(z) - batch).square().sum(dim=1)
                    divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1.0).sum(dim=1)
                    adam.zero_grad()
                    (misfit + divergence).mean().backward()
                    adam.step()
        self.encoder_ = encoder
        return self

    def transform(self, X: ArrayLike) -> Float:
        with torch.no_grad():
            codes = self.encoder_(torch.as_tensor(np.asarray(X), dtype=torch.float32))
        return codes[:, : self.n_components].numpy().astype(np.float64)


def _scaled(*steps: BaseEstimator) -> BaseEstimator:
    return make_pipeline(StandardScaler(), *steps)


def _pcs(rows: TrainingRows, n: int) -> PCA:
    return PCA(min(n, len(rows.y) - 1, rows.X.shape[1]), whiten=True, svd_solver="full")


def _pca(rows: TrainingRows, seed: int) -> BaseEstimator:
    return _scaled(PCA(settings.N_COMPONENTS, random_state=seed))


def _svd(rows: TrainingRows, seed: int) -> BaseEstimator:
    return _scaled(TruncatedSVD(settings.N_COMPONENTS, random_state=seed))


def _projection(rows: TrainingRows, seed: int) -> BaseEstimator:
    return _scaled(GaussianRandomProjection(settings.N_COMPONENTS, random_state=seed))


def _pca_90(rows: TrainingRows, seed: int) -> BaseEstimator:
    return _scaled(PCA(SHARE, svd_solver="full"))


def _svd_90(rows: TrainingRows, seed: int) -> BaseEstimator:
    return _scaled(LikePCA(TruncatedSVD(random_state=seed, algorithm="arpack" if len(rows.y) < 500 else "randomized")))


def _projection_90(rows: TrainingRows, seed: int) -> BaseEstimator:
    return _scaled(LikePCA(GaussianRandomProjection(random_state=seed)))


def _vae(rows: TrainingRows, seed: int) -> BaseEstimator:
    return _scaled(VAE(random_state=seed, n_epochs=30 if len(rows.y) > 500 else 100))


def _pls(n: int) -> Callable[[TrainingRows, int], BaseEstimator]:
    # IgnoreClients: PLSRegression's own fit_transform returns a tuple.
    return lambda rows, seed: IgnoreClients(PLSRegression(min(n, len(rows.y) - 1, rows.X.shape[1])))


def _ridge(rows: TrainingRows, seed: int) -> BaseEstimator:
    return _scaled(RidgeCV(ALPHAS))


def _lasso(rows: TrainingRows, seed: int) -> BaseEstimator:
    eps = 1e-2 if rows.X.shape[1] > len(rows.y) > 500 else 1e-4  # spectra want small penalties
    return _scaled(LassoCV(cv=rows.inner_folds(5), eps=eps, alphas=30, max_iter=2000))


def _gp(rows: TrainingRows, seed: int) -> BaseEstimator:
    pcs = _pcs(rows, 20)
    kernel = ConstantKernel(10.0) * RBF(np.full(pcs.n_components, 10.0), (1e-1, 1e4)) + WhiteKernel(1e-2, (1e-8, 1.0))
    return _scaled(pcs, GaussianProcessRegressor(kernel, normalize_y=True))


def _mlp(rows: TrainingRows, seed: int) -> BaseEstimator:
    network = MLPRegressor(hidden_layer_sizes=(64,), solver="lbfgs", alpha=1.0, max_iter=1000, random_state=seed)
    return _scaled(_pcs(rows, 15), TransformedTargetRegressor(network, transformer=StandardScaler()))


def _treatment(
    rows: TrainingRows, pipeline: Pipeline, grids: Sequence[Mapping[str, list[Any]]], **told: Any
) -> Pipeline:
    """The pipeline, unfitted, behind the pre-treatment and with the rest of the grids that inner folds choose.

    The first stays unless another is clearly better: the best is, by `CLEAR` standard errors of the
    difference of squared errors on rows left out.
    """
    columns = rows.modalities["nir"]
    treatments = [FunctionTransformer(on_columns, kw_args={"name": name, "columns": columns}) for name in CHOICES]
    pipeline = Pipeline([("treatment", treatments[0]), *pipeline.steps])
    candidates = list(ParameterGrid([{"treatment": treatments, **grid} for grid in grids]))
    folds = rows.inner_folds(settings.N_INNER_FOLDS)

    def squared_errors(candidate: Mapping[str, Any]) -> Float:
        """On rows left out."""
        estimator = clone(pipeline).set_params(**candidate)
        return (np.ravel(cross_val_predict(estimator, rows.X, rows.y, cv=folds, params=told)) - rows.y) ** 2

    squares = [squared_errors(candidate) for candidate in candidates]
    best = int(np.argmin(np.mean(squares, axis=1)))
    gain = squares[0] - squares[best]
    clearly = gain.mean() > CLEAR * gain.std(ddof=1) / np.sqrt(len(gain))
    return clone(pipeline).set_params(**candidates[best if clearly else 0])


def _treated_ridge(rows: TrainingRows, seed: int) -> BaseEstimator:
    # Columns of unit variance or as they are; spectra are small numbers, and their slopes smaller.
    scales = [
        {"scale": [StandardScaler()], "ridge__alphas": [ALPHAS]},
        {"scale": ["passthrough"], "ridge__alphas": [np.logspace(-12, 0, 13)]},
    ]
    return _treatment(rows, Pipeline([("scale", StandardScaler()), ("ridge", RidgeCV(ALPHAS))]), scales)


def _treated_pls(rows: TrainingRows, seed: int) -> BaseEstimator:
    return _treatment(rows, Pipeline([("pls", PLSRegression(16))]), [{}])


MEAN, RIDGE, LASSO = "mean predictor", "Ridge, all columns", "Lasso, all columns"
REDUCERS = {
    "PCA, 2": Method(_pca),
    "TruncatedSVD, 2": Method(_svd),
    "random projection, 2": Method(_projection),
    "PCA, 90 %": Method(_pca_90),
    "TruncatedSVD, as PCA 90 %": Method(_svd_90),
    "random projection, as PCA 90 %": Method(_projection_90),
    "VAE, 16": Method(_vae),
    "PLS, 2": Method(_pls(2)),
    "PLS, 16": Method(_pls(16)),
    "PLS, 16, each client alone": Method(_pls(16), alone=True),
}
REGRESSORS = {
    MEAN: Method(lambda rows, seed: DummyRegressor()),
    RIDGE: Method(_ridge),
    LASSO: Method(_lasso),
    "GP on 20 whitened PCs": Method(_gp),
    "MLP on 15 whitened PCs": Method(_mlp),
    "Ridge, all columns, each client alone": Method(_ridge, alone=True),
}

# ------------------------------------------------------------------------------------------------ FDRMFL


def fdrmfl(**changes: Any) -> Callable[[TrainingRows, int], BaseEstimator]:
    """FDRMFL with the case's settings, some changed."""
    return lambda rows, seed: _estimator(rows, seed, {**settings.parameters(rows.case), **changes})


def variant(name: str) -> Callable[[TrainingRows, int], BaseEstimator]:
    """FDRMFL with nothing set by hand but what `settings.VARIANTS` says."""
    return lambda rows, seed: _estimator(rows, seed, settings.variant(rows.case, name))


def _estimator(rows: TrainingRows, seed: int, chosen: Mapping[str, Any]) -> BaseEstimator:
    return FDRMFLTransformer(
        settings.N_COMPONENTS, tuning=None, **{"modalities": rows.modalities, "random_state": seed, **chosen}
    )


def tuned(grid: Mapping[str, list[Any]] | None = None, **changes: Any) -> Callable[[TrainingRows, int], BaseEstimator]:
    """FDRMFL tuned on inner folds of the training rows by the score of its head."""

    def build(rows: TrainingRows, seed: int) -> BaseEstimator:
        searched = settings.grid(rows.case) if grid is None else grid
        folds = rows.inner_folds(settings.N_INNER_FOLDS)
        return GridSearchCV(fdrmfl(**changes)(rows, seed), searched, cv=folds, scoring="neg_mean_squared_error")

    return build


def _treated(rows: TrainingRows, seed: int) -> BaseEstimator:
    """With `tuning="auto"` behind the pre-treatment and the scale of columns that inner folds choose.

    They compare candidates after a single round, when `tuning` keeps the ridge: what suits that suits the network,
    and a fit takes a third of a second.
    """
    chosen = variant(AUTO)(rows, seed)
    pipeline = Pipeline([("fdrmfl", clone(chosen).set_params(n_rounds=1))])
    scales = [{"fdrmfl__preprocessing": ["whiten", "standardize"]}]
    found = _treatment(rows, pipeline, scales, fdrmfl__client_ids=rows.client_ids)
    return found.set_params(fdrmfl__n_rounds=chosen.n_rounds)


FDRMFL, TUNED, CENTRAL, ALONE = "FDRMFL", "FDRMFL, tuned", "FDRMFL, central", "FDRMFL, each client alone"
AUTO, STOPPED, NEITHER = settings.VARIANTS
OURS = {
    FDRMFL: Method(fdrmfl(), ids="client_ids"),
    TUNED: Method(tuned(), ids="client_ids"),
    **{name: Method(variant(name), ids="client_ids") for name in settings.VARIANTS},
    CENTRAL: Method(fdrmfl()),
    ALONE: Method(fdrmfl(), alone=True),
}
# For spectra: inner folds also choose how these are treated before.
TREATED_RIDGE, TREATED_PLS, TREATED = (f"{name}, pre-treatment chosen" for name in ("Ridge", "PLS, 16", "FDRMFL"))
TREATMENT_CHOSEN = {
    TREATED_RIDGE: Method(_treated_ridge),
    TREATED_PLS: Method(_treated_pls),
    TREATED: Method(_treated, ids="fdrmfl__client_ids"),
}
ALL = {**REGRESSORS, **REDUCERS, **OURS}
