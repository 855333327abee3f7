"""Draw the pictures of fitted models in README and docs/inspection.md: Tecator's fat, three clients (half a minute).

python benchmarks/inspection_figures.py [--out docs/figures]
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
from _common import DOCS_FIGURES, arguments, parser
from matplotlib import pyplot
from sklearn.cross_decomposition import PLSRegression
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from skfdrmfl import FDRMFLTransformer, IgnoreClients
from skfdrmfl.datasets import load_tecator, make_client_ids
from skfdrmfl.inspection import (
    HistoryDisplay,
    ImportanceDisplay,
    MembersDisplay,
    OutlierDisplay,
    PredictedMeasuredDisplay,
    ScoresDisplay,
    SensitivityDisplay,
)
from skfdrmfl.metrics import rmsep


def first_picture(out: Path) -> None:
    """PLS, ridge and FDRMFL on the same folds, raw spectra: every row predicted by a model of other rows."""
    tecator = load_tecator("fat")
    X, y, groups = tecator.data, tecator.target, tecator.groups
    client_ids = make_client_ids(y, 3, random_state=0)
    ridge = RidgeCV(np.logspace(-6, 3, 10))
    methods = {
        "PLS, 2 components": IgnoreClients(PLSRegression(2)),
        "PLS, 16 components": IgnoreClients(PLSRegression(16)),
        "Ridge on all columns": IgnoreClients(StandardScaler()),
        "FDRMFL, 2 features": FDRMFLTransformer(2, random_state=0, tuning=None),
    }
    figure, axes = pyplot.subplots(1, 4, figsize=(11, 3.1), sharex=True, sharey=True, layout="constrained")
    for ax, (name, reduce) in zip(axes, methods.items(), strict=True):
        pipeline = Pipeline([("reduce", reduce), ("ridge", ridge)])
        y_hat = np.empty_like(y)
        for train, test in GroupKFold(5, shuffle=True, random_state=0).split(X, groups=groups):
            pipeline.fit(X[train], y[train], reduce__client_ids=client_ids[train])
            y_hat[test] = pipeline.predict(X[test])
        ax.plot([0, 55], [0, 55], color="0.7")
        federated = isinstance(reduce, FDRMFLTransformer)
        ax.scatter(y, y_hat, s=9, color="#0072B2" if federated else "#888888")
        where = "three sites" if federated else "rows pooled"
        ax.set_title(f"{name}\n{where}, RMSE {rmsep(y, y_hat):.2f}", fontsize=10)
        ax.set_xlabel("fat measured, %")
    axes[0].set_ylabel("fat predicted, %")
    figure.savefig(out / "first.png", dpi=90, metadata={"Software": None})
    print(f"Written to {out / 'first.png'}")


def main() -> None:
    out = arguments(parser(__doc__, DOCS_FIGURES)).out
    out.mkdir(parents=True, exist_ok=True)
    first_picture(out)
    tecator = load_tecator("fat", as_frame=True)
    X, y, groups = tecator.data, tecator.target, tecator.groups
    client_ids = make_client_ids(y, 3, random_state=0)
    train = groups % 5 != 0  # repeats of a sample stay on one side
    model = FDRMFLTransformer(early_stopping=True, n_iter_no_change=60, random_state=0, tuning=None)
    model.fit(X[train], y[train], client_ids=client_ids[train])
    three = load_tecator(["fat", "water", "protein"]).target
    mixtures = [
        FDRMFLTransformer(random_state=0).fit(
            X[train], target[train], client_ids=client_ids[train], groups=groups[train]
        )
        for target in (y.to_numpy(), three)
    ]
    pictures = {
        "members": [lambda ax, mixture=mixture: MembersDisplay.from_estimator(mixture, ax=ax) for mixture in mixtures],
        "sensitivity": [
            lambda ax: SensitivityDisplay.from_estimator(model, X[train], ax=ax),
            lambda ax: ImportanceDisplay.from_estimator(model, ax=ax),
        ],
        "scores": [
            lambda ax: ScoresDisplay.from_estimator(model, X, y, client_ids=client_ids, level=None, ax=ax),
            lambda ax: PredictedMeasuredDisplay.from_estimator(
                model, X[~train], y[~train], client_ids=client_ids[~train], ax=ax
            ),
        ],
        "outliers": [
            lambda ax: OutlierDisplay.from_estimator(model, X[~train], client_ids=client_ids[~train], ax=ax),
            lambda ax: HistoryDisplay.from_estimator(model, terms=("mse", "validation_mse"), ax=ax),
        ],
    }
    for name, panels in pictures.items():
        figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
        for ax, draw in zip(axes, panels, strict=True):
            draw(ax)
        if name == "outliers":
            axes[1].set_yscale("log")
        figure.savefig(out / f"inspection_{name}.png", dpi=90, metadata={"Software": None})
        print(f"Written to {out / f'inspection_{name}.png'}")


if __name__ == "__main__":
    main()
